/* Spatial queries of a field by its grid cells, without visiting every Gaussian. */

import { half } from "./safetensors.js";

/** Call visit(from, to, isInside) for the Gaussians of every cell that a rectangle touches; isInside: it holds them all. */
function eachCell({ starts, ends, cell, columns, rows }, x0, y0, x1, y1, visit) {
  const clamp = (value, n) => Math.min(n - 1, Math.max(0, Math.floor(value / cell)));
  const [c0, c1] = [clamp(x0, columns), clamp(x1, columns)];
  const [r0, r1] = [clamp(y0, rows), clamp(y1, rows)];
  // Cells at the border also hold what lies beyond it.
  const inside = (k, low, high, n) => k > Math.max(0, low) && k < Math.min(n - 1, high);
  for (let row = r0; row <= r1; row++) {
    for (let column = c0; column <= c1; column++) {
      const k = row * columns + column;
      visit(starts[k], ends[k], inside(row, r0, r1, rows) && inside(column, c0, c1, columns));
    }
  }
}

/** Call visit(i, x, y) for every Gaussian whose centre lies in a rectangle of the source plane. */
export function forEachIn(field, x0, y0, x1, y1, visit) {
  const { mean } = field;
  eachCell(field, x0, y0, x1, y1, (from, to) => {
    for (let i = from; i < to; i++) {
      const x = mean[2 * i];
      const y = mean[2 * i + 1];
      if (x >= x0 && x < x1 && y >= y0 && y < y1) visit(i, x, y);
    }
  });
}

export function countIn(field, x0, y0, x1, y1) {
  const { mean } = field;
  let count = 0;
  eachCell(field, x0, y0, x1, y1, (from, to, isInside) => {
    if (isInside) count += to - from;
    else for (let i = from; i < to; i++) count += mean[2 * i] >= x0 && mean[2 * i] < x1 && mean[2 * i + 1] >= y0 && mean[2 * i + 1] < y1;
  });
  return count;
}

/** The Gaussian whose centre is nearest to (x, y), within a radius; -1 when there is none. */
export function nearest(field, x, y, radius) {
  let best = -1;
  let least = radius * radius;
  forEachIn(field, x - radius, y - radius, x + radius, y + radius, (i, mx, my) => {
    const d = (mx - x) ** 2 + (my - y) ** 2;
    if (d < least) [best, least] = [i, d];
  });
  return best;
}

/** The colour of a Gaussian; that of an additive field includes the opacity. */
export const colorOf = ({ color }, i) => [half(color[3 * i]), half(color[3 * i + 1]), half(color[3 * i + 2])];

/** The one-sigma ellipse of a Gaussian: half axes in source pixels, tilt in radians. */
export const ellipseOf = ({ axes, angle }, i) => ({ major: half(axes[2 * i]), minor: half(axes[2 * i + 1]), angle: (angle[i] * Math.PI) / 65536 });

/** Sigma and rho of a Gaussian. */
export function shapeOf(field, i) {
  const { major, minor, angle } = ellipseOf(field, i);
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  const sx = Math.hypot(major * c, minor * s);
  const sy = Math.hypot(major * s, minor * c);
  return { sx, sy, rho: ((major - minor) * (major + minor) * c * s) / (sx * sy) };
}

const SAMPLES = 4096;
const cache = new WeakMap();

/** The indices of about `most` Gaussians, evenly over the field. */
function sample({ starts, ends, count }, most) {
  const step = Math.max(1, count / most);
  const picked = [];
  let [next, before] = [0, 0];
  for (let cell = 0; cell < ends.length; cell++) {
    const n = ends[cell] - starts[cell];
    for (; next < before + n; next += step) picked.push(starts[cell] + Math.floor(next - before));
    before += n;
  }
  return picked;
}

/** Typical values of a field: {sizes: [small, large] of the longer half axes, peak: of the strongest channel}. */
export function typical(field) {
  if (cache.get(field)?.count !== field.count) {
    const picked = sample(field, SAMPLES);
    const sorted = (of) => picked.map(of).sort((a, b) => a - b);
    const at = (list, t) => list[Math.floor(t * (list.length - 1))] ?? 1;
    const longer = sorted((i) => half(field.axes[2 * i]));
    const small = Math.max(1e-6, at(longer, 0.02));
    const peak = at(sorted((i) => Math.max(...colorOf(field, i).map(Math.abs))), 0.98);
    cache.set(field, { count: field.count, sizes: [small, Math.max(at(longer, 0.98), small * 1.001)], peak: Math.max(1e-6, peak) });
  }
  return cache.get(field);
}
