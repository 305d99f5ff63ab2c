/* FLIP: how visible the difference of two pictures is to a person who sees them in turn. engine/flip.py computes the
 * same and names the paper; a test compares both. */

/** Everything in one function, whose text a worker can run: pages on a disk cannot give a module to a worker. */
function defineFlip() {
  const PIXELS_PER_DEGREE = (3840 * Math.PI) / 180;

  // Contrast sensitivity per opponent channel: pairs (a, b) of a sum of Gaussians, b in square degrees.
  const SENSITIVITY = [[[1, 0.0047]], [[1, 0.0053]], [[34.1, 0.04], [13.5, 0.025]]];
  const FEATURE_DEGREES = 0.082;
  const COLOUR_POWER = 0.7;
  const KNEE_AT = 0.4;
  const KNEE_TO = 0.95;
  const STRIP_PIXELS = 1 << 16;

  // Linear sRGB to XYZ over white, and to the opponent channels (Y without its constant, Cx, Cz) and back.
  const XYZ = [
    [0.433895389, 0.376242373, 0.189862239],
    [0.212636822, 0.715182982, 0.072180196],
    [0.017752423, 0.109465629, 0.872781948],
  ];
  const OPPONENT = [0, 1, 2].map((c) => [116 * XYZ[1][c], 500 * (XYZ[0][c] - XYZ[1][c]), 200 * (XYZ[1][c] - XYZ[2][c])]);
  const TO_OPPONENT = [0, 1, 2].map((row) => OPPONENT.map((column) => column[row]));
  const FROM_OPPONENT = inverse(TO_OPPONENT);

  const LINEAR = Float32Array.from({ length: 256 }, (_, i) => (i <= 10 ? i / 255 / 12.92 : ((i / 255 + 0.055) / 1.055) ** 2.4));

  function inverse([[a, b, c], [d, e, f], [g, h, i]]) {
    const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
    const cofactors = [[e * i - f * h, c * h - b * i, b * f - c * e], [f * g - d * i, a * i - c * g, c * d - a * f], [d * h - e * g, b * g - a * h, a * e - b * d]];
    return cofactors.map((row) => row.map((value) => value / det));
  }

  const sumOf = (taps) => taps.reduce((sum, tap) => sum + tap, 0);
  const range = (radius) => Array.from({ length: 2 * radius + 1 }, (_, i) => i - radius);

  /** Taps whose positive ones add up to 1 and whose negative ones to -1. */
  function balanced(taps) {
    const up = sumOf(taps.filter((tap) => tap > 0));
    const down = -sumOf(taps.filter((tap) => tap < 0));
    return taps.map((tap) => tap / (tap > 0 ? up : down));
  }

  const widest = Math.max(...SENSITIVITY.flat().map(([, b]) => b));
  const RADIUS = Math.ceil(3 * Math.sqrt(widest / (2 * Math.PI ** 2)) * PIXELS_PER_DEGREE);
  const SENSES = SENSITIVITY.map((terms) => {
    const parts = terms.map(([a, b]) => ({ weight: a * Math.sqrt(Math.PI / b), taps: range(RADIUS).map((x) => Math.exp((-(Math.PI ** 2) * (x / PIXELS_PER_DEGREE) ** 2) / b)) }));
    const total = parts.reduce((sum, { weight, taps }) => sum + weight * sumOf(taps) ** 2, 0);
    return parts.map(({ weight, taps }) => ({ across: taps.map((tap) => (tap * weight) / total), down: taps }));
  });
  const SIGMA = 0.5 * FEATURE_DEGREES * PIXELS_PER_DEGREE;
  const FEATURE_RADIUS = Math.ceil(3 * SIGMA);
  const bell = range(FEATURE_RADIUS).map((x) => Math.exp(-(x ** 2) / (2 * SIGMA ** 2)));
  const BELL = bell.map((tap) => tap / sumOf(bell));
  const EDGE = balanced(range(FEATURE_RADIUS).map((x, i) => -x * bell[i]));
  const POINT = balanced(range(FEATURE_RADIUS).map((x, i) => (x ** 2 / SIGMA ** 2 - 1) * bell[i]));

  /** A plane {data, w, h} filtered down its columns and along its rows; it loses the radius on every side. */
  function filtered({ data, w, h }, down, across) {
    const [rows, columns] = [h - down.length + 1, w - across.length + 1];
    const half = new Float32Array(rows * w);
    for (let y = 0; y < rows; y++) {
      const out = half.subarray(y * w, (y + 1) * w);
      for (let k = 0; k < down.length; k++) {
        const tap = down[k];
        const from = (y + k) * w;
        for (let x = 0; x < w; x++) out[x] += tap * data[from + x];
      }
    }
    const result = new Float32Array(rows * columns);
    for (let y = 0; y < rows; y++) {
      const out = result.subarray(y * columns, (y + 1) * columns);
      for (let k = 0; k < across.length; k++) {
        const tap = across[k];
        const from = y * w + k;
        for (let x = 0; x < columns; x++) out[x] += tap * half[from + x];
      }
    }
    return { data: result, w: columns, h: rows };
  }

  function withoutMargin({ data, w, h }, margin) {
    const [columns, rows] = [w - 2 * margin, h - 2 * margin];
    const result = new Float32Array(columns * rows);
    for (let y = 0; y < rows; y++) result.set(data.subarray((y + margin) * w + margin, (y + margin) * w + margin + columns), y * columns);
    return { data: result, w: columns, h: rows };
  }

  /** Rows of RGBA pixels as opponent planes, with the margin that the filters need; edges are repeated. */
  function strip(pixels, width, height, start, stop) {
    const w = width + 2 * RADIUS;
    const h = stop - start + 2 * RADIUS;
    const planes = [0, 1, 2].map(() => ({ data: new Float32Array(w * h), w, h }));
    for (let y = 0; y < h; y++) {
      const row = Math.min(height - 1, Math.max(0, start + y - RADIUS));
      for (let x = 0; x < w; x++) {
        const at = 4 * (row * width + Math.min(width - 1, Math.max(0, x - RADIUS)));
        const [r, g, b] = [LINEAR[pixels[at]], LINEAR[pixels[at + 1]], LINEAR[pixels[at + 2]]];
        for (let c = 0; c < 3; c++) planes[c].data[y * w + x] = TO_OPPONENT[c][0] * r + TO_OPPONENT[c][1] * g + TO_OPPONENT[c][2] * b;
      }
    }
    return planes;
  }

  const bend = (t) => (t > (6 / 29) ** 3 ? Math.cbrt(t) : t / (3 * (6 / 29) ** 2) + 4 / 29);

  /** L*, a* and b* with Hunt's correction, of linear RGB. */
  function huntLab(r, g, b, out) {
    const [x, y, z] = [0, 1, 2].map((i) => bend(XYZ[i][0] * r + XYZ[i][1] * g + XYZ[i][2] * b));
    const light = 116 * y - 16;
    out[0] = light;
    out[1] = 5 * light * (x - y);
    out[2] = 2 * light * (y - z);
  }

  /** The colours of a strip as the eye resolves them: three values per pixel. */
  function seen(planes) {
    const blurred = planes.map((plane, c) => SENSES[c].map(({ across, down }) => filtered(plane, down, across).data).reduce((one, other) => one.map((value, i) => value + other[i])));
    const count = blurred[0].length;
    const lab = new Float32Array(3 * count);
    for (let i = 0; i < count; i++) {
      const [r, g, b] = FROM_OPPONENT.map((row) => Math.min(1, Math.max(0, row[0] * blurred[0][i] + row[1] * blurred[1][i] + row[2] * blurred[2][i])));
      huntLab(r, g, b, lab.subarray(3 * i, 3 * i + 3));
    }
    return lab;
  }

  const distance = (a, b, i) => (Math.abs(a[i] - b[i]) + Math.hypot(a[i + 1] - b[i + 1], a[i + 2] - b[i + 2])) ** COLOUR_POWER;

  const [GREEN, BLUE] = [new Float32Array(3), new Float32Array(3)];
  huntLab(0, 1, 0, GREEN);
  huntLab(0, 0, 1, BLUE);
  const LARGEST = distance(GREEN, BLUE, 0);

  function spread(error) {
    const knee = KNEE_AT * LARGEST;
    return error < knee ? (error * KNEE_TO) / knee : KNEE_TO + ((error - knee) / (LARGEST - knee)) * (1 - KNEE_TO);
  }

  /** How strong an edge and a point each pixel of a luminance plane is. */
  function features(plane) {
    const strength = (taps) => {
      const [x, y] = [filtered(plane, BELL, taps).data, filtered(plane, taps, BELL).data];
      return x.map((value, i) => Math.hypot(value, y[i]));
    };
    return [strength(EDGE), strength(POINT)];
  }

  /** The error of every pixel of two RGBA pictures, 0 to 1. `report` is told the finished share. */
  function errorMap(one, two, width, height, report = () => {}) {
    const errors = new Float32Array(width * height);
    const step = Math.max(1, Math.floor(STRIP_PIXELS / width));
    for (let start = 0; start < height; start += step) {
      const stop = Math.min(height, start + step);
      const [a, b] = [one, two].map((pixels) => strip(pixels, width, height, start, stop));
      const [labA, labB] = [seen(a), seen(b)];
      const [found, other] = [a, b].map(([light]) => features(withoutMargin(light, RADIUS - FEATURE_RADIUS)));
      for (let i = 0; i < (stop - start) * width; i++) {
        const most = Math.max(Math.abs(found[0][i] - other[0][i]), Math.abs(found[1][i] - other[1][i])) / 116;
        errors[start * width + i] = spread(distance(labA, labB, 3 * i)) ** (1 - Math.sqrt(most / Math.SQRT2));
      }
      report(stop / height);
    }
    return errors;
  }

  return errorMap;
}

/** A worker that answers {one, two, width, height} with {share} while it computes, then with {errors}. */
export function startFlipWorker() {
  const listen = (errorMap) => {
    globalThis.onmessage = ({ data: { one, two, width, height } }) => {
      const errors = errorMap(one, two, width, height, (share) => globalThis.postMessage({ share }));
      globalThis.postMessage({ errors }, [errors.buffer]);
    };
  };
  const url = URL.createObjectURL(new Blob([`(${listen})((${defineFlip})());`], { type: "text/javascript" }));
  const worker = new Worker(url);
  URL.revokeObjectURL(url);
  return worker;
}
