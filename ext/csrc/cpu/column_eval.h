// The values of one Gaussian in one vector of columns, row by row.
#pragma once
#include "kernels.h"
#include "lanes.h"

namespace gsr::cpu {

// Down a column the exponent is quadratic: a value needs two multiplications per row. A run of rows restarts after this
// many, which keeps the accumulated rounding below 4e-6.
constexpr int kRun = 16;

// 2^-kDeepest is far from the edge of the float range. A Gaussian with smaller values inside its box is evaluated row by
// row instead: where a column starts with 0 no multiplication brings it back.
constexpr float kDeepest = 120.0f;

// Beside its ellipse a Gaussian counts for nothing, but its exponent runs away: columns further out than this many
// half-widths are taken to be there. At that distance every value is below the cut.
constexpr float kHold = 1.01f;

struct Column {
  Lanes dx, u;  // u at the mean's row
  Bits in_window;

  Column(const Ready& g, const Cut& cut, Lanes x) {
    dx = x - all(g.mean_x);
    in_window = magnitude(dx) <= all(cut.window_x);
    u = all(g.ux) * dx;
  }
};

// Value by value down a run; rows come in order.
struct Run {
  Lanes value, ratio, bend, least_value;

  Run() = default;

  Run(const Ready& g, const Column& column, const Cut& cut, int first_y) : bend(all(g.bend)), least_value(all(cut.value)) {
    const Lanes edge = all(g.ux * g.edge_x), uy = all(g.uy), wy = all(g.wy);
    const Lanes dy = all(static_cast<float>(first_y)) - all(g.mean_y);
    const Lanes u = uy * dy + at_most(at_least(column.u, -edge), edge), w = wy * dy;
    value = column.in_window ? exp2_inside(-(w * w) - u * u) : Lanes{};
    ratio = exp2_inside(at_least(-(uy * (2.0f * u + uy) + wy * (2.0f * w + wy)), all(-126.0f)));
  }

  // The values of the next row, 0 where they do not count.
  Lanes next() {
    const Lanes now = value >= least_value ? value : Lanes{};
    value *= ratio;
    ratio *= bend;
    return now;
  }
};

inline Lanes value_at(const Ready& g, const Column& column, const Cut& cut, int y) {
  const float dy = static_cast<float>(y) - g.mean_y, w = g.wy * dy;
  const Lanes u = column.u + g.uy * dy, exponent = -(w * w) - u * u;
  return (exponent >= cut.exponent) & column.in_window ? exp2(exponent) : Lanes{};
}

}  // namespace gsr::cpu
