/* Draws fields of Gaussians on the processor, for browsers without WebGL2: the picture of fieldpainter.js, every Gaussian at
 * every pixel, without adjustments. */

import { Culler, DEFAULT_OPTIONS } from "./culler.js";
import { EPS, REACH, TILT } from "./field.js";
import { half } from "./safetensors.js";

const THINNEST = 6e-8; // of a half axis: the smallest float16

export class CpuPainter extends Culler {
  isLost = false;
  canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  ctx = this.canvas.getContext("2d", { alpha: false });
  sums = new Float32Array(0); // of colours and weights, four numbers per pixel

  /** Draw a rectangle of the source plane into the top left of the canvas, and return it. */
  draw(field, rect, width, height) {
    const { canvas, ctx } = this;
    const bytes = this.pixels(field, rect, width, height);
    if (width > canvas.width || height > canvas.height) Object.assign(canvas, { width: Math.max(width, canvas.width), height: Math.max(height, canvas.height) });
    ctx.putImageData(new ImageData(bytes, width, height), 0, 0);
    return canvas;
  }

  /** RGBA of it. */
  pixels(field, rect, width, height) {
    const { count } = this.cull(field, rect, width, height, DEFAULT_OPTIONS);
    if (this.sums.length < 4 * width * height) this.sums = new Float32Array(4 * width * height);
    const sums = this.sums.subarray(0, 4 * width * height).fill(0);
    for (let k = 0; k < count; k += 2) {
      for (let i = this.runs[k]; i < this.runs[k] + this.runs[k + 1]; i++) addGaussian(field, i, rect, width, height, sums);
    }
    const bytes = new Uint8ClampedArray(sums.length);
    for (let k = 0; k < sums.length; k += 4) {
      const factor = 255 / (field.normalize && sums[k + 3] > 0.9 * EPS ? sums[k + 3] : 1);
      for (let channel = k; channel < k + 3; channel++) bytes[channel] = sums[channel] * factor;
      bytes[k + 3] = 255;
    }
    return bytes;
  }

  drop() {}
  close() {}
}

/** Add color * exp(-q / 2) where q <= -2 ln(EPS) and inside the window. In pixels from the centre, q is
 * A x^2 + 2 B x y + C y^2; along a row of pixels its exponentials are a product of two factors. */
function addGaussian({ mean, axes, angle, color, window }, i, rect, width, height, sums) {
  const [sx, sy] = [width / rect.width, height / rect.height];
  const [a, b] = [Math.max(THINNEST, half(axes[2 * i])), Math.max(THINNEST, half(axes[2 * i + 1]))];
  const [c, s] = [Math.cos(angle[i] * TILT), Math.sin(angle[i] * TILT)];
  const [x, y] = [(mean[2 * i] - rect.x) * sx - 0.5, (mean[2 * i + 1] - rect.y) * sy - 0.5]; // pixel centres are whole numbers
  const [ux, uy, vx, vy] = [c / (a * sx), s / (a * sy), -s / (b * sx), c / (b * sy)];
  const [A, B] = [ux * ux + vx * vx, ux * uy + vx * vy];
  const thin = 1 / (a * b * sx * sy); // the root of A C - B^2
  const [wide, high] = [window[0] * sx, Math.min(window[1] * sy, REACH * Math.hypot(a * s, b * c) * sy)];
  const [r, g, blue] = [half(color[3 * i]), half(color[3 * i + 1]), half(color[3 * i + 2])];
  const last = Math.min(height - 1, Math.floor(y + high));
  for (let row = Math.max(0, Math.ceil(y - high)); row <= last; row++) {
    const dy = row - y;
    const inside = A * REACH * REACH - (thin * dy) ** 2;
    if (!(inside >= 0)) continue;
    const [middle, reach] = [(-B * dy) / A, Math.sqrt(inside) / A];
    const from = Math.max(0, Math.ceil(x + Math.max(middle - reach, -wide)));
    const to = Math.min(width - 1, Math.floor(x + Math.min(middle + reach, wide)));
    if (from > to) continue;
    const dx = from - x;
    let weight = Math.exp(-((ux * dx + uy * dy) ** 2 + (vx * dx + vy * dy) ** 2) / 2);
    let step = Math.exp(-A * (dx + 0.5) - B * dy);
    const bend = Math.exp(-A);
    for (let k = 4 * (row * width + from), end = 4 * (row * width + to); k <= end; k += 4) {
      sums[k] += weight * r;
      sums[k + 1] += weight * g;
      sums[k + 2] += weight * blue;
      sums[k + 3] += weight;
      weight *= step;
      step *= bend;
    }
  }
}
