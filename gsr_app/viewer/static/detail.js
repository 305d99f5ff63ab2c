/* Where two pictures differ most: the place that a comparison opens on. */

const TILES = 14; // per side
const SIDE = 40; // pixels of the sample in the middle of each tile

/** The samples of a picture side by side, as RGBA. */
function samples(picture) {
  const context = new OffscreenCanvas(TILES * SIDE, TILES * SIDE).getContext("2d", { willReadFrequently: true });
  for (let k = 0; k < TILES * TILES; k++) {
    const [column, row] = [k % TILES, Math.floor(k / TILES)];
    const x = Math.max(0, Math.round(((column + 0.5) * picture.width) / TILES - SIDE / 2));
    const y = Math.max(0, Math.round(((row + 0.5) * picture.height) / TILES - SIDE / 2));
    context.drawImage(picture.bitmap, x, y, SIDE, SIDE, column * SIDE, row * SIDE, SIDE, SIDE);
  }
  return context.getImageData(0, 0, TILES * SIDE, TILES * SIDE).data;
}

/** {x, y}: the middle of the tile with the largest mean difference, as fractions of the picture's size. */
export function mostDifferent(one, other) {
  if (one.width !== other.width || one.height !== other.height) return null;
  const [a, b] = [samples(one), samples(other)];
  const sums = new Float64Array(TILES * TILES);
  for (let i = 0; i < a.length; i += 4) {
    const column = Math.floor(((i / 4) % (TILES * SIDE)) / SIDE);
    const row = Math.floor(i / 4 / (TILES * SIDE * SIDE));
    sums[row * TILES + column] += Math.abs(a[i] - b[i]) + Math.abs(a[i + 1] - b[i + 1]) + Math.abs(a[i + 2] - b[i + 2]);
  }
  const best = sums.indexOf(Math.max(...sums));
  return sums[best] > 0 ? { x: ((best % TILES) + 0.5) / TILES, y: (Math.floor(best / TILES) + 0.5) / TILES } : null;
}
