// The gradient: every Gaussian gathers from the pixels it reaches. Threads share no output, so there are no locks, and
// the number of threads does not change a bit.
#include <algorithm>
#include <atomic>

#include "column_eval.h"
#include "scratch.h"

namespace gsr::cpu {
namespace {

constexpr int64_t kBlock = 256;  // Gaussians that a thread takes at a time

// Sums down a column of t = dL/dvalue * value, t * dy and t * dy^2; and per channel of dL/dpixel * value.
template <int C>
struct ColumnSums {
  Lanes t{}, t_dy{}, t_dy2{}, color[C]{};
};

template <int C>
inline void add_row(ColumnSums<C>& into, Lanes value, float dy, const float* grad, const float* color, int stride) {
  Lanes grad_value{};
  for (int c = 0; c < C; ++c) {
    const Lanes grad_pixel = load(grad + c * stride);
    grad_value += grad_pixel * color[c];
    into.color[c] += grad_pixel * value;
  }
  const Lanes t = grad_value * value, t_dy = t * dy;
  into.t += t;
  into.t_dy += t_dy;
  into.t_dy2 += t_dy * dy;
}

// grad: [H][C][stride], rows padded with zeros so that a vector may extend beyond the frame.
template <int C>
void backward_one(const Prepared& g, const Box& box, const Scene& scene, int64_t i, const Frame& frame,
                  const float* grad, int stride, const SceneGradient& out) {
  const float* color = scene.color + i * C;
  double x_sum = 0, y_sum = 0, xx_sum = 0, xy_sum = 0, yy_sum = 0, color_sum[C] = {};
  const int last_x = box.first_y <= box.last_y ? box.last_x : box.first_x - 1;
  for (int x = box.first_x; x <= last_x; x += kLanes) {
    const ColumnEval column(g, frame.cut, static_cast<float>(x) + lane_indices());
    const Lanes dx = column.dx;
    ColumnSums<C> sums;
    for (int y = box.first_y; y <= box.last_y; y += kRecurrenceRows) {
      const int last = std::min(y + kRecurrenceRows - 1, box.last_y);
      const float* row_grad = grad + static_cast<int64_t>(y - frame.top) * C * stride + (x - frame.left);
      if (g.depth < kMaxDepth) {
        RowRecurrence recurrence(g, column, frame.cut, y);
        for (int row = y; row <= last; ++row, row_grad += C * stride)
          add_row<C>(sums, recurrence.next(), static_cast<float>(row) - g.mean_y, row_grad, color, stride);
      } else {
        for (int row = y; row <= last; ++row, row_grad += C * stride)
          add_row<C>(sums, value_at(g, column, frame.cut, row), static_cast<float>(row) - g.mean_y, row_grad, color,
                     stride);
      }
    }
    x_sum += sum(sums.t * dx);
    y_sum += sum(sums.t_dy);
    xx_sum += sum(sums.t * dx * dx);
    xy_sum += sum(sums.t_dy * dx);
    yy_sum += sum(sums.t_dy2);
    for (int c = 0; c < C; ++c) color_sum[c] += sum(sums.color[c]);
  }
  const Moments moments = {static_cast<float>(x_sum), static_cast<float>(y_sum), static_cast<float>(xx_sum),
                           static_cast<float>(xy_sum), static_cast<float>(yy_sum)};
  const Gradient gradient = gradient_of(moments, scene.sigma[2 * i], scene.sigma[2 * i + 1], scene.rho[i]);
  out.mean[2 * i] = gradient.mean_x;
  out.mean[2 * i + 1] = gradient.mean_y;
  out.sigma[2 * i] = gradient.sigma_x;
  out.sigma[2 * i + 1] = gradient.sigma_y;
  out.rho[i] = gradient.rho;
  for (int c = 0; c < C; ++c) out.color[i * C + c] = static_cast<float>(color_sum[c]);
}

template <int C>
void backward_block(const Scene& scene, const Frame& frame, int64_t first, int64_t count, const float* grad, int stride,
                    const SceneGradient& out) {
  Prepared prepared[kBlock];
  Box boxes[kBlock];
  const Box bounds = {frame.left, frame.left + frame.width - 1, frame.top, frame.top + frame.height - 1};
  preprocess(scene, frame.cut, bounds, first, count, prepared, boxes);
  for (int64_t k = 0; k < count; ++k)
    backward_one<C>(prepared[k], boxes[k], scene, first + k, frame, grad, stride, out);
}

using BackwardBlock = decltype(&backward_block<1>);
constexpr BackwardBlock kBackwardBlock[] = {
    nullptr,           backward_block<1>, backward_block<2>, backward_block<3>, backward_block<4>,
    backward_block<5>, backward_block<6>, backward_block<7>, backward_block<8>, backward_block<9>};
static_assert(sizeof kBackwardBlock / sizeof kBackwardBlock[0] == kMaxChannels + 1);

}  // namespace

void backward_on_grid(const Scene& scene, const Frame& frame, const float* grad, const Threads& threads,
                      const SceneGradient& out) {
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
      kBackwardBlock[channels](scene, frame, first, std::min(kBlock, scene.count - first), padded.data(), stride, out);
  });
}

}  // namespace gsr::cpu
