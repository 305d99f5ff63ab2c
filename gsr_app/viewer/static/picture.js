/* Pictures: decoded without loss, drawn without blur, read back exactly. */

const LARGE_BYTES = 200_000;

/** The body of an answer; its progress is told where the size is known and worth it. */
async function received(answer, progress) {
  const size = Number(answer.headers.get("content-length"));
  if (!progress || !answer.body || !(size > LARGE_BYTES)) return answer.blob();
  const reader = answer.body.getReader();
  const parts = [];
  let count = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    parts.push(value);
    count += value.length;
    progress(Math.min(1, count / size));
  }
}

/** A decoded image, and smaller copies for low zooms. */
export class Picture {
  constructor(bitmap, alpha) {
    this.bitmap = bitmap;
    this.width = bitmap.width;
    this.height = bitmap.height;
    this.alpha = alpha;
    this.mips = [bitmap];
    this.probe = null;
  }

  /** `progress` is told the share of the bytes that has arrived, of pictures that take a while. */
  static async load(url, { alpha = false, signal, progress } = {}) {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`The picture could not be fetched (${answer.status}).`);
    return Picture.decode(await received(answer, progress), alpha);
  }

  /** The bytes as they are: no colour management and no premultiplication, which would round them. */
  static async decode(blob, alpha = false) {
    const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    return new Picture(await createImageBitmap(blob, options), alpha);
  }

  /** A copy whose size is at least `fraction` of the picture's, made by halving with smoothing. */
  mip(fraction) {
    let level = 0;
    while (fraction * 2 ** (level + 1) <= 1 && Math.min(this.width, this.height) >> (level + 1) >= 1) level++;
    while (this.mips.length <= level) {
      const last = this.mips.at(-1);
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(last.width / 2));
      canvas.height = Math.max(1, Math.round(last.height / 2));
      const ctx = canvas.getContext("2d");
      ctx.imageSmoothingEnabled = true;
      ctx.drawImage(last, 0, 0, canvas.width, canvas.height);
      this.mips.push(canvas);
    }
    return this.mips[level];
  }

  /** RGB(A) of one pixel, or null outside. */
  pixel(x, y) {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return null;
    return [...this.read(x, y, 1, 1).data.slice(0, this.alpha ? 4 : 3)];
  }

  read(x, y, width, height) {
    this.probe ??= document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const { canvas } = this.probe;
    if (canvas.width < width || canvas.height < height) Object.assign(canvas, { width, height });
    this.probe.clearRect(0, 0, width, height);
    this.probe.drawImage(this.bitmap, x, y, width, height, 0, 0, width, height);
    return this.probe.getImageData(0, 0, width, height);
  }

  close() {
    this.bitmap.close?.();
    this.mips = [];
  }
}

/** The top left corner of a picture on the screen, and the size of its pixels there. */
export const onScreen = (picture, place, zoom, origin) => ({
  pitchX: (place.width / picture.width) * zoom,
  pitchY: (place.height / picture.height) * zoom,
  left: origin.x + place.u * zoom,
  top: origin.y + place.v * zoom,
});

/** The pixels of a picture inside `rect`, from (x0, y0) up to (x1, y1); null where there are none. `corner` comes from `onScreen`. */
export function pixelsIn(picture, rect, corner) {
  const { pitchX, pitchY, left, top } = corner;
  const x0 = Math.max(0, Math.floor((rect.x - left) / pitchX));
  const y0 = Math.max(0, Math.floor((rect.y - top) / pitchY));
  const x1 = Math.min(picture.width, Math.ceil((rect.x + rect.w - left) / pitchX));
  const y1 = Math.min(picture.height, Math.ceil((rect.y + rect.h - top) / pitchY));
  return x1 <= x0 || y1 <= y0 ? null : { x0, y0, x1, y1 };
}

/** Draw the part of a picture that a pane shows.
 *
 * `place` is the rectangle of the frame that the picture covers {u, v, width, height}; `zoom` and `origin` come from
 * the view. The source rectangle is always whole pixels, so that neighbours never bleed in at the edges. */
export function drawPicture(ctx, picture, place, rect, zoom, origin, smooth) {
  const corner = onScreen(picture, place, zoom, origin);
  const { pitchX, pitchY, left, top } = corner;
  const seen = pixelsIn(picture, rect, corner);
  if (!seen) return;
  const { x0, y0, x1, y1 } = seen;
  const dx = left + x0 * pitchX;
  const dy = top + y0 * pitchY;
  const dw = (x1 - x0) * pitchX;
  const dh = (y1 - y0) * pitchY;
  if (picture.alpha) drawChecks(ctx, dx, dy, dw, dh, left, top);
  const pitch = Math.max(pitchX, pitchY);
  const source = pitch < 1 ? picture.mip(pitch) : picture.bitmap;
  const kx = source.width / picture.width;
  const ky = source.height / picture.height;
  ctx.imageSmoothingEnabled = pitch < 1 || (smooth && pitch > 1);
  ctx.imageSmoothingQuality = pitch < 1 ? "medium" : "high";
  ctx.drawImage(source, x0 * kx, y0 * ky, (x1 - x0) * kx, (y1 - y0) * ky, dx, dy, dw, dh);
}

const CHECK = 8;
let checks = null;

function drawChecks(ctx, x, y, w, h, left, top) {
  if (!checks) {
    checks = document.createElement("canvas");
    checks.width = checks.height = 2 * CHECK;
    const c = checks.getContext("2d");
    c.fillStyle = "#ffffff";
    c.fillRect(0, 0, 2 * CHECK, 2 * CHECK);
    c.fillStyle = "#cccccc";
    c.fillRect(0, 0, CHECK, CHECK);
    c.fillRect(CHECK, CHECK, CHECK, CHECK);
  }
  const pattern = ctx.createPattern(checks, "repeat");
  pattern.setTransform(new DOMMatrix().translate(Math.round(left), Math.round(top)));
  ctx.fillStyle = pattern;
  ctx.fillRect(x, y, w, h);
}

/** Lines between the picture's pixels, once they are at least eight device pixels wide. */
export function drawGrid(ctx, picture, place, rect, zoom, origin) {
  const { pitchX, pitchY, left, top } = onScreen(picture, place, zoom, origin);
  if (Math.min(pitchX, pitchY) < 8) return;
  const x0 = Math.max(rect.x, left);
  const y0 = Math.max(rect.y, top);
  const x1 = Math.min(rect.x + rect.w, left + picture.width * pitchX);
  const y1 = Math.min(rect.y + rect.h, top + picture.height * pitchY);
  ctx.fillStyle = "rgba(128,128,128,0.28)";
  for (let i = Math.ceil((x0 - left) / pitchX); left + i * pitchX <= x1; i++) {
    ctx.fillRect(Math.round(left + i * pitchX), y0, 1, y1 - y0);
  }
  for (let j = Math.ceil((y0 - top) / pitchY); top + j * pitchY <= y1; j++) {
    ctx.fillRect(x0, Math.round(top + j * pitchY), x1 - x0, 1);
  }
}
