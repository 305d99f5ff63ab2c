// A Gaussian's footprint: the definitions that all kernels share, for host and device.
//
// With a = dx / sigma_x, b = dy / sigma_y and m = 1 - rho^2, at least kMinOneMinusRho2, a value is exp(-q/2) with
//   q = (a - rho b)^2 / m + b^2,
// the usual quadratic form as a sum of two squares, in which nothing cancels when |rho| comes close to 1.
// Kernels use base 2:  value = 2^-(u^2 + w^2),  u = ux dx + uy dy,  w = wy dy.
// The support is the ellipse q <= -2 ln(eps), cut further by the window |dx| <= window_x, |dy| <= window_y.
// gsr_app/ops/reference.py is the same in Python.
#pragma once
#ifndef __CUDACC_RTC__
#include <cmath>
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define GSR_FN __host__ __device__ __forceinline__
#else
#define GSR_FN inline
#endif

namespace gsr {

// GSASR reaches |rho| = 0.999999, where 1 - rho^2 is 2e-6. Beyond |rho| = 0.9999995 a Gaussian gets no thinner.
constexpr float kMinOneMinusRho2 = 1e-6f;
constexpr float kMinSigmaPx = 1e-6f;        // a thinner Gaussian is drawn this thin
constexpr float kRootHalfLog2E = 0.849321800288f;  // sqrt(log2(e) / 2)
constexpr float kLeastExponent = -126.0f;   // 2^-126 is the smallest normal float: below it a value counts as 0
#ifndef __CUDACC_RTC__  // NVRTC has no such builtin, and the kernels do not use it
constexpr float kInfinity = __builtin_huge_valf();
#endif

// a * b + c with one rounding on a GPU, whose compiler would else fuse it in one kernel and not in another: kernels that
// count and kernels that write what was counted must agree to the last bit.
GSR_FN float multiply_add(float a, float b, float c) {
#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
  return fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

GSR_FN float minimum(float a, float b) { return a < b ? a : b; }
GSR_FN float maximum(float a, float b) { return a > b ? a : b; }

// Where contributions end; the same for all Gaussians of a drawing.
struct Cut {
  float value;     // contributions below this are left out: eps, or the smallest normal float when eps is 0
  float exponent;  // its log2
  float reach;     // size of the support's ellipse in units of sigma; finite even when eps is 0
  float window_x, window_y;  // half-sizes of the hard window; infinite for none
};

GSR_FN Cut make_cut(float eps, float window_x, float window_y) {
  Cut cut;
  cut.exponent = eps > 0.0f ? maximum(log2f(eps), kLeastExponent) : kLeastExponent;
  cut.value = maximum(eps, 1.17549435e-38f);
  cut.reach = sqrtf(-cut.exponent) / kRootHalfLog2E;
  cut.window_x = window_x;
  cut.window_y = window_y;
  return cut;
}

struct Footprint {
  float mean_x, mean_y;
  float ux, uy, wy;
  float ellipse_x, ellipse_y;  // half-sizes of the box of the support's ellipse
};

GSR_FN float one_minus_rho2(float rho) { return maximum((1.0f - rho) * (1.0f + rho), kMinOneMinusRho2); }

GSR_FN Footprint make_footprint(float mean_x, float mean_y, float sigma_x, float sigma_y, float rho, const Cut& cut) {
  sigma_x = maximum(sigma_x, kMinSigmaPx);
  sigma_y = maximum(sigma_y, kMinSigmaPx);
  const float m = one_minus_rho2(rho);
  Footprint f;
  f.mean_x = mean_x;
  f.mean_y = mean_y;
  f.wy = kRootHalfLog2E / sigma_y;
  const float thin = 1.0f / sqrtf(m);
  f.ux = kRootHalfLog2E / sigma_x * thin;
  f.uy = -rho * thin * f.wy;
  f.ellipse_x = cut.reach * sigma_x * sqrtf(rho * rho + m);
  f.ellipse_y = cut.reach * sigma_y;
  return f;
}

// log2 of the value at an offset from the mean.
GSR_FN float exponent_at(const Footprint& f, float dx, float dy) {
  const float u = f.ux * dx + f.uy * dy, w = f.wy * dy;
  return -(u * u + w * w);
}

// The first and last pixel, within low..high, whose distance to the mean is `half` or less; first > last when none.
// The comparison is the one that a kernel makes at the pixel itself, so that a window's edge is exact.
GSR_FN int first_pixel(float mean, float half, int low, int high) {
  float pixel = ceilf(mean - half);
  pixel -= mean - (pixel - 1.0f) <= half ? 1.0f : 0.0f;
  pixel += mean - pixel > half ? 1.0f : 0.0f;
  return static_cast<int>(maximum(minimum(pixel, static_cast<float>(high) + 1.0f), static_cast<float>(low)));
}

GSR_FN int last_pixel(float mean, float half, int low, int high) {
  float pixel = floorf(mean + half);
  pixel += pixel + 1.0f - mean <= half ? 1.0f : 0.0f;
  pixel -= pixel - mean > half ? 1.0f : 0.0f;
  return static_cast<int>(maximum(minimum(pixel, static_cast<float>(high)), static_cast<float>(low) - 1.0f));
}

// An interval of offsets from the mean; empty when low > high.
struct Span {
  float low, high;
};

// The columns that the support's ellipse covers in the row at dy.
GSR_FN Span columns_in_row(const Footprint& f, const Cut& cut, float dy) {
  const float w = f.wy * dy, inside = -cut.exponent - w * w;
  if (!(inside >= 0.0f)) return {1.0f, 0.0f};
  const float middle = -f.uy * dy / f.ux, half = sqrtf(inside) / f.ux;
  return {middle - half, middle + half};
}

// The rows that the support's ellipse covers between two columns (offsets from the mean), widened by more than the
// rounding error of the bounds: nothing inside the support is ever left out.
GSR_FN Span rows_between_columns(const Footprint& f, const Cut& cut, float left, float right) {
  left = maximum(left, -f.ellipse_x);
  right = minimum(right, f.ellipse_x);
  if (left > right) return {1.0f, 0.0f};
  const float top_at = f.uy * f.ellipse_y / f.ux;  // dx of the ellipse's highest point; its lowest is opposite
  const float steep = multiply_add(f.uy, f.uy, f.wy * f.wy), slope = -f.ux * f.uy / steep;
  const float low_at = maximum(minimum(top_at, right), left), high_at = maximum(minimum(-top_at, right), left);
  const float flat = f.ux * f.wy, room = -cut.exponent * steep * 1.00002f, least = 1e-5f * room;
  const float low = flat * low_at, high = flat * high_at;
  const float below = sqrtf(maximum(multiply_add(-low, low, room), least)) / steep;
  const float above = sqrtf(maximum(multiply_add(-high, high, room), least)) / steep;
  return {multiply_add(slope, low_at, -below), multiply_add(slope, high_at, above)};
}

// Sums over pixels of dL/dvalue * value * (offset from the mean)^k.
struct Moments {
  float x, y, xx, xy, yy;
};

struct Gradient {
  float mean_x, mean_y, sigma_x, sigma_y, rho;
};

// The chain rule from the moments to a Gaussian's parameters.
GSR_FN Gradient gradient_of(const Moments& moments, float sigma_x, float sigma_y, float rho) {
  const bool is_clamped_x = sigma_x < kMinSigmaPx, is_clamped_y = sigma_y < kMinSigmaPx;
  const bool is_clamped_rho = (1.0f - rho) * (1.0f + rho) < kMinOneMinusRho2;
  const float sx = maximum(sigma_x, kMinSigmaPx), sy = maximum(sigma_y, kMinSigmaPx), m = one_minus_rho2(rho);
  const float a = moments.x / sx, b = moments.y / sy;
  const float aa = moments.xx / sx / sx, ab = moments.xy / sx / sy, bb = moments.yy / sy / sy;
  const float p = (a - rho * b) / m, pa = (aa - rho * ab) / m, pb = (ab - rho * bb) / m;  // p = (a - rho b) / m
  Gradient g;
  g.mean_x = p / sx;
  g.mean_y = (b - rho * p) / sy;
  g.sigma_x = is_clamped_x ? 0.0f : pa / sx;
  g.sigma_y = is_clamped_y ? 0.0f : (bb - rho * pb) / sy;
  g.rho = pb - (is_clamped_rho ? 0.0f : rho * (pa - rho * pb) / m);
  return g;
}

}  // namespace gsr
