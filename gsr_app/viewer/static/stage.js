/* Draws the stage: the cells of each mode, and what each cell shows. */

import { Difference } from "./difference.js";
import { FlipMaps } from "./flipmaps.js";
import { drawOutline, drawOverlay } from "./overlay.js";
import { drawGrid, drawPicture } from "./picture.js";
import { drawNumbers } from "./pixelnumbers.js";
import { isPlain, Toner } from "./tone.js";
import { arrange, clipTo, STAGE_COLOUR } from "./view.js";

const LOUPE_CSS = 168; // side of one loupe, CSS pixels
const LOUPE_GAIN = 4;
const TAGS_PX = 36; // what the tag of a pane may cover at the top, CSS pixels

export class Stage {
  constructor(viewer, canvas) {
    this.viewer = viewer;
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d", { alpha: false });
    this.difference = new Difference();
    this.toner = new Toner();
    this.flipMaps = new FlipMaps(() => viewer.changed());
    this.inView = { count: 0, shown: "off" };
  }

  /** [{pane, rect}], in order; in the single-picture modes the active pane fills the stage. */
  cells() {
    const { viewer, canvas } = this;
    const whole = { x: 0, y: 0, w: canvas.width, h: canvas.height };
    const panes = viewer.shown;
    if (!panes.length) return [];
    if (viewer.mode === "grid" || viewer.mode === "difference") {
      const { width, height } = viewer.view.frame;
      const rects = arrange(panes.length, whole.w, whole.h, width / height, Math.round(2 * viewer.dpr));
      return panes.map((pane, i) => ({ pane, rect: rects[i] }));
    }
    return [{ pane: viewer.mode === "blink" && viewer.showsBase ? viewer.base : viewer.active, rect: whole }];
  }

  /** A pane's picture and, where it is on, the true-zoom frame over it; no overlays. */
  paintPane = (ctx, pane, rect) => {
    const { view, smooth } = this.viewer;
    this.paintAt(ctx, pane, rect, view.zoom, view.origin(rect), smooth);
  };

  /** `whole`: the cell, where `rect` is only a part of it. */
  paintAt(ctx, pane, rect, zoom, origin, smooth, { withFrame = this.viewer.usesTrueZoom(pane), whole = rect, slot = "view" } = {}) {
    if (!pane.picture && !pane.isLive) return;
    const { tone } = this.viewer;
    if (ctx === this.ctx && !isPlain(tone)) {
      const box = coveredPart(pane.place ?? { u: 0, v: 0, ...this.viewer.view.frame }, rect, zoom, origin);
      const paint = (c) => this.paintAt(c, pane, rect, zoom, origin, smooth, { withFrame, whole, slot });
      return box && this.toner.draw(ctx, box, tone, paint);
    }
    clipTo(ctx, rect);
    const around = this.viewer.mode === "difference" ? null : this.viewer.inputAround(pane);
    if (around) drawPicture(ctx, around.picture, around.place, rect, zoom, origin, true);
    if (pane.picture) drawPicture(ctx, pane.picture, pane.place, rect, zoom, origin, smooth);
    const { live, view, scene } = this.viewer;
    const frame = withFrame && !pane.isLive ? pane.zoomer.frame : null;
    if (withFrame && pane.isLive) live.paint(ctx, pane, slot, whole, { zoom, frame: view.frame, origin: () => origin }, scene.scale);
    else if (frame) drawPicture(ctx, frame.picture, frame.place, rect, zoom, origin, true);
    ctx.restore();
  }

  draw() {
    const { viewer, ctx, canvas } = this;
    const { cells } = viewer;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.fillStyle = STAGE_COLOUR;
    ctx.fillRect(0, 0, canvas.width, canvas.height);
    this.inView = { count: 0, shown: "off" };
    this.flipMaps.keep(new Set(viewer.allPanes.map((pane) => pane.picture)));
    for (const { pane, rect } of cells) {
      if (viewer.mode === "difference" && pane !== viewer.base) this.#drawDifference(pane, rect);
      else if (viewer.mode === "wipe") this.#drawWipe(rect);
      else this.#drawPicture(pane, rect);
    }
    if (viewer.mode === "loupe" && viewer.pointer && cells.length) this.#drawLoupes(cells[0]);
  }

  #drawPicture(pane, rect) {
    const input = this.viewer.standIn(pane);
    if (input) this.#drawStandIn(input, rect);
    if (this.viewer.minusPixels && pane.isLive && pane.picture) this.#drawMinusPixels(pane, rect);
    else this.paintPane(this.ctx, pane, rect);
    this.#drawOverlays(pane, rect, rect);
  }

  // Until there is a result, the input as the browser enlarges it.
  #drawStandIn({ picture, place }, rect) {
    const { view } = this.viewer;
    clipTo(this.ctx, rect);
    drawPicture(this.ctx, picture, place, rect, view.zoom, view.origin(rect), true);
    this.ctx.restore();
  }

  // The difference between the live field and the pane's own pixels.
  #drawMinusPixels(pane, rect) {
    const { view, smooth, gain, colourScale } = this.viewer;
    const paint = (c, withFrame, local) => this.paintAt(c, pane, local, view.zoom, view.origin(local), smooth, { withFrame });
    this.difference.draw(this.ctx, rect, true, false, paint, gain, colourScale);
  }

  #drawDifference(pane, rect) {
    const { viewer, ctx } = this;
    if (!pane.picture || !viewer.base?.picture) return;
    const { view, smooth } = viewer;
    const map = viewer.colourScale === "FLIP" ? this.flipMaps.of(pane.picture, viewer.base.picture) : null;
    if (map?.picture) {
      clipTo(ctx, rect);
      drawPicture(ctx, map.picture, pane.place, rect, view.zoom, view.origin(rect), smooth);
      ctx.restore();
      return this.#regions(rect);
    }
    const withFrames = viewer.comparesFrames(pane);
    const paint = (c, side, local) => this.paintAt(c, side, local, view.zoom, view.origin(local), smooth, { withFrame: withFrames });
    this.difference.draw(ctx, rect, pane, viewer.base, paint, viewer.gain, viewer.colourScale);
    // Outside the picture, or the part of it, there is nothing to compare.
    const part = [pane, viewer.base].find((one) => viewer.inputAround(one))?.place ?? { u: 0, v: 0, ...viewer.view.frame };
    const frame = viewer.view.origin(rect);
    const origin = { x: Math.round(frame.x + part.u * view.zoom), y: Math.round(frame.y + part.v * view.zoom) };
    const right = origin.x + part.width * view.zoom;
    const bottom = origin.y + part.height * view.zoom;
    ctx.fillStyle = STAGE_COLOUR;
    const blank = (x0, y0, x1, y1) => x1 > x0 && y1 > y0 && ctx.fillRect(x0, y0, x1 - x0, y1 - y0);
    blank(rect.x, rect.y, Math.min(origin.x, rect.x + rect.w), rect.y + rect.h);
    blank(Math.max(Math.ceil(right), rect.x), rect.y, rect.x + rect.w, rect.y + rect.h);
    blank(rect.x, rect.y, rect.x + rect.w, Math.min(origin.y, rect.y + rect.h));
    blank(rect.x, Math.max(Math.ceil(bottom), rect.y), rect.x + rect.w, rect.y + rect.h);
    this.#regions(rect);
  }

  #drawWipe(rect) {
    const { viewer, ctx } = this;
    const split = Math.round(rect.w * viewer.wipe);
    const left = { x: rect.x, y: rect.y, w: split, h: rect.h };
    const right = { x: rect.x + split, y: rect.y, w: rect.w - split, h: rect.h };
    for (const [pane, part] of [
      [viewer.active, left],
      [viewer.base, right],
    ]) {
      if (!pane || part.w < 1) continue;
      const { view, smooth } = viewer;
      this.paintAt(ctx, pane, part, view.zoom, view.origin(rect), smooth, { whole: rect });
      this.#drawOverlays(pane, part, rect);
    }
    ctx.fillStyle = "rgba(255,255,255,0.9)";
    ctx.fillRect(rect.x + split - Math.round(viewer.dpr / 2), rect.y, Math.max(1, Math.round(viewer.dpr)), rect.h);
  }

  // Grid, Gaussians, regions: over the picture, inside `part`, in the geometry of `rect`.
  #drawOverlays(pane, part, rect) {
    const { viewer, ctx } = this;
    if (!pane?.picture && !pane?.isLive) return;
    const { view } = viewer;
    const origin = view.origin(rect);
    clipTo(ctx, part);
    const drawn = viewer.usesTrueZoom(pane) && (pane.isLive || pane.zoomer.frame);
    if (viewer.grid && pane.picture && !drawn) {
      drawGrid(ctx, pane.picture, pane.place, part, view.zoom, origin);
      drawNumbers(ctx, pane.picture, pane.place, part, view.zoom, origin, viewer.dpr);
    }
    const { scale } = viewer.scene;
    const density = [scale.x * view.zoom, scale.y * view.zoom]; // device pixels per source pixel
    if (viewer.overlay !== "off" && pane.field) {
      const seen = drawOverlay(ctx, pane.field, viewer.overlay, viewer.colouring, part, origin, density, viewer.dpr, viewer.live.gpuPainter);
      if (pane === viewer.overlaid) this.inView = seen;
      if (viewer.hovered?.pane === pane) drawOutline(ctx, pane.field, viewer.hovered.index, origin, ...density, viewer.dpr);
    }
    if (viewer.selected?.pane === pane && pane.field) drawOutline(ctx, pane.field, viewer.selected.index, origin, ...density, viewer.dpr);
    ctx.restore();
    this.#regions(part, rect);
  }

  #regions(part, rect = part) {
    const { viewer, ctx } = this;
    const { view, dpr } = viewer;
    const origin = view.origin(rect);
    const { scale } = viewer.scene;
    clipTo(ctx, part);
    ctx.lineWidth = Math.max(1, Math.round(dpr));
    ctx.font = `${11 * dpr}px ui-monospace, "DejaVu Sans Mono", monospace`;
    for (const region of viewer.regions.concat(viewer.draft ?? [])) {
      const x = origin.x + region.x * scale.x * view.zoom;
      const y = origin.y + region.y * scale.y * view.zoom;
      const w = region.width * scale.x * view.zoom;
      const h = region.height * scale.y * view.zoom;
      ctx.strokeStyle = region === viewer.region ? "#f3d9a4" : "rgba(243,217,164,0.6)";
      ctx.strokeRect(Math.round(x) - 0.5, Math.round(y) - 0.5, Math.round(w) + 1, Math.round(h) + 1);
      if (!region.name) continue;
      const above = y - 16 * dpr;
      const top = above < part.y + TAGS_PX * dpr ? Math.min(y + h + 2 * dpr, part.y + part.h - 16 * dpr) : above;
      ctx.fillStyle = "rgba(32,34,37,0.55)";
      ctx.fillRect(Math.round(x), Math.round(top), ctx.measureText(region.name).width + 8 * dpr, 14 * dpr);
      ctx.fillStyle = "#f3d9a4";
      ctx.fillText(region.name, x + 4 * dpr, top + 11 * dpr);
    }
    if (viewer.scene.detail) this.#outline(viewer.scene.detail, origin);
    ctx.restore();
  }

  // Where the part of the picture lies that the methods have made.
  #outline({ x, y, width, height }, origin) {
    const { ctx, viewer } = this;
    const { scale } = viewer.scene;
    const { zoom } = viewer.view;
    ctx.strokeStyle = "rgba(255,255,255,0.75)";
    ctx.setLineDash([6 * viewer.dpr, 4 * viewer.dpr]);
    ctx.strokeRect(Math.round(origin.x + x * scale.x * zoom) - 0.5, Math.round(origin.y + y * scale.y * zoom) - 0.5, Math.round(width * scale.x * zoom) + 1, Math.round(height * scale.y * zoom) + 1);
    ctx.setLineDash([]);
  }

  #drawLoupes({ rect }) {
    const { viewer, ctx } = this;
    const { dpr, view, pointer } = viewer;
    const panes = viewer.shown.filter((pane) => pane.picture);
    const gap = 6 * dpr;
    const side = Math.round(Math.min(LOUPE_CSS * dpr, (rect.w - gap) / Math.min(panes.length, rect.w < 700 * dpr ? 2 : 6) - gap));
    const perRow = Math.max(1, Math.floor((rect.w - gap) / (side + gap)));
    const zoom = Math.min(64, Math.max(view.zoom * LOUPE_GAIN, 4));
    const below = pointer.y < rect.h / 2;
    const rows = Math.ceil(panes.length / perRow);
    const top = below ? rect.h - rows * (side + gap) : gap;
    const { u, v } = view.toFrame(rect, pointer.x, pointer.y);
    ctx.font = `${11 * dpr}px Inter, system-ui, sans-serif`;
    panes.forEach((pane, i) => {
      const inRow = Math.min(perRow, panes.length - Math.floor(i / perRow) * perRow);
      const left = Math.round((rect.w - inRow * (side + gap) + gap) / 2);
      const box = {
        x: left + (i % perRow) * (side + gap),
        y: Math.round(top + Math.floor(i / perRow) * (side + gap)),
        w: side,
        h: side,
      };
      const origin = { x: Math.round(box.x + side / 2 - u * zoom), y: Math.round(box.y + side / 2 - v * zoom) };
      ctx.fillStyle = STAGE_COLOUR;
      ctx.fillRect(box.x - 2 * dpr, box.y - 2 * dpr, side + 4 * dpr, side + 4 * dpr);
      this.paintAt(ctx, pane, box, zoom, origin, viewer.smooth, { slot: "loupe" });
      ctx.fillStyle = "rgba(32,34,37,0.8)";
      ctx.fillRect(box.x, box.y + side - 20 * dpr, side, 20 * dpr);
      ctx.fillStyle = pane.spec.colour;
      ctx.beginPath();
      ctx.arc(box.x + 10 * dpr, box.y + side - 10 * dpr, 3.5 * dpr, 0, 2 * Math.PI);
      ctx.fill();
      ctx.fillStyle = "#f2f2f2";
      ctx.fillText(viewer.nameOf(pane), box.x + 20 * dpr, box.y + side - 6 * dpr, side - 26 * dpr);
    });
    // What the loupes magnify.
    const half = (side / 2 / zoom) * view.zoom;
    ctx.strokeStyle = "rgba(255,255,255,0.8)";
    ctx.lineWidth = Math.max(1, dpr);
    ctx.strokeRect(pointer.x - half, pointer.y - half, 2 * half, 2 * half);
  }
}

/** The device pixels of `rect` that a picture covers, even in part; null where there are none. */
function coveredPart(place, rect, zoom, origin) {
  const x = Math.max(rect.x, Math.floor(origin.x + place.u * zoom));
  const y = Math.max(rect.y, Math.floor(origin.y + place.v * zoom));
  const w = Math.min(rect.x + rect.w, Math.ceil(origin.x + (place.u + place.width) * zoom)) - x;
  const h = Math.min(rect.y + rect.h, Math.ceil(origin.y + (place.v + place.height) * zoom)) - y;
  return w > 0 && h > 0 ? { x, y, w, h } : null;
}
