// The baseline of the benchmark: one thread per Gaussian, with global atomics, whose results differ from run to run.
#pragma once

#include "frame.h"

namespace {

struct DrawNaivelyParams {
    const Prepared* prepared;  // [N]
    const float* color;  // [N, C]
    float* image;        // [C, H, W], zeroed
    long long count;
    Frame frame;
};

// One thread draws a whole Gaussian: it visits every row of the image and adds with global atomics.
template <int C>
__device__ inline void draw_naively(const DrawNaivelyParams& p) {
    const long long i = thread_index();
    if (i >= p.count) return;
    const gsr::Cut cut = p.frame.cut();
    const gsr::Footprint f = p.prepared[i].footprint;
    const Range columns = columns_of(p.frame, cut, f), rows = rows_of(p.frame, cut, f);
    for (int row = 0; row < p.frame.height; ++row) {
        if (row < rows.first || row > rows.last) continue;
        const float dy = static_cast<float>(p.frame.top + row) - f.mean_y;
        for (int column = columns.first; column <= columns.last; ++column) {
            const float dx = static_cast<float>(p.frame.left + column) - f.mean_x;
            const float value = value_at(gsr::exponent_at(f, dx, dy), cut.exponent, true);
            float* pixel = p.image + static_cast<long long>(row) * p.frame.width + column;
#pragma unroll
            for (int c = 0; c < C; ++c) atomicAdd(pixel + c * p.frame.pixels(), value * p.color[i * C + c]);
        }
    }
}

}  // namespace
