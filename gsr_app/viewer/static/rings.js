/* One-sigma ellipses with WebGL2, tens of thousands per frame. `overlay.js` decides when to use them, and strokes
 * ellipses itself where there is no WebGL2. It always draws dots and density: canvas drew them faster than a software
 * WebGL, and fast enough for half a million. */

import { STOPS } from "./difference.js";
import { UNIT } from "./fieldshaders.js";
import { typical } from "./fieldqueries.js";
import { DEFAULT_ADJUSTMENTS, drawOptions } from "./adjustments.js";

const COLOUR = `
uniform int colouring;  // 0 one colour, 1 its own, 2 by opacity, 3 by size
uniform vec4 typical;  // size: small, large; peak; whether colours are additive
vec3 heat(float t) {
  vec3 stops[5] = vec3[5](${STOPS.map((rgb) => `vec3(${rgb.map((c) => (c / 255).toFixed(6)).join()})`).join()});
  float at = clamp(t, 0.0, 1.0) * 4.0;
  int k = min(3, int(at));
  return mix(stops[k], stops[k + 1], at - float(k));
}
vec4 colour_of(vec3 color, float longer) {
  if (colouring == 0) return vec4(1.0, 0.9647, 0.8863, 0.85);
  float most = max(abs(color.r), max(abs(color.g), abs(color.b)));
  if (colouring == 1) return vec4(clamp(typical.w > 0.0 ? color / max(most, 1e-6) : color, 0.0, 1.0), 1);
  return vec4(heat(0.15 + 0.85 * (colouring == 2 ? most / typical.z : (longer - typical.x) / (typical.y - typical.x))), 1);
}
`;

const RING = `
uniform float extent;
flat out vec4 shade, rows;
void main() {
  vec2 wide, high, corner;
  read_gaussian(wide, high, corner);
  shade = colour_of(color, length(wide / scale));
  rows = form / ${UNIT};
  emit(corner.x * wide * (1.0 + 1.5 * extent / length(wide)) + corner.y * high * (1.0 + 1.5 * extent / length(high)));
}`;
// Distance of a pixel to the line where the form has length 1, to first order: lines are a pixel wide at any tilt.
const STROKE = `#version 300 es
precision highp float;
uniform float extent;
in vec2 offset; flat in vec4 shade, rows;
out vec4 shown;
void main() {
  vec2 p = offset / ${UNIT};
  float r = length(p), steep = length(p.x * rows.xy + p.y * rows.zw) / max(r, 1e-6);
  float cover = clamp(0.5 + 0.5 * extent - abs(r - 1.0) / max(steep, 1e-6), 0.0, 1.0) * shade.a;
  if (cover <= 0.0) discard;
  shown = vec4(shade.rgb * cover, cover);
}`;

const programs = new WeakMap(); // by a context's splat program: a restored context needs a new one

/** The ellipses over `rect`, which shows `box` [x0, y0, x1, y1] of the source plane. */
export function drawRings(ctx, painter, field, colouring, rect, box, dpr) {
  const { gl, canvas } = painter;
  if (!programs.has(painter.splat)) programs.set(painter.splat, painter.program(painter.prelude + COLOUR + RING, STROKE));
  const options = drawOptions(DEFAULT_ADJUSTMENTS, field);
  const { sizes, peak } = typical(field);
  const uniforms = (context, at) => {
    options.uniforms(context, at);
    gl.uniform1i(at.colouring, colouring);
    gl.uniform1f(at.extent, dpr);
    gl.uniform4f(at.typical, ...sizes, peak, field.normalize ? 0 : 1);
  };
  const source = { x: box[0], y: box[1], width: box[2] - box[0], height: box[3] - box[1] };
  painter.reserve(rect.w, rect.h);
  gl.bindFramebuffer(gl.FRAMEBUFFER, null);
  gl.viewport(0, 0, rect.w, rect.h);
  gl.clear(gl.COLOR_BUFFER_BIT);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  painter.drawGaussians(field, source, rect.w, rect.h, programs.get(painter.splat), { ...options, uniforms });
  gl.disable(gl.BLEND);
  ctx.save();
  ctx.imageSmoothingEnabled = false;
  ctx.transform(1, 0, 0, -1, rect.x, rect.y + rect.h); // rows were drawn from the bottom
  ctx.drawImage(canvas, 0, canvas.height - rect.h, rect.w, rect.h, 0, 0, rect.w, rect.h);
  ctx.restore();
}
