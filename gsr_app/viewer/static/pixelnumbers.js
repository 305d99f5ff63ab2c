/* The values of the pixels, written on them where they are large enough. */

import { onScreen, pixelsIn } from "./picture.js";

const LEAST_CSS = 24; // side of a pixel on the screen

/** Write R, G and B on each pixel of a picture inside `rect`; `place`, `zoom` and `origin` as for `drawPicture`. */
export function drawNumbers(ctx, picture, place, rect, zoom, origin, dpr) {
  const corner = onScreen(picture, place, zoom, origin);
  const { pitchX, pitchY, left, top } = corner;
  if (Math.min(pitchX, pitchY) < LEAST_CSS * dpr) return;
  const seen = pixelsIn(picture, rect, corner);
  if (!seen) return;
  const { x0, y0, x1, y1 } = seen;
  const { data } = picture.read(x0, y0, x1 - x0, y1 - y0);
  const line = Math.min(pitchX, pitchY) / 3.4;
  ctx.font = `${Math.round(line * 0.92)}px ui-monospace, "DejaVu Sans Mono", monospace`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (let y = y0; y < y1; y++) {
    for (let x = x0; x < x1; x++) {
      const i = 4 * ((y - y0) * (x1 - x0) + x - x0);
      ctx.fillStyle = 0.3 * data[i] + 0.59 * data[i + 1] + 0.11 * data[i + 2] > 128 ? "rgba(0,0,0,0.75)" : "rgba(255,255,255,0.8)";
      for (let c = 0; c < 3; c++) ctx.fillText(data[i + c], left + (x + 0.5) * pitchX, top + (y + 0.5) * pitchY + (c - 1) * line);
    }
  }
  ctx.textAlign = "start";
  ctx.textBaseline = "alphabetic";
}
