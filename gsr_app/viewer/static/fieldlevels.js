/* The coarser grids of a painter: their layout in its target, and how they are summed.
 *
 * They lie below the picture in the same target, so that one draw call fills them all: level 1, of every second pixel, on
 * the left, the others beside it in a column. Sample k of a level lies between samples 2k - 1 and 2k of the next finer
 * one, a quarter of its pitch from either, and two more lie before the first. Each level is interpolated and added to the
 * next finer one, first along rows and then along columns. */

import { LEVELS, REFINE, SPREAD, WHOLE } from "./fieldshaders.js";

const MIN_SIDE = 64; // pixels: smaller pictures gain nothing
const PIXELS_PER_GAUSSIAN = 400; // about, on the level that each chooses
const SUM_COST = 3; // of one pixel over all levels, in drawn pixels

export class Levels {
  constructor(painter) {
    this.painter = painter;
    this.spread = painter.program(WHOLE, SPREAD);
    this.refine = painter.program(WHOLE, REFINE);
    this.rects = new Float32Array(4 * LEVELS); // left, top, right, bottom of each level
    this.columns = null; // target: a level interpolated to the columns of the next finer one
    this.sums = null; // target: interpolated to its rows as well, and added
  }

  /** Choose the levels for a view with these `stats`, and correct the number of pixels to draw. */
  static choose(stats, width, height) {
    const { gaussians, pixels } = stats;
    const cost = PIXELS_PER_GAUSSIAN * gaussians + SUM_COST * width * height;
    if (cost > pixels || Math.min(width, height) < MIN_SIDE) return;
    stats.top = Math.min(LEVELS - 1, 1 + Math.ceil(Math.log2(pixels / gaussians / 100) / 2));
    stats.pixels = cost;
  }

  /** Lay out `top` levels below a picture; returns the height of the target. */
  place(width, height, top) {
    const { rects } = this;
    rects.fill(0);
    rects.set([-1e9, -1e9, 1e9, top ? height : 1e9]);
    let [left, down, bottom] = [0, height, height];
    let [columns, lines] = [(width >> 1) + 5, (height >> 1) + 5];
    for (let level = 1; level <= top; level++) {
      rects[4 * level] = left;
      rects[4 * level + 1] = down;
      rects[4 * level + 2] = left + columns;
      rects[4 * level + 3] = down + lines;
      bottom = Math.max(bottom, down + lines);
      if (level === 1) left += columns;
      else down += lines;
      [columns, lines] = [(columns >> 1) + 5, (lines >> 1) + 5];
    }
    return bottom;
  }

  /** Sum the levels in `target`, if any, for a program that shows a picture of that width. */
  sum(top, target, width) {
    const { spread, refine, rects } = this;
    const { gl } = this.painter;
    let [sums, x, y] = [target, rects[4 * top], rects[4 * top + 1]];
    for (let level = top - 1; level >= 0; level--) {
      const k = 4 * level;
      const columns = level ? rects[k + 2] - rects[k] : width;
      gl.useProgram(spread.program);
      this.bind(spread, target, sums);
      gl.uniform2i(spread.at.other, x, y);
      gl.uniform1i(spread.at.skipped, level ? 1 : 0);
      this.columns = this.#fill(this.columns, columns, rects[k + 7] - rects[k + 5]);
      if (level === 0) return;
      gl.useProgram(refine.program);
      this.bind(refine, target);
      gl.uniform2i(refine.at.own, rects[k], rects[k + 1]);
      this.sums = this.#fill(this.sums, columns, rects[k + 3] - rects[k + 1]);
      [sums, x, y] = [this.sums, 0, 0];
    }
  }

  /** Draw into a target of at least that size, and return it. */
  #fill(old, width, height) {
    const { gl } = this.painter;
    const target = this.painter.grow(old, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, target.frame);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return target;
  }

  /** Bind the textures that a program sums: `target` to unit 0, the coarser levels to unit 1. */
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
