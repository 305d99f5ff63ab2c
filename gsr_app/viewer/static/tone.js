/* How pictures are shown: brighter or darker, with another gamma, a channel alone, or in false colours. Their pixels and
 * the values that are read from them never change. */

export const PLAIN = Object.freeze({ exposure: 0, gamma: 1, colours: "plain" });

/** [value, text] of each way to show colours. */
export const COLOURS = [
  ["plain", "as they are"],
  ["luma", "false colours of brightness"],
  ["red", "red alone"],
  ["green", "green alone"],
  ["blue", "blue alone"],
  ["clipped", "clipped: 0 blue, 255 red"],
];

// Dark to bright with many hues, so that small steps of brightness can be told apart.
const STOPS = [[12, 7, 40], [44, 36, 150], [26, 112, 214], [20, 176, 190], [52, 190, 90], [190, 205, 50], [250, 170, 40], [228, 70, 40], [255, 245, 240]];

const FALSE_COLOURS = new Uint8ClampedArray(256 * 3);
for (let i = 0; i < 256; i++) {
  const t = (i / 255) * (STOPS.length - 1);
  const k = Math.min(STOPS.length - 2, Math.floor(t));
  for (let c = 0; c < 3; c++) FALSE_COLOURS[3 * i + c] = STOPS[k][c] + (STOPS[k + 1][c] - STOPS[k][c]) * (t - k);
}

export const falseColour = (value) => [...FALSE_COLOURS.subarray(3 * value, 3 * value + 3)];

export const isPlain = ({ exposure, gamma, colours }) => exposure === 0 && gamma === 1 && colours === "plain";

/** BT.601's luma, rounded to a level. */
export const lumaOf = (r, g, b) => Math.round(0.299 * r + 0.587 * g + 0.114 * b);

/** What each of the 256 levels becomes: stops of exposure in linear light, then the gamma. */
export function levelsOf({ exposure, gamma }) {
  const levels = new Uint8ClampedArray(256);
  for (let i = 0; i < 256; i++) {
    const value = i / 255;
    const light = (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4) * 2 ** exposure;
    const shown = light <= 0.0031308 ? 12.92 * light : 1.055 * Math.min(1, light) ** (1 / 2.4) - 0.055;
    levels[i] = exposure === 0 && gamma === 1 ? i : 255 * Math.min(1, shown) ** (1 / gamma);
  }
  return levels;
}

function recolour(data, tone) {
  const levels = levelsOf(tone);
  const only = ["red", "green", "blue"].indexOf(tone.colours);
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
    if (tone.colours === "clipped") {
      const grey = 64 + (levels[lumaOf(r, g, b)] >> 1);
      const [isFull, isEmpty] = [Math.max(r, g, b) === 255, Math.min(r, g, b) === 0];
      data[i] = isFull ? 255 : isEmpty ? 40 : grey;
      data[i + 1] = isFull || isEmpty ? 60 : grey;
      data[i + 2] = isEmpty ? 255 : isFull ? 40 : grey;
    } else if (tone.colours === "luma") {
      data.set(FALSE_COLOURS.subarray(3 * lumaOf(levels[r], levels[g], levels[b]), 3 * lumaOf(levels[r], levels[g], levels[b]) + 3), i);
    } else if (only >= 0) {
      data[i] = data[i + 1] = data[i + 2] = levels[data[i + only]];
    } else {
      data[i] = levels[r];
      data[i + 1] = levels[g];
      data[i + 2] = levels[b];
    }
  }
}

/** Shows what is drawn in another tone; keeps its canvas between frames. */
export class Toner {
  constructor() {
    this.ctx = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  }

  /** `paint(ctx)` draws in the coordinates of `ctx`, and only the part in `box`, of whole pixels, is shown. */
  draw(ctx, box, tone, paint) {
    const { canvas } = this.ctx;
    const { width, height } = ctx.canvas;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    else this.ctx.clearRect(box.x, box.y, box.w, box.h);
    paint(this.ctx);
    const image = this.ctx.getImageData(box.x, box.y, box.w, box.h);
    recolour(image.data, tone);
    this.ctx.putImageData(image, box.x, box.y);
    ctx.drawImage(canvas, box.x, box.y, box.w, box.h, box.x, box.y, box.w, box.h);
  }
}
