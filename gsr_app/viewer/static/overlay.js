/* Gaussians over the picture: dots, one-sigma ellipses, or a density map where there are too many to tell apart. */

import { heat } from "./difference.js";
import { colorOf, countIn, ellipseOf, forEachIn, shapeOf, typical } from "./fieldqueries.js";
import { drawRings } from "./rings.js";

export const OVERLAYS = ["off", "centres", "ellipses", "density"];
export const COLOURINGS = ["plain", "colour", "opacity", "size"];

const DEVICE_PIXELS_PER_DOT = 20; // with fewer, dots merge, and the density is shown instead
const MAX_ELLIPSES = 6000; // strokes per frame for smooth panning, one by one
const MAX_RINGS = 60_000; // and by the painter
const DENSITY_BIN = 6; // device pixels, at least
const PER_BIN = 6; // Gaussians, about: with fewer the map would show the lattice of their centres

let scratch = null;

/** Draws one pane's overlay; returns {count, shown}: the Gaussians in view, and the mode that was drawn. */
export function drawOverlay(ctx, field, mode, colouring, rect, origin, pixelsPerSource, dpr, painter = null) {
  const [kx, ky] = pixelsPerSource; // device pixels per source pixel
  const box = [
    (rect.x - origin.x) / kx,
    (rect.y - origin.y) / ky,
    (rect.x + rect.w - origin.x) / kx,
    (rect.y + rect.h - origin.y) / ky,
  ];
  const count = countIn(field, ...box);
  const [height, width] = field.source;
  const covered = Math.min(rect.w, width * kx) * Math.min(rect.h, height * ky);
  let shown = mode;
  if (mode === "ellipses" && count > (painter ? MAX_RINGS : MAX_ELLIPSES)) shown = "centres";
  if (shown !== "density" && count * DEVICE_PIXELS_PER_DOT * dpr > covered) shown = "density";
  const place = (x, y) => [origin.x + x * kx, origin.y + y * ky];
  if (shown === "density") drawDensity(ctx, field, box, place, pixelsPerSource, count, covered);
  else if (shown === "ellipses" && painter) drawRings(ctx, painter, field, COLOURINGS.indexOf(colouring), rect, box, dpr);
  else if (shown === "ellipses") drawEllipses(ctx, field, box, colouring, place, kx, ky, dpr);
  else drawCentres(ctx, field, box, colouring, place, dpr);
  return { count, shown };
}

function colourOf(field, i, colouring) {
  if (colouring === "plain") return "rgba(255,246,226,0.85)";
  const color = colorOf(field, i);
  const most = Math.max(...color.map(Math.abs));
  if (colouring === "colour") {
    const gain = field.normalize ? 255 : 255 / Math.max(most, 1e-6);
    return `rgb(${color.map((c) => Math.round(Math.min(255, Math.max(0, c * gain)))).join(" ")})`;
  }
  const { sizes: [low, high], peak } = typical(field);
  const t = colouring === "opacity" ? most / peak : (ellipseOf(field, i).major - low) / Math.max(1e-6, high - low);
  return `rgb(${heat(0.15 + 0.85 * t).map(Math.round).join(" ")})`;
}

function drawCentres(ctx, field, box, colouring, place, dpr) {
  const size = 2 * dpr;
  ctx.fillStyle = colourOf(field, 0, "plain");
  forEachIn(field, ...box, (i, mx, my) => {
    const [x, y] = place(mx, my);
    if (colouring !== "plain") ctx.fillStyle = colourOf(field, i, colouring);
    ctx.fillRect(Math.round(x - size / 2), Math.round(y - size / 2), size, size);
  });
}

function drawEllipses(ctx, field, box, colouring, place, kx, ky, dpr) {
  ctx.lineWidth = dpr;
  ctx.strokeStyle = colourOf(field, 0, "plain");
  const plain = colouring === "plain";
  if (plain) ctx.beginPath();
  // Ellipses with centres outside may reach into the rectangle.
  const reach = 3 * (typical(field).sizes[1] || 1);
  forEachIn(field, box[0] - reach, box[1] - reach, box[2] + reach, box[3] + reach, (i, mx, my) => {
    const [x, y] = place(mx, my);
    const { major, minor, angle } = ellipseOf(field, i);
    if (!plain) {
      ctx.beginPath();
      ctx.strokeStyle = colourOf(field, i, colouring);
    }
    if (kx === ky) ctx.moveTo(x + major * kx * Math.cos(angle), y + major * kx * Math.sin(angle));
    ellipsePath(ctx, x, y, major, minor, angle, kx, ky);
    if (!plain) ctx.stroke();
  });
  if (plain) ctx.stroke();
}

function ellipsePath(ctx, x, y, major, minor, angle, kx, ky) {
  if (kx === ky) return ctx.ellipse(x, y, Math.max(0.3, major * kx), Math.max(0.3, minor * kx), angle, 0, 2 * Math.PI);
  for (let k = 0; k <= 32; k++) {
    const [c, s] = [major * Math.cos((k * Math.PI) / 16), minor * Math.sin((k * Math.PI) / 16)];
    const px = x + (c * Math.cos(angle) - s * Math.sin(angle)) * kx;
    const py = y + (c * Math.sin(angle) + s * Math.cos(angle)) * ky;
    if (k) ctx.lineTo(px, py);
    else ctx.moveTo(px, py);
  }
}

/** The edges of bins along one axis: whole source pixels, because the centres of many fields lie on a lattice that
 * repeats with them, and bins of any other size would show the beat of the two lattices. */
function binsBetween(low, high, pixelsPerSource, least) {
  const size = Math.max(1, Math.ceil(least / pixelsPerSource));
  const first = Math.floor(low / size);
  return { size, start: first * size, count: Math.max(1, Math.ceil(high / size) - first) };
}

/** How many Gaussians each bin has: {columns, rows, bins}. Each counts in the bins around it by its distance to them. */
export function densityOf(field, box, [kx, ky], least) {
  const [height, width] = field.source;
  const across = binsBetween(Math.max(0, box[0]), Math.min(width, box[2]), kx, least);
  const down = binsBetween(Math.max(0, box[1]), Math.min(height, box[3]), ky, least);
  const bins = new Float32Array(across.count * down.count);
  const [x0, y0] = [across.start, down.start];
  const near = (value, count) => Math.min(count - 1, Math.max(0, value));
  forEachIn(field, x0, y0, x0 + across.count * across.size, y0 + down.count * down.size, (_, mx, my) => {
    const x = (mx - x0) / across.size - 0.5;
    const y = (my - y0) / down.size - 0.5;
    const [c, r] = [Math.floor(x), Math.floor(y)];
    for (const [dr, v] of [[0, 1 - y + r], [1, y - r]]) {
      for (const [dc, u] of [[0, 1 - x + c], [1, x - c]]) bins[near(r + dr, down.count) * across.count + near(c + dc, across.count)] += u * v;
    }
  });
  // The last bins may lie partly outside the picture.
  const share = ({ start, size, count }, extent) => Math.min(1, (extent - start - (count - 1) * size) / size) || 1;
  const [right, bottom] = [share(across, width), share(down, height)];
  for (let r = 0; r < down.count; r++) bins[(r + 1) * across.count - 1] /= right;
  for (let c = 0; c < across.count; c++) bins[(down.count - 1) * across.count + c] /= bottom;
  return { across, down, bins };
}

function drawDensity(ctx, field, box, place, scale, count, covered) {
  const least = Math.max(DENSITY_BIN, Math.ceil(Math.sqrt((PER_BIN * covered) / Math.max(1, count))));
  const { across, down, bins } = densityOf(field, box, scale, least);
  let most = 1e-6;
  for (const n of bins) if (n > most) most = n;
  scratch ??= document.createElement("canvas").getContext("2d");
  Object.assign(scratch.canvas, { width: across.count, height: down.count });
  const image = scratch.createImageData(across.count, down.count);
  for (let i = 0; i < bins.length; i++) image.data.set([...heat(bins[i] / most), bins[i] ? 170 : 0], 4 * i);
  scratch.putImageData(image, 0, 0);
  ctx.imageSmoothingEnabled = true;
  const [left, top] = place(across.start, down.start);
  ctx.drawImage(scratch.canvas, left, top, across.count * across.size * scale[0], down.count * down.size * scale[1]);
}

/** The outline of one Gaussian. */
export function drawOutline(ctx, field, i, origin, kx, ky, dpr) {
  const { major, minor, angle } = ellipseOf(field, i);
  const x = origin.x + field.mean[2 * i] * kx;
  const y = origin.y + field.mean[2 * i + 1] * ky;
  ctx.lineWidth = 2 * dpr;
  ctx.strokeStyle = "#58b39a";
  ctx.beginPath();
  ellipsePath(ctx, x, y, Math.max(major, 2 / kx), Math.max(minor, 2 / ky), angle, kx, ky);
  ctx.stroke();
}

export function describe(field, i) {
  const number = (value) => (Math.abs(value) < 0.0005 ? "0" : value.toPrecision(3));
  const { sx, sy, rho } = shapeOf(field, i);
  const color = colorOf(field, i).map(number).join(" ");
  const at = [field.mean[2 * i], field.mean[2 * i + 1]].map((v) => v.toFixed(2)).join(" ");
  return `at ${at}  σ ${number(sx)} ${number(sy)}  ρ ${number(rho)}  colour ${color}`;
}
