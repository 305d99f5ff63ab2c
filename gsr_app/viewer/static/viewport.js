/* What the viewer and the player share: a stage with a canvas, one view of every pane, a divider, and the verbs that
 * change them. Every verb ends in `changed()`, which draws on the next frame. */

import { el } from "./dom.js";
import { listenToPointers } from "./pointers.js";
import { contains, View } from "./view.js";

const DIVIDER_KEYS = { ArrowLeft: -0.01, ArrowRight: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 };

/** Subclasses have draw() and pressKey(event), which is true when the key did something. */
export class Viewport {
  view = new View();
  mode = "";
  wipe = 0.5;
  pointer = null; // device pixels of the stage, where the subclass follows it
  cells = []; // [{pane, rect}], as last drawn, device pixels
  dpr = 1;
  closeZoom = 8; // of a second double click
  drawingRegion = false; // while the next drag draws a region

  constructor(label) {
    this.canvas = el("canvas", { className: "gsr-canvas" });
    this.divider = this.#makeDivider();
    this.empty = el("div", { className: "gsr-empty" });
    this.stage = el("div", { className: "gsr-stage", tabIndex: 0, role: "application", "aria-label": label });
  }

  /** Fill the stage, from the bottom to the top; listen to pointers and keys; draw whenever the size changes. */
  open(...nodes) {
    const { stage, canvas } = this;
    stage.append(canvas, ...nodes);
    listenToPointers(this);
    // The keys are the stage's while it has the focus; a pointer over it is enough, unless the focus is in use elsewhere.
    canvas.addEventListener("pointerenter", () => document.activeElement === document.body && stage.focus({ preventScroll: true }));
    stage.addEventListener("keydown", (event) => {
      if (event.target.closest("input, select, textarea") && event.key !== "Escape") return;
      if (event.target.closest("button") && (event.key === " " || event.key === "Enter")) return;
      if (!this.pressKey(event)) return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.observer = new ResizeObserver((entries) => this.#resize(entries.at(-1).devicePixelContentBoxSize?.[0]));
    try {
      this.observer.observe(canvas, { box: "device-pixel-content-box" });
    } catch {
      this.observer.observe(stage); // a browser that does not tell whole device pixels
    }
    this.#resize();
  }

  #makeDivider() {
    const node = el("div", { className: "gsr-divider", tabIndex: 0, role: "slider", "aria-label": "Wipe", "aria-valuemin": 0, "aria-valuemax": 100 });
    node.addEventListener("pointerdown", (event) => node.setPointerCapture(event.pointerId));
    node.addEventListener("pointermove", (event) => {
      const box = this.canvas.getBoundingClientRect();
      if (event.buttons) this.setWipe((event.clientX - box.left) / box.width);
    });
    node.addEventListener("keydown", (event) => {
      const step = DIVIDER_KEYS[event.key];
      if (step === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.setWipe(this.wipe + step * (event.shiftKey ? 10 : 1));
    });
    return node;
  }

  /** What the stage shows while there are no pictures. */
  setEmpty(...nodes) {
    this.empty.replaceChildren(...nodes);
  }

  // ---- drawing

  changed() {
    this.request ??= requestAnimationFrame(() => {
      this.request = null;
      this.draw();
    });
  }

  /** The cells of this drawing; the view adapts where their arrangement is another than before. */
  setCells(cells) {
    const { canvas, view } = this;
    this.cells = cells;
    const layout = [this.mode, cells.length, canvas.width, canvas.height, view.frame.width, view.frame.height].join();
    if (layout === this.layout || !cells.length) return;
    this.layout = layout;
    view.setPane(cells[0].rect.w, cells[0].rect.h);
  }

  showDivider(isShown) {
    this.divider.hidden = !isShown;
    this.divider.style.left = `${100 * this.wipe}%`;
    this.divider.setAttribute("aria-valuenow", Math.round(100 * this.wipe));
  }

  // `exact`: the device pixels that the canvas covers. Its size in CSS pixels leaves open how a browser rounds a fraction.
  #resize(exact = null) {
    const box = this.stage.getBoundingClientRect();
    this.dpr = window.devicePixelRatio || 1;
    // Chrome's emulation of other screens tells unscaled pixels.
    const whole = (size, told) => (Math.abs(told - size * this.dpr) < 1 ? told : Math.round(size * this.dpr));
    const [width, height] = [whole(box.width, exact?.inlineSize), whole(box.height, exact?.blockSize)];
    if (!width || !height || (width === this.canvas.width && height === this.canvas.height)) return;
    Object.assign(this.canvas, { width, height });
    this.draw();
  }

  // ---- verbs

  set(values) {
    Object.assign(this, values);
    this.changed();
  }

  setWipe(fraction) {
    this.set({ wipe: Math.min(1, Math.max(0, fraction)) });
  }

  cellAt(point) {
    return point ? (this.cells.find(({ rect }) => contains(rect, point.x, point.y)) ?? null) : null;
  }

  fit() {
    this.view.fit();
    this.changed();
  }

  oneToOne() {
    this.look(this.view.cx, this.view.cy, 1);
  }

  look(u, v, zoom) {
    this.view.set(u, v, zoom);
    this.changed();
  }

  pan(dx, dy) {
    this.view.pan(dx, dy);
    this.changed();
  }

  zoomAt(x, y, zoom) {
    const rect = (this.cellAt({ x, y }) ?? this.cells[0])?.rect;
    if (!rect) return;
    this.view.zoomAt(rect, x, y, zoom);
    this.changed();
  }

  /** From the keyboard or a button: about the pointer where there is one, else about the middle. */
  zoomStep(direction) {
    const zoom = this.view.step(direction);
    if (this.cellAt(this.pointer)) this.zoomAt(this.pointer.x, this.pointer.y, zoom);
    else this.look(this.view.cx, this.view.cy, zoom);
  }

  // ---- for subclasses that do more with the pointer than move the view

  pointTo() {}
  click() {}
  beginRegion() {}
  growRegion() {}
  endRegion() {}
}
