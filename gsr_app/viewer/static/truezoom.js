/* True zoom: past the drawn resolution the server draws the visible rectangle of the field itself.
 *
 * Newest wins: one request per pane is under way, at most one waits, and a waiting one is replaced, not queued. The
 * old frame stays on screen until the new one is there. */

import { Picture } from "./picture.js";
import { visibleRectangle } from "./view.js";

const SETTLE_MS = 120;
const MOST_PIXELS = 4_000_000;

export class TrueZoom {
  constructor(render, changed) {
    this.render = render; // ({x, y, width, height}, [w, h]) in source pixels and screen pixels -> {url, ms}
    this.changed = changed;
    this.frame = null; // {picture, place, zoom, ms}
    this.wanted = null;
    this.asked = null; // the one under way, unless its field is gone
    this.busy = false;
    this.failed = "";
    this.timer = 0;
  }

  /** Ask for what the pane shows now. */
  want(view, rect, scale) {
    const seen = visibleRectangle(view, rect);
    if (!seen || seen.w * seen.h > MOST_PIXELS) return;
    const key = [seen.place.u, seen.place.v, seen.w, seen.h, view.zoom].join();
    if (key === this.key) return;
    this.key = key;
    this.wanted = { ...seen, zoom: view.zoom, scale, key };
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#next(), SETTLE_MS);
  }

  async #next() {
    if (this.busy || !this.wanted) return;
    const asked = (this.asked = this.wanted);
    const { place, w, h, zoom, scale, key } = asked;
    this.wanted = null;
    this.busy = true;
    try {
      const rectangle = {
        x: place.u / scale.x,
        y: place.v / scale.y,
        width: place.width / scale.x,
        height: place.height / scale.y,
      };
      const answer = await this.render(rectangle, [w, h]);
      const picture = await Picture.load(answer.url);
      if (this.asked === asked) {
        this.frame?.picture.close();
        this.frame = { picture, place, zoom, ms: answer.ms, backend: answer.backend ?? "", key };
        this.failed = "";
      } else picture.close();
    } catch (error) {
      if (this.asked === asked) this.failed = String(error.message ?? error);
    } finally {
      this.busy = false;
      this.changed();
    }
    if (this.wanted) this.#next();
  }

  drop() {
    clearTimeout(this.timer);
    this.wanted = this.asked = null;
    this.key = null;
    this.frame?.picture.close();
    this.frame = null;
  }

  /** Whether the frame shows exactly what the pane shows now. */
  get current() {
    return Boolean(this.frame) && this.frame.key === this.key;
  }
}
