/* The view: one zoom and one centre, shared by every pane.
 *
 * The frame is the output's pixel plane: (0, 0) is its top left corner and one unit is one output pixel. Everything
 * on screen is in device pixels. A pane's frame origin is always a whole device pixel, so that at whole zooms every
 * output pixel covers exactly zoom x zoom device pixels, in every pane alike. */

export const STAGE_COLOUR = "#202225";
const MIN_ZOOM = 0.1;
const MAX_ZOOM = 64;
const ZOOMS = [0.1, 0.125, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

export class View {
  constructor() {
    this.frame = { width: 1, height: 1 }; // output pixels
    this.pane = { w: 1, h: 1 }; // device pixels; every pane has this size
    this.cx = 0.5;
    this.cy = 0.5;
    this.zoom = 1; // device pixels per output pixel
    this.fitted = true;
    this.maxZoom = MAX_ZOOM;
  }

  get fitZoom() {
    const { frame, pane } = this;
    return Math.min(pane.w / frame.width, pane.h / frame.height, MAX_ZOOM);
  }

  get minZoom() {
    return Math.min(MIN_ZOOM, this.fitZoom);
  }

  /** A new picture; `keep` the visible part where it is the same one at another scale. */
  setFrame(width, height, keep = false) {
    const ratio = width / this.frame.width;
    const was = { cx: this.cx, cy: this.cy, height: this.frame.height };
    this.frame = { width, height };
    if (!keep || this.fitted) return this.fit();
    this.set(was.cx * ratio, (was.cy * height) / was.height, this.zoom / ratio);
  }

  setPane(w, h) {
    this.pane = { w: Math.max(1, w), h: Math.max(1, h) };
    if (this.fitted) this.fit();
    else this.set(this.cx, this.cy, this.zoom);
  }

  fit() {
    this.set(this.frame.width / 2, this.frame.height / 2, this.fitZoom);
    this.fitted = true;
  }

  set(cx, cy, zoom) {
    this.zoom = Math.min(this.maxZoom, Math.max(this.minZoom, zoom));
    this.fitted = false;
    this.cx = this.#snap(Math.min(this.frame.width, Math.max(0, cx)), this.pane.w);
    this.cy = this.#snap(Math.min(this.frame.height, Math.max(0, cy)), this.pane.h);
  }

  /** Zoom to a place, and leave no room beside the picture where it fills the pane. */
  setInside(cx, cy, zoom) {
    const { frame, pane } = this;
    const inside = (at, size, extent) => (extent >= size * zoom ? size / 2 : Math.min(size - extent / zoom / 2, Math.max(extent / zoom / 2, at)));
    this.set(inside(cx, frame.width, pane.w), inside(cy, frame.height, pane.h), zoom);
  }

  // The centre for which the frame's origin is a whole device pixel.
  #snap(c, extent) {
    return (extent / 2 - Math.round(extent / 2 - c * this.zoom)) / this.zoom;
  }

  /** Device position of the frame's origin in a pane that starts at (x, y). */
  origin(rect) {
    return {
      x: rect.x + Math.round(rect.w / 2 - this.cx * this.zoom),
      y: rect.y + Math.round(rect.h / 2 - this.cy * this.zoom),
    };
  }

  toFrame(rect, x, y) {
    const origin = this.origin(rect);
    return { u: (x - origin.x) / this.zoom, v: (y - origin.y) / this.zoom };
  }

  pan(dx, dy) {
    this.set(this.cx - dx / this.zoom, this.cy - dy / this.zoom, this.zoom);
  }

  /** Zoom so that the frame point under (x, y) of the pane stays there, to half a device pixel. */
  zoomAt(rect, x, y, zoom) {
    const { u, v } = this.toFrame(rect, x, y);
    const z = Math.min(this.maxZoom, Math.max(this.minZoom, zoom));
    this.set(u - (x - rect.x - rect.w / 2) / z, v - (y - rect.y - rect.h / 2) / z, z);
  }

  /** The next zoom of the list, up or down. */
  step(direction) {
    const zooms = direction > 0 ? ZOOMS : [...ZOOMS].reverse();
    const next = zooms.find((zoom) => (direction > 0 ? zoom > this.zoom * 1.001 : zoom < this.zoom * 0.999));
    return next ?? (direction > 0 ? Math.min(2 * this.zoom, this.maxZoom) : this.minZoom);
  }

  /** The part of the frame that a pane shows, clipped to the frame: u, v, width, height in output pixels. */
  visible() {
    const a = this.toFrame({ x: 0, y: 0, ...this.pane }, 0, 0);
    const u = Math.max(0, a.u);
    const v = Math.max(0, a.v);
    const right = Math.min(this.frame.width, a.u + this.pane.w / this.zoom);
    const bottom = Math.min(this.frame.height, a.v + this.pane.h / this.zoom);
    return { u, v, width: Math.max(0, right - u), height: Math.max(0, bottom - v) };
  }
}

/** The whole device pixels of a pane that the frame covers, and the rectangle of the frame under them. */
export function visibleRectangle(view, rect) {
  const origin = view.origin(rect);
  const { zoom, frame } = view;
  const x0 = Math.max(rect.x, origin.x);
  const y0 = Math.max(rect.y, origin.y);
  const x1 = Math.min(rect.x + rect.w, Math.floor(origin.x + frame.width * zoom));
  const y1 = Math.min(rect.y + rect.h, Math.floor(origin.y + frame.height * zoom));
  if (x1 <= x0 || y1 <= y0) return null;
  const [w, h] = [x1 - x0, y1 - y0];
  const place = { u: (x0 - origin.x) / zoom, v: (y0 - origin.y) / zoom, width: w / zoom, height: h / zoom };
  return { place, w, h };
}

/** Equal rectangles for n panes: the arrangement that shows the picture largest. Device pixels, whole. */
export function arrange(n, width, height, aspect, gap) {
  let best = null;
  for (let columns = 1; columns <= n; columns++) {
    const rows = Math.ceil(n / columns);
    const w = Math.floor((width - gap * (columns - 1)) / columns);
    const h = Math.floor((height - gap * (rows - 1)) / rows);
    // The area the picture covers when fitted; empty cells count a little against an arrangement.
    const size = Math.min(w, h * aspect) * (1 - 0.04 * (columns * rows - n));
    if (w > 0 && h > 0 && (!best || size > best.size)) best = { columns, w, h, size };
  }
  if (!best) return [];
  return Array.from({ length: n }, (_, i) => ({
    x: (i % best.columns) * (best.w + gap),
    y: Math.floor(i / best.columns) * (best.h + gap),
    w: best.w,
    h: best.h,
  }));
}

/** A rectangle of the frame as one of the source plane. */
export const toSource = ({ u, v, width, height }, scale) => ({ x: u / scale.x, y: v / scale.y, width: width / scale.x, height: height / scale.y });

/** Save the context and clip it to a rectangle; `restore` ends both. */
export function clipTo(ctx, rect) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(rect.x, rect.y, rect.w, rect.h);
  ctx.clip();
}

export const contains = (rect, x, y) => x >= rect.x && y >= rect.y && x < rect.x + rect.w && y < rect.y + rect.h;
