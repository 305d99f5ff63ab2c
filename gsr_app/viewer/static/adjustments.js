/* Adjustments of how Gaussians are drawn: scaled, hidden, tinted, moved apart. The field itself never changes. */

import { DEFAULT_OPTIONS } from "./culler.js";
import { typical } from "./fieldqueries.js";

/** Every adjustment, at the value that changes nothing. */
export const DEFAULT_ADJUSTMENTS = Object.freeze({
  sigma: 1, // factor of all extents
  opacity: 0, // 0..1: least strength shown
  size: 0, // 0..1: least size shown, from the typical smallest to the typical largest
  tint: 0, // 0..1: how far each takes a random colour
  explode: 0, // 0..1: how far sizes are moved apart, large ones up
  color: null, // [r, g, b], 0..1: the colour shown
  nearness: 0.97, // least cosine between a shown colour and that one
  only: -1, // index of the only Gaussian shown, or -1
  of: null, // the field that it belongs to
});

export const ADJUST = `
uniform vec4 adjustments;  // sigma, least strength, least rank, tint
uniform vec4 near;  // colour of length 1, least cosine
uniform vec3 ranks;  // logarithms of the typical smallest and largest half axis; how far apart they are moved
bool adjust(inout vec2 mean, inout vec2 axes, inout vec3 color) {
  float rank = clamp((log(axes.x) - ranks.x) / (ranks.y - ranks.x), 0.0, 1.0);
  float strength = max(abs(color.r), max(abs(color.g), abs(color.b)));
  bool is_shown = strength >= adjustments.y && (adjustments.z <= 0.0 || rank >= adjustments.z) && dot(color, near.rgb) >= near.a * length(color);
  if (adjustments.w > 0.0) {
    float turn = fract(sin(dot(mean, vec2(12.9898, 78.233))) * 43758.5453);
    color = mix(color, strength * (0.5 + 0.5 * cos(6.2832 * (turn + vec3(0.0, 0.33, 0.67)))), adjustments.w);
  }
  axes *= adjustments.x;
  mean.y += ranks.z * (0.5 - floor(4.0 * rank + 0.5) / 4.0);
  return is_shown;
}`;

/** Adjustments of a field as options of the painter. */
export function drawOptions(adjustments, field) {
  if (adjustments === DEFAULT_ADJUSTMENTS) return UNADJUSTED;
  const apart = adjustments.explode * field.source[0];
  const [r, g, b] = adjustments.color ?? [0, 0, 0];
  const length = Math.hypot(r, g, b) || 1;
  const uniforms = (gl, at, { peak, sizes } = typical(field)) => {
    gl.uniform4f(at.adjustments, adjustments.sigma, adjustments.opacity * peak, adjustments.size, adjustments.tint);
    gl.uniform4f(at.near, r / length, g / length, b / length, adjustments.color ? adjustments.nearness : 0);
    gl.uniform3f(at.ranks, Math.log(sizes[0]), Math.log(sizes[1]), apart);
  };
  return { ...DEFAULT_OPTIONS, sigma: adjustments.sigma, lift: apart / 2, only: adjustments.of === field ? adjustments.only : -1, uniforms: (gl, at) => uniforms(gl, at) };
}

const UNADJUSTED = Object.freeze({
  ...DEFAULT_OPTIONS,
  uniforms: (gl, at) => {
    gl.uniform4f(at.adjustments, 1, 0, 0, 0);
    gl.uniform4f(at.near, 0, 0, 0, 0);
    gl.uniform3f(at.ranks, 0, 1, 0);
  },
});
