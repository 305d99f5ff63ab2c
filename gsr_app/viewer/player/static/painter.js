/* Draws the panes of one video frame: side by side, wipe, difference or a single one, all with the same view. */

import { arrange, clipTo, STAGE_COLOUR } from "./view.js";

const GAP = 2;

export class Painter {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.scratch = document.createElement("canvas");
  }

  layout(panes, mode, frame) {
    const { width, height } = this.canvas;
    if (mode === "side") {
      const rects = arrange(panes.length, width, height, frame.width / frame.height, GAP);
      return panes.map((pane, place) => ({ pane, rect: rects[place] }));
    }
    return panes.length ? [{ pane: panes[0], rect: { x: 0, y: 0, w: width, h: height } }] : [];
  }

  draw(video, { cells, base, mode, view, wipe, gain }) {
    const { context, canvas } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = STAGE_COLOUR;
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!video || !cells.length) return;
    if (mode === "wipe" && base) {
      const [{ pane, rect }] = cells;
      const middle = Math.round(rect.w * wipe);
      this.#pane(context, video, pane, rect, view, { ...rect, w: middle });
      this.#pane(context, video, base, rect, view, { ...rect, x: rect.x + middle, w: rect.w - middle });
      context.fillStyle = "rgba(255, 255, 255, 0.75)";
      context.fillRect(rect.x + middle, rect.y, 1, rect.h);
    } else if (mode === "difference" && base) {
      this.#difference(video, cells[0], base, view, gain);
    } else {
      for (const { pane, rect } of cells) this.#pane(context, video, pane, rect, view, rect);
    }
  }

  /** Draw a pane's part of the video frame inside `clip`. */
  #pane(context, video, { spec, span }, rect, view, clip) {
    const origin = view.origin(rect);
    const zoom = view.zoom;
    clipTo(context, clip);
    // Enlarged pixels stay sharp; reduced ones are averaged.
    context.imageSmoothingEnabled = (span.width / spec.width) * zoom < 1;
    context.imageSmoothingQuality = "high";
    context.drawImage(video, spec.x, spec.y, spec.width, spec.height, origin.x, origin.y, span.width * zoom, span.height * zoom);
    context.restore();
  }

  #difference(video, { pane, rect }, base, view, gain) {
    const { scratch } = this;
    Object.assign(scratch, { width: rect.w, height: rect.h });
    const context = scratch.getContext("2d", { alpha: false });
    const whole = { x: 0, y: 0, w: rect.w, h: rect.h };
    this.#pane(context, video, pane, whole, view, whole);
    context.globalCompositeOperation = "difference";
    this.#pane(context, video, base, whole, view, whole);
    context.globalCompositeOperation = "lighter";
    for (let times = 1; times < gain; times *= 2) context.drawImage(scratch, 0, 0); // twice as bright each time
    context.globalCompositeOperation = "source-over";
    this.context.drawImage(scratch, rect.x, rect.y);
  }
}

/** Draws scores over time as a curve, with the present frame marked. */
export function drawScores(canvas, values, times, end, index, colours) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.clearRect(0, 0, width, height);
  const known = values.filter((value) => value !== null);
  if (!known.length || !end) return;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const y = (value) => height - 3 - ((value - low) / (high - low || 1)) * (height - 6);
  context.strokeStyle = colours.line;
  context.lineWidth = window.devicePixelRatio || 1;
  context.beginPath();
  values.forEach((value, place) => {
    if (value === null) return;
    context.lineTo((times[place] / end) * width, y(value));
  });
  context.stroke();
  context.fillStyle = colours.mark;
  const at = ((times[index] ?? 0) / end) * width;
  context.fillRect(Math.round(at), 0, Math.max(1, window.devicePixelRatio), height);
}
