/* Live fields: panes whose Gaussians are loaded are drawn by the browser, at any zoom, without a request: with WebGL2, else
 * on the processor where no server draws them.
 *
 * One painter serves every pane: it draws one rectangle after the other, and each pane keeps what was drawn until the
 * view or the adjustments change. What would take too long is left to the server where there is one; without one it is
 * drawn at reduced resolution while the view moves and fully once it stops. */

import { ADJUST, DEFAULT_ADJUSTMENTS, drawOptions } from "./adjustments.js";
import { CpuPainter } from "./cpupainter.js";
import { FieldPainter } from "./fieldpainter.js";
import { toSource, visibleRectangle } from "./view.js";

export const MAX_GAUSSIANS = 3_000_000; // 60 MB here and as much on the GPU
const MOVING_BUDGET_MS = 60; // for a frame of a moving view; beyond it the resolution is reduced
const SERVER_FROM_MS = 1500; // beyond it the server draws, where there is one
const IDLE_BUDGET_MS = 4000; // for the frame after a view has stopped
const IDLE_AFTER_MS = 140;
const MAX_STEP = 8; // screen pixels per drawn pixel, at the lowest resolution
const MIN_SAVING = 0.8; // of the cost: a lower resolution must cost less than this share
const PIXELS_PER_GAUSSIAN = 180; // what a Gaussian costs beside its pixels
const INITIAL_RATE = 1e5; // pixels per ms, of two cores without a GPU, until this machine's own is measured
const MIN_TIMED_COST = 5e5; // pixels: smaller drawings are too short to time

/** The last drawing of a pane for one purpose. */
class Drawing {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.ctx = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.key = "";
    this.step = 0; // screen pixels per drawn pixel; 1 is fine
    this.place = null; // the rectangle of the frame
  }

  copy(drawn, w, h, place) {
    const { canvas } = this;
    if (canvas.width <= w || canvas.height <= h) Object.assign(canvas, { width: Math.max(w + 1, canvas.width), height: Math.max(h + 1, canvas.height) });
    // Where it is magnified with smoothing, the pixels beyond its last row and column are blended in: repeat those.
    this.ctx.drawImage(drawn, 0, h - 1, w, 1, 0, h, w, 1);
    this.ctx.drawImage(drawn, w - 1, 0, 1, h, w, 0, 1, h);
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

/** Show what is drawn only where the field is complete; elsewhere the picture below stays. */
function clipToTiles(ctx, tiles, scale, origin, zoom) {
  const at = (value, start) => start + Math.round(value * zoom);
  ctx.beginPath();
  for (const { x, y, width, height } of tiles) {
    const [left, top] = [at(x * scale.x, origin.x), at(y * scale.y, origin.y)];
    ctx.rect(left, top, at((x + width) * scale.x, origin.x) - left, at((y + height) * scale.y, origin.y) - top);
  }
  ctx.clip();
}

export class Live {
  constructor(changed) {
    this.changed = changed;
    this.rate = INITIAL_RATE; // pixels per ms
    this.adjustments = DEFAULT_ADJUSTMENTS;
    this.isOpen = false; // whether the panel of the adjustments is
    this.revision = 0; // of the adjustments and the graphics context
    this.drawCount = 0;
    this.unavailable = ""; // why the processor draws fields, and nothing adjusts them
  }

  /** Made when a field first needs it; null once the viewer is closed. */
  get painter() {
    if (this.made !== undefined) return this.made;
    try {
      this.made = new FieldPainter({ adjust: ADJUST, restored: () => (this.revision++, this.changed()) });
    } catch (error) {
      this.unavailable = String(error.message ?? error);
      this.made = new CpuPainter();
    }
    return this.made;
  }

  get isUsable() {
    return Boolean(this.painter && !this.painter.isLost);
  }

  /** The painter, if a GPU draws. */
  get gpuPainter() {
    return this.isUsable && this.painter.gl ? this.painter : null;
  }

  get hasAdjustments() {
    return this.adjustments !== DEFAULT_ADJUSTMENTS;
  }

  get isAdjusted() {
    return this.isOpen || this.hasAdjustments;
  }

  setAdjustments(values) {
    const all = { ...this.adjustments, ...values };
    const isDefault = Object.keys(DEFAULT_ADJUSTMENTS).every((name) => all[name] === DEFAULT_ADJUSTMENTS[name]);
    this.adjustments = isDefault ? DEFAULT_ADJUSTMENTS : all;
    this.revision++;
    this.changed();
  }

  /** Fields have changed: draw them again. */
  refresh() {
    this.revision++;
    this.changed();
  }

  #cost(field, rectangle, w, h) {
    if (field.cost) return field.cost(w, h);
    const { pixels, gaussians } = this.painter.cull(field, rectangle, w, h, drawOptions(this.adjustments, field));
    return pixels + PIXELS_PER_GAUSSIAN * gaussians;
  }

  /** Decide, once per frame, which panes are drawn here; fetch the Gaussians of those that could be. */
  choosePanes(viewer, rect) {
    const wants = viewer.wantsField || this.isAdjusted;
    const panes = viewer.shown.filter((pane) => pane.spec.field?.id || pane.enlarger);
    for (const pane of panes) {
      if (pane.enlarger) {
        pane.isLive = viewer.wantsField;
        continue;
      }
      // A field that is made in this browser keeps only as many of its Gaussians as there is room for.
      const isDrawn = pane.spec.field.live ? this.gpuPainter : this.painter; // a server is faster than the processor here
      if (wants && (pane.spec.here || pane.spec.field.count <= MAX_GAUSSIANS) && isDrawn) pane.loadField(true);
      const isServed = pane.spec.field.live && !this.isAdjusted;
      pane.isLive = Boolean(wants && pane.field && isDrawn && this.isUsable && (!isServed || this.#isQuick(pane, viewer.view, rect, viewer.scene.scale)));
    }
    // Both sides of a difference use the same renderer.
    if (viewer.mode === "difference" && panes.some((pane) => !pane.isLive)) for (const pane of panes) pane.isLive = false;
  }

  #isQuick(pane, view, rect, scale) {
    const seen = visibleRectangle(view, rect);
    return !seen || this.#cost(pane.field, toSource(seen.place, scale), seen.w, seen.h) / this.rate < SERVER_FROM_MS;
  }

  /** Paint the part of a pane's field that `rect` shows. `slot` is the purpose; `view` has {zoom, frame, origin(rect)}. */
  paint(ctx, pane, slot, rect, view, scale) {
    const seen = visibleRectangle(view, rect);
    if (!seen) return;
    const drawing = (pane.drawings[slot] ??= new Drawing());
    const { u, v } = seen.place;
    const revision = pane.enlarger ? 0 : this.revision; // an enlarger depends on neither fields nor adjustments
    const key = `${u},${v},${seen.w},${seen.h},${view.zoom},${revision}`;
    if ((this.isUsable || pane.enlarger) && (key !== drawing.key || (drawing.step > 1 && drawing.isIdle))) this.#draw(pane, drawing, seen, key, scale);
    if (!drawing.place) return;
    ctx.save();
    if (pane.field?.present) clipToTiles(ctx, pane.field.present(toSource(drawing.place, scale)), scale, view.origin(rect), view.zoom);
    drawing.paint(ctx, view.origin(rect), view.zoom);
    ctx.restore();
  }

  #draw(pane, drawing, { place, w, h }, key, scale) {
    const rectangle = toSource(place, scale);
    const shown = pane.enlarger ?? pane.field;
    const most = this.rate * (key === drawing.key ? IDLE_BUDGET_MS : MOVING_BUDGET_MS);
    let [step, dw, dh, cost] = [1, w, h, this.#cost(shown, rectangle, w, h)];
    for (let coarser = 2; cost > most && coarser <= MAX_STEP; coarser *= 2) {
      const [cw, ch] = [Math.ceil(w / coarser), Math.ceil(h / coarser)];
      const then = this.#cost(shown, rectangle, cw, ch);
      if (then < MIN_SAVING * cost) [step, dw, dh, cost] = [coarser, cw, ch, then];
    }
    const started = performance.now();
    const drawn = pane.enlarger?.draw(rectangle, dw, dh) ?? this.painter.draw(pane.field, rectangle, dw, dh, drawOptions(this.adjustments, pane.field));
    if (!drawn) return;
    this.drawCount++;
    drawing.copy(drawn, dw, dh, place);
    if (!pane.enlarger) this.#measure(cost, started);
    clearTimeout(drawing.timer);
    const isMoving = key !== drawing.key;
    Object.assign(drawing, { key, step, isIdle: false });
    if (step > 1 && isMoving) drawing.timer = setTimeout(() => ((drawing.isIdle = true), this.changed()), IDLE_AFTER_MS);
  }

  // Measures how fast this machine draws, from drawings that take long enough.
  #measure(cost, started) {
    if (this.fence || cost < MIN_TIMED_COST) return;
    const { gl } = this.painter;
    const learn = () => (this.rate = (this.rate + cost / Math.max(1, performance.now() - started)) / 2);
    if (!gl) return learn();
    this.fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    const poll = () => {
      const state = gl.clientWaitSync(this.fence, 0, 0);
      if (state === gl.TIMEOUT_EXPIRED && !gl.isContextLost()) return setTimeout(poll, 4);
      gl.deleteSync(this.fence);
      this.fence = null;
      if (state !== gl.WAIT_FAILED) learn();
    };
    setTimeout(poll);
  }

  /** Free what was kept of a pane's field. */
  drop(pane) {
    for (const drawing of Object.values(pane.drawings)) clearTimeout(drawing.timer);
    pane.drawings = {};
    if (pane.field) this.made?.drop(pane.field);
  }

  close() {
    this.made?.close();
    this.made = null;
  }
}
