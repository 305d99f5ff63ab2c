// Column evaluator: the values of one Gaussian in one vector of columns, row by row.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace gsr::cpu {

// Down a column the exponent is quadratic, so a recurrence gives the next value by two multiplications. It restarts
// after this many rows, which keeps the accumulated rounding below 4e-6.
constexpr int kRecurrenceRows = 16;

// 2^-kMaxDepth is far from the end of the float range. A Gaussian with smaller values inside its box is evaluated row
// by row instead: the recurrence cannot leave 0.
constexpr float kMaxDepth = 120.0f;

// Beside its ellipse a Gaussian contributes nothing, but its exponent overflows: columns further out than this many
// half-widths are clamped to that distance, where every value is below the cut.
constexpr float kClampWidths = 1.01f;

struct ColumnEval {
  Lanes dx, u;  // u at the mean's row
  Bits in_window;

  ColumnEval(const Prepared& g, const Cut& cut, Lanes x) {
    dx = x - broadcast(g.mean_x);
    in_window = absolute(dx) <= broadcast(cut.window_x);
    u = broadcast(g.ux) * dx;
  }
};

// The values of consecutive rows, each from the one before.
struct RowRecurrence {
  Lanes value, ratio, bend, least_value;

  RowRecurrence() = default;

  RowRecurrence(const Prepared& g, const ColumnEval& column, const Cut& cut, int first_y)
      : bend(broadcast(g.bend)), least_value(broadcast(cut.value)) {
    const Lanes edge = broadcast(g.ux * g.edge_x), uy = broadcast(g.uy), wy = broadcast(g.wy);
    const Lanes dy = broadcast(static_cast<float>(first_y)) - broadcast(g.mean_y);
    const Lanes u = uy * dy + clamp_max(clamp_min(column.u, -edge), edge), w = wy * dy;
    value = column.in_window ? exp2_in_range(-(w * w) - u * u) : Lanes{};
    ratio = exp2_in_range(clamp_min(-(uy * (2.0f * u + uy) + wy * (2.0f * w + wy)), broadcast(-126.0f)));
  }

  // The values of the next row; 0 outside the support.
  Lanes next() {
    const Lanes now = value >= least_value ? value : Lanes{};
    value *= ratio;
    ratio *= bend;
    return now;
  }
};

inline Lanes value_at(const Prepared& g, const ColumnEval& column, const Cut& cut, int y) {
  const float dy = static_cast<float>(y) - g.mean_y, w = g.wy * dy;
  const Lanes u = column.u + g.uy * dy, exponent = -(w * w) - u * u;
  return (exponent >= cut.exponent) & column.in_window ? exp2(exponent) : Lanes{};
}

}  // namespace gsr::cpu
