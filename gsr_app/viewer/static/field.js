/* A field of Gaussians in the browser: the reader of its file, and the extent of each grid cell.
 *
 * Everything is in source pixels, centres at +0.5, y down. The values stay in the buffer of the file, 20 bytes per
 * Gaussian, and are decoded where they are needed. gsr_app/io/fields.py describes the file; this reads the float16
 * variant, which the server sends and reports include. `fieldpainter.js` draws fields. */

import { half, openTensors } from "./safetensors.js";

export const EPS = 1e-4; // weight of a Gaussian at its cut-off
export const REACH = Math.sqrt(-2 * Math.log(EPS)); // sigmas
export const FAR = 1e9;
export const TILT = Math.PI / 65536; // an angle's unit

export class Field {
  constructor(buffer) {
    const file = openTensors(buffer, "gsr-field");
    if (!file) throw new Error("This is not a field of Gaussians.");
    const texts = (this.texts = file.texts);
    if (texts.version !== "1") throw new Error(`The field has format ${texts.version}; this page reads format 1.`);
    const value = (name) => JSON.parse(texts[name]);
    if (value("precision") !== "float16") throw new Error(`The field is stored as ${value("precision")}; this page reads float16.`);
    const [count, { size, columns, rows }] = [value("count"), value("cell")];
    Object.assign(this, { count, columns, rows, cell: size, source: value("source_size") }); // source: [height, width]
    Object.assign(this, { normalize: value("normalize"), window: value("window") ?? [FAR, FAR] });
    this.starts = file.array("starts", Uint32Array); // first Gaussian of each cell, and the total
    this.ends = this.starts.subarray(1);
    this.changes = [[0, count]]; // ranges of Gaussians to copy to the GPU, oldest first
    this.mean = file.array("mean", Float32Array); // [N, 2]
    this.axes = file.array("axes", Uint16Array); // [N, 2] float16: half axes, the longer first
    this.angle = file.array("angle", Uint16Array); // [N] the longer one's tilt, in 65536ths of pi
    this.color = file.array("color", Uint16Array); // [N, 3] float16
    const channels = file.shape("color")[1];
    const one = (_, k) => this.color[Math.floor(k / 3) * channels + (channels < 3 ? 0 : k % 3)]; // grey is repeated three times
    if (channels !== 3) this.color = Uint16Array.from({ length: 3 * count }, one);
    if (this.mean.length !== 2 * count || this.starts.at(-1) !== count) throw new Error("The field is damaged.");
    this.#measure();
  }

  /** From a URL, gzipped or not; `progress` gets the bytes received so far. */
  static async load(url, { signal, progress } = {}) {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`The Gaussians could not be fetched (${answer.status}).`);
    let received = 0;
    const transform = (chunk, out) => (progress?.((received += chunk.byteLength)), out.enqueue(chunk));
    return new Field(await unzipped(await new Response(answer.body.pipeThrough(new TransformStream({ transform }))).arrayBuffer()));
  }

  #measure() {
    this.boxes = new Float32Array(4 * this.ends.length);
    this.areas = new Float32Array(this.ends.length);
    for (let cell = 0; cell < this.areas.length; cell++) measureCell(this, cell);
  }
}

/** The bytes of a file, gzipped or not. */
export async function unzipped(body) {
  if (body.byteLength < 2 || new DataView(body).getUint16(0) !== 0x1f8b) return body;
  return new Response(new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

/** Find the box that the Gaussians of a cell reach, and the area of their quads. */
export function measureCell({ starts, ends, mean, axes, angle, window, boxes, areas }, cell) {
  let [x0, y0, x1, y1, area] = [FAR, FAR, -FAR, -FAR, 0];
  for (let i = starts[cell]; i < ends[cell]; i++) {
    const [a, b] = [REACH * half(axes[2 * i]), REACH * half(axes[2 * i + 1])];
    const [c, s] = [Math.cos(angle[i] * TILT), Math.sin(angle[i] * TILT)];
    const [hx, hy] = [Math.min(window[0], Math.hypot(a * c, b * s)), Math.min(window[1], Math.hypot(a * s, b * c))];
    [x0, x1] = [Math.min(x0, mean[2 * i] - hx), Math.max(x1, mean[2 * i] + hx)];
    [y0, y1] = [Math.min(y0, mean[2 * i + 1] - hy), Math.max(y1, mean[2 * i + 1] + hy)];
    area += 4 * Math.min(a * b, hx * hy);
  }
  boxes.set([x0, y0, x1, y1], 4 * cell);
  areas[cell] = area;
}
