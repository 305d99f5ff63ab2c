/* Touching the Gaussians: looks at how they make the picture. Nothing of it changes the field. */

import { AS_IT_IS } from "./fieldpainter.js";
import { usual } from "./inside.js";

/** Everything that can be touched, at rest. */
export const AT_REST = Object.freeze({
  sigma: 1, // factor of all extents
  opacity: 0, // 0..1: only those at least so strong
  size: 0, // 0..1: only those at least so large, from the usual smallest to the usual largest
  tint: 0, // 0..1: each in a colour of its own
  explode: 0, // 0..1: the large above, the small below
  color: null, // [r, g, b], 0..1: only those of about this colour
  nearness: 0.97, // least cosine between a colour and that one
  only: -1, // index: this one alone
  of: null, // the field that it belongs to
});

export const LOOK = `
uniform vec4 touch;  // sigma, least strength, least rank, tint
uniform vec4 near;  // colour of length 1, least cosine
uniform vec3 ranks;  // logarithms of the usual smallest and largest half axis; how far they are drawn apart
bool look(inout vec2 mean, inout vec2 axes, inout vec3 ink) {
  float rank = clamp((log(axes.x) - ranks.x) / (ranks.y - ranks.x), 0.0, 1.0);
  float strength = max(abs(ink.r), max(abs(ink.g), abs(ink.b)));
  bool is_shown = strength >= touch.y && (touch.z <= 0.0 || rank >= touch.z) && dot(ink, near.rgb) >= near.a * length(ink);
  if (touch.w > 0.0) {
    float turn = fract(sin(dot(mean, vec2(12.9898, 78.233))) * 43758.5453);
    ink = mix(ink, strength * (0.5 + 0.5 * cos(6.2832 * (turn + vec3(0.0, 0.33, 0.67)))), touch.w);
  }
  axes *= touch.x;
  mean.y += ranks.z * (0.5 - floor(4.0 * rank + 0.5) / 4.0);
  return is_shown;
}`;

/** What the painter needs of a touch. */
export function lookOf(touch, field) {
  if (touch === AT_REST) return RESTING;
  const apart = touch.explode * field.source[0];
  const [r, g, b] = touch.color ?? [0, 0, 0];
  const length = Math.hypot(r, g, b) || 1;
  const uniforms = (gl, at, { peak, sizes } = usual(field)) => {
    gl.uniform4f(at.touch, touch.sigma, touch.opacity * peak, touch.size, touch.tint);
    gl.uniform4f(at.near, r / length, g / length, b / length, touch.color ? touch.nearness : 0);
    gl.uniform3f(at.ranks, Math.log(sizes[0]), Math.log(sizes[1]), apart);
  };
  return { ...AS_IT_IS, sigma: touch.sigma, lift: apart / 2, only: touch.of === field ? touch.only : -1, uniforms: (gl, at) => uniforms(gl, at) };
}

const RESTING = Object.freeze({
  ...AS_IT_IS,
  uniforms: (gl, at) => {
    gl.uniform4f(at.touch, 1, 0, 0, 0);
    gl.uniform4f(at.near, 0, 0, 0, 0);
    gl.uniform3f(at.ranks, 0, 1, 0);
  },
});
