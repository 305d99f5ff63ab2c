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
  int top, left;  // index of the first row and column on the grid that means are given in
  Cut cut;
};

struct SceneGradient {
  float* mean;   // [N, 2]
  float* sigma;  // [N, 2]
  float* rho;    // [N]
  float* color;  // [N, C]
};

// Runs task(0) .. task(count - 1), in parallel where possible.
struct Threads {
  int count;
  std::function<void(const std::function<void(int)>&)> run;
};

void draw(const Scene& scene, const Frame& frame, const Threads& threads, float* out);  // out: [C, H, W]

void backward(const Scene& scene, const Frame& frame, const float* grad, const Threads& threads,
              const SceneGradient& out);  // grad: [C, H, W]

// The same without coarser grids for large Gaussians: every value is evaluated at every pixel.
void draw_on_grid(const Scene& scene, const Frame& frame, const Threads& threads, float* out);
void backward_on_grid(const Scene& scene, const Frame& frame, const float* grad, const Threads& threads,
                      const SceneGradient& out);

// For each output row or column the source ones that it is a sum of, and their weights: [size, count] each.
struct Taps {
  const int64_t* index;
  const float* weight;
  int64_t size;
  int count;
};

// Planes of floats whose rows are contiguous.
struct Source {
  const float* data;
  int64_t planes, plane_stride, row_stride;
  int width;
};

void resample(const Source& source, const Taps& y, const Taps& x, const Threads& threads, float* out);  // [P, y, x]

// A preprocessed Gaussian: what its values need, in half a cache line.
struct Prepared {
  float mean_x, mean_y;
  float ux, uy, wy;  // as in Footprint
  float bend;        // the factor between successive ratios of values down a column: 2^-(2 uy^2 + 2 wy^2)
  float edge_x;      // half the width of its ellipse, times kClampWidths
  float depth;       // -log2 of the least value anywhere in its box
};

// Pixels first to last, both included.
struct Box {
  int first_x, last_x, first_y, last_y;

  bool is_empty() const { return first_x > last_x || first_y > last_y; }
};

// Preprocesses Gaussians first .. first + count - 1, and finds their boxes within the bounds. Every Gaussian goes
// through the same instructions wherever it stands in the scene, so that a subset draws the same bits.
void preprocess(const Scene& scene, const Cut& cut, const Box& bounds, int64_t first, int64_t count, Prepared* prepared,
                Box* boxes);

}  // namespace gsr::cpu
