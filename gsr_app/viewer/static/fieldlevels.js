/* The coarser grids of a painter: where they lie in its target, and how their sums come together.
 *
 * They lie below the picture in the same target, so that one drawing fills them all: the first, of every second pixel,
 * on the left, the others beside it in a column. Sample k of a level lies between samples 2k - 1 and 2k of the next finer
 * one, a quarter of its pitch from either, and two more lie before the first. Each level is taken into the next finer
 * one, first along rows and then along columns. */

import { LEVELS, REFINE, SPREAD, WHOLE } from "./fieldshaders.js";

const LEAST = 64; // pixels of a side: below it there is nothing to gain
const MOST_DRAWN = 400; // pixels per Gaussian, about, with the levels it may choose
const RESOLVE = 3; // pixels that one pixel's sum of the levels is worth

export class Levels {
  constructor(painter) {
    this.painter = painter;
    this.spread = painter.program(WHOLE, SPREAD);
    this.refine = painter.program(WHOLE, REFINE);
    this.rooms = new Float32Array(4 * LEVELS); // left, top, right, bottom
    this.columns = null; // a target for a level's sums at the columns of the next finer one
    this.sums = null; // and one for them at its rows, too, with its own
  }

  /** How many of them help with what a view has `found`, and how many pixels are then to be drawn. */
  static weigh(found, width, height) {
    const { gaussians, pixels } = found;
    const cost = MOST_DRAWN * gaussians + RESOLVE * width * height;
    if (cost > pixels || Math.min(width, height) < LEAST) return;
    found.top = Math.min(LEVELS - 1, 1 + Math.ceil(Math.log2(pixels / gaussians / 100) / 2));
    found.pixels = cost;
  }

  /** Lay out `top` levels below a picture; answers how high the target must be. */
  place(width, height, top) {
    const { rooms } = this;
    rooms.fill(0);
    rooms.set([-1e9, -1e9, 1e9, top ? height : 1e9]);
    let [left, down, bottom] = [0, height, height];
    let [columns, lines] = [(width >> 1) + 5, (height >> 1) + 5];
    for (let level = 1; level <= top; level++) {
      rooms[4 * level] = left;
      rooms[4 * level + 1] = down;
      rooms[4 * level + 2] = left + columns;
      rooms[4 * level + 3] = down + lines;
      bottom = Math.max(bottom, down + lines);
      if (level === 1) left += columns;
      else down += lines;
      [columns, lines] = [(columns >> 1) + 5, (lines >> 1) + 5];
    }
    return bottom;
  }

  /** Sum those that `target` holds, if any, for a program that shows a picture of that width. */
  sum(top, target, width) {
    const { spread, refine, rooms } = this;
    const { gl } = this.painter;
    let [sums, x, y] = [target, rooms[4 * top], rooms[4 * top + 1]];
    for (let level = top - 1; level >= 0; level--) {
      const k = 4 * level;
      const columns = level ? rooms[k + 2] - rooms[k] : width;
      gl.useProgram(spread.program);
      this.bind(spread, target, sums);
      gl.uniform2i(spread.at.other, x, y);
      gl.uniform1i(spread.at.skipped, level ? 1 : 0);
      this.columns = this.#fill(this.columns, columns, rooms[k + 7] - rooms[k + 5]);
      if (level === 0) return;
      gl.useProgram(refine.program);
      this.bind(refine, target);
      gl.uniform2i(refine.at.own, rooms[k], rooms[k + 1]);
      this.sums = this.#fill(this.sums, columns, rooms[k + 3] - rooms[k + 1]);
      [sums, x, y] = [this.sums, 0, 0];
    }
  }

  /** Draw into a target of that size, the old one where it will do; answers which. */
  #fill(old, width, height) {
    const { gl } = this.painter;
    const target = this.painter.grow(old, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return target;
  }

  /** What a program sums: `target` on unit 0, and on unit 1 what there is of coarser levels. */
  bind({ at }, target, coarse = this.columns ?? target) {
    const { gl } = this.painter;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, target.texture);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, coarse.texture);
    gl.uniform1i(at.totals, 0);
    gl.uniform1i(at.coarse, 1);
  }
}
