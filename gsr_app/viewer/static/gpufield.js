/* A field in GPU memory: 18 bytes per Gaussian in two textures, as `gaussian` in fieldshaders.js reads them. Means have
 * 24 bits of the field's extent, as precise as float32. */

import { ROW } from "./fieldshaders.js";

const STEPS = 2 ** 24 - 1;
const MARGIN = 7; // times the side of the picture: Gaussians farther out reach nothing

/** [smallest, step] of means between two numbers. */
export const extentBetween = (low, high) => [low, (high - low) / STEPS];

function extentOf(mean, axis, side) {
  let [low, high] = [Infinity, -Infinity];
  for (let k = axis; k < mean.length; k += 2) {
    if (mean[k] < low) low = mean[k];
    if (mean[k] > high) high = mean[k];
  }
  low = Math.max(low, -MARGIN * side);
  return [low, Math.max(1e-6, Math.min(high, (MARGIN + 1) * side) - low) / STEPS];
}

export class GpuField {
  constructor(painter, field) {
    const { gl } = painter;
    const { source, mean } = field;
    const rows = Math.max(1, Math.ceil((field.capacity ?? field.count) / ROW));
    const [[left, x], [top, y]] = field.extents ?? [extentOf(mean, 0, source[1]), extentOf(mean, 1, source[0])];
    Object.assign(this, { gl, field, spread: [left, top, x, y], copied: 0 });
    this.cores = painter.texture(gl.RGBA32UI, ROW, rows);
    this.blues = painter.texture(gl.R16F, ROW, rows);
  }

  /** Copy what has changed. */
  #update() {
    const { changes } = this.field;
    for (; this.copied < changes.length; this.copied++) this.#copy(...changes[this.copied]);
  }

  // Gaussians from the first of a row of the textures on.
  #copy(from, to) {
    const { gl, spread } = this;
    const { mean, axes, angle, color } = this.field;
    const [left, top, x, y] = spread;
    const steps = (value, low, step) => Math.min(STEPS, Math.max(0, Math.round((value - low) / step)));
    const core = new Uint32Array(4 * ROW);
    const blue = new Uint16Array(ROW);
    for (let row = Math.floor(from / ROW); row * ROW < to; row++) {
      for (let k = 0, i = row * ROW; k < ROW && i < to; k++, i++) {
        core[4 * k] = steps(mean[2 * i], left, x) * 256 + (angle[i] >> 8);
        core[4 * k + 1] = steps(mean[2 * i + 1], top, y) * 256 + (angle[i] & 255);
        core[4 * k + 2] = axes[2 * i] + axes[2 * i + 1] * 65536;
        core[4 * k + 3] = color[3 * i] + color[3 * i + 1] * 65536;
        blue[k] = color[3 * i + 2];
      }
      gl.bindTexture(gl.TEXTURE_2D, this.cores);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, ROW, 1, gl.RGBA_INTEGER, gl.UNSIGNED_INT, core);
      gl.bindTexture(gl.TEXTURE_2D, this.blues);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, row, ROW, 1, gl.RED, gl.HALF_FLOAT, blue);
    }
  }

  /** Bind the textures to units 0 and 1, up to date. */
  bind(at) {
    const { gl, cores, blues, spread } = this;
    gl.activeTexture(gl.TEXTURE2);
    this.#update();
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, cores);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, blues);
    gl.uniform1i(at.cores, 0);
    gl.uniform1i(at.blues, 1);
    gl.uniform4fv(at.spread, spread);
  }

  drop() {
    this.gl.deleteTexture(this.cores);
    this.gl.deleteTexture(this.blues);
  }
}
