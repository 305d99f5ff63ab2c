/* A field of Gaussians in the browser: the bytes the server sends, and questions about them.
 *
 * Layout, little endian: "GSRF", uint32 version, uint32 length of the JSON header, the header, then the arrays that
 * the header names, each starting at a multiple of four bytes. Gaussians are sorted by grid cell, row by row, and
 * `starts` says where each cell begins, so that a rectangle is a few contiguous runs. */

const HALF = new Float32Array(65536); // every float16 there is
for (let i = 0; i < 65536; i++) {
  const exponent = (i >> 10) & 31;
  const fraction = i & 1023;
  const sign = i & 32768 ? -1 : 1;
  if (exponent === 0) HALF[i] = sign * fraction * 2 ** -24;
  else if (exponent === 31) HALF[i] = fraction ? NaN : sign * Infinity;
  else HALF[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

export class Field {
  constructor(buffer) {
    const head = new DataView(buffer);
    const magic = String.fromCharCode(...new Uint8Array(buffer, 0, 4));
    if (magic !== "GSRF") throw new Error("This is not a field of Gaussians.");
    const version = head.getUint32(4, true);
    if (version !== 1) throw new Error(`The field has format ${version}; this viewer reads format 1.`);
    const length = head.getUint32(8, true);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 12, length)));
    Object.assign(this, { count: header.count, source: header.source, normalize: header.normalize });
    Object.assign(this, { cell: header.cell, columns: header.columns, rows: header.rows });
    const array = (name, Type, n) => new Type(buffer, 12 + length + header.offsets[name], n);
    this.starts = array("starts", Uint32Array, this.columns * this.rows + 1);
    this.mean = array("mean", Float32Array, 2 * this.count);
    this.sigmaBits = array("sigma", Uint16Array, 2 * this.count);
    this.rhoBits = array("rho", Uint16Array, this.count);
    this.colorBits = array("color", Uint16Array, 3 * this.count);
    this.peak = header.peak; // the largest absolute colour, for showing additive colours
    this.sizes = header.sizes; // 2nd and 98th percentile of sigma
  }

  static async load(url, signal) {
    const answer = await fetch(url, { signal });
    if (!answer.ok) throw new Error(`The Gaussians could not be fetched (${answer.status}).`);
    return new Field(await answer.arrayBuffer());
  }

  sigma(i) {
    return [HALF[this.sigmaBits[2 * i]], HALF[this.sigmaBits[2 * i + 1]]];
  }

  rho(i) {
    return HALF[this.rhoBits[i]];
  }

  color(i) {
    return [HALF[this.colorBits[3 * i]], HALF[this.colorBits[3 * i + 1]], HALF[this.colorBits[3 * i + 2]]];
  }

  /** Half axes and tilt of the one-sigma ellipse, source pixels and radians. */
  ellipse(i) {
    const [sx, sy] = this.sigma(i);
    const xy = this.rho(i) * sx * sy;
    const mid = (sx * sx + sy * sy) / 2;
    const off = Math.hypot((sx * sx - sy * sy) / 2, xy);
    return {
      major: Math.sqrt(mid + off),
      minor: Math.sqrt(Math.max(0, mid - off)),
      angle: 0.5 * Math.atan2(2 * xy, sx * sx - sy * sy),
    };
  }

  /** Call visit(i) for every Gaussian whose centre lies in the rectangle of the source plane. */
  forEachIn(x0, y0, x1, y1, visit) {
    const clamp = (value, n) => Math.min(n - 1, Math.max(0, Math.floor(value / this.cell)));
    const [c0, c1] = [clamp(x0, this.columns), clamp(x1, this.columns)];
    const [r0, r1] = [clamp(y0, this.rows), clamp(y1, this.rows)];
    const { mean, starts } = this;
    for (let row = r0; row <= r1; row++) {
      const end = starts[row * this.columns + c1 + 1];
      for (let i = starts[row * this.columns + c0]; i < end; i++) {
        const x = mean[2 * i];
        const y = mean[2 * i + 1];
        if (x >= x0 && x < x1 && y >= y0 && y < y1) visit(i, x, y);
      }
    }
  }

  countIn(x0, y0, x1, y1) {
    let count = 0;
    this.forEachIn(x0, y0, x1, y1, () => count++);
    return count;
  }

  /** The Gaussian whose centre is nearest to (x, y), within a radius; -1 when there is none. */
  nearest(x, y, radius) {
    let best = -1;
    let least = radius * radius;
    this.forEachIn(x - radius, y - radius, x + radius, y + radius, (i, mx, my) => {
      const d = (mx - x) ** 2 + (my - y) ** 2;
      if (d < least) [best, least] = [i, d];
    });
    return best;
  }
}
