/* The panes of a scene: what the server said about each method, and the decoded things that belong to it. */

import { Field } from "./field.js";
import { Picture } from "./picture.js";
import { TrueZoom } from "./truezoom.js";

export const MOST_PANES = 6;

export class Pane {
  constructor(spec, services, changed) {
    this.spec = spec;
    this.services = services;
    this.changed = changed;
    this.picture = null;
    this.span = null; // [height, width] of the source plane that the picture covers
    this.scale = { x: 1, y: 1 };
    this.field = null;
    this.fieldNote = "";
    this.problem = "";
    this.zoomer = new TrueZoom((rectangle, size) => services.renderView(this.spec.field.id, rectangle, size), changed);
  }

  /** Take in news from the server; what is unchanged is kept. */
  update(spec, scale) {
    const before = this.spec;
    this.spec = spec;
    this.scale = scale;
    if (spec.url && spec.url !== this.loaded) this.#loadPicture(spec);
    if (before.field?.id !== spec.field?.id) {
      this.field = null;
      this.zoomer.drop();
    }
  }

  async #loadPicture(spec) {
    this.loaded = spec.url;
    try {
      const picture = await Picture.load(spec.url, { alpha: spec.alpha });
      if (this.spec.url !== spec.url) return picture.close();
      this.picture?.close();
      this.picture = picture;
      this.span = spec.span;
      this.problem = "";
    } catch (error) {
      this.loaded = null;
      this.problem = String(error.message ?? error);
    }
    this.changed();
  }

  /** Fetch the Gaussians, once. */
  async loadField() {
    const id = this.spec.field?.id; // a report may know the count only
    if (!id || this.field || this.fetching === id) return;
    this.fetching = id;
    this.fieldNote = "fetching the Gaussians …";
    this.changed();
    try {
      const field = await Field.load(await this.services.fieldUrl(id));
      if (this.spec.field?.id === id) this.field = field;
      this.fieldNote = "";
    } catch (error) {
      this.fieldNote = String(error.message ?? error);
    }
    this.changed();
  }

  /** The rectangle of the frame that the picture covers; an older picture stays in place while a new one is made. */
  get place() {
    return this.span && { u: 0, v: 0, width: this.span[1] * this.scale.x, height: this.span[0] * this.scale.y };
  }

  get failed() {
    return this.spec.state === "failed";
  }

  /** RGB(A) under a point of the frame: of the true-zoom frame where that is what one sees. */
  valueAt(u, v, usesFrame) {
    const frame = usesFrame ? this.zoomer.frame : null;
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
    this.zoomer.drop();
    this.picture?.close();
    this.picture = null;
    this.field = null;
  }
}
