/* Draws a whole picture at any size, in pieces, and writes it as PNG. */

import { DEFAULT_ADJUSTMENTS, drawOptions } from "./adjustments.js";
import { MARGIN } from "./mosaic.js";
import { PngWriter } from "./pngwriter.js";

const BAND_PIXELS = 4e6; // drawn and compressed at a time
const MAX_PIECE = 2048; // pixels: wider targets need more memory than every GPU has
const MAX_SIDE = 65_535;
const MAX_PIXELS = 1e9;
const MIN_SCALE = 0.25;
const MAX_SCALE = 100;

/** The size that a text stands for: "3", "x2.5", "1920x1080", "1920x", "x1080"; an error says what is wrong. */
export function parseSize(text, { width, height }) {
  const form = text.trim().toLowerCase().replaceAll("×", "x").replaceAll(" ", "");
  const factor = /^x?(\d+(?:\.\d+)?|\.\d+)$/.exec(form);
  const pixels = /^(\d*)x(\d*)$/.exec(form);
  let scale = null;
  if (factor && !(form.startsWith("x") && Number(factor[1]) >= 32)) scale = { x: Number(factor[1]), y: Number(factor[1]) };
  else if (pixels && (pixels[1] || pixels[2])) {
    const [x, y] = [pixels[1] && Number(pixels[1]) / width, pixels[2] && Number(pixels[2]) / height];
    scale = { x: x || y, y: y || x };
  }
  if (!scale) throw new Error("Write a factor, such as 3, or a size, such as 1920x1080 or 1920x.");
  if (Math.min(scale.x, scale.y) < MIN_SCALE || Math.max(scale.x, scale.y) > MAX_SCALE) throw new Error(`Choose a size from ${MIN_SCALE} to ${MAX_SCALE} times the picture's.`);
  const size = { width: Math.max(1, Math.floor(width * scale.x + 1e-6)), height: Math.max(1, Math.floor(height * scale.y + 1e-6)) };
  if (Math.max(size.width, size.height) > MAX_SIDE || size.width * size.height > MAX_PIXELS) throw new Error("That is too large for a file that a browser can make. The app has no such limit.");
  return { ...size, scale };
}

/** A PNG of `size` {width, height, scale}. `progress` gets the finished fraction; `signal` stops. */
export async function savePicture(tiler, painter, { width, height, scale }, { progress = () => {}, signal } = {}) {
  const { field } = tiler;
  const writer = new PngWriter(width, height);
  const options = { ...drawOptions(DEFAULT_ADJUSTMENTS, field), exact: true };
  const pieceWidth = Math.min(width, MAX_PIECE, Math.max(1, Math.floor(5 * field.side * scale.x)));
  const most = Math.min(MAX_PIECE, Math.max(1, Math.floor(BAND_PIXELS / width)));
  try {
    for (let top = 0, rows = 0; top < height; top += rows) {
      rows = Math.min(most, bandEnd(top, field.side, scale.y) - top, height - top);
      const band = new Uint8Array(3 * width * rows);
      for (let left = 0; left < width; left += pieceWidth) {
        signal?.throwIfAborted();
        const columns = Math.min(pieceWidth, width - left);
        const rectangle = { x: left / scale.x, y: top / scale.y, width: columns / scale.x, height: rows / scale.y };
        await tiler.need(rectangle);
        signal?.throwIfAborted(); // a tile takes a while
        const bytes = painter.pixels(field, rectangle, columns, rows, options);
        if (!bytes) throw new Error("WebGL2 was lost. Try again.");
        copyRows(bytes, columns, rows, band, width, left);
        tiler.release((left + columns) / scale.x, (top + rows) / scale.y);
        progress((top + (rows * (left + columns)) / width) / height);
      }
      await writer.write(band);
    }
    return await writer.finish();
  } catch (error) {
    writer.cancel();
    throw error;
  }
}

/** The row before which a band ends. Bands see one row of tiles, or two near the border of both: so each row of tiles is needed
 * by bands that follow one another, and is encoded once if a row and a piece of the next fit into memory. */
function bandEnd(top, side, scale) {
  for (let border = side * Math.floor(Math.max(0, top / scale - MARGIN) / side); ; border += side) {
    const [before, after] = [Math.ceil((border - MARGIN) * scale) - 1, Math.ceil((border + MARGIN) * scale)];
    if (before > top) return before;
    if (border && after > top) return after;
  }
}

function copyRows(bytes, columns, rows, band, width, left) {
  for (let row = 0; row < rows; row++) {
    let from = 4 * columns * row;
    let to = 3 * (row * width + left);
    for (let k = 0; k < columns; k++, from += 4) {
      band[to++] = bytes[from];
      band[to++] = bytes[from + 1];
      band[to++] = bytes[from + 2];
    }
  }
}
