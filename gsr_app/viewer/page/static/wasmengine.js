/* Runs the network with WebAssembly SIMD, on one thread. */

import { groupsOf } from "./network.js";
import { assemble, blocksOf } from "./wasmkernel.js";

const PAGE_BYTES = 65536;

/** Whether multiplication and addition are one instruction here; an error where there is no SIMD at all. */
export function hasFusedArithmetic() {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(assemble([1], false))) throw new Error("This browser has no WebAssembly with SIMD.");
  return WebAssembly.validate(assemble([1], true));
}

export class WasmEngine {
  constructor(network) {
    this.network = network;
    const dilations = [...new Set(network.layers.map(({ dilation }) => dilation))];
    const bytes = assemble(dilations, hasFusedArithmetic());
    this.exports = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
    this.size = "";
    this.weightsAt = [];
    let at = 0;
    for (const layer of network.layers) {
      const packed = packPlanes(layer);
      this.#reserve(at + packed.byteLength);
      new Float32Array(this.exports.memory.buffer, at, packed.length).set(packed);
      this.weightsAt.push(at);
      at += packed.byteLength;
    }
    this.end = at;
  }

  #reserve(bytes) {
    const { memory } = this.exports;
    const missing = Math.ceil((bytes - memory.buffer.byteLength) / PAGE_BYTES);
    if (missing > 0) memory.grow(missing);
  }

  // Buffers of a tile, and zeros in their borders.
  #layOut(width, height) {
    if (this.size === `${width},${height}`) return;
    this.size = `${width},${height}`;
    const { border } = this.network;
    this.stride = 8 * blocksOf(width) + 2 * border; // in numbers
    this.plane = this.stride * (height + 2 * border) + 8;
    this.at = {};
    let at = Math.ceil(this.end / 16) * 16;
    for (const [name, groups] of this.network.buffers()) {
      this.at[name] = at;
      at += 4 * groups * 4 * this.plane;
    }
    this.#reserve(at);
    new Uint8Array(this.exports.memory.buffer, this.end, at - this.end).fill(0);
  }

  /** The output for a tile of pixels [h][w][3]: {data, group, sub, row, column}, the steps between its numbers. */
  run(rgb, width, height) {
    this.#layOut(width, height);
    const { border, layers } = this.network;
    const { at, stride, plane } = this;
    const memory = new Float32Array(this.exports.memory.buffer);
    for (let y = 0; y < height + 2 * border; y++) {
      const from = 3 * width * Math.min(height - 1, Math.max(0, y - border));
      for (let x = 0; x < width + 2 * border; x++) {
        const pixel = from + 3 * Math.min(width - 1, Math.max(0, x - border));
        const to = at.input / 4 + y * stride + x;
        for (let channel = 0; channel < 3; channel++) memory[to + channel * plane] = rgb[pixel + channel];
      }
    }
    const inside = 4 * (border * stride + border);
    layers.forEach(({ inputs, outputs, dilation, relu, from, skip, to }, k) => {
      const source = at[from] + 4 * ((border - dilation) * stride + border - dilation);
      const added = skip ? at[skip] + inside : 0;
      this.exports[`convolve${dilation}`](
        source, at[to] + inside, added, this.weightsAt[k], inputs, groupsOf(outputs), 4 * plane, 4 * stride,
        height, blocksOf(width), width, relu ? 0 : -Infinity,
      );
    });
    const outputs = layers.at(-1).outputs;
    const first = at.output / 4 + border * stride + border;
    const data = memory.slice(first, first + (outputs - 1) * plane + (height - 1) * stride + width);
    return { data, group: 4 * plane, sub: plane, row: stride, column: 1 };
  }
}

/** The weights as the kernel reads them: [groups of outputs][inputs][9][4 outputs]. */
function packPlanes({ weights, inputs, outputs }) {
  const packed = new Float32Array(groupsOf(outputs) * inputs * 36);
  for (let output = 0; output < outputs; output++) {
    for (let input = 0; input < inputs; input++) {
      for (let tap = 0; tap < 9; tap++) {
        packed[(((output >> 2) * inputs + input) * 9 + tap) * 4 + (output & 3)] = weights[(output * inputs + input) * 9 + tap];
      }
    }
  }
  return packed;
}
