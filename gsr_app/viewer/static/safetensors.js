/* Reads a safetensors file: typed arrays over its buffer, and its texts. */

/** {texts, shape(name), array(name, Type)}; null where the buffer is no such file, or its texts do not name `format`. */
export function openTensors(buffer, format) {
  const length = buffer.byteLength > 8 ? Math.min(buffer.byteLength - 8, new DataView(buffer).getUint32(0, true)) : 0;
  const head = length ? new TextDecoder().decode(new Uint8Array(buffer, 8, length)) : "";
  if (!head.startsWith("{") || !head.includes(`"${format}"`)) return null;
  const header = JSON.parse(head);
  const shape = (name) => header[name].shape;
  const array = (name, Type) => new Type(buffer, 8 + length + header[name].data_offsets[0], shape(name).reduce((a, b) => a * b, 1));
  return { texts: header.__metadata__, shape, array };
}

const POWERS = Float32Array.from({ length: 32 }, (_, exponent) => (exponent === 31 ? NaN : 2 ** (Math.max(1, exponent) - 25)));

/** A float16 as a number. */
export function half(bits) {
  const exponent = (bits >> 10) & 31;
  const size = ((bits & 1023) + (exponent ? 1024 : 0)) * POWERS[exponent];
  return bits & 32768 ? -size : size;
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);

/** The nearest float16 of a number, as bits. */
export function toHalf(value) {
  single[0] = value;
  const sign = (singleBits[0] >>> 16) & 32768;
  const size = Math.abs(single[0]);
  if (size >= 65520) return sign | 31744;
  if (size < 6.103515625e-5) return sign | roundToEven(size * 2 ** 24); // subnormal
  const bits = singleBits[0] & 0x7fffffff;
  // Half of the last place that stays, less one where that place is even: ties go to even.
  return sign | ((bits - 0x38000000 + 0xfff + ((bits >>> 13) & 1)) >>> 13);
}

function roundToEven(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor & 1) ? floor + 1 : floor;
}
