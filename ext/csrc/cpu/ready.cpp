#include <algorithm>

#include "kernels.h"
#include "lanes.h"

namespace gsr::cpu {

void make_ready(const Scene& scene, const Cut& cut, const Bounds& bounds, int64_t first, int64_t count, Ready* out) {
  for (int64_t start = 0; start < count; start += kLanes) {
    const int64_t here = std::min<int64_t>(kLanes, count - start);
    Footprint shape[kLanes];
    alignas(64) float second_difference[kLanes], depth[kLanes];
    int box[4][kLanes];
    float raw[5][kLanes];
    for (int lane = 0; lane < kLanes; ++lane) {
      const int64_t i = first + start + std::min<int64_t>(lane, here - 1);
      raw[0][lane] = scene.mean[2 * i];
      raw[1][lane] = scene.mean[2 * i + 1];
      raw[2][lane] = scene.sigma[2 * i];
      raw[3][lane] = scene.sigma[2 * i + 1];
      raw[4][lane] = scene.rho[i];
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const Footprint f = make_footprint(raw[0][lane], raw[1][lane], raw[2][lane], raw[3][lane], raw[4][lane], cut);
      shape[lane] = f;
      second_difference[lane] = -2.0f * (f.uy * f.uy + f.wy * f.wy);
      // A little beyond the box's corners, where `clamp` in draw.cpp holds the lanes; the deeper of the two pairs.
      const float x = 1.02f * f.ellipse_x, y = f.ellipse_y, u = f.ux * x + fabsf(f.uy) * y, w = f.wy * y;
      depth[lane] = u * u + w * w;
      const float half_x = least(f.ellipse_x, cut.window_x), half_y = least(f.ellipse_y, cut.window_y);
      box[0][lane] = first_pixel(f.mean_x, half_x, bounds.first_x, bounds.last_x);
      box[1][lane] = last_pixel(f.mean_x, half_x, bounds.first_x, bounds.last_x);
      box[2][lane] = first_pixel(f.mean_y, half_y, bounds.first_y, bounds.last_y);
      box[3][lane] = last_pixel(f.mean_y, half_y, bounds.first_y, bounds.last_y);
    }
    alignas(64) float bend[kLanes];
    store(bend, exp2(load(second_difference)));
    for (int lane = 0; lane < here; ++lane)
      out[start + lane] = {shape[lane],  bend[lane],   depth[lane],  box[0][lane],
                           box[1][lane], box[2][lane], box[3][lane]};
  }
}

}  // namespace gsr::cpu
