// The CPU kernels: plain pointers in and out.
#pragma once
#include <cstdint>
#include <functional>

#include "../splat.h"

namespace gsr::cpu {

struct Scene {
  const float* mean;   // [N, 2] (x, y)
  const float* sigma;  // [N, 2] (x, y)
  const float* rho;    // [N]
  const float* color;  // [N, C]
  int64_t count;
  int channels;  // 1 to kMaxChannels
};

constexpr int kMaxChannels = 9;  // eight, and the weight of a normalised drawing

struct Frame {
  int height, width;
  int top, left;  // index of the first row and column on the grid that means count in
  Cut cut;
};

struct SceneGradient {
  float* mean;   // [N, 2]
  float* sigma;  // [N, 2]
  float* rho;    // [N]
  float* color;  // [N, C]
};

// Runs task(0) .. task(threads - 1), at once if it can.
struct Threads {
  int count;
  std::function<void(const std::function<void(int)>&)> run;
};

void draw(const Scene& scene, const Frame& frame, const Threads& threads, float* out);  // out: [C, H, W]

void pull(const Scene& scene, const Frame& frame, const float* grad, const Threads& threads,
          const SceneGradient& out);  // grad: [C, H, W]

// A Gaussian made ready to be drawn into a frame.
struct Ready {
  Footprint shape;
  float bend;    // 2^-(second difference of the exponent down a column): the factor between successive ratios
  float depth;   // -log2 of the least value anywhere in its box
  int first_x, last_x, first_y, last_y;  // its box within the bounds; empty when first > last

  bool is_visible() const { return first_x <= last_x && first_y <= last_y; }
};

// Pixels first to last, both included.
struct Bounds {
  int first_x, last_x, first_y, last_y;
};

// Makes Gaussians first .. first + count - 1 ready. Every Gaussian goes through the same instructions wherever it stands
// in the scene: a subset draws the same bits.
void make_ready(const Scene& scene, const Cut& cut, const Bounds& bounds, int64_t first, int64_t count, Ready* out);

// Down a column the exponent is quadratic: a value needs two multiplications per row. A run restarts after this many
// rows, which keeps the accumulated rounding below 4e-6.
constexpr int kRun = 16;

// 2^kDeepest is far from the edge of the float range: ratios and values of a run as deep as this stay normal.
constexpr float kDeepest = 120.0f;

}  // namespace gsr::cpu
