/* A picture that the user opened: decoded by the browser, read in pieces as RGB. */

import { Picture } from "./picture.js";

const MAX_PIXELS = 64e6; // 256 MB decoded
const HEAD_BYTES = 256 * 1024; // enough to find the size before decoding

/** What a file says of itself: {width, height, bits}; nothing where it is neither PNG nor JPEG. */
export function readHead(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.byteLength > 33 && view.getUint32(0) === 0x89504e47) return { width: view.getUint32(16), height: view.getUint32(20), bits: view.getUint8(24) };
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) return {};
  for (let at = 2; at + 9 < view.byteLength && view.getUint8(at) === 0xff; at += 2 + view.getUint16(at + 2)) {
    const marker = view.getUint8(at + 1);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), bits: view.getUint8(at + 4) };
  }
  return {};
}

/** A bitmap that several panes show; the source closes it. */
class SharedPicture extends Picture {
  close() {}
}

export class Source {
  /** From a file; an error says in words what is wrong with it. */
  static async open(blob, name) {
    const head = readHead(new Uint8Array(await blob.slice(0, HEAD_BYTES).arrayBuffer()));
    checkSize(head.width * head.height, name);
    let bitmap = null;
    try {
      bitmap = await createImageBitmap(blob); // turned as its EXIF data says, colours as sRGB
    } catch {
      throw new Error(`${name} is not a picture that this browser can read.`);
    }
    checkSize(bitmap.width * bitmap.height, name);
    return new Source(bitmap, name, head.bits ?? 8);
  }

  constructor(bitmap, name, bits) {
    this.bitmap = bitmap;
    this.name = name;
    [this.width, this.height] = [bitmap.width, bitmap.height];
    this.notes = [];
    if (bits > 8) this.notes.push(`The file has ${bits} bits per channel; a browser reads 8 of them. The app keeps all.`);
    this.ctx = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.picture = new SharedPicture(bitmap, false);
  }

  /** Replace transparency, if there is any, by white. Large pictures are searched in pieces. */
  async flatten() {
    if (!this.#isTransparent()) return;
    const canvas = Object.assign(document.createElement("canvas"), { width: this.width, height: this.height });
    const ctx = canvas.getContext("2d");
    ctx.fillStyle = "#ffffff";
    ctx.fillRect(0, 0, this.width, this.height);
    ctx.drawImage(this.bitmap, 0, 0);
    this.bitmap.close();
    this.bitmap = await createImageBitmap(canvas);
    Object.assign(canvas, { width: 0, height: 0 });
    this.picture = new SharedPicture(this.bitmap, false);
    this.notes.push("Transparent parts are shown and saved on white; the app keeps them transparent.");
  }

  #isTransparent() {
    const rows = Math.max(1, Math.floor(1e6 / this.width));
    for (let y = 0; y < this.height; y += rows) {
      const { data } = this.bytes(0, y, this.width, Math.min(rows, this.height - y));
      for (let k = 3; k < data.length; k += 4) if (data[k] < 255) return true;
    }
    return false;
  }

  /** RGBA of a rectangle. */
  bytes(x, y, width, height) {
    const { canvas } = this.ctx;
    if (canvas.width < width || canvas.height < height) Object.assign(canvas, { width: Math.max(width, canvas.width), height: Math.max(height, canvas.height) });
    this.ctx.globalCompositeOperation = "copy";
    this.ctx.drawImage(this.bitmap, x, y, width, height, 0, 0, width, height);
    return this.ctx.getImageData(0, 0, width, height);
  }

  /** RGB of a rectangle, in 0..1. */
  read(x, y, width, height) {
    const { data } = this.bytes(x, y, width, height);
    const rgb = new Float32Array(3 * width * height);
    for (let from = 0, to = 0; from < data.length; from += 4) {
      rgb[to++] = data[from] / 255;
      rgb[to++] = data[from + 1] / 255;
      rgb[to++] = data[from + 2] / 255;
    }
    return rgb;
  }

  close() {
    this.bitmap.close();
    this.picture.mips = [];
    Object.assign(this.ctx.canvas, { width: 0, height: 0 });
  }
}

function checkSize(pixels, name) {
  if (pixels > MAX_PIXELS) throw new Error(`${name} has ${Math.round(pixels / 1e6)} megapixels; this page opens up to ${MAX_PIXELS / 1e6}. The app opens larger ones.`);
}
