/* A lattice's numbers as Gaussians, in the form of a field file: mean, half axes, tilt, colour. */

import { TILT } from "./field.js";
import { toHalf } from "./safetensors.js";

/** Returns put(lattice, cells of one channel, from, x, y, field, to): Gaussian `from` of a lattice, at the site (x, y) in
 * source pixels, becomes Gaussian `to` of a field. */
export function converter({ sigma_least: least, sigma_most: most, sigma_start: start, rho_most: rhoMost }) {
  const shift = Math.log((start - least) / (most - start));
  const sigma = (raw) => least + (most - least) / (1 + Math.exp(-raw - shift));
  return (lattice, size, from, x, y, { mean, axes, angle, color }, to) => {
    mean[2 * to] = x + 0.25 * Math.tanh(lattice[from + 3 * size]); // never out of its quarter of a pixel
    mean[2 * to + 1] = y + 0.25 * Math.tanh(lattice[from + 4 * size]);
    const [sx, sy] = [sigma(lattice[from + 5 * size]), sigma(lattice[from + 6 * size])];
    const rho = rhoMost * Math.tanh(lattice[from + 7 * size]);
    const [half, off] = [((sx - sy) * (sx + sy)) / 2, rho * sx * sy];
    const longer = Math.sqrt((sx * sx + sy * sy) / 2 + Math.sqrt(half * half + off * off));
    axes[2 * to] = toHalf(longer);
    axes[2 * to + 1] = toHalf((sx * sy * Math.sqrt((1 - rho) * (1 + rho))) / longer); // a difference of squares would cancel
    const tilt = 0.5 * Math.atan2(off, half);
    angle[to] = Math.round((tilt < 0 ? tilt + Math.PI : tilt) / TILT);
    for (let channel = 0; channel < 3; channel++) color[3 * to + channel] = toHalf(lattice[from + channel * size]);
  };
}
