/* The contents of the line below the pictures. */

import { nearest } from "./fieldqueries.js";
import { describe } from "./overlay.js";

/** Position in source pixels and every pane's value under the pointer; null outside the picture. */
export function spotOf(viewer) {
  const cell = viewer.cellAt(viewer.pointer);
  const { frame } = viewer.view;
  if (!cell || !viewer.scene.source) return null;
  const { u, v } = viewer.view.toFrame(cell.rect, viewer.pointer.x, viewer.pointer.y);
  if (u < 0 || v < 0 || u >= frame.width || v >= frame.height) return null;
  const { scale } = viewer.scene;
  const here = viewer.mode === "grid" || viewer.mode === "difference" ? cell.pane : viewer.active;
  const showsField = (pane) => (viewer.mode === "difference" ? viewer.comparesFrames(here) : viewer.usesTrueZoom(pane));
  const values = viewer.shown
    .map((pane) => ({ pane, value: pane.valueAt(u, v, showsField(pane)) }))
    .filter(({ value }) => value);
  const of = (pane) => values.find((entry) => entry.pane === pane)?.value;
  const [a, b] = [of(here), of(viewer.base)];
  const delta = a && b && here !== viewer.base ? [0, 1, 2].map((c) => a[c] - b[c]) : null;
  return { x: u / scale.x, y: v / scale.y, values, delta };
}

/** {pane, index} of the Gaussian under the pointer, or null. */
export function gaussianAt(viewer) {
  const cell = viewer.cellAt(viewer.pointer);
  if (!cell?.pane.field) return null;
  const { u, v } = viewer.view.toFrame(cell.rect, viewer.pointer.x, viewer.pointer.y);
  const { scale } = viewer.scene;
  const index = nearest(cell.pane.field, u / scale.x, v / scale.y, (10 * viewer.dpr) / viewer.view.zoom / scale.x);
  return index < 0 ? null : { pane: cell.pane, index };
}

export function gaussianNote(viewer) {
  if (viewer.overlay === "off") return "";
  if (viewer.hovered) return describe(viewer.hovered.pane.field, viewer.hovered.index);
  if (!viewer.overlaid) return viewer.shown.some((pane) => pane.fieldNote) ? "fetching the Gaussians …" : "";
  const { count, shown } = viewer.inView;
  if (shown === "off") return ""; // in a difference
  const instead = shown === viewer.overlay ? "" : ` · too many for ${viewer.overlay}: shown as ${shown}`;
  return `${count.toLocaleString("en-US")} Gaussians in view${instead}`;
}

export function sizeNote({ scene: { source, frame, detail } }) {
  if (detail) return `detail of ${detail.width} × ${detail.height} at (${detail.x}, ${detail.y}) of ${source.width} × ${source.height}`;
  if (source && frame?.width === source.width && frame.height === source.height) return `${source.width} × ${source.height}`;
  return source && frame ? `${source.width} × ${source.height} → ${frame.width} × ${frame.height}` : "";
}
