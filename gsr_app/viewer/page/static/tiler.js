/* Encodes the tiles of a picture in the order in which they are needed: what is in view, then the rest where there is
 * room for it. */

import { Mosaic } from "./mosaic.js";
import { toSource, visibleRectangle } from "./view.js";

export class Tiler {
  /** `source` has {width, height, read(x, y, width, height)}, which gives RGB in 0..1; `changed` is called after every tile. */
  constructor(encoder, source, { changed = () => {}, failed = () => {} } = {}) {
    Object.assign(this, { encoder, source, changed, failed });
    this.field = new Mosaic(source.width, source.height, encoder.network.config);
    this.running = new Set();
    this.waiting = []; // {tiles, resolve, reject}
    this.paused = false;
    this.closed = null; // the error that ended the work
  }

  /** {done, total}: of the tiles in view, or of all. */
  get progress() {
    const all = this.field.holdsAll ? this.#all() : this.inView ?? [];
    return { done: all.filter((tile) => this.field.has(tile)).length, total: all.length };
  }

  get isBusy() {
    return this.running.size > 0;
  }

  #all() {
    return Array.from({ length: this.field.tileCount }, (_, tile) => tile);
  }

  /** Encode what a rectangle of the source shows, before anything else; null: nothing is needed for the screen. */
  look(rectangle) {
    this.inView = rectangle ? this.field.tilesIn(rectangle).slice(0, this.field.slots) : [];
    this.field.touch([...this.inView].reverse());
    this.#plan();
  }

  /** Encode what a viewer shows of the source, where its Gaussians are of use. */
  follow({ view, cells, live, overlay, scene }) {
    if (!cells.length) return;
    const seen = visibleRectangle(view, cells[0].rect);
    const isUseful = view.zoom > 1.001 || live.isAdjusted || overlay !== "off";
    this.look(seen && isUseful ? toSource(seen.place, scene.scale) : null);
  }

  /** A promise of the tiles that a rectangle needs; at most as many as there are slots. */
  need(rectangle) {
    const tiles = this.field.tilesIn(rectangle);
    this.field.touch(tiles);
    if (tiles.every((tile) => this.field.has(tile))) return Promise.resolve();
    if (this.closed) return Promise.reject(this.closed);
    if (tiles.length > this.field.slots) return Promise.reject(new Error("This part of the picture is too large to encode at once."));
    return new Promise((resolve, reject) => {
      this.waiting.push({ tiles, resolve, reject });
      this.#plan();
    });
  }

  /** Nothing left of x and above y is needed any more. */
  release(x, y) {
    if (!this.field.holdsAll) this.field.release(x, y);
  }

  pause(isPaused) {
    this.paused = isPaused;
    this.#plan();
    this.changed();
  }

  #plan() {
    const urgent = this.waiting.flatMap(({ tiles }) => tiles);
    const seen = this.paused ? [] : (this.inView ?? []);
    const rest = this.paused || !this.field.holdsAll ? [] : this.#all();
    // While something else needs slots, the view may not take them again.
    const order = urgent.length ? urgent : [...seen, ...rest];
    const wanted = [...new Set(order)].filter((tile) => !this.field.has(tile) && !this.running.has(tile));
    while (!this.closed && wanted.length && this.running.size < this.encoder.parallel) this.#encode(wanted.shift());
  }

  async #encode(tile) {
    this.running.add(tile);
    try {
      const core = this.field.coreOf(tile);
      const { width, height } = this.source;
      const { overlap } = this.encoder.network;
      const [left, top] = [Math.max(0, core.x - overlap), Math.max(0, core.y - overlap)];
      const [right, bottom] = [Math.min(width, core.x + core.width + overlap), Math.min(height, core.y + core.height + overlap)];
      const rgb = this.source.read(left, top, right - left, bottom - top);
      const lattice = await this.encoder.encode(rgb, right - left, bottom - top, { ...core, x: core.x - left, y: core.y - top });
      if (this.closed) return;
      this.field.add(tile, lattice);
      await new Promise((next) => setTimeout(next)); // the page answers between tiles
    } catch (error) {
      if (this.closed) return;
      this.#end(error);
      this.failed(error);
    } finally {
      this.running.delete(tile);
    }
    this.#answer();
    this.#plan();
    this.changed();
  }

  #answer() {
    const ready = this.waiting.filter(({ tiles }) => tiles.every((tile) => this.field.has(tile)));
    this.waiting = this.waiting.filter((one) => !ready.includes(one));
    for (const { resolve } of ready) resolve();
  }

  close() {
    this.#end(new Error("Stopped."));
  }

  #end(error) {
    this.closed ??= error;
    for (const { reject } of this.waiting) reject(error);
    this.waiting = [];
  }
}
