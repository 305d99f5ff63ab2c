/* Regions: named rectangles of the source plane, their crops at equal zoom, and the scores of each crop. */

import { cropScores } from "./cropscores.js";
import { dot, el } from "./dom.js";
import { decibels } from "./format.js";

/** A rectangle between two points of the frame, as whole source pixels inside `within`.
 *
 * Its sides are at most `most` long: what is beyond, seen from the first point, is left out. */
export function regionBetween(a, b, scale, within, most = Infinity) {
  const [x0, width] = between(a.u / scale.x, b.u / scale.x, within.x, within.width, most);
  const [y0, height] = between(a.v / scale.y, b.v / scale.y, within.y, within.height, most);
  return { x: x0, y: y0, width, height };
}

function between(a, b, start, length, most) {
  const low = Math.min(Math.max(start, Math.floor(Math.min(a, b))), start + length - 1);
  const high = Math.max(low + 1, Math.min(start + length, Math.ceil(Math.max(a, b))));
  const kept = Math.min(high - low, most);
  return [a <= b ? low : high - kept, kept];
}

/** A square of `side` source pixels about a point of the frame, inside the source. */
export function regionAround({ u, v }, side, scale, source) {
  const along = (middle, length) => [Math.round(Math.min(Math.max(0, middle - side / 2), Math.max(0, length - side))), Math.min(side, length)];
  const [x, width] = along(u / scale.x, source.width);
  const [y, height] = along(v / scale.y, source.height);
  return { x, y, width, height };
}

/** The picture pixels of a pane under a region: those of the figure (crops.py), and at least one. */
function pixelsUnder({ picture, place }, region, scale) {
  const [x, width] = pixelsAlong(region.x * scale.x - place.u, region.width * scale.x, picture.width / place.width, picture.width);
  const [y, height] = pixelsAlong(region.y * scale.y - place.v, region.height * scale.y, picture.height / place.height, picture.height);
  return { x, y, width, height };
}

function pixelsAlong(start, length, density, count) {
  const nearest = (value) => Math.floor(value * density + 0.5 + 1e-6);
  const first = Math.min(count - 1, Math.max(0, nearest(start)));
  return [first, Math.max(1, Math.min(count, nearest(start + length)) - first)];
}

/** Whether a pane's picture shows all of a region: one of a part may not. */
function shows({ picture, place }, region, scale) {
  if (!picture) return false;
  const inside = (start, length, from, size) => start >= from - 1 && start + length <= from + size + 1;
  return inside(region.x * scale.x, region.width * scale.x, place.u, place.width) && inside(region.y * scale.y, region.height * scale.y, place.v, place.height);
}

/** The scores of a pane's crop of a region against the reference's; null where the sizes differ. */
function regionScores(pane, reference, region, scale) {
  if (!pane?.picture || !reference?.picture || pane === reference) return null;
  if (pane.picture.width !== reference.picture.width || pane.picture.height !== reference.picture.height) return null;
  const a = pixelsUnder(pane, region, scale);
  const b = pixelsUnder(reference, region, scale);
  return cropScores(pane.picture.read(a.x, a.y, a.width, a.height), reference.picture.read(b.x, b.y, a.width, a.height));
}

/** A canvas with a pane's crop of a region, of the same size for every pane. */
function cropCanvas(pane, region, scale, side, { smooth, dpr }) {
  const canvas = el("canvas");
  const aspect = (region.width * scale.x) / (region.height * scale.y);
  canvas.width = Math.max(1, Math.round(aspect >= 1 ? side : side * aspect));
  canvas.height = Math.max(1, Math.round(aspect >= 1 ? side / aspect : side));
  canvas.style.width = `${canvas.width / dpr}px`;
  const { x, y, width, height } = pixelsUnder(pane, region, scale);
  const ctx = canvas.getContext("2d");
  ctx.imageSmoothingEnabled = smooth || canvas.width < width;
  ctx.imageSmoothingQuality = "high";
  ctx.drawImage(pane.picture.bitmap, x, y, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** The strip of crops beside the table. */
export class RegionStrip {
  constructor(viewer) {
    this.viewer = viewer;
    this.node = el("section", { className: "gsr-regions", "aria-label": "Region crops" });
    this.key = "";
  }

  update() {
    const { viewer } = this;
    const { region, regions, scene } = viewer;
    const panes = viewer.allPanes.filter((pane) => (region ? shows(pane, region, scene.scale) : pane.picture));
    const key = JSON.stringify([region, regions.length, panes.map((p) => [p.spec.id, p.version]), viewer.smooth, viewer.blind]);
    if (key === this.key) return;
    this.key = key;
    if (!region) {
      this.node.replaceChildren(
        el("h3", {}, "Regions"),
        el("p", { className: "gsr-quiet" }, panes.length ? "Press R, or “Region” above, and drag over the picture to compare a detail." : "Regions that you draw appear here."),
      );
      return;
    }
    const side = Math.round(Math.min(96, Math.max(56, 332 / panes.length - 8)) * viewer.dpr);
    const name = el("input", {
      className: "gsr-name",
      value: region.name,
      maxLength: 24,
      "aria-label": "Name of the region",
      onchange: (event) => viewer.renameRegion(region, event.target.value),
    });
    const tools = el(
      "div",
      { className: "gsr-regiontools" },
      el("span", {}, "Region"),
      name,
      regions.length > 1 && el("button", { type: "button", onclick: () => viewer.nextRegion() }, `Next of ${regions.length}`),
      el("button", { type: "button", onclick: () => viewer.showRegion(region) }, "Zoom to region"),
      el("button", { type: "button", title: "Remove this region", onclick: () => viewer.removeRegion(region) }, "Remove"),
    );
    const crops = panes.map((pane) => {
      const { psnr, ssim } = regionScores(pane, viewer.reference, region, scene.scale) ?? { psnr: null, ssim: null };
      const crop = cropCanvas(pane, region, scene.scale, side, viewer);
      return el(
        "figure",
        { style: { width: `${Math.max(56, crop.width / viewer.dpr)}px` } },
        crop,
        el("figcaption", {}, dot(pane.spec.colour), viewer.nameOf(pane), psnr !== null && el("b", { title: "PSNR of this crop, on Y" }, decibels(psnr)), ssim !== null && el("b", { title: "SSIM of this crop, on Y" }, ssim.toFixed(4))),
      );
    });
    this.node.replaceChildren(tools, el("div", { className: "gsr-crops" }, ...crops));
  }
}
