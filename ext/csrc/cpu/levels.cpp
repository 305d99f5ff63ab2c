// Large Gaussians on coarser grids. Level k has every 2^k-th row and column of the grid that means are given in. A
// Gaussian is drawn on the level where it is 8 to 16 pixels wide, so a large one costs no more than a small one; each
// level is interpolated to the next finer one and added there, down to the pixels.
//
// Interpolation is between the six nearest points of a row, then of a column. For a Gaussian of 8 pixels the next term
// of the polynomial is (5/1024) * 15/8^6 = 2.8e-7 of its value, and it falls by 64 from level to level. A step cannot be
// interpolated, so the support ends where values are 64 times smaller than elsewhere: that leaves less than eps outside
// the ellipse, and ripples below eps / 32.
//
// The level depends on the Gaussian alone, and the places of the points on no frame: pieces of a drawing have the bits
// of the whole, and a Gaussian that does not reach a pixel changes nothing there.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "kernels.h"
#include "lanes.h"
#include "scratch.h"

namespace gsr::cpu {
namespace {

constexpr float kLargePx = 16.0f;  // from this width on, along the narrower axis, a Gaussian leaves the pixels' grid
constexpr int kWidthOnLevelBits = 3;  // it is then at least 2^3 points wide
constexpr int kMaxLevel = 22;

constexpr float kDeeperExponent = 6.0f;  // log2 of how much smaller the last values of a large Gaussian's support are

// Weights of the points at distance 1/2, 3/2 and 5/2.
constexpr float kNear = 150.0f / 256.0f, kMiddle = -25.0f / 256.0f, kFar = 3.0f / 256.0f;
constexpr int kBefore = 2, kAfter = 3;  // points that an interpolated one needs on either side

int level_of(float sigma_x, float sigma_y, float rho, const Cut& cut) {
  const float m = one_minus_rho2(rho);
  if (!(minimum(sigma_x, sigma_y) * sqrtf(m) >= kLargePx)) return 0;
  // A window that cuts into the support makes an edge that no coarser grid can represent.
  if (cut.reach * sigma_x * sqrtf(rho * rho + m) > cut.window_x || cut.reach * sigma_y > cut.window_y) return 0;
  return std::min(std::ilogb(minimum(sigma_x, sigma_y) * sqrtf(m)) - kWidthOnLevelBits, kMaxLevel);
}

// The Gaussians of each level, in the order of the scene.
std::vector<std::vector<int64_t>> by_level(const Scene& scene, const Cut& cut, const Threads& threads) {
  std::vector<std::vector<std::vector<int64_t>>> found(threads.count);
  std::vector<char> has_large(threads.count, 0);
  const auto each = [&](int thread, auto visit) {
    const int64_t end = scene.count * (thread + 1) / threads.count;
    for (int64_t i = scene.count * thread / threads.count; i < end; ++i) visit(i);
  };
  threads.run([&](int thread) {
    each(thread, [&](int64_t i) {
      has_large[thread] |= (scene.sigma[2 * i] >= kLargePx) & (scene.sigma[2 * i + 1] >= kLargePx);
    });
  });
  std::vector<std::vector<int64_t>> levels(1);
  if (std::none_of(has_large.begin(), has_large.end(), [](char x) { return x; })) return levels;
  threads.run([&](int thread) {
    found[thread].resize(kMaxLevel + 1);
    each(thread, [&](int64_t i) {
      found[thread][level_of(scene.sigma[2 * i], scene.sigma[2 * i + 1], scene.rho[i], cut)].push_back(i);
    });
  });
  levels.resize(kMaxLevel + 1);
  for (int level = 0; level <= kMaxLevel; ++level)
    for (const auto& part : found) levels[level].insert(levels[level].end(), part[level].begin(), part[level].end());
  while (levels.size() > 1 && levels.back().empty()) levels.pop_back();
  return levels;
}

// The Gaussians of one level as a scene on its grid.
struct LevelScene {
  Scratch<float> numbers;
  Scene scene;

  LevelScene(const Scene& from, const std::vector<int64_t>& listed, int level)
      : numbers((5 + from.channels) * static_cast<int64_t>(listed.size())) {
    const int64_t count = static_cast<int64_t>(listed.size());
    const float shrink = std::ldexp(1.0f, -level);
    float *mean = numbers.data(), *sigma = mean + 2 * count, *rho = sigma + 2 * count, *color = rho + count;
    for (int64_t k = 0; k < count; ++k) {
      const int64_t i = listed[k];
      for (int axis = 0; axis < 2; ++axis) {
        mean[2 * k + axis] = from.mean[2 * i + axis] * shrink;
        sigma[2 * k + axis] = from.sigma[2 * i + axis] * shrink;
      }
      rho[k] = from.rho[i];
      std::copy_n(from.color + i * from.channels, from.channels, color + k * from.channels);
    }
    scene = {mean, sigma, rho, color, count, from.channels};
  }
};

Cut cut_on_levels(const Cut& cut) {
  Cut deeper = cut;
  deeper.exponent = maximum(cut.exponent - kDeeperExponent, kLeastExponent);
  deeper.value = exp2f(deeper.exponent);
  deeper.reach = sqrtf(-deeper.exponent) / kRootHalfLog2E;
  deeper.window_x = deeper.window_y = kInfinity;  // what leaves the pixels' grid lies within the window
  return deeper;
}

// The points of the next level that a frame needs.
Frame coarser(const Frame& frame) {
  const auto half = [](int x) { return x >> 1; };  // rounds down, below 0 too
  const int top = half(frame.top) - kBefore, left = half(frame.left) - kBefore;
  return {half(frame.top + frame.height - 1) + kAfter - top + 1, half(frame.left + frame.width - 1) + kAfter - left + 1,
          top, left, frame.cut};
}

std::vector<Frame> frames_of(const Frame& frame, size_t levels) {
  std::vector<Frame> frames = {frame};
  while (frames.size() < levels) frames.push_back(coarser(frames.back()));
  for (size_t level = 1; level < levels; ++level) frames[level].cut = cut_on_levels(frame.cut);
  return frames;
}

int64_t pixels_of(const Frame& frame) { return static_cast<int64_t>(frame.height) * frame.width; }

inline Lanes between(Lanes a, Lanes b, Lanes c, Lanes d, Lanes e, Lanes f) {
  return (a + f) * kFar + ((b + e) * kMiddle + (c + d) * kNear);
}

// Runs task(c, y) for all rows of all channels.
template <class Task>
void for_each_row(const Threads& threads, int channels, int height, Task task) {
  const int64_t rows = static_cast<int64_t>(channels) * height;
  threads.run([&](int thread) {
    for (int64_t row = rows * thread / threads.count, end = rows * (thread + 1) / threads.count; row < end; ++row)
      task(static_cast<int>(row / height), static_cast<int>(row % height));
  });
}

// Adds a level, [C, h, w] with kLanes more floats at its end, to the next finer one.
void add_interpolated(const float* level, const Frame& on, const Frame& frame, int channels, const Threads& threads,
                      float* out) {
  for_each_row(threads, channels, frame.height, [&](int c, int y) {
    const FlushDenormals flush;
    const int row = frame.top + y, width = on.width;
    const float* at = level + (static_cast<int64_t>(c) * on.height + (row >> 1) - on.top) * width;
    const std::unique_ptr<float[]> points(new float[2 * (width + kLanes)]);
    float *even = points.get(), *odd = even + width + kLanes;
    for (int k = 0; k < width; k += kLanes) {
      const auto row_at = [&](int step) { return load(at + step * width + k); };
      store(even + k, row & 1 ? between(row_at(-2), row_at(-1), row_at(0), row_at(1), row_at(2), row_at(3)) : row_at(0));
    }
    for (int k = kBefore; k < width - kAfter; k += kLanes) {
      const auto point = [&](int step) { return load(even + k + step); };
      store(odd + k, between(point(-2), point(-1), point(0), point(1), point(2), point(3)));
    }
    float* pixels = out + (static_cast<int64_t>(c) * frame.height + y) * frame.width;
    const int shift = (frame.left >> 1) - on.left;  // the point at or before the first pixel
    int x = 0, k = shift;
    if (frame.left & 1) pixels[x++] += odd[k++];
    for (; x + 1 < frame.width; x += 2, ++k) {
      pixels[x] += even[k];
      pixels[x + 1] += odd[k];
    }
    if (x < frame.width) pixels[x] += even[k];
  });
}

// The transpose of add_interpolated: the gradient of a level, of the next finer one's.
void gather_gradient(const float* fine, const Frame& frame, const Frame& on, int channels, const Threads& threads,
                     float* out) {
  const int stride = on.width + kLanes;
  Scratch<float> rows(static_cast<int64_t>(channels) * frame.height * stride + kLanes);
  for_each_row(threads, channels, frame.height, [&](int c, int y) {
    const float* pixels = fine + (static_cast<int64_t>(c) * frame.height + y) * frame.width;
    constexpr int kPad = kAfter;  // zeros on either side: pixels outside the frame have no gradient
    std::vector<float> points(2 * (stride + 2 * kPad));
    float *even = points.data() + kPad, *odd = even + stride + 2 * kPad;
    for (int x = 0; x < frame.width; ++x)
      ((frame.left + x) & 1 ? odd : even)[((frame.left + x) >> 1) - on.left] = pixels[x];
    float* to = rows.data() + (static_cast<int64_t>(c) * frame.height + y) * stride;
    for (int k = 0; k < on.width; k += kLanes) {
      const auto point = [&](int step) { return load(odd + k + step); };
      store(to + k, load(even + k) + between(point(-3), point(-2), point(-1), point(0), point(1), point(2)));
    }
  });
  const std::vector<float> zeros(stride);
  for_each_row(threads, channels, on.height, [&](int c, int k) {
    const auto row_at = [&](int step) {
      const int y = 2 * (on.top + k) + step - frame.top;
      return y < 0 || y >= frame.height
                 ? zeros.data()
                 : rows.data() + (static_cast<int64_t>(c) * frame.height + y) * stride;
    };
    const float *at[7] = {row_at(-5), row_at(-3), row_at(-1), row_at(1), row_at(3), row_at(5), row_at(0)};
    float* to = out + (static_cast<int64_t>(c) * on.height + k) * on.width;
    for (int x = 0; x < on.width; x += kLanes) {
      const auto row = [&](int which) { return load(at[which] + x); };
      const Lanes sum = row(6) + between(row(0), row(1), row(2), row(3), row(4), row(5));
      if (x + kLanes <= on.width) store(to + x, sum);
      else
        for (int lane = 0; x + lane < on.width; ++lane) to[x + lane] = sum[lane];
    }
  });
}

void scatter(const SceneGradient& from, const std::vector<int64_t>& listed, int level, int channels,
             const SceneGradient& to) {
  const float shrink = std::ldexp(1.0f, -level);
  for (size_t k = 0; k < listed.size(); ++k) {
    const int64_t i = listed[k];
    for (int axis = 0; axis < 2; ++axis) {
      to.mean[2 * i + axis] = from.mean[2 * k + axis] * shrink;
      to.sigma[2 * i + axis] = from.sigma[2 * k + axis] * shrink;
    }
    to.rho[i] = from.rho[k];
    std::copy_n(from.color + k * channels, channels, to.color + i * channels);
  }
}

}  // namespace

void draw(const Scene& scene, const Frame& frame, const Threads& threads, float* out) {
  const auto levels = by_level(scene, frame.cut, threads);
  if (levels.size() == 1) return draw_on_grid(scene, frame, threads, out);
  const auto frames = frames_of(frame, levels.size());
  std::unique_ptr<Scratch<float>> level_above;
  for (int level = static_cast<int>(levels.size()) - 1; level >= 0; --level) {
    std::unique_ptr<Scratch<float>> buffer;
    if (level > 0) buffer.reset(new Scratch<float>(scene.channels * pixels_of(frames[level]) + kLanes));
    float* here = level > 0 ? buffer->data() : out;
    draw_on_grid(LevelScene(scene, levels[level], level).scene, frames[level], threads, here);
    if (level_above)
      add_interpolated(level_above->data(), frames[level + 1], frames[level], scene.channels, threads, here);
    level_above = std::move(buffer);
  }
}

void backward(const Scene& scene, const Frame& frame, const float* grad, const Threads& threads,
              const SceneGradient& out) {
  const auto levels = by_level(scene, frame.cut, threads);
  if (levels.size() == 1) return backward_on_grid(scene, frame, grad, threads, out);
  const auto frames = frames_of(frame, levels.size());
  std::unique_ptr<Scratch<float>> level_below;
  for (int level = 0; level < static_cast<int>(levels.size()); ++level) {
    std::unique_ptr<Scratch<float>> buffer;
    if (level > 0) {
      buffer.reset(new Scratch<float>(scene.channels * pixels_of(frames[level]) + kLanes));
      gather_gradient(level_below ? level_below->data() : grad, frames[level - 1], frames[level], scene.channels,
                      threads, buffer->data());
    }
    const LevelScene here(scene, levels[level], level);
    Scratch<float> numbers((5 + scene.channels) * here.scene.count);
    float* mean = numbers.data();
    const int64_t count = here.scene.count;
    const SceneGradient found = {mean, mean + 2 * count, mean + 4 * count, mean + 5 * count};
    backward_on_grid(here.scene, frames[level], level > 0 ? buffer->data() : grad, threads, found);
    scatter(found, levels[level], level, scene.channels, out);
    level_below = std::move(buffer);
  }
}

}  // namespace gsr::cpu
