/* Writes a PNG row by row, so that a picture of any size needs little memory. */

const CRCS = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function chunk(kind, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...kind].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  let crc = 0xffffffff;
  for (let k = 4; k < 8 + data.length; k++) crc = CRCS[(crc ^ bytes[k]) & 255] ^ (crc >>> 8);
  view.setUint32(8 + data.length, ~crc >>> 0);
  return bytes;
}

export class PngWriter {
  constructor(width, height) {
    const head = new Uint8Array(13);
    const view = new DataView(head.buffer);
    view.setUint32(0, width);
    view.setUint32(4, height);
    head.set([8, 2, 0, 0, 0], 8); // 8 bits, RGB
    this.parts = [Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a), chunk("IHDR", head), chunk("sRGB", Uint8Array.of(0))];
    this.bytes = 3 * width;
    this.above = new Uint8Array(this.bytes);
    const packer = new CompressionStream("deflate");
    this.writer = packer.writable.getWriter();
    this.collected = this.#collect(packer.readable.getReader());
  }

  async #collect(reader) {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.parts.push(chunk("IDAT", value));
    }
  }

  /** Add rows of RGB. */
  async write(rows) {
    const { bytes } = this;
    const count = rows.length / bytes;
    const filtered = new Uint8Array(rows.length + count);
    for (let row = 0; row < count; row++) {
      const line = rows.subarray(row * bytes, (row + 1) * bytes);
      filter(line, this.above, filtered.subarray(row * (bytes + 1), (row + 1) * (bytes + 1)));
      this.above = line;
    }
    await this.writer.write(filtered);
  }

  /** The file. */
  async finish() {
    await this.writer.close();
    await this.collected;
    return new Blob([...this.parts, chunk("IEND", new Uint8Array(0))], { type: "image/png" });
  }

  cancel() {
    this.collected.catch(() => {});
    this.writer.abort().catch(() => {});
  }
}

/** A row as its difference from the left and the upper neighbour, by Paeth's rule: smooth pictures become small. */
function filter(line, above, out) {
  out[0] = 4;
  for (let k = 0; k < line.length; k++) {
    const [left, up, corner] = k < 3 ? [0, above[k], 0] : [line[k - 3], above[k], above[k - 3]];
    const [byLeft, byUp, byCorner] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
    out[k + 1] = line[k] - (byLeft <= byUp && byLeft <= byCorner ? left : byUp <= byCorner ? up : corner);
  }
}
