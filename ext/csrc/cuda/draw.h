// Draw: each tile sums its Gaussians. One block per tile, one warp per quarter of it, the sums in registers.
#pragma once

#include "frame.h"

namespace {

struct DrawParams {
    const Prepared* prepared;  // [N]
    const float* color;      // [N, C]
    const int* owner;        // [P] the Gaussian of each pair as emitted
    const long long* order;  // [P] the pairs sorted by tile
    const int* starts;       // [tiles + 1] where each tile's pairs begin
    float* image;            // [C, H, W]
    int adds;                // whether earlier batches have drawn already
    Frame frame;
};

// The fields of a Gaussian that the inner loop reads; aligned so that this takes few wide loads.
template <int C>
struct alignas(16) Staged {
    float mean_x, mean_y, ux, uy, wy;
    float color[C];
};

// The quarters of a tile that the Gaussian reaches, as four bits.
__device__ inline unsigned quarters_reached(
    const Frame& frame, const gsr::Cut& cut, const gsr::Footprint& f, int left, int top) {
    unsigned reached = 0;
    for (int half = 0; half < 2; ++half) {
        const int column = left + half * kQuarter;
        const Range rows = rows_between(frame, cut, f, column, column + kQuarter - 1);
        if (rows.is_empty()) continue;
        if (rows.first < top + kQuarter && rows.last >= top) reached |= 1u << half;
        if (rows.first < top + kTile && rows.last >= top + kQuarter) reached |= 4u << half;
    }
    return reached;
}

template <int C>
__device__ inline void draw(const DrawParams& p) {
    __shared__ Staged<C> staged[kBlock];
    __shared__ unsigned reached[kBlock];

    const gsr::Cut cut = p.frame.cut();
    const int thread = threadIdx.x, lane = thread % kWarp, quarter = thread / kWarp;
    const int tile = blockIdx.x, tiles_across = p.frame.tiles_across();
    const int left = tile % tiles_across * kTile, top = tile / tiles_across * kTile;

    // A thread draws two pixels of one column, four rows apart: they share the terms in dx.
    constexpr int kRowStep = kQuarter / 2;
    const int column = left + quarter % 2 * kQuarter + lane % kQuarter;
    const int row = top + quarter / 2 * kQuarter + lane / kQuarter;
    const float x = static_cast<float>(p.frame.left + column), y = static_cast<float>(p.frame.top + row);
    const bool draws_upper = column < p.frame.width && row < p.frame.height;
    const bool draws_lower = column < p.frame.width && row + kRowStep < p.frame.height;
    const auto pixel = [&](int c, int in_row) -> float& {
        return p.image[(static_cast<long long>(c) * p.frame.height + in_row) * p.frame.width + column];
    };

    float upper[C], lower[C];
#pragma unroll
    for (int c = 0; c < C; ++c) {
        upper[c] = p.adds && draws_upper ? pixel(c, row) : 0.0f;
        lower[c] = p.adds && draws_lower ? pixel(c, row + kRowStep) : 0.0f;
    }

    const int end = p.starts[tile + 1];
    for (int begin = p.starts[tile]; begin < end; begin += kBlock) {
        __syncthreads();  // all threads have finished reading the previous batch
        unsigned quarters = 0;
        if (begin + thread < end) {
            const long long owner = p.owner[p.order[begin + thread]];
            const gsr::Footprint f = p.prepared[owner].footprint;
            quarters = quarters_reached(p.frame, cut, f, left, top);
            Staged<C>& to = staged[thread];
            to.mean_x = f.mean_x;
            to.mean_y = f.mean_y;
            to.ux = f.ux;
            to.uy = f.uy;
            to.wy = f.wy;
#pragma unroll
            for (int c = 0; c < C; ++c) to.color[c] = p.color[owner * C + c];
        }
        reached[thread] = quarters;
        __syncthreads();

#pragma unroll 1
        for (int group = 0; group < kBlock; group += kWarp) {
            unsigned todo = __ballot_sync(kAllLanes, reached[group + lane] >> quarter & 1u);
            for (; todo; todo &= todo - 1) {
                const Staged<C>& g = staged[group + __ffs(static_cast<int>(todo)) - 1];
                const float dx = x - g.mean_x, dy = y - g.mean_y, dy_lower = dy + kRowStep;
                const bool is_in_columns = fabsf(dx) <= cut.window_x;
                const float across = g.ux * dx;
                const float u = across + g.uy * dy, w = g.wy * dy;
                const float u_lower = across + g.uy * dy_lower, w_lower = g.wy * dy_lower;
                const float value =
                    value_at(-(u * u + w * w), cut.exponent, is_in_columns && fabsf(dy) <= cut.window_y);
                const float value_lower = value_at(
                    -(u_lower * u_lower + w_lower * w_lower), cut.exponent,
                    is_in_columns && fabsf(dy_lower) <= cut.window_y);
#pragma unroll
                for (int c = 0; c < C; ++c) {
                    upper[c] += value * g.color[c];
                    lower[c] += value_lower * g.color[c];
                }
            }
        }
    }

#pragma unroll
    for (int c = 0; c < C; ++c) {
        if (draws_upper) pixel(c, row) = upper[c];
        if (draws_lower) pixel(c, row + kRowStep) = lower[c];
    }
}

}  // namespace
