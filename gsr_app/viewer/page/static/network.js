/* The network of swift as a list of convolutions, for any number of channels and blocks.
 *
 * Every layer is a 3x3 convolution without bias from one named buffer to another. A buffer has its channels in groups of
 * four, and a border that is zero for all buffers but "input", whose border repeats the edge pixels. */

import { half, openTensors } from "./safetensors.js";

export class SwiftNetwork {
  /** From the bytes of a weights file, as gsr_app/viewer/encoder.py writes it. */
  constructor(buffer) {
    const file = openTensors(buffer, "gsr-encoder");
    if (!file) throw new Error("This is not a file of swift's weights.");
    const { texts } = file;
    if (texts.version !== "1") throw new Error(`The weights have format ${texts.version}; this page reads format 1.`);
    this.config = JSON.parse(texts.config);
    this.id = texts.weights;
    const numbers = (name) => {
      if (texts.precision === "float32") return file.array(name, Float32Array);
      const [codes, largest] = [file.array(name, Uint16Array), Array.from(file.array(`${name}.largest`, Uint16Array), half)];
      return Float32Array.from(codes, (code, k) => ((code - 32768) * largest[Math.floor(k / 9)]) / 32767);
    };
    const layer = (name, dilation, from, to, { skip = null, relu = false, weights = numbers(name) } = {}) => {
      const [outputs, inputs] = file.shape(name);
      return { weights, inputs, outputs, dilation, from, to, skip, relu };
    };
    const { blocks, dilated } = this.config;
    this.layers = [layer("head.weight", 1, "input", "start", { weights: withoutMean(numbers("head.weight")) })];
    let x = "start";
    for (let k = 0; k < blocks; k++) {
      const next = x === "a" ? "b" : "a"; // not in place: WebGL cannot read what it writes
      this.layers.push(layer(`blocks.${k}.first.weight`, dilated.includes(k) ? 2 : 1, x, "inner", { relu: true }));
      this.layers.push(layer(`blocks.${k}.second.weight`, 1, "inner", next, { skip: x }));
      x = next;
    }
    this.layers.push(layer("join.weight", 1, x, "inner", { skip: "start", relu: true }));
    this.layers.push(layer("tail.weight", 1, "inner", "output"));
    this.border = Math.max(...this.layers.map(({ dilation }) => dilation));
    // How far a pixel of the input is seen, and the cubic enlargement beside the network sees two.
    this.overlap = this.layers.reduce((sum, { dilation }) => sum + dilation, 0) + 1;
  }

  /** [name, groups of four channels] of every buffer. */
  buffers() {
    const sizes = new Map([["input", groupsOf(3)]]);
    for (const { to, outputs } of this.layers) sizes.set(to, Math.max(groupsOf(outputs), sizes.get(to) ?? 0));
    return [...sizes];
  }
}

export const groupsOf = (channels) => Math.ceil(channels / 4);

/** The kernels of the first convolution have zero mean, so that a constant picture gives zero. */
function withoutMean(weights) {
  const kernels = Float32Array.from(weights);
  for (let at = 0; at < kernels.length; at += 9) {
    let mean = 0;
    for (let k = at; k < at + 9; k++) mean += kernels[k] / 9;
    for (let k = at; k < at + 9; k++) kernels[k] -= mean;
  }
  return kernels;
}

/** The weights as 4x4 matrices [groups of inputs][9][groups of outputs from `first` to `last`][4 inputs][4 outputs]. */
export function packMatrices({ weights, inputs, outputs }, first = 0, last = groupsOf(outputs)) {
  const packed = new Float32Array(groupsOf(inputs) * 9 * (last - first) * 16);
  for (let output = 4 * first; output < Math.min(outputs, 4 * last); output++) {
    const [group, row] = [(output >> 2) - first, output & 3];
    for (let input = 0; input < inputs; input++) {
      for (let tap = 0; tap < 9; tap++) {
        packed[((((input >> 2) * 9 + tap) * (last - first) + group) * 4 + (input & 3)) * 4 + row] = weights[(output * inputs + input) * 9 + tap];
      }
    }
  }
  return packed;
}

/** The pixels of a tile with a border that repeats the edge: [h + 2 border][w + 2 border][4] of `rgb` [h][w][3]. */
export function padded(rgb, width, height, border) {
  const wide = width + 2 * border;
  const values = new Float32Array(4 * wide * (height + 2 * border));
  for (let y = 0; y < height + 2 * border; y++) {
    const row = Math.min(height - 1, Math.max(0, y - border)) * width;
    for (let x = 0; x < wide; x++) {
      const from = 3 * (row + Math.min(width - 1, Math.max(0, x - border)));
      const to = 4 * (y * wide + x);
      values[to] = rgb[from];
      values[to + 1] = rgb[from + 1];
      values[to + 2] = rgb[from + 2];
    }
  }
  return values;
}
