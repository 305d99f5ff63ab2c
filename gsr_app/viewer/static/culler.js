/* Finds the Gaussians of a field that may reach a rectangle, cell by cell. */

/** Options of a drawing: the factor of all extents, the farthest that `adjust` moves a Gaussian, the only one drawn, and
 * whether large ones are drawn pixel by pixel, too. */
export const DEFAULT_OPTIONS = Object.freeze({ sigma: 1, lift: 0, only: -1, exact: false, uniforms: () => {} });

export class Culler {
  runs = new Int32Array(64); // [first, count, ...] of the Gaussians to draw
  stats = { count: 0, gaussians: 0, pixels: 0, top: 0 };

  /** Fill `runs` with the Gaussians that may reach a rectangle; returns the length of that list, and the numbers of Gaussians
   * and, about, of pixels to draw. */
  cull({ starts, ends, boxes, areas }, rect, width, height, options = DEFAULT_OPTIONS) {
    const { stats } = this;
    const grow = Math.max(0, options.sigma - 1) / 2;
    const [right, bottom, isSingle] = [rect.x + rect.width, rect.y + rect.height, options.only >= 0];
    let end = -1;
    stats.count = stats.gaussians = stats.pixels = 0;
    for (let cell = 0; cell < areas.length; cell++) {
      const from = isSingle ? Math.max(starts[cell], options.only) : starts[cell];
      const n = (isSingle ? Math.min(ends[cell], options.only + 1) : ends[cell]) - from;
      if (n <= 0) continue;
      const k = 4 * cell;
      const dx = grow * (boxes[k + 2] - boxes[k]);
      const dy = grow * (boxes[k + 3] - boxes[k + 1]) + options.lift;
      const [x0, y0, x1, y1] = [boxes[k] - dx, boxes[k + 1] - dy, boxes[k + 2] + dx, boxes[k + 3] + dy];
      if (x0 > right || x1 < rect.x || y0 > bottom || y1 < rect.y) continue;
      const seen = (Math.min(x1, right) - Math.max(x0, rect.x)) * (Math.min(y1, bottom) - Math.max(y0, rect.y));
      stats.pixels += (areas[cell] * options.sigma ** 2 * seen) / ((x1 - x0) * (y1 - y0));
      stats.gaussians += n;
      if (stats.count + 2 > this.runs.length) this.runs = Int32Array.from({ length: 2 * stats.count + 64 }, (_, k) => this.runs[k]);
      if (from !== end) this.runs.set([from, 0], (stats.count += 2) - 2);
      this.runs[stats.count - 1] += n;
      end = from + n;
    }
    stats.pixels *= (width / rect.width) * (height / rect.height);
    return stats;
  }
}
