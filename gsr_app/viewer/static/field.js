/* A field of Gaussians in the browser: the reader of its file, and the extent of each grid cell.
 *
 * Everything is in source pixels, centres at +0.5, y down. The values stay in the buffer of the file, 20 bytes per
 * Gaussian, and are decoded where they are needed. gsr_app/io/fields.py describes the file; this reads the float16
 * variant, which the server sends and reports include. `fieldpainter.js` draws fields. */

export const EPS = 1e-4; // weight of a Gaussian at its cut-off
export const REACH = Math.sqrt(-2 * Math.log(EPS)); // sigmas
const FAR = 1e9;
export const TILT = Math.PI / 65536; // an angle's unit

const POWERS = Float32Array.from({ length: 32 }, (_, exponent) => (exponent === 31 ? NaN : 2 ** (Math.max(1, exponent) - 25)));

/** A float16 as a number. */
export function half(bits) {
  const exponent = (bits >> 10) & 31;
  const size = ((bits & 1023) + (exponent ? 1024 : 0)) * POWERS[exponent];
  return bits & 32768 ? -size : size;
}

export class Field {
  constructor(buffer) {
    const length = buffer.byteLength > 8 ? Math.min(buffer.byteLength - 8, new DataView(buffer).getUint32(0, true)) : 0;
    const head = length ? new TextDecoder().decode(new Uint8Array(buffer, 8, length)) : "";
    if (!head.startsWith("{") || !head.includes('"gsr-field"')) throw new Error("This is not a field of Gaussians.");
    const header = JSON.parse(head);
    const texts = (this.texts = header.__metadata__);
    if (texts.version !== "1") throw new Error(`The field has format ${texts.version}; this page reads format 1.`);
    const value = (name) => JSON.parse(texts[name]);
    if (value("precision") !== "float16") throw new Error(`The field is stored as ${value("precision")}; this page reads float16.`);
    const [count, { size, columns, rows }] = [value("count"), value("cell")];
    Object.assign(this, { count, columns, rows, cell: size, source: value("source_size") }); // source: [height, width]
    Object.assign(this, { normalize: value("normalize"), window: value("window") ?? [FAR, FAR] });
    const array = (name, Type) => new Type(buffer, 8 + length + header[name].data_offsets[0], header[name].shape.reduce((a, b) => a * b));
    this.starts = array("starts", Uint32Array); // first Gaussian of each cell, and the total
    this.mean = array("mean", Float32Array); // [N, 2]
    this.axes = array("axes", Uint16Array); // [N, 2] float16: half axes, the longer first
    this.angle = array("angle", Uint16Array); // [N] the longer one's tilt, in 65536ths of pi
    this.color = array("color", Uint16Array); // [N, 3] float16
    const channels = header.color.shape[1];
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
    const body = await new Response(answer.body.pipeThrough(new TransformStream({ transform }))).arrayBuffer();
    if (new DataView(body).getUint16(0) !== 0x1f8b) return new Field(body);
    return new Field(await new Response(new Blob([body]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer());
  }

  // The box that the Gaussians of each cell reach, and the area of their quads.
  #measure() {
    const { starts, mean, axes, angle, window } = this;
    this.boxes = new Float32Array(4 * (starts.length - 1));
    this.areas = new Float32Array(starts.length - 1);
    for (let cell = 0; cell < this.areas.length; cell++) {
      let [x0, y0, x1, y1, area] = [FAR, FAR, -FAR, -FAR, 0];
      for (let i = starts[cell]; i < starts[cell + 1]; i++) {
        const [a, b] = [REACH * half(axes[2 * i]), REACH * half(axes[2 * i + 1])];
        const [c, s] = [Math.cos(angle[i] * TILT), Math.sin(angle[i] * TILT)];
        const [hx, hy] = [Math.min(window[0], Math.hypot(a * c, b * s)), Math.min(window[1], Math.hypot(a * s, b * c))];
        [x0, x1] = [Math.min(x0, mean[2 * i] - hx), Math.max(x1, mean[2 * i] + hx)];
        [y0, y1] = [Math.min(y0, mean[2 * i + 1] - hy), Math.max(y1, mean[2 * i + 1] + hy)];
        area += 4 * Math.min(a * b, hx * hy);
      }
      this.boxes.set([x0, y0, x1, y1], 4 * cell);
      this.areas[cell] = area;
    }
  }
}
