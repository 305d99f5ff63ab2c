/* The field of a picture that is encoded tile by tile: a field like those of field.js, of which parts are missing.
 *
 * Every tile has a slot of the arrays; where all are taken, the tile that was needed longest ago gives its own. So memory
 * is bounded for pictures of any size. The tiles are joined as Gaussians: each gives those of its core. */

import { FAR, measureCell } from "./field.js";
import { ROW } from "./fieldshaders.js";
import { converter } from "./gaussians.js";
import { extentBetween } from "./gpufield.js";

const CELL = 16; // source pixels
const SIDE = 192; // of a tile's core, source pixels
const SINGLE = 288; // pictures up to this side are one tile
const MAX_GAUSSIANS = 4_200_000; // 84 MB here and 76 MB on the GPU
export const MARGIN = 3; // source pixels: farther than a Gaussian reaches

export class Mosaic {
  constructor(width, height, config) {
    this.source = [height, width];
    this.normalize = true;
    this.window = [FAR, FAR];
    this.cell = CELL;
    [this.columns, this.rows] = [Math.ceil(width / CELL), Math.ceil(height / CELL)];
    const longest = Math.max(width, height);
    this.side = longest <= SINGLE ? CELL * Math.ceil(longest / CELL) : SIDE;
    this.across = Math.ceil(width / this.side);
    this.tileCount = this.across * Math.ceil(height / this.side);
    this.slotSize = ROW * Math.ceil((4 * Math.min(this.side, 2 * width) * this.side) / ROW);
    this.slots = Math.min(this.tileCount, Math.max(1, Math.floor(MAX_GAUSSIANS / this.slotSize)));
    this.capacity = this.slots * this.slotSize;
    this.extents = [extentBetween(0, width), extentBetween(0, height)];
    this.starts = new Uint32Array(this.columns * this.rows);
    this.ends = new Uint32Array(this.starts.length);
    this.boxes = new Float32Array(4 * this.starts.length);
    this.areas = new Float32Array(this.starts.length);
    this.mean = new Float32Array(2 * this.capacity);
    this.axes = new Uint16Array(2 * this.capacity);
    this.angle = new Uint16Array(this.capacity);
    this.color = new Uint16Array(3 * this.capacity);
    this.changes = [];
    this.count = 0;
    this.placed = new Map(); // tile -> its slot; the one needed longest ago first
    this.free = Array.from({ length: this.slots }, (_, k) => this.slots - 1 - k);
    this.put = converter(config);
  }

  /** Whether every tile has a slot. */
  get holdsAll() {
    return this.slots === this.tileCount;
  }

  /** The core of a tile, in source pixels. */
  coreOf(tile) {
    const [height, width] = this.source;
    const [x, y] = [(tile % this.across) * this.side, Math.floor(tile / this.across) * this.side];
    return { x, y, width: Math.min(this.side, width - x), height: Math.min(this.side, height - y) };
  }

  /** The tiles of a rectangle of the source plane with a margin, row by row. */
  #within({ x, y, width, height }, margin) {
    const down = this.tileCount / this.across;
    const clamp = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value / this.side)));
    const tiles = [];
    for (let row = clamp(y - margin, down); row <= clamp(y + height + margin, down); row++) {
      for (let column = clamp(x - margin, this.across); column <= clamp(x + width + margin, this.across); column++) tiles.push(row * this.across + column);
    }
    return tiles;
  }

  /** The tiles whose Gaussians reach a rectangle of the source plane, those in its middle first. */
  tilesIn(rectangle) {
    const { x, y, width, height } = rectangle;
    const distance = (tile) => {
      const core = this.coreOf(tile);
      return Math.hypot(core.x + core.width / 2 - x - width / 2, core.y + core.height / 2 - y - height / 2);
    };
    return this.#within(rectangle, MARGIN).sort((a, b) => distance(a) - distance(b));
  }

  has(tile) {
    return this.placed.has(tile);
  }

  /** Note that tiles are needed now. */
  touch(tiles) {
    for (const tile of tiles) {
      const slot = this.placed.get(tile);
      if (slot === undefined) continue;
      this.placed.delete(tile);
      this.placed.set(tile, slot);
    }
  }

  /** The tiles that reach nothing right of x or below y give up their slots first. */
  release(x, y) {
    const isPassed = ([tile]) => {
      const core = this.coreOf(tile);
      return core.x + core.width + MARGIN <= x && core.y + core.height + MARGIN <= y;
    };
    const all = [...this.placed];
    this.placed = new Map([...all.filter(isPassed), ...all.filter((one) => !isPassed(one))]);
  }

  /** The cores of the present tiles that a rectangle shows. */
  present(rectangle) {
    return this.#within(rectangle, 0).filter((tile) => this.has(tile)).map((tile) => this.coreOf(tile));
  }

  /** Add the lattice [8][2h][2w] of a tile's core. */
  add(tile, lattice) {
    const core = this.coreOf(tile);
    const slot = this.free.pop() ?? this.#evict();
    const columns = 2 * core.width;
    const size = columns * 2 * core.height;
    let to = slot * this.slotSize;
    for (const cell of this.#cellsOf(core)) {
      const [left, top] = [2 * CELL * (cell % this.columns) - 2 * core.x, 2 * CELL * Math.floor(cell / this.columns) - 2 * core.y];
      this.starts[cell] = to;
      for (let y = top; y < Math.min(top + 2 * CELL, 2 * core.height); y++) {
        for (let x = left; x < Math.min(left + 2 * CELL, columns); x++) {
          this.put(lattice, size, y * columns + x, core.x + (x + 0.5) / 2, core.y + (y + 0.5) / 2, this, to++);
        }
      }
      this.ends[cell] = to;
      measureCell(this, cell);
    }
    this.placed.set(tile, slot);
    this.count += to - slot * this.slotSize;
    this.changes.push([slot * this.slotSize, to]);
  }

  *#cellsOf(core) {
    for (let row = core.y / CELL; row * CELL < core.y + core.height; row++) {
      for (let column = core.x / CELL; column * CELL < core.x + core.width; column++) yield row * this.columns + column;
    }
  }

  #evict() {
    const [tile, slot] = this.placed.entries().next().value;
    this.placed.delete(tile);
    for (const cell of this.#cellsOf(this.coreOf(tile))) {
      this.count -= this.ends[cell] - this.starts[cell];
      this.starts[cell] = this.ends[cell] = this.areas[cell] = 0;
    }
    return slot;
  }
}
