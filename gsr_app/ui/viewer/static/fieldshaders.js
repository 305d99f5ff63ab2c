/* The programs that draw a field: Gaussians as quads that add up, and what makes a picture of the sums.
 *
 * A large Gaussian is smooth: it is drawn on a coarser grid, of a quarter of the pixels per level, and the picture's
 * pixels are interpolated. They lie a quarter of a sample beside the grid's points, always, so that three of these in
 * a row suffice: weighed by 1, 10 and 5 sixteenths, like blurring by a variance of 5/16, without skew. Drawn so much
 * narrower, a Gaussian comes out as it should: where it is FINE samples wide along rows and columns it misses by 0.8 %
 * of its height at most, and a field, whose Gaussians miss here and there, by less than 2/255. */

import { EPS, REACH, TILT } from "./field.js";

export const ROW = 2048; // Gaussians per row of a texture
export const LEVELS = 7; // the picture's own pixels, and grids of every 2nd ... 64th
const FINE = 1.25;

/** How a drawing may differ from the field: a `look` of one's own, in GLSL, reads its own uniforms. */
export const LOOK = "bool look(inout vec2 mean, inout vec2 axes, inout vec3 ink) { return true; }";

/* Places one Gaussian: its centre, its half axes as vectors in pixels, and its form: rows that take pixels to units in
 * which the squared length is q log2(e) / 2. Sine and cosine by their series: a GPU's may be 5e-4 off, which a needle
 * shows. Every four vertices are one Gaussian's corners. */
export const gaussian = (look) => `#version 300 es
precision highp float;
uniform highp usampler2D cores; uniform highp sampler2D blues;
uniform int first;
uniform vec4 spread;  // the smallest means, and the step of their 24 bits
uniform vec2 origin, scale, size, window;
flat out vec2 centre; flat out vec4 form;
vec3 ink;
${look}
bool place(out vec2 wide, out vec2 high, out vec2 corner) {
  int i = first + (gl_VertexID >> 2);
  ivec2 cell = ivec2(i & ${ROW - 1}, i >> ${Math.log2(ROW)});
  uvec4 core = texelFetch(cores, cell, 0);
  vec2 mean = spread.xy + spread.zw * vec2(core.xy >> 8u), axes = max(unpackHalf2x16(core.z), 6e-8);
  ink = vec3(unpackHalf2x16(core.w), texelFetch(blues, cell, 0).r);
  bool is_shown = look(mean, axes, ink);
  float p = float((core.x & 255u) << 8 | core.y & 255u) * ${TILT} - ${Math.PI / 2}, z = p * p;
  float c = -p * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0 - z / 39916800.0)))));
  float s = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 + z * (-1.0 / 3628800.0 + z / 479001600.0)))));
  centre = (mean - origin) * scale;
  wide = axes.x * vec2(c, s) * scale;
  high = axes.y * vec2(-s, c) * scale;
  form = 0.849321800288 * vec4(vec2(c, s) / scale / axes.x, vec2(-s, c) / scale / axes.y);
  corner = vec2(gl_VertexID & 1, gl_VertexID >> 1 & 1) * 2.0 - 1.0;
  return is_shown;
}
`;

export const SPLAT = `
uniform vec4 rooms[${LEVELS}];  // where each level's samples lie in the target: left, top, right, bottom
uniform int top;
flat out vec4 part;
void main() {
  vec2 wide, high, corner;
  bool is_shown = place(wide, high, corner);
  vec2 extent = sqrt(wide * wide + high * high);
  // How wide a row or a column of pixels sees it, whichever sees less.
  float seen = abs(wide.x * high.y - wide.y * high.x) / max(extent.x, extent.y);
  int level = any(lessThan(window, ${REACH} * extent)) ? 0 : clamp(int(floor(log2(seen * ${1 / FINE}))), 0, top);
  vec4 room = rooms[level];
  part = vec4(ink, 1);
  if (level > 0) {
    float pitch = exp2(float(level));
    float blur = (pitch * pitch - 1.0) * ${5 / 12};  // 5/16 on this grid and on every finer one, in pixels
    vec2 narrow = sqrt(1.0 - blur / vec2(dot(wide, wide), dot(high, high)));
    wide *= narrow.x / pitch;
    high *= narrow.y / pitch;
    form *= pitch / narrow.xxyy;
    part /= narrow.x * narrow.y;
    centre = (centre - 1.0) / pitch + room.xy + 2.0;  // one sample lies before the first
  }
  vec2 reach = ${REACH} * sqrt(wide * wide + high * high);
  // A little wider than the ellipse: corners snap to fractions of a pixel, and no pixel's centre may be lost.
  vec2 at = corner.x * wide * (${REACH} + 0.04 / length(wide)) + corner.y * high * (${REACH} + 0.04 / length(high));
  // Where the window cuts, the box ends between the pixels whose centres are inside it and those that are not.
  vec2 low = max(room.xy, ceil(centre - window - 0.5)), far = min(room.zw, floor(centre + window + 0.5));
  if (any(lessThan(centre - reach, low)) || any(greaterThan(centre + reach, far))) {
    low = max(low, centre - reach - 0.04);
    at = mix(low, max(low, min(far, centre + reach + 0.04)), 0.5 + 0.5 * corner) - centre;
  }
  gl_Position = is_shown ? vec4((centre + at) / size * 2.0 - 1.0, 0, 1) : vec4(2, 2, 2, 1);
}`;

export const WEIGH = `#version 300 es
precision highp float;
flat in vec2 centre; flat in vec4 form; flat in vec4 part;
out vec4 total;
void main() {
  vec2 d = gl_FragCoord.xy - centre, p = vec2(dot(form.xy, d), dot(form.zw, d));
  if (dot(p, p) > ${-Math.log2(EPS)}) discard;
  total = part * exp2(-dot(p, p));
}`;

export const WHOLE = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0, 1); }`;

// Three by three samples of the next coarser grid around pixel `at` of this one.
const coarse = `
uniform highp sampler2D totals, coarse; uniform vec2 other, unit;  // where the grid begins in coarse; a pixel of that
vec4 blend(ivec2 at) {
  vec2 from = (other + vec2((at + 1) >> 1) + 0.5) * unit;
  vec3 even = vec3(0.0625, 0.625, 0.3125), odd = even.zyx;
  vec3 x = (at.x & 1) == 0 ? even : odd, y = (at.y & 1) == 0 ? even : odd;
  vec4 sum = vec4(0);
  ${[0, 1, 2].map((row) => `sum += y[${row}] * (${[0, 1, 2].map((column) => `x[${column}] * textureLodOffset(coarse, from, 0.0, ivec2(${column}, ${row}))`).join(" + ")});`).join("\n  ")}
  return sum;
}`;
/* One level with all coarser ones. */
export const REFINE = `#version 300 es
precision highp float;${coarse}
uniform ivec2 own;  // where the level begins in totals
out vec4 total;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  total = texelFetch(totals, own + at, 0) + blend(at - 1);
}`;

const finish = `
uniform float rows, is_normalised;
out vec4 shown;
void finish(vec4 t) {
  shown = vec4(clamp(is_normalised > 0.0 && t.a > ${0.9 * EPS} ? t.rgb / t.a : t.rgb, 0.0, 1.0), 1);
}`;
export const SHOW = `#version 300 es
precision highp float;
uniform highp sampler2D totals;${finish}
void main() { finish(texelFetch(totals, ivec2(gl_FragCoord.x, rows - gl_FragCoord.y), 0)); }`;
export const SHOW_LEVELS = `#version 300 es
precision highp float;${coarse}${finish}
void main() {
  ivec2 at = ivec2(gl_FragCoord.x, rows - gl_FragCoord.y);
  finish(texelFetch(totals, at, 0) + blend(at));
}`;
