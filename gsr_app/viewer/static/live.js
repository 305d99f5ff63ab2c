/* The live field: panes whose Gaussians are here are drawn by the browser itself, at any zoom and at once.
 *
 * One painter serves every pane: it draws one rectangle after the other, and each pane keeps what was drawn until the
 * view or the field's look changes. What would take too long is left to the server where there is one; without one it
 * is drawn coarsely while the view moves and finely once it rests. */

import { FieldPainter } from "./fieldpainter.js";
import { AT_REST, LOOK, lookOf } from "./touch.js";
import { visibleRectangle } from "./view.js";

export const MOST_GAUSSIANS = 3_000_000; // 60 MB here and as much on the GPU
const FLUENT_MS = 60; // a moving view is drawn coarsely when it would take longer than this
const PATIENT_MS = 1500; // and by the server, where there is one, when it would take longer than this
const RESTING_MS = 4000; // and never finer than this allows
const REST_MS = 140;
const COARSEST = 8;
const WORTHWHILE = 0.8; // of the cost: what is hardly quicker is not drawn more coarsely
const PER_GAUSSIAN = 180; // a Gaussian costs about as much as so many pixels
const FIRST_RATE = 1e5; // pixels per ms until this machine's own is known: two cores without a GPU
const LEAST_TO_LEARN = 5e5; // pixels: of less the clock says little

const inSource = ({ u, v, width, height }, scale) => ({ x: u / scale.x, y: v / scale.y, width: width / scale.x, height: height / scale.y });

/** What was last drawn of a pane for one purpose. */
class Shot {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.key = "";
    this.step = 0; // screen pixels per drawn pixel; 1 is fine
    this.place = null; // the rectangle of the frame
  }

  take(drawn, w, h, place) {
    const { canvas } = this;
    if (canvas.width < w || canvas.height < h) Object.assign(canvas, { width: Math.max(w, canvas.width), height: Math.max(h, canvas.height) });
    this.ctx.drawImage(drawn, 0, 0, w, h, 0, 0, w, h);
    Object.assign(this, { w, h, place });
  }

  paint(ctx, origin, zoom) {
    const { u, v, width, height } = this.place;
    ctx.imageSmoothingEnabled = this.step > 1;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(this.canvas, 0, 0, this.w, this.h, origin.x + Math.round(u * zoom), origin.y + Math.round(v * zoom), Math.round(width * zoom), Math.round(height * zoom));
  }

  /** RGB at a point of the frame; null outside. */
  valueAt(u, v) {
    if (!this.place) return null;
    const x = Math.floor(((u - this.place.u) / this.place.width) * this.w);
    const y = Math.floor(((v - this.place.v) / this.place.height) * this.h);
    if (x < 0 || y < 0 || x >= this.w || y >= this.h) return null;
    return [...this.ctx.getImageData(x, y, 1, 1).data.slice(0, 3)];
  }
}

export class Live {
  constructor(changed) {
    this.changed = changed;
    this.rate = FIRST_RATE;
    this.touch = AT_REST;
    this.isOpen = false; // while the panel for touching is
    this.looks = 0; // counts the changes of `touch`
    this.drawings = 0;
    this.refused = "";
  }

  /** Made when a field first needs it; null where the browser cannot. */
  get painter() {
    if (this.made !== undefined) return this.made;
    this.made = null;
    try {
      this.made = new FieldPainter({ look: LOOK, restored: () => (this.looks++, this.changed()) });
    } catch (error) {
      this.refused = String(error.message ?? error);
    }
    return this.made;
  }

  get works() {
    return Boolean(this.painter && !this.painter.gl.isContextLost());
  }

  get isTouched() {
    return this.isOpen || this.touch !== AT_REST;
  }

  setTouch(values) {
    const touch = { ...this.touch, ...values };
    this.touch = Object.keys(AT_REST).every((name) => touch[name] === AT_REST[name]) ? AT_REST : touch;
    this.looks++;
    this.changed();
  }

  #cost(field, rectangle, w, h) {
    const { pixels, gaussians } = this.painter.cull(field, rectangle, w, h, lookOf(this.touch, field));
    return pixels + PER_GAUSSIAN * gaussians;
  }

  /** Decide, once per drawing, which panes are drawn here; and fetch the Gaussians of those that could be. */
  choose(viewer, rect) {
    const wants = viewer.wantsField || this.isTouched;
    const panes = viewer.shown.filter((pane) => pane.spec.field?.id);
    for (const pane of panes) {
      if (wants && pane.spec.field.count <= MOST_GAUSSIANS && this.painter) pane.loadField(true);
      const isServed = pane.spec.field.live && !this.isTouched;
      pane.isLive = Boolean(wants && pane.field && this.works && (!isServed || this.#isQuick(pane, viewer.view, rect, viewer.scene.scale)));
    }
    // What is compared is drawn by one hand.
    if (viewer.mode === "difference" && panes.some((pane) => !pane.isLive)) for (const pane of panes) pane.isLive = false;
  }

  #isQuick(pane, view, rect, scale) {
    const seen = visibleRectangle(view, rect);
    return !seen || this.#cost(pane.field, inSource(seen.place, scale), seen.w, seen.h) / this.rate < PATIENT_MS;
  }

  /** Paint what `rect` shows of a pane's field. `slot`: for which purpose; `view` has {zoom, frame, origin(rect)}. */
  paint(ctx, pane, slot, rect, view, scale) {
    const seen = visibleRectangle(view, rect);
    if (!seen) return;
    const shot = (pane.shots[slot] ??= new Shot());
    const { u, v } = seen.place;
    const key = `${u},${v},${seen.w},${seen.h},${view.zoom},${this.looks}`;
    if (this.works && (key !== shot.key || (shot.step > 1 && shot.rested))) this.#draw(pane, shot, seen, key, scale);
    if (shot.place) shot.paint(ctx, view.origin(rect), view.zoom);
  }

  #draw(pane, shot, { place, w, h }, key, scale) {
    const rectangle = inSource(place, scale);
    const most = this.rate * (key === shot.key ? RESTING_MS : FLUENT_MS);
    let [step, dw, dh, cost] = [1, w, h, this.#cost(pane.field, rectangle, w, h)];
    for (let coarser = 2; cost > most && coarser <= COARSEST; coarser *= 2) {
      const [cw, ch] = [Math.ceil(w / coarser), Math.ceil(h / coarser)];
      const then = this.#cost(pane.field, rectangle, cw, ch);
      if (then < WORTHWHILE * cost) [step, dw, dh, cost] = [coarser, cw, ch, then];
    }
    const started = performance.now();
    const drawn = this.painter.draw(pane.field, rectangle, dw, dh, lookOf(this.touch, pane.field));
    if (!drawn) return;
    this.drawings++;
    shot.take(drawn, dw, dh, place);
    this.#learn(cost, started);
    clearTimeout(shot.timer);
    const isNews = key !== shot.key;
    Object.assign(shot, { key, step, rested: false });
    if (step > 1 && isNews) shot.timer = setTimeout(() => ((shot.rested = true), this.changed()), REST_MS);
  }

  // How fast this machine draws, from drawings large enough to tell.
  #learn(cost, started) {
    if (this.fence || cost < LEAST_TO_LEARN) return;
    const { gl } = this.painter;
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    const look = () => {
      const state = gl.clientWaitSync(this.fence, 0, 0);
      if (state === gl.TIMEOUT_EXPIRED && !gl.isContextLost()) return setTimeout(look, 4);
      gl.deleteSync(this.fence);
      this.fence = null;
      if (state !== gl.WAIT_FAILED) this.rate = (this.rate + cost / Math.max(1, performance.now() - started)) / 2;
    };
    setTimeout(look);
  }

  /** Let go of a pane's field. */
  drop(pane) {
    for (const shot of Object.values(pane.shots)) clearTimeout(shot.timer);
    pane.shots = {};
    if (pane.field) this.made?.drop(pane.field);
  }

  close() {
    this.made?.close();
    this.made = null;
  }
}
