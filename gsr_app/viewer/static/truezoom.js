/* True zoom: beyond the resolution of the result the server draws the visible rectangle of the field.
 *
 * One request per pane runs at a time, at most one is pending, and a newer one replaces it. The old frame stays on the
 * screen until the new one is loaded. */

import { Picture } from "./picture.js";
import { toSource, visibleRectangle } from "./view.js";

const SETTLE_MS = 120;
const MAX_PIXELS = 4_000_000;

export class TrueZoom {
  constructor(render, changed) {
    this.render = render; // ({x, y, width, height}, [w, h]) in source pixels and screen pixels -> {url, ms}
    this.changed = changed;
    this.frame = null; // {picture, place, zoom, key}
    this.pending = null;
    this.running = null; // the request that runs, unless its field is gone
    this.busy = false;
    this.failed = "";
    this.timer = 0;
  }

  /** Request what the pane shows now. */
  request(view, rect, scale) {
    const seen = visibleRectangle(view, rect);
    if (!seen || seen.w * seen.h > MAX_PIXELS) return;
    const key = [seen.place.u, seen.place.v, seen.w, seen.h, view.zoom].join();
    if (key === this.key) return;
    this.key = key;
    this.pending = { ...seen, zoom: view.zoom, scale, key };
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#next(), SETTLE_MS);
  }

  async #next() {
    if (this.busy || !this.pending) return;
    const request = (this.running = this.pending);
    const { place, w, h, zoom, scale, key } = request;
    this.pending = null;
    this.busy = true;
    try {
      const { url } = await this.render(toSource(place, scale), [w, h]);
      const picture = await Picture.load(url);
      if (this.running === request) {
        this.frame?.picture.close();
        this.frame = { picture, place, zoom, key };
        this.failed = "";
      } else picture.close();
    } catch (error) {
      if (this.running === request) this.failed = String(error.message ?? error);
    } finally {
      this.busy = false;
      this.changed();
    }
    if (this.pending) this.#next();
  }

  drop() {
    clearTimeout(this.timer);
    this.pending = this.running = null;
    this.key = null;
    this.frame?.picture.close();
    this.frame = null;
  }

  /** Whether the frame shows exactly what the pane shows now. */
  get current() {
    return Boolean(this.frame) && this.frame.key === this.key;
  }
}
