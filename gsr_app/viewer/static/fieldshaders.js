/* The programs that draw a field: Gaussians as quads that add up, and what makes a picture of the sums.
 *
 * A large Gaussian is smooth: it is drawn on a coarser grid, of a quarter of the pixels per level, and the picture's
 * pixels are interpolated. They lie a quarter of a sample beside the grid's points, always, so that five of these in a
 * row make them like a blur by a Gaussian of variance BLUR, whose first four moments they have. Drawn so much narrower,
 * a Gaussian comes out as it should: where rows and columns still see it FINE samples wide it misses by 0.7 % of its
 * height at most, 3 sigma out by 2 % of what it weighs there, and a field, whose Gaussians miss here and there, by less
 * than 2/255. */

import { EPS, REACH, TILT } from "./field.js";

export const ROW = 2048; // Gaussians per row of a texture
export const UNIT = Math.sqrt(Math.LOG2E / 2); // of a form: a sigma's length
export const LEVELS = 7; // the picture's own pixels, and grids of every 2nd ... 64th
const FINE = 0.88;
const BLUR = 0.45;
const WEIGHTS = [131, 5316, 28386, 16356, 1011].map((part) => part / 51200); // 2.25 samples before a pixel ... 1.75 after

/** The default of the GLSL function that may change or hide each Gaussian; others read their own uniforms. */
export const NO_ADJUST = "bool adjust(inout vec2 mean, inout vec2 axes, inout vec3 ink) { return true; }";

/* Places one Gaussian: its centre, its half axes as vectors in pixels, and its form: rows that take pixels to units in
 * which the squared length is q log2(e) / 2. Sine and cosine by their series: a GPU's may be 5e-4 off, which a needle
 * shows. Every four vertices are one Gaussian's corners. A corner is put where no GPU has to round it: between corners
 * `apart` then is what it says to the last bits. */
export const gaussian = (adjust) => `#version 300 es
precision highp float;
uniform highp usampler2D cores; uniform highp sampler2D blues;
uniform int first;
uniform vec4 spread;  // the smallest means, and the step of their 24 bits
uniform vec2 origin, scale, size, window;
out vec2 apart;  // from the centre, in the form's units
vec2 centre; vec4 form; vec3 ink;
${adjust}
bool place(out vec2 wide, out vec2 high, out vec2 corner) {
  int i = first + (gl_VertexID >> 2);
  ivec2 cell = ivec2(i & ${ROW - 1}, i >> ${Math.log2(ROW)});
  uvec4 core = texelFetch(cores, cell, 0);
  vec2 mean = spread.xy + spread.zw * vec2(core.xy >> 8u), axes = max(unpackHalf2x16(core.z), 6e-8);
  ink = vec3(unpackHalf2x16(core.w), texelFetch(blues, cell, 0).r);
  bool is_shown = adjust(mean, axes, ink);
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
void put(vec2 at) {
  at = round((centre + at) * 16.0) / 16.0;
  apart = vec2(dot(form.xy, at - centre), dot(form.zw, at - centre));
  gl_Position = vec4(at / size * 2.0 - 1.0, 0, 1);
}
`;

export const SPLAT = `
uniform vec4 rooms[${LEVELS}];  // where each level's samples lie in the target: left, top, right, bottom
uniform int top;
flat out vec4 part;
// How wide a row or a column of pixels sees it, whichever sees less.
float seen(vec2 wide, vec2 high) {
  return abs(wide.x * high.y - wide.y * high.x) / sqrt(max(wide.x * wide.x + high.x * high.x, wide.y * wide.y + high.y * high.y));
}
// What is left of its axes where it is drawn: grids of up to this pitch will blur it by so much, in pixels.
vec2 narrowed(vec2 wide, vec2 high, float pitch) {
  float blur = (pitch * pitch - 1.0) * ${(BLUR * 4) / 3};
  return sqrt(max(1.0 - blur / vec2(dot(wide, wide), dot(high, high)), 0.0));
}
void main() {
  vec2 wide, high, corner;
  bool is_shown = place(wide, high, corner);
  vec2 extent = sqrt(wide * wide + high * high);
  int level = any(lessThan(window, ${REACH} * extent)) ? 0 : clamp(int(log2(seen(wide, high))), 0, top);
  float pitch = exp2(float(level));
  vec2 narrow = narrowed(wide, high, pitch);
  while (level > 0 && seen(wide * narrow.x, high * narrow.y) < ${FINE} * pitch) {
    level--;
    pitch *= 0.5;
    narrow = narrowed(wide, high, pitch);
  }
  wide *= narrow.x / pitch;
  high *= narrow.y / pitch;
  form *= pitch / narrow.xxyy;
  part = vec4(ink, 1) / (narrow.x * narrow.y);
  vec4 room = rooms[level];
  if (level > 0) centre = (centre - 3.0) / pitch + room.xy + 4.0;  // two samples lie before the first of each grid
  vec2 reach = ${REACH} * sqrt(wide * wide + high * high);
  // A little wider than the ellipse: corners are rounded to fractions of a pixel, and no pixel's centre may be lost.
  vec2 at = corner.x * wide * (${REACH} + 0.04 / length(wide)) + corner.y * high * (${REACH} + 0.04 / length(high));
  // Where the window cuts, the box ends between the pixels whose centres are inside it and those that are not.
  vec2 low = max(room.xy, ceil(centre - window - 0.5)), far = min(room.zw, floor(centre + window + 0.5));
  if (any(lessThan(centre - reach, low)) || any(greaterThan(centre + reach, far))) {
    low = max(low, centre - reach - 0.04);
    at = mix(low, max(low, min(far, centre + reach + 0.04)), 0.5 + 0.5 * corner) - centre;
  }
  put(at);
  if (!is_shown) gl_Position = vec4(2, 2, 2, 1);
}`;

export const WEIGH = `#version 300 es
precision highp float;
in vec2 apart; flat in vec4 part;
out vec4 total;
void main() {
  float q = dot(apart, apart);
  if (q > ${-Math.log2(EPS)}) discard;
  total = part * exp2(-q);
}`;

export const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;

// Interpolates along one axis: a pixel's nearest sample, and where the next nearest lies.
const between = `
uniform highp sampler2D coarse;
vec4 between(ivec2 at, ivec2 side) {
  return ${WEIGHTS.map((weight, k) => `${weight} * texelFetch(coarse, at + ${k - 2} * side, 0)`).join(" + ")};
}
int nearest(int at) { return ((at + 1) >> 1) + 2; }
int side(int at) { return 1 - ((at & 1) << 1); }`;
/* A level's sums for the columns of the next finer one. */
export const SPREAD = `#version 300 es
precision highp float;${between}
uniform ivec2 other; uniform int skipped;  // where the level begins in coarse; how many columns lie before the first
out vec4 total;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  int x = at.x - skipped;
  total = between(other + ivec2(nearest(x), at.y), ivec2(side(x), 0));
}`;
// And for its rows: what all coarser levels add to a pixel.
const rows = `${between}
uniform highp sampler2D totals;
vec4 add(int x, int y) { return between(ivec2(x, nearest(y)), ivec2(0, side(y))); }`;
/* One level with all coarser ones. */
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
