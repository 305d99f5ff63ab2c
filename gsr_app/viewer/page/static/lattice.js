/* From the output of the network to swift's lattice of Gaussians: 2x2 per pixel, 8 numbers each.
 *
 * As in gsr_app/models/swift.py: the network adds to a cubic enlargement of the colours, which are then limited to
 * slightly more than the range of their neighbourhood. */

const CUBIC = [-0.0234375, 0.2265625, 0.8671875, -0.0703125]; // Keys' kernel with a = -0.5, at distances 1.75, 0.75, 0.25, 1.25

/** The lattice [8][2h][2w] of the `core` {x, y, width, height} of a tile of pixels [.][width][3]. */
export function makeLattice({ surroundings, overshoot }, rgb, width, height, output, core) {
  const [rows, columns] = [2 * core.height, 2 * core.width];
  const size = rows * columns;
  const lattice = new Float32Array(8 * size);
  const { data, group, sub, row, column } = output;
  for (let channel = 0; channel < 8; channel++) {
    for (let y = 0; y < rows; y++) {
      let from = channel * group + 2 * sub * (y & 1) + ((y >> 1) + core.y) * row + core.x * column;
      let to = channel * size + y * columns;
      for (let x = 0; x < core.width; x++, from += column) {
        lattice[to++] = data[from];
        lattice[to++] = data[from + sub];
      }
    }
  }
  const plane = new Float32Array(width * height);
  for (let channel = 0; channel < 3; channel++) {
    for (let k = 0; k < plane.length; k++) plane[k] = rgb[3 * k + channel];
    addCubic(plane, width, height, core, lattice.subarray(channel * size));
    limit(plane, width, height, core, surroundings, overshoot, lattice.subarray(channel * size));
  }
  return lattice;
}

/** Beyond the border the picture is mirrored, edge pixels included. */
export const mirror = (at, count) => {
  const k = ((at % (2 * count)) + 2 * count) % (2 * count);
  return k < count ? k : 2 * count - 1 - k;
};

function addCubic(plane, width, height, core, lattice) {
  const columns = 2 * core.width;
  const enlarged = new Float32Array(columns * (core.height + 4)); // rows y - 2 ... y + 2 of the core, enlarged along x
  const taps = Array.from({ length: core.width + 4 }, (_, k) => mirror(core.x + k - 2, width));
  const [c0, c1, c2, c3] = CUBIC;
  for (let y = 0; y < core.height + 4; y++) {
    const row = mirror(core.y + y - 2, height) * width;
    for (let x = 0; x < core.width; x++) {
      const [a, b, c, d, e] = [plane[row + taps[x]], plane[row + taps[x + 1]], plane[row + taps[x + 2]], plane[row + taps[x + 3]], plane[row + taps[x + 4]]];
      enlarged[y * columns + 2 * x] = c0 * a + c1 * b + c2 * c + c3 * d;
      enlarged[y * columns + 2 * x + 1] = c3 * b + c2 * c + c1 * d + c0 * e;
    }
  }
  for (let y = 0; y < core.height; y++) {
    for (let x = 0; x < columns; x++) {
      const k = y * columns + x;
      const [a, b, c, d, e] = [enlarged[k], enlarged[k + columns], enlarged[k + 2 * columns], enlarged[k + 3 * columns], enlarged[k + 4 * columns]];
      lattice[2 * y * columns + x] += c0 * a + c1 * b + c2 * c + c3 * d;
      lattice[(2 * y + 1) * columns + x] += c3 * b + c2 * c + c1 * d + c0 * e;
    }
  }
}

function limit(plane, width, height, core, reach, overshoot, lattice) {
  const top = Math.max(0, core.y - reach);
  const bottom = Math.min(height, core.y + core.height + reach);
  const lows = new Float32Array((bottom - top) * core.width);
  const highs = new Float32Array(lows.length);
  for (let y = top, k = 0; y < bottom; y++) {
    for (let x = core.x; x < core.x + core.width; x++, k++) {
      let [low, high] = [Infinity, -Infinity];
      const right = Math.min(width - 1, x + reach);
      for (let at = y * width + Math.max(0, x - reach); at <= y * width + right; at++) {
        if (plane[at] < low) low = plane[at];
        if (plane[at] > high) high = plane[at];
      }
      lows[k] = low;
      highs[k] = high;
    }
  }
  const columns = 2 * core.width;
  for (let y = 0; y < core.height; y++) {
    const [first, last] = [Math.max(top, core.y + y - reach) - top, Math.min(bottom - 1, core.y + y + reach) - top];
    for (let x = 0; x < core.width; x++) {
      let [low, high] = [Infinity, -Infinity];
      for (let row = first; row <= last; row++) {
        const k = row * core.width + x;
        if (lows[k] < low) low = lows[k];
        if (highs[k] > high) high = highs[k];
      }
      for (const k of [2 * y * columns + 2 * x, (2 * y + 1) * columns + 2 * x]) {
        lattice[k] = Math.min(high + overshoot, Math.max(low - overshoot, lattice[k]));
        lattice[k + 1] = Math.min(high + overshoot, Math.max(low - overshoot, lattice[k + 1]));
      }
    }
  }
}
