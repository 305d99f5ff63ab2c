// Bin: which tiles each Gaussian reaches. `prepare` counts them and `emit_pairs` writes one (tile, Gaussian) pair for
// each; the host sorts the pairs by tile.
#pragma once

#include "frame.h"

namespace {

// A Gaussian whose box holds more pixels than this is shared by several warps in the backward pass: one warp would take
// over a hundred steps while the others idle.
constexpr long long kLargePixels = 4096;

// Calls visit(tile column, first tile row, last tile row) for every column of tiles that the Gaussian reaches. The rows
// are those of the ellipse within the column, so that a slanted Gaussian takes only the tiles along its diagonal.
template <typename Visit>
__device__ inline void each_tile_column(const Frame& frame, const gsr::Footprint& f, Visit visit) {
    const gsr::Cut cut = frame.cut();
    const Range columns = columns_of(frame, cut, f);
    if (columns.is_empty()) return;
    for (int tile = columns.first / kTile; tile <= columns.last / kTile; ++tile) {
        const int left = tile * kTile, right = left + kTile - 1;
        const Range rows = rows_between(
            frame, cut, f, left > columns.first ? left : columns.first, right < columns.last ? right : columns.last);
        if (!rows.is_empty()) visit(tile, rows.first / kTile, rows.last / kTile);
    }
}

// What is wrong with a Gaussian's values, as bits; 0 when nothing is.
constexpr int kWrongMean = 1, kWrongSigma = 2, kWrongRho = 4, kWrongColor = 8;

__device__ inline bool is_finite(float x) { return fabsf(x) <= 3.402823466e38f; }  // false for NaN

struct PrepareParams {
    const float* mean;     // [N, 2]
    const float* sigma;    // [N, 2]
    const float* rho;      // [N]
    const float* color;    // [N, C], only checked; or null
    Prepared* prepared;    // [N]
    int* tiles;            // [N] how many tiles each reaches; or null
    int* faults;           // [1] the faults of all Gaussians together, zeroed; or null
    unsigned char* large;  // [N] whether it is shared by several warps; or null
    int* list;             // [N] the large ones in any order; with `large`
    int* listed;           // [1] how many, zeroed
    long long count;
    int channels;
    Frame frame;
};

__device__ inline int find_faults(const PrepareParams& p, long long i) {
    const float sigma_x = p.sigma[2 * i], sigma_y = p.sigma[2 * i + 1];
    int faults = is_finite(p.mean[2 * i]) && is_finite(p.mean[2 * i + 1]) ? 0 : kWrongMean;
    if (!(sigma_x > 0.0f && sigma_y > 0.0f && is_finite(sigma_x) && is_finite(sigma_y))) faults |= kWrongSigma;
    if (!(fabsf(p.rho[i]) <= 1.0f)) faults |= kWrongRho;
    for (int c = 0; c < p.channels; ++c)
        if (!is_finite(p.color[i * p.channels + c])) faults |= kWrongColor;
    return faults;
}

__device__ inline void prepare(const PrepareParams& p) {
    const long long i = thread_index();
    if (i >= p.count) return;
    if (p.faults) {
        const int faults = find_faults(p, i);
        if (faults) atomicOr(p.faults, faults);
    }
    const gsr::Cut cut = p.frame.cut();
    const gsr::Footprint f = gsr::make_footprint(
        p.mean[2 * i], p.mean[2 * i + 1], p.sigma[2 * i], p.sigma[2 * i + 1], p.rho[i], cut);
    p.prepared[i].footprint = f;
    if (p.tiles) {
        int tiles = 0;
        each_tile_column(p.frame, f, [&](int, int first, int last) { tiles += last - first + 1; });
        p.tiles[i] = tiles;
    }
    if (p.large) {
        const Range columns = columns_of(p.frame, cut, f), rows = rows_of(p.frame, cut, f);
        const bool is_seen = !columns.is_empty() && !rows.is_empty();
        const bool is_large = is_seen && static_cast<long long>(rows.count()) * columns.count() > kLargePixels;
        p.large[i] = is_large;
        if (is_large) p.list[atomicAdd(p.listed, 1)] = static_cast<int>(i);
    }
}

struct EmitPairsParams {
    const Prepared* prepared;  // [N]
    const long long* ends;     // [N] running sum of the tile counts
    void* tile;                // [room] int16 or int32
    int* owner;                // [room]
    long long first, last;     // the Gaussians of this batch
    long long base;            // pairs of earlier batches
    long long room;            // pairs beyond it are left out
    int is_narrow;             // whether tiles are int16, which sort in half of the time
    Frame frame;
};

__device__ inline void emit_pairs(const EmitPairsParams& p) {
    const long long i = p.first + thread_index();
    if (i >= p.last) return;
    long long slot = (i > 0 ? p.ends[i - 1] : 0) - p.base;
    each_tile_column(p.frame, p.prepared[i].footprint, [&](int column, int first, int last) {
        for (int row = first; row <= last; ++row, ++slot) {
            if (slot >= p.room) return;
            const int tile = row * p.frame.tiles_across() + column;
            if (p.is_narrow) {
                static_cast<short*>(p.tile)[slot] = static_cast<short>(tile);
            } else {
                static_cast<int*>(p.tile)[slot] = tile;
            }
            p.owner[slot] = static_cast<int>(i);
        }
    });
}

}  // namespace
