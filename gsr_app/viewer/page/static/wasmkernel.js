/* The convolution as WebAssembly with SIMD, assembled here: the module is 1 kB and needs no compiler.
 *
 * One call computes rows of all outputs of a 3x3 convolution. It holds 4 outputs x 8 pixels in registers, and adds the 9
 * products of every input to them. Buffers are planes of float32 with a border; "columns" rounds up to blocks of 8. */

const I32 = 0x7f, F32 = 0x7d, V128 = 0x7b; // types
const PARAMETERS = ["source", "target", "skip", "weights", "inputs", "groups", "plane", "stride", "rows", "blocks", "columns", "floor"];
const INTEGERS = ["y", "g", "b", "i", "s", "o", "k", "w", "p", "wp", "r1", "r2", "q", "end", "out", "add"];
const VECTORS = ["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "x0", "x1", "t", "low"];
const NAMES = [...PARAMETERS, ...INTEGERS, ...VECTORS];
const PIXELS = 8; // per block
const SAMPLE_BYTES = 9 * 4 * 4; // of the weights of one input

const unsigned = (value) => {
  const bytes = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
};
const signed = (value) => {
  const bytes = [];
  for (; value < -64 || value > 63; value >>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value & 127];
};
const list = (items) => [...unsigned(items.length), ...items.flat()];
const section = (id, content) => [id, ...list(content)];
const text = (value) => list([...value].map((letter) => letter.charCodeAt(0)));

const get = (name) => [0x20, ...unsigned(NAMES.indexOf(name))];
const set = (name, value) => [...value, 0x21, ...unsigned(NAMES.indexOf(name))];
const number = (value) => [0x41, ...signed(value)];
const plus = (a, b) => [...a, ...b, 0x6a];
const minus = (a, b) => [...a, ...b, 0x6b];
const times = (a, b) => [...a, ...b, 0x6c];
const advance = (name, by) => set(name, plus(get(name), by));
const vector = (code, ...values) => [...values.flat(), 0xfd, ...unsigned(code)];
const load = (at, offset = 0) => [...at, 0xfd, 0x00, 2, ...unsigned(offset)];
const splat = (at, offset) => [...at, 0xfd, 0x09, 2, ...unsigned(offset)];
const store = (at, value, offset = 0) => [...at, ...value, 0xfd, 0x0b, 2, ...unsigned(offset)];
const storeZero = (at) => [...at, 0x43, 0, 0, 0, 0, 0x38, 2, 0];
const add = (a, b) => vector(0xe4, a, b);
const multiply = (a, b) => vector(0xe6, a, b);
const multiplyAdd = (isRelaxed) => (a, b, c) => (isRelaxed ? vector(0x105, a, b, c) : add(c, multiply(a, b)));
/** The body, `name` times: the counter ends at zero. */
const repeat = (name, count, body) => [...set(name, count), 0x03, 0x40, ...body, ...minus(get(name), number(1)), 0x22, ...unsigned(NAMES.indexOf(name)), 0x0d, 0, 0x0b];
const when = (condition, body) => [...condition, 0x04, 0x40, ...body, 0x0b];

const ACCUMULATORS = VECTORS.slice(0, 8); // output k has 2k and 2k + 1

function oneInput(dilation, fused) {
  const code = [set("r1", plus(get("p"), times(get("stride"), number(dilation)))), set("r2", plus(get("r1"), times(get("stride"), number(dilation))))];
  for (let tap = 0; tap < 9; tap++) {
    const row = get(["p", "r1", "r2"][Math.floor(tap / 3)]);
    const offset = (tap % 3) * dilation * 4;
    code.push(set("x0", load(row, offset)), set("x1", load(row, offset + 16)));
    for (let output = 0; output < 4; output++) {
      code.push(set("t", splat(get("wp"), (tap * 4 + output) * 4)));
      for (const half of [0, 1]) {
        const sum = ACCUMULATORS[2 * output + half];
        code.push(set(sum, fused(get("t"), get(`x${half}`), get(sum))));
      }
    }
  }
  return [...code.flat(), ...advance("p", get("plane")), ...advance("wp", number(SAMPLE_BYTES))];
}

/** Code for every accumulator; `q` is the address of its output. */
function eachOutput(start, act) {
  const code = [set("q", start)];
  for (let output = 0; output < 4; output++) {
    code.push(act(ACCUMULATORS[2 * output], 0), act(ACCUMULATORS[2 * output + 1], 16), advance("q", get("plane")));
  }
  return code.flat();
}

function body(dilation, isRelaxed) {
  const zero = vector(0x0c).concat(Array(16).fill(0));
  const block = [
    ...ACCUMULATORS.flatMap((name) => set(name, zero)),
    ...set("p", get("s")),
    ...set("wp", get("w")),
    ...repeat("i", get("inputs"), oneInput(dilation, multiplyAdd(isRelaxed))),
    ...when(get("skip"), eachOutput(get("k"), (name, offset) => set(name, add(get(name), load(get("q"), offset))))),
    ...eachOutput(get("o"), (name, offset) => store(get("q"), vector(0xeb, get(name), get("low")), offset)),
    ...["s", "o", "k"].flatMap((name) => advance(name, number(4 * PIXELS))),
  ];
  // What lies right of the picture is zero again: the next layer's border.
  const clear = [
    ...set("q", plus(get("out"), times(get("columns"), number(4)))),
    ...set("end", plus(get("out"), times(get("blocks"), number(4 * PIXELS)))),
    0x02, 0x40, 0x03, 0x40,
    ...get("q"), ...get("end"), 0x4f, 0x0d, 1, // q >= end: leave
    ...[0, 1, 2, 3].flatMap((output) => storeZero(plus(get("q"), times(get("plane"), number(output))))),
    ...advance("q", number(4)),
    0x0c, 0, 0x0b, 0x0b,
  ];
  const group = [
    ...set("s", get("source")),
    ...set("o", get("out")),
    ...set("k", get("add")),
    ...repeat("b", get("blocks"), block),
    ...clear,
    ...["out", "add"].flatMap((name) => advance(name, times(get("plane"), number(4)))),
    ...advance("w", times(get("inputs"), number(SAMPLE_BYTES))),
  ];
  const row = [
    ...set("w", get("weights")),
    ...set("out", get("target")),
    ...set("add", get("skip")),
    ...repeat("g", get("groups"), group),
    ...["source", "target"].flatMap((name) => advance(name, get("stride"))),
    ...when(get("skip"), advance("skip", get("stride"))),
  ];
  return [...set("low", vector(0x13, get("floor"))), ...repeat("y", get("rows"), row), 0x0b];
}

/** The bytes of a module that exports `memory` and, for every dilation, `convolve1`, `convolve2` …. */
export function assemble(dilations, isRelaxed) {
  const types = [[0x60, ...list(PARAMETERS.map((name) => (name === "floor" ? F32 : I32))), 0]];
  const locals = list([[INTEGERS.length, I32], [VECTORS.length, V128]]);
  const bodies = dilations.map((dilation) => list([...locals, ...body(dilation, isRelaxed)].map((byte) => [byte])));
  const names = [[...text("memory"), 2, 0], ...dilations.map((dilation, k) => [...text(`convolve${dilation}`), 0, k])];
  const content = [
    section(1, list(types)),
    section(3, list(dilations.map(() => [0]))),
    section(5, list([[0, 1]])),
    section(7, list(names)),
    section(10, list(bodies)),
  ];
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...content.flat()]);
}

export const blocksOf = (columns) => Math.ceil(columns / PIXELS);
