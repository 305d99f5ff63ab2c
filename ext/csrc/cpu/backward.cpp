// The gradient: every Gaussian gathers from the pixels it reaches. Nothing is shared, so nothing is locked, and the
// number of threads does not change a bit.
#include <algorithm>
#include <atomic>

#include "column_eval.h"
#include "scratch.h"

namespace gsr::cpu {
namespace {

constexpr int64_t kBlock = 256;  // Gaussians that a thread takes at a time

// Sums down a column of: force, force * dy, force * dy^2; and per channel wanted * value.
template <int C>
struct Columns {
  Lanes force{}, along{}, square{}, color[C]{};
};

template <int C>
inline void gather_row(Columns<C>& into, Lanes value, float dy, const float* wanted, const float* color, int stride) {
  Lanes pull{};
  for (int c = 0; c < C; ++c) {
    const Lanes here = load(wanted + c * stride);
    pull += here * color[c];
    into.color[c] += here * value;
  }
  const Lanes force = pull * value, along = force * dy;
  into.force += force;
  into.along += along;
  into.square += along * dy;
}

// grad: [H][C][stride], rows padded with zeros so that a vector may reach beyond the frame.
template <int C>
void pull_one(const Ready& g, const Box& box, const Scene& scene, int64_t i, const Frame& frame, const float* grad, int stride,
              const SceneGradient& out) {
  const float* color = scene.color + i * C;
  double x_sum = 0, y_sum = 0, xx_sum = 0, xy_sum = 0, yy_sum = 0, color_sum[C] = {};
  const int last_x = box.first_y <= box.last_y ? box.last_x : box.first_x - 1;
  for (int x = box.first_x; x <= last_x; x += kLanes) {
    const Column column(g, frame.cut, static_cast<float>(x) + count_up());
    const Lanes dx = column.dx;
    Columns<C> sums;
    for (int y = box.first_y; y <= box.last_y; y += kRun) {
      const int last = std::min(y + kRun - 1, box.last_y);
      const float* wanted = grad + static_cast<int64_t>(y - frame.top) * C * stride + (x - frame.left);
      if (g.depth < kDeepest) {
        Run run(g, column, frame.cut, y);
        for (int row = y; row <= last; ++row, wanted += C * stride)
          gather_row<C>(sums, run.next(), static_cast<float>(row) - g.mean_y, wanted, color, stride);
      } else {
        for (int row = y; row <= last; ++row, wanted += C * stride)
          gather_row<C>(sums, value_at(g, column, frame.cut, row), static_cast<float>(row) - g.mean_y, wanted, color,
                        stride);
      }
    }
    x_sum += sum(sums.force * dx);
    y_sum += sum(sums.along);
    xx_sum += sum(sums.force * dx * dx);
    xy_sum += sum(sums.along * dx);
    yy_sum += sum(sums.square);
    for (int c = 0; c < C; ++c) color_sum[c] += sum(sums.color[c]);
  }
  const Moments moments = {static_cast<float>(x_sum), static_cast<float>(y_sum), static_cast<float>(xx_sum),
                           static_cast<float>(xy_sum), static_cast<float>(yy_sum)};
  const Gradient gradient = pull_back(moments, scene.sigma[2 * i], scene.sigma[2 * i + 1], scene.rho[i]);
  out.mean[2 * i] = gradient.mean_x;
  out.mean[2 * i + 1] = gradient.mean_y;
  out.sigma[2 * i] = gradient.sigma_x;
  out.sigma[2 * i + 1] = gradient.sigma_y;
  out.rho[i] = gradient.rho;
  for (int c = 0; c < C; ++c) out.color[i * C + c] = static_cast<float>(color_sum[c]);
}

template <int C>
void pull_block(const Scene& scene, const Frame& frame, int64_t first, int64_t count, const float* grad, int stride,
                const SceneGradient& out) {
  Ready ready[kBlock];
  Box boxes[kBlock];
  const Box bounds = {frame.left, frame.left + frame.width - 1, frame.top, frame.top + frame.height - 1};
  make_ready(scene, frame.cut, bounds, first, count, ready, boxes);
  for (int64_t k = 0; k < count; ++k) pull_one<C>(ready[k], boxes[k], scene, first + k, frame, grad, stride, out);
}

using PullBlock = decltype(&pull_block<1>);
constexpr PullBlock kPullBlock[] = {nullptr,       pull_block<1>, pull_block<2>, pull_block<3>, pull_block<4>,
                                    pull_block<5>, pull_block<6>, pull_block<7>, pull_block<8>, pull_block<9>};
static_assert(sizeof kPullBlock / sizeof kPullBlock[0] == kMaxChannels + 1);

}  // namespace

void pull(const Scene& scene, const Frame& frame, const float* grad, const Threads& threads, const SceneGradient& out) {
  const int channels = scene.channels, stride = frame.width + kLanes;
  Scratch<float> padded(static_cast<int64_t>(frame.height) * channels * stride);
  threads.run([&](int thread) {
    const int64_t from = static_cast<int64_t>(frame.height) * thread / threads.count;
    const int64_t to = static_cast<int64_t>(frame.height) * (thread + 1) / threads.count;
    for (int64_t y = from; y < to; ++y)
      for (int c = 0; c < channels; ++c) {
        float* row = padded.data() + (y * channels + c) * stride;
        std::copy_n(grad + (static_cast<int64_t>(c) * frame.height + y) * frame.width, frame.width, row);
        std::fill_n(row + frame.width, kLanes, 0.0f);
      }
  });
  std::atomic<int64_t> next{0};
  threads.run([&](int) {
    const FlushDenormals flush;
    for (int64_t first; (first = next.fetch_add(kBlock, std::memory_order_relaxed)) < scene.count;)
      kPullBlock[channels](scene, frame, first, std::min(kBlock, scene.count - first), padded.data(), stride, out);
  });
}

}  // namespace gsr::cpu
