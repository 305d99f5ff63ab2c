// The pixels to draw and what they share: which of them a Gaussian reaches.
#pragma once

#include "../splat.h"

namespace {

constexpr int kTile = 16;    // pixels along a tile's side
constexpr int kQuarter = 8;  // pixels along the side of what one warp draws
constexpr int kBlock = 128;  // threads per block: a tile's four warps, and the Gaussians staged at a time
constexpr int kWarp = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// A footprint aligned so that it is read in two wide loads.
struct alignas(16) Prepared {
    gsr::Footprint footprint;
};

struct Frame {
    int height, width;
    int top, left;  // the first row and column on the grid that means are given in
    float window_x, window_y;
    float eps;

    __device__ gsr::Cut cut() const { return gsr::make_cut(eps, window_x, window_y); }
    __device__ int tiles_across() const { return (width + kTile - 1) / kTile; }
    __device__ long long pixels() const { return static_cast<long long>(width) * height; }
};

// Columns or rows of the frame, counted from its first, both ends included.
struct Range {
    int first, last;
    __device__ bool is_empty() const { return last < first; }
    __device__ int count() const { return last - first + 1; }
};

// The pixels from mean + low to mean + high.
__device__ inline Range pixels_within(float mean, float low, float high, int origin, int size) {
    return {gsr::first_pixel(mean, -low, origin, origin + size - 1) - origin,
            gsr::last_pixel(mean, high, origin, origin + size - 1) - origin};
}

__device__ inline Range columns_of(const Frame& frame, const gsr::Cut& cut, const gsr::Footprint& f) {
    const float half = gsr::minimum(f.ellipse_x, cut.window_x);
    return pixels_within(f.mean_x, -half, half, frame.left, frame.width);
}

__device__ inline Range rows_of(const Frame& frame, const gsr::Cut& cut, const gsr::Footprint& f) {
    const float half = gsr::minimum(f.ellipse_y, cut.window_y);
    return pixels_within(f.mean_y, -half, half, frame.top, frame.height);
}

// The rows that a Gaussian reaches anywhere from one column to another.
__device__ inline Range rows_between(
    const Frame& frame, const gsr::Cut& cut, const gsr::Footprint& f, int first_column, int last_column) {
    const gsr::Span span = gsr::rows_between_columns(
        f, cut, static_cast<float>(frame.left + first_column) - f.mean_x,
        static_cast<float>(frame.left + last_column) - f.mean_x);
    if (span.low > span.high) return {0, -1};
    const float low = gsr::maximum(span.low, -cut.window_y), high = gsr::minimum(span.high, cut.window_y);
    return pixels_within(f.mean_y, low, high, frame.top, frame.height);
}

// The columns that a Gaussian reaches in one row.
__device__ inline Range columns_at(const Frame& frame, const gsr::Cut& cut, const gsr::Footprint& f, float dy) {
    const gsr::Span span = gsr::columns_in_row(f, cut, dy);
    if (span.low > span.high) return {0, -1};
    const float low = gsr::maximum(span.low, -cut.window_x), high = gsr::minimum(span.high, cut.window_x);
    return pixels_within(f.mean_x, low, high, frame.left, frame.width);
}

__device__ inline long long thread_index() {
    return static_cast<long long>(blockIdx.x) * kBlock + threadIdx.x;
}

__device__ inline float value_at(float exponent, float least_exponent, bool is_in_window) {
    return is_in_window && exponent >= least_exponent ? exp2f(exponent) : 0.0f;
}

}  // namespace
