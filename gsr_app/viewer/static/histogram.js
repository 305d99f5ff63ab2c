/* How often each of the 256 levels occurs in a part of a picture. */

import { lumaOf } from "./tone.js";

const MOST_PIXELS = 1e6; // of larger parts a sample is counted
const BAND_PIXELS = 2e6; // read at once

const divisor = (a, b) => (b ? divisor(b, a % b) : a);

/** {red, green, blue, luma, count}: 256 counts each, and of how many pixels; those that are transparent are left out. */
export function histogramOf(picture, { x, y, width, height }) {
  const found = { red: new Float64Array(256), green: new Float64Array(256), blue: new Float64Array(256), luma: new Float64Array(256), count: 0 };
  let step = Math.ceil((width * height) / MOST_PIXELS);
  while (step > 1 && divisor(step, width) > 1) step++; // a step that divides the width would sample some columns only
  const rows = Math.max(1, Math.floor(BAND_PIXELS / width));
  let at = 0;
  for (let top = y; top < y + height; top += rows) {
    const { data } = picture.read(x, top, width, Math.min(rows, y + height - top));
    const pixels = data.length / 4;
    for (; at < pixels; at += step) {
      const i = 4 * at;
      if (!data[i + 3]) continue;
      found.red[data[i]]++;
      found.green[data[i + 1]]++;
      found.blue[data[i + 2]]++;
      found.luma[lumaOf(data[i], data[i + 1], data[i + 2])]++;
      found.count++;
    }
    at -= pixels;
  }
  return found;
}

/** The mean level, and the shares of the pixels at the lowest and at the highest. */
export function summaryOf({ luma, count }) {
  const sum = luma.reduce((total, n, level) => total + n * level, 0);
  return { mean: sum / count, dark: luma[0] / count, bright: luma[255] / count };
}

const CHANNELS = [["red", "#d25a4c"], ["green", "#5aa468"], ["blue", "#5580c8"]];

/** Draw the channels of one histogram as areas, and the luma of others as lines: `lines` are {histogram, colour}. */
export function drawHistogram(ctx, histogram, lines) {
  const { width, height } = ctx.canvas;
  ctx.clearRect(0, 0, width, height);
  const inner = (levels, count) => levels.slice(1, 255).reduce((most, n) => Math.max(most, n / count), 1e-9);
  // The ends are often far higher than the rest; they do not set the scale.
  const most = Math.max(...CHANNELS.map(([name]) => inner(histogram[name], histogram.count)), ...lines.map(({ histogram: one }) => inner(one.luma, one.count)));
  const path = (levels, count) => {
    ctx.beginPath();
    for (let level = 0; level < 256; level++) {
      const top = height * (1 - Math.min(1, levels[level] / count / most));
      ctx.lineTo((level * width) / 256, top);
      ctx.lineTo(((level + 1) * width) / 256, top);
    }
  };
  ctx.globalCompositeOperation = "screen";
  for (const [name, colour] of CHANNELS) {
    path(histogram[name], histogram.count);
    ctx.lineTo(width, height);
    ctx.lineTo(0, height);
    ctx.fillStyle = colour;
    ctx.fill();
  }
  ctx.globalCompositeOperation = "source-over";
  for (const { histogram: one, colour } of lines) {
    path(one.luma, one.count);
    ctx.strokeStyle = colour;
    ctx.stroke();
  }
}
