/* The amplified difference of two drawn rectangles, in one of three colour scales. */

export const SCALES = ["heat", "absolute", "signed", "FLIP"];

// Black, violet, orange, pale yellow, with evenly rising lightness.
export const STOPS = [
  [0, 0, 4],
  [81, 18, 124],
  [183, 55, 121],
  [252, 137, 97],
  [252, 253, 191],
];

const HEAT = new Uint8ClampedArray(256 * 3);
for (let i = 0; i < 256; i++) {
  const t = (i / 255) * (STOPS.length - 1);
  const k = Math.min(STOPS.length - 2, Math.floor(t));
  for (let c = 0; c < 3; c++) HEAT[3 * i + c] = STOPS[k][c] + (STOPS[k + 1][c] - STOPS[k][c]) * (t - k);
}

/** heat: the largest of the three channels' differences; absolute: each channel's; signed: around mid grey. */
function colourDifference(a, b, out, gain, scale) {
  const n = out.length;
  for (let i = 0; i < n; i += 4) {
    const dr = (a[i] - b[i]) * gain;
    const dg = (a[i + 1] - b[i + 1]) * gain;
    const db = (a[i + 2] - b[i + 2]) * gain;
    if (scale === "signed") {
      out[i] = 128 + dr;
      out[i + 1] = 128 + dg;
      out[i + 2] = 128 + db;
    } else if (scale === "absolute") {
      out[i] = Math.abs(dr);
      out[i + 1] = Math.abs(dg);
      out[i + 2] = Math.abs(db);
    } else {
      const most = Math.min(255, Math.round(Math.max(Math.abs(dr), Math.abs(dg), Math.abs(db))));
      out[i] = HEAT[3 * most];
      out[i + 1] = HEAT[3 * most + 1];
      out[i + 2] = HEAT[3 * most + 2];
    }
    out[i + 3] = 255;
  }
}

export const heat = (t) => {
  const i = 3 * Math.min(255, Math.max(0, Math.round(t * 255)));
  return [HEAT[i], HEAT[i + 1], HEAT[i + 2]];
};

/** Draws differences; keeps its canvases between frames. */
export class Difference {
  constructor() {
    const make = () => document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    this.sides = [make(), make(), make()];
  }

  /** `paint(ctx, pane, rect)` draws a pane's picture at the rectangle; (x, y) is where the result goes. */
  draw(ctx, rect, pane, base, paint, gain, scale) {
    const local = { x: 0, y: 0, w: rect.w, h: rect.h };
    const data = [pane, base].map((side, i) => {
      const c = this.sides[i];
      if (c.canvas.width !== rect.w || c.canvas.height !== rect.h) Object.assign(c.canvas, { width: rect.w, height: rect.h });
      c.fillStyle = "#000";
      c.fillRect(0, 0, rect.w, rect.h);
      paint(c, side, local);
      return c.getImageData(0, 0, rect.w, rect.h).data;
    });
    const result = this.sides[2];
    if (result.canvas.width !== rect.w || result.canvas.height !== rect.h) {
      Object.assign(result.canvas, { width: rect.w, height: rect.h });
    }
    const out = result.createImageData(rect.w, rect.h);
    colourDifference(data[0], data[1], out.data, gain, scale);
    result.putImageData(out, 0, 0);
    ctx.drawImage(result.canvas, rect.x, rect.y);
  }
}
