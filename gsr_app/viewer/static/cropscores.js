/* PSNR and SSIM of two crops of one size, on Y (BT.601, 16 to 235), without cutting a border off. */

const MOST_PIXELS = 4e6; // of PSNR
const MOST_SSIM_PIXELS = 1e6; // a third of a second
const TAPS = 11;
const SIGMA = 1.5;
const C1 = (0.01 * 255) ** 2;
const C2 = (0.03 * 255) ** 2;

const weights = Float64Array.from({ length: TAPS }, (_, i) => Math.exp(-((i - (TAPS - 1) / 2) ** 2) / (2 * SIGMA ** 2)));
const total = weights.reduce((sum, weight) => sum + weight, 0);

function luma({ data }) {
  const y = new Float64Array(data.length / 4);
  for (let i = 0, k = 0; i < data.length; i += 4, k++) y[k] = 16 + (65.481 * data[i] + 128.553 * data[i + 1] + 24.966 * data[i + 2]) / 255;
  return y;
}

/** Local Gaussian means, where the whole window lies inside. */
function means(values, width, height) {
  const w = width - TAPS + 1;
  const h = height - TAPS + 1;
  const rows = new Float64Array(w * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < w; x++) {
      let sum = 0;
      for (let t = 0; t < TAPS; t++) sum += weights[t] * values[y * width + x + t];
      rows[y * w + x] = sum / total;
    }
  }
  const out = new Float64Array(w * h);
  for (let y = 0; y < h; y++) {
    for (let t = 0; t < TAPS; t++) for (let x = 0; x < w; x++) out[y * w + x] += weights[t] * rows[(y + t) * w + x];
  }
  return out.map((sum) => sum / total);
}

function ssimOf(a, b, width, height) {
  const of = (value) => means(Float64Array.from(a, (_, i) => value(a[i], b[i])), width, height);
  const [meanA, meanB, aa, bb, ab] = [of((p) => p), of((_, q) => q), of((p) => p * p), of((_, q) => q * q), of((p, q) => p * q)];
  let sum = 0;
  for (let i = 0; i < meanA.length; i++) {
    const [p, q] = [meanA[i], meanB[i]];
    const structure = (2 * (ab[i] - p * q) + C2) / (aa[i] - p * p + bb[i] - q * q + C2);
    sum += (structure * (2 * p * q + C1)) / (p * p + q * q + C1);
  }
  return sum / meanA.length;
}

/** {psnr, ssim} of two ImageData; SSIM is null where its window does not fit, and both where there are too many pixels. */
export function cropScores(one, other) {
  const { width, height } = one;
  if (width * height > MOST_PIXELS) return { psnr: null, ssim: null };
  const [a, b] = [luma(one), luma(other)];
  let error = 0;
  for (let i = 0; i < a.length; i++) error += (a[i] - b[i]) ** 2;
  const psnr = error ? 10 * Math.log10(255 ** 2 / (error / a.length)) : Infinity;
  const hasSsim = Math.min(width, height) >= TAPS && width * height <= MOST_SSIM_PIXELS;
  return { psnr, ssim: hasSsim ? ssimOf(a, b, width, height) : null };
}
