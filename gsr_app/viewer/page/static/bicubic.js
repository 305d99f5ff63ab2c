/* Draws any rectangle of a picture with the bicubic kernel, exactly as `gsr upscale --method bicubic` does. It is for
 * enlarging: shrinking would need a wider kernel. */

import { mirror } from "./lattice.js";

const COST = 6; // of a pixel, in those of the painter of fields

const cubic = (t) => (t <= 1 ? (1.5 * t - 2.5) * t * t + 1 : t <= 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0);

/** The four source pixels of every output pixel along an axis, mirrored at the border, and their weights. */
function tapsOf(count, start, span, size) {
  const [index, weight] = [new Int32Array(4 * size), new Float32Array(4 * size)];
  for (let k = 0; k < size; k++) {
    const centre = start + ((k + 0.5) * span) / size - 0.5;
    const first = Math.floor(centre) - 1;
    for (let tap = 0; tap < 4; tap++) {
      index[4 * k + tap] = mirror(first + tap, count);
      weight[4 * k + tap] = cubic(Math.abs(centre - first - tap));
    }
  }
  return { index, weight };
}

export class Bicubic {
  constructor(source) {
    this.source = source;
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d", { alpha: false });
  }

  cost(width, height) {
    return COST * width * height;
  }

  /** Draw a rectangle of the source plane into the top left of a canvas, and return it. */
  draw({ x, y, width, height }, w, h) {
    const { canvas, ctx } = this;
    const image = new ImageData(this.pixels(x, y, width, height, w, h), w, h);
    if (canvas.width < w || canvas.height < h) Object.assign(canvas, { width: Math.max(w, canvas.width), height: Math.max(h, canvas.height) });
    ctx.putImageData(image, 0, 0);
    return canvas;
  }

  /** RGBA of it. */
  pixels(x, y, width, height, w, h) {
    const { source } = this;
    const [across, down] = [tapsOf(source.width, x, width, w), tapsOf(source.height, y, height, h)];
    const [[left, right], [top, bottom]] = [bounds(across.index), bounds(down.index)];
    const { data } = source.bytes(left, top, right - left, bottom - top);
    const rows = new Float32Array(3 * w * (bottom - top));
    for (let row = 0, to = 0; row < bottom - top; row++) {
      const base = row * (right - left) - left;
      for (let k = 0; k < 4 * w; k += 4, to += 3) {
        for (let tap = k; tap < k + 4; tap++) {
          const from = 4 * (base + across.index[tap]);
          const weight = across.weight[tap];
          rows[to] += weight * data[from];
          rows[to + 1] += weight * data[from + 1];
          rows[to + 2] += weight * data[from + 2];
        }
      }
    }
    const out = new Uint8ClampedArray(4 * w * h).fill(255);
    for (let line = 0, to = 0; line < h; line++) {
      const [a, b, c, d] = [0, 1, 2, 3].map((tap) => 3 * w * (down.index[4 * line + tap] - top));
      const [wa, wb, wc, wd] = down.weight.subarray(4 * line, 4 * line + 4);
      for (let k = 0; k < 3 * w; k += 3, to += 4) {
        for (let channel = k; channel < k + 3; channel++) out[to + channel - k] = wa * rows[a + channel] + wb * rows[b + channel] + wc * rows[c + channel] + wd * rows[d + channel];
      }
    }
    return out;
  }
}

/** The first index, and the one after the last. */
function bounds(index) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of index) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high + 1];
}
