/* The panes of a scene: what the server sent about each method, and its decoded picture and field. */

import { Field } from "./field.js";
import { Picture } from "./picture.js";
import { TrueZoom } from "./truezoom.js";

export const MAX_PANES = 6;

export class Pane {
  constructor(spec, services, live, changed) {
    this.spec = spec;
    this.services = services;
    this.live = live;
    this.changed = changed;
    this.picture = null;
    this.loaded = null; // the URL of the picture,
    this.coming = []; // and what was sent of those that are fetched, the newest last
    this.version = 0; // of the picture: counts those that were loaded
    this.span = null; // [height, width] of the source plane that the picture covers,
    this.origin = [0, 0]; // and the [x, y] where it begins
    this.scale = { x: 1, y: 1 };
    this.field = null;
    this.enlarger = services.enlargerOf?.(spec) ?? null; // draws a picture at any zoom, as a field is drawn
    this.drawings = {}; // of the field, by purpose
    this.isLive = false; // whether the browser draws the field now
    this.fieldNote = "";
    this.problem = "";
    this.arrived = null; // the share of the picture's bytes that has arrived, while it is downloaded
    this.zoomer = new TrueZoom((rectangle, size) => services.renderView(this.spec.field.id, rectangle, size), changed);
  }

  /** Update from the server; what is unchanged is kept. */
  update(spec, scale) {
    const before = this.spec;
    this.spec = spec;
    this.scale = scale;
    if (spec.url !== before.url) this.problem = "";
    if (!spec.url) this.#dropComing(); // they are of an earlier run
    if (spec.url && spec.url !== (this.coming.at(-1)?.url ?? this.loaded)) this.#loadPicture(spec);
    else if (!spec.url && (spec.state === "failed" || spec.state === "cancelled")) this.#dropPicture();
    if (before.field?.id !== spec.field?.id) this.#dropField();
  }

  // What arrives is shown even while something newer is fetched: over a slow link a fit would show nothing until its end.
  async #loadPicture(spec) {
    this.coming.push(spec);
    const isNewest = () => this.coming.at(-1) === spec;
    try {
      const progress = (share) => isNewest() && ((this.arrived = share), this.changed());
      const picture = this.services.pictureOf?.(spec) ?? (await Picture.load(spec.url, { alpha: spec.alpha, progress }));
      if (!this.coming.includes(spec)) return picture.close();
      if (isNewest()) this.arrived = null;
      this.coming.splice(0, this.coming.indexOf(spec) + 1); // those before it would be older than what is shown
      this.picture?.close();
      this.picture = picture;
      this.loaded = spec.url;
      this.version++;
      this.span = spec.span;
      this.origin = spec.origin ?? [0, 0];
      this.problem = "";
    } catch (error) {
      if (!isNewest()) return void (this.coming = this.coming.filter((one) => one !== spec));
      this.#dropPicture(); // that of an earlier run would stand under the figures of this one
      this.problem = String(error.message ?? error);
    }
    this.changed();
  }

  /** Fetch the Gaussians, once. `quietly`: the user did not ask for them, and is not told of a failure. */
  async loadField(quietly = false) {
    const id = this.spec.field?.id; // a report may know the count only
    if (!id || this.field || this.fetching === id || (quietly && this.failedField === id)) return;
    this.fetching = id;
    this.fetchControl = new AbortController();
    const { signal } = this.fetchControl;
    const setNote = (text) => {
      this.fieldNote = text;
      this.changed();
    };
    setNote("fetching the Gaussians …");
    try {
      const { url, bytes, field: made } = await this.services.fieldUrl(id);
      const progress = (received) => bytes && setNote(`fetching the Gaussians ${Math.min(99, Math.round((100 * received) / bytes))} %`);
      const field = made ?? (await Field.load(url, { signal, progress }));
      if (this.spec.field?.id === id) this.field = field;
      setNote("");
    } catch (error) {
      if (signal.aborted) return;
      this.failedField = id;
      setNote(quietly ? "" : String(error.message ?? error));
    }
    if (this.fetching === id && !this.field) this.fetching = null;
  }

  #dropComing() {
    this.coming = [];
    this.arrived = null;
  }

  #dropPicture() {
    this.#dropComing();
    this.picture?.close();
    this.picture = this.loaded = null;
  }

  #dropField() {
    this.fetchControl?.abort();
    this.live.drop(this);
    this.field = this.fetching = null;
    this.isLive = false;
    this.fieldNote = "";
    this.zoomer.drop();
  }

  /** The rectangle of the frame that the picture covers; an older picture keeps its own while a new one is made. */
  get place() {
    const { span, scale, origin } = this;
    return span && { u: origin[0] * scale.x, v: origin[1] * scale.y, width: span[1] * scale.x, height: span[0] * scale.y };
  }

  /** Whether the picture is of an earlier run than the rest. */
  get isOutdated() {
    return Boolean(this.picture && !this.spec.url);
  }

  get failed() {
    return this.spec.state === "failed";
  }

  /** RGB(A) at a point of the frame: of the field where the field is shown. */
  valueAt(u, v, usesFrame) {
    const value = usesFrame && this.isLive ? this.drawings.view?.valueAt(u, v) : null;
    if (value) return value;
    const frame = usesFrame && !this.isLive ? this.zoomer.frame : null;
    for (const [picture, place] of [
      [frame?.picture, frame?.place],
      [this.picture, this.place],
    ]) {
      if (!picture || !place) continue;
      const x = Math.floor(((u - place.u) / place.width) * picture.width);
      const y = Math.floor(((v - place.v) / place.height) * picture.height);
      const value = picture.pixel(x, y);
      if (value) return value;
    }
    return null;
  }

  close() {
    this.#dropField();
    this.#dropPicture();
  }
}
