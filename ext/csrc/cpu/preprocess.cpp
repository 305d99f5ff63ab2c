// Preprocessing: footprints, recurrence factors and pixel boxes of the Gaussians, a vector of them at a time.
#include <algorithm>

#include "column_eval.h"

namespace gsr::cpu {
namespace {

// As many Gaussians as a vector has lanes, as arrays of fields: the compiler vectorises the loop below.
struct Block {
  float mean_x[kLanes], mean_y[kLanes], sigma_x[kLanes], sigma_y[kLanes], rho[kLanes];
  float ux[kLanes], uy[kLanes], wy[kLanes], edge_x[kLanes];
  float second_difference[kLanes], bend[kLanes], depth[kLanes];
  int first_x[kLanes], last_x[kLanes], first_y[kLanes], last_y[kLanes];
};

void fill(Block& b, const Cut& cut, const Box& bounds) {
  for (int k = 0; k < kLanes; ++k) {
    const Footprint f = make_footprint(b.mean_x[k], b.mean_y[k], b.sigma_x[k], b.sigma_y[k], b.rho[k], cut);
    b.ux[k] = f.ux;
    b.uy[k] = f.uy;
    b.wy[k] = f.wy;
    b.edge_x[k] = kClampWidths * f.ellipse_x;
    b.second_difference[k] = -2.0f * (f.uy * f.uy + f.wy * f.wy);
    // At the corners with the smaller value.
    const float u = f.ux * b.edge_x[k] + fabsf(f.uy) * f.ellipse_y, w = f.wy * f.ellipse_y;
    b.depth[k] = u * u + w * w;
    const float half_x = minimum(f.ellipse_x, cut.window_x), half_y = minimum(f.ellipse_y, cut.window_y);
    b.first_x[k] = first_pixel(f.mean_x, half_x, bounds.first_x, bounds.last_x);
    b.last_x[k] = last_pixel(f.mean_x, half_x, bounds.first_x, bounds.last_x);
    b.first_y[k] = first_pixel(f.mean_y, half_y, bounds.first_y, bounds.last_y);
    b.last_y[k] = last_pixel(f.mean_y, half_y, bounds.first_y, bounds.last_y);
  }
  store(b.bend, exp2(load(b.second_difference)));
}

}  // namespace

void preprocess(const Scene& scene, const Cut& cut, const Box& bounds, int64_t first, int64_t count, Prepared* prepared,
                Box* boxes) {
  Block b;
  for (int64_t start = 0; start < count; start += kLanes) {
    const int here = static_cast<int>(std::min<int64_t>(kLanes, count - start));
    for (int k = 0; k < kLanes; ++k) {
      const int64_t i = first + start + std::min(k, here - 1);
      b.mean_x[k] = scene.mean[2 * i];
      b.mean_y[k] = scene.mean[2 * i + 1];
      b.sigma_x[k] = scene.sigma[2 * i];
      b.sigma_y[k] = scene.sigma[2 * i + 1];
      b.rho[k] = scene.rho[i];
    }
    fill(b, cut, bounds);
    for (int k = 0; k < here; ++k) {
      prepared[start + k] = {b.mean_x[k], b.mean_y[k], b.ux[k],     b.uy[k],
                          b.wy[k],     b.bend[k],   b.edge_x[k], b.depth[k]};
      boxes[start + k] = {b.first_x[k], b.last_x[k], b.first_y[k], b.last_y[k]};
    }
  }
}

}  // namespace gsr::cpu
