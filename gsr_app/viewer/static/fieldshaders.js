/* The shaders that draw a field: Gaussians as blended quads, and the conversion of the sums to a picture.
 *
 * Large Gaussians are smooth: they are drawn on coarser grids, each level of a quarter of the pixels, and interpolated.
 * A pixel always lies a quarter of a sample beside the points of the next grid, and is interpolated from five of them in
 * a row, with weights that equal a blur by a Gaussian of variance BLUR in the first four moments. A Gaussian is drawn
 * narrower by this blur. If its section along rows and columns is at least FINE samples wide, the error is at most 0.7 %
 * of its height and, at 3 sigma, 2 % of its value; of a whole field it is below 2/255. */

import { EPS, REACH, TILT } from "./field.js";

export const ROW = 2048; // Gaussians per row of a texture
export const UNIT = Math.sqrt(Math.LOG2E / 2); // length of one sigma in the quadratic form
export const LEVELS = 7; // the pixels of the picture, and grids of every 2nd ... 64th
const FINE = 0.88;
const BLUR = 0.45;
const WEIGHTS = [131, 5316, 28386, 16356, 1011].map((part) => part / 51200); // 2.25 samples before a pixel ... 1.75 after

/** The default of the GLSL function that may change or hide each Gaussian; others read their own uniforms. */
export const NO_ADJUST = "bool adjust(inout vec2 mean, inout vec2 axes, inout vec3 color) { return true; }";

/* Reads one Gaussian: its centre, its half axes as vectors in pixels, and its form: rows that map pixels to units in
 * which the squared length is q log2(e) / 2. Sine and cosine use series: those of a GPU may be 5e-4 off, which is visible
 * in thin Gaussians. Four vertices are the corners of one Gaussian. Corners are rounded to positions that every GPU
 * represents exactly, so that the interpolated `offset` is exact to the last bits. */
export const gaussian = (adjust) => `#version 300 es
precision highp float;
uniform highp usampler2D cores; uniform highp sampler2D blues;
uniform int first;
uniform vec4 spread;  // the smallest means, and the step of their 24 bits
uniform vec2 origin, scale, size, window;
out vec2 offset;  // from the centre, in units of the form
vec2 centre; vec4 form; vec3 color;
${adjust}
bool read_gaussian(out vec2 wide, out vec2 high, out vec2 corner) {
  int i = first + (gl_VertexID >> 2);
  ivec2 cell = ivec2(i & ${ROW - 1}, i >> ${Math.log2(ROW)});
  uvec4 core = texelFetch(cores, cell, 0);
  vec2 mean = spread.xy + spread.zw * vec2(core.xy >> 8u), axes = max(unpackHalf2x16(core.z), 6e-8);
  color = vec3(unpackHalf2x16(core.w), texelFetch(blues, cell, 0).r);
  bool is_shown = adjust(mean, axes, color);
  float p = float((core.x & 255u) << 8 | core.y & 255u) * ${TILT} - ${Math.PI / 2}, z = p * p;
  float c = -p * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0 - z / 39916800.0)))));
  float s = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0 + z / 479001600.0)))));
  centre = (mean - origin) * scale;
  wide = axes.x * vec2(c, s) * scale;
  high = axes.y * vec2(-s, c) * scale;
  form = ${UNIT} * vec4(vec2(c, s) / scale / axes.x, vec2(-s, c) / scale / axes.y);
  corner = vec2(gl_VertexID & 1, gl_VertexID >> 1 & 1) * 2.0 - 1.0;
  return is_shown;
}
void emit(vec2 at) {
  at = round((centre + at) * 16.0) / 16.0;
  offset = vec2(dot(form.xy, at - centre), dot(form.zw, at - centre));
  gl_Position = vec4(at / size * 2.0 - 1.0, 0, 1);
}
`;

export const SPLAT = `
uniform vec4 rects[${LEVELS}];  // of each level in the target: left, top, right, bottom
uniform int top;
flat out vec4 part;
// The width of its section along a row or a column of pixels, whichever is less.
float width_of(vec2 wide, vec2 high) {
  return abs(wide.x * high.y - wide.y * high.x) / sqrt(max(wide.x * wide.x + high.x * high.x, wide.y * wide.y + high.y * high.y));
}
// The factor of its axes that cancels the blur of the grids up to this pitch.
vec2 narrowed(vec2 wide, vec2 high, float pitch) {
  float blur = (pitch * pitch - 1.0) * ${(BLUR * 4) / 3};
  return sqrt(max(1.0 - blur / vec2(dot(wide, wide), dot(high, high)), 0.0));
}
void main() {
  vec2 wide, high, corner;
  bool is_shown = read_gaussian(wide, high, corner);
  vec2 extent = sqrt(wide * wide + high * high);
  int level = any(lessThan(window, ${REACH} * extent)) ? 0 : clamp(int(log2(width_of(wide, high))), 0, top);
  float pitch = exp2(float(level));
  vec2 narrow = narrowed(wide, high, pitch);
  while (level > 0 && width_of(wide * narrow.x, high * narrow.y) < ${FINE} * pitch) {
    level--;
    pitch *= 0.5;
    narrow = narrowed(wide, high, pitch);
  }
  wide *= narrow.x / pitch;
  high *= narrow.y / pitch;
  form *= pitch / narrow.xxyy;
  part = vec4(color, 1) / (narrow.x * narrow.y);
  vec4 rect = rects[level];
  if (level > 0) centre = (centre - 3.0) / pitch + rect.xy + 4.0;  // two samples lie before the first of each grid
  vec2 reach = ${REACH} * sqrt(wide * wide + high * high);
  // A little wider than the ellipse, as corners are rounded to fractions of a pixel, and no pixel centre may be lost.
  vec2 at = corner.x * wide * (${REACH} + 0.04 / length(wide)) + corner.y * high * (${REACH} + 0.04 / length(high));
  // Where the window cuts, the box ends between the pixels whose centres are inside it and those that are not.
  vec2 low = max(rect.xy, ceil(centre - window - 0.5)), far = min(rect.zw, floor(centre + window + 0.5));
  if (any(lessThan(centre - reach, low)) || any(greaterThan(centre + reach, far))) {
    low = max(low, centre - reach - 0.04);
    at = mix(low, max(low, min(far, centre + reach + 0.04)), 0.5 + 0.5 * corner) - centre;
  }
  emit(at);
  if (!is_shown) gl_Position = vec4(2, 2, 2, 1);
}`;

export const WEIGH = `#version 300 es
precision highp float;
in vec2 offset; flat in vec4 part;
out vec4 total;
void main() {
  float q = dot(offset, offset);
  if (q > ${-Math.log2(EPS)}) discard;
  total = part * exp2(-q);
}`;

export const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;

// Interpolates along one axis: the nearest sample of a pixel, and the direction of the next nearest.
const between = `
uniform highp sampler2D coarse;
vec4 between(ivec2 at, ivec2 side) {
  return ${WEIGHTS.map((weight, k) => `${weight} * texelFetch(coarse, at + ${k - 2} * side, 0)`).join(" + ")};
}
int nearest(int at) { return ((at + 1) >> 1) + 2; }
int side(int at) { return 1 - ((at & 1) << 1); }`;
/* Interpolates a level to the columns of the next finer one. */
export const SPREAD = `#version 300 es
precision highp float;${between}
uniform ivec2 other; uniform int skipped;  // where the level begins in coarse; how many columns lie before the first
out vec4 total;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  int x = at.x - skipped;
  total = between(other + ivec2(nearest(x), at.y), ivec2(side(x), 0));
}`;
// And to its rows: the sum of all coarser levels at a pixel.
const rows = `${between}
uniform highp sampler2D totals;
vec4 add(int x, int y) { return between(ivec2(x, nearest(y)), ivec2(0, side(y))); }`;
/* Adds one level and all coarser ones. */
export const REFINE = `#version 300 es
precision highp float;${rows}
uniform ivec2 own;  // where the level begins in totals
out vec4 total;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  total = texelFetch(totals, own + at, 0) + add(at.x, at.y - 1);
}`;

const finish = `
uniform float rows, is_normalised;
out vec4 shown;
void finish(vec4 t) {
  shown = vec4(clamp(is_normalised > 0.0 && t.a > ${0.9 * EPS} ? t.rgb * (1.0 / t.a) : t.rgb, 0.0, 1.0), 1);
}`;
export const SHOW = `#version 300 es
precision highp float;
uniform highp sampler2D totals;${finish}
void main() { finish(texelFetch(totals, ivec2(gl_FragCoord.x, rows - gl_FragCoord.y), 0)); }`;
export const SHOW_LEVELS = `#version 300 es
precision highp float;${rows}${finish}
void main() {
  ivec2 at = ivec2(gl_FragCoord.x, rows - gl_FragCoord.y);
  finish(texelFetch(totals, at, 0) + add(at.x, at.y));
}`;
