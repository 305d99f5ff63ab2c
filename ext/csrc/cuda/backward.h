// Backward: each Gaussian gathers its pixels. `sum_moments` gives it a warp that reads the image's gradient in place, and
// `apply_chain_rule` turns the sums into gradients. Then the same for the list of large Gaussians: there
// `sum_moments_in_bands` gives each several warps, a band of rows to a warp.
#pragma once

#include "frame.h"

namespace {

constexpr int kMoments = 6;
constexpr int kWarpRows = 4, kWarpColumns = 8;  // pixels that a warp covers at a time
constexpr float kLn2 = 0.69314718056f;

// Which Gaussians a kernel works on.
struct Selection {
    const unsigned char* large;  // [N]
    const int* list;             // the large ones; or null for all that are not
    const int* listed;           // [1] how many
    int count;                   // N
    int warps;                   // that share the large ones
    int height;                  // of the frame

    // How many warps share each of the large ones.
    __device__ int bands() const {
        const int each = *listed ? warps / *listed : 1, most = height / 4;
        const int bands = each < most ? each : most;
        return bands < 1 ? 1 : bands;
    }
};

struct SumMomentsParams {
    const Prepared* prepared;  // [N]
    const float* color;        // [N, C]
    const float* grad_image;   // [C, H, W]
    float* sums;               // [items, bands, 6 + C]
    Selection selection;
    Frame frame;
};

// With dL/dvalue = <color, grad> and t = value * dL/dvalue: the sums over the pixels of t*u, t*w, t*u*u, t*u*w, t*w*w
// and t*u*ux*dx, and of value * grad for each channel. In (u, w), because the moments of a thin slanted Gaussian in
// (dx, dy) would cancel. The sixth follows from the others, but loses digits where dx is 0 and sigma_x is tiny.
template <int C>
__device__ inline void sum_band(const SumMomentsParams& p, long long i, int band, int bands, float* out) {
    const int lane = threadIdx.x % kWarp;
    const gsr::Cut cut = p.frame.cut();
    const gsr::Footprint f = p.prepared[i].footprint;
    const long long plane = p.frame.pixels();
    float color[C], sums[kMoments + C];
#pragma unroll
    for (int c = 0; c < C; ++c) color[c] = p.color[i * C + c];
#pragma unroll
    for (int k = 0; k < kMoments + C; ++k) sums[k] = 0.0f;

    // The warp covers four rows by eight columns at a time. Each lane keeps to the extent of its own row.
    const Range rows = rows_of(p.frame, cut, f);
    for (int row = rows.first + band * kWarpRows + lane / kWarpColumns; row <= rows.last; row += bands * kWarpRows) {
        const float dy = static_cast<float>(p.frame.top + row) - f.mean_y, w = f.wy * dy;
        const Range columns = columns_at(p.frame, cut, f, dy);
        for (int column = columns.first + lane % kWarpColumns; column <= columns.last; column += kWarpColumns) {
            const float across = f.ux * (static_cast<float>(p.frame.left + column) - f.mean_x);
            const float u = across + f.uy * dy;
            const float value = value_at(-(u * u + w * w), cut.exponent, true);
            const float* grad = p.grad_image + static_cast<long long>(row) * p.frame.width + column;
            float t = 0.0f;
#pragma unroll
            for (int c = 0; c < C; ++c) {
                const float grad_color = value * grad[c * plane];
                sums[kMoments + c] += grad_color;
                t += grad_color * color[c];
            }
            sums[0] += t * u;
            sums[1] += t * w;
            sums[2] += t * u * u;
            sums[3] += t * u * w;
            sums[4] += t * w * w;
            sums[5] += t * u * across;
        }
    }

#pragma unroll
    for (int k = 0; k < kMoments + C; ++k) {
        float sum = sums[k];
#pragma unroll
        for (int distance = kWarp / 2; distance > 0; distance /= 2) sum += __shfl_xor_sync(kAllLanes, sum, distance);
        if (lane == k) out[k] = sum;
    }
}

// One warp for each Gaussian that is not large.
template <int C>
__device__ inline void sum_moments(const SumMomentsParams& p) {
    const long long i = thread_index() / kWarp;
    if (i < p.selection.count && !p.selection.large[i]) sum_band<C>(p, i, 0, 1, p.sums + i * (kMoments + C));
}

// Several warps for each large one. A kernel of its own: with the loop, the other would take more registers.
template <int C>
__device__ inline void sum_moments_in_bands(const SumMomentsParams& p) {
    const int first = static_cast<int>(thread_index() / kWarp);
    if (first >= p.selection.warps) return;
    const int bands = p.selection.bands(), end = *p.selection.listed * bands;
    for (int warp = first; warp < end; warp += p.selection.warps) {
        float* sums = p.sums + static_cast<long long>(warp) * (kMoments + C);
        sum_band<C>(p, p.selection.list[warp / bands], warp % bands, bands, sums);
    }
}

struct ApplyChainRuleParams {
    const Prepared* prepared;  // [N]
    const float* sigma;        // [N, 2]
    const float* rho;          // [N]
    const float* sums;         // [items, bands, 6 + C]
    float* grad_mean;          // [N, 2]
    float* grad_sigma;         // [N, 2]
    float* grad_rho;           // [N]
    float* grad_color;         // [N, C]
    Selection selection;
};

// d(value) = -2 ln2 value (u du + w dw). Up to one factor, u = (a - rho b) / sqrt(m) and w = b.
template <int C>
__device__ inline void add_up_and_derive(const ApplyChainRuleParams& p, long long i, const float* from, int bands) {
    float sums[kMoments + C];
#pragma unroll
    for (int k = 0; k < kMoments + C; ++k) sums[k] = 0.0f;
    for (int band = 0; band < bands; ++band, from += kMoments + C) {
#pragma unroll
        for (int k = 0; k < kMoments + C; ++k) sums[k] += from[k];
    }

    const gsr::Footprint f = p.prepared[i].footprint;
    const float sigma_x = p.sigma[2 * i], sigma_y = p.sigma[2 * i + 1], rho = p.rho[i];
    const float thin = 1.0f / sqrtf(gsr::one_minus_rho2(rho));
    const bool is_clamped = (1.0f - rho) * (1.0f + rho) < gsr::kMinOneMinusRho2;
    const float u = 2.0f * kLn2 * sums[0], w = 2.0f * kLn2 * sums[1];
    const float uu = 2.0f * kLn2 * sums[2], uw = 2.0f * kLn2 * sums[3];
    const float ww = 2.0f * kLn2 * sums[4], u_across = 2.0f * kLn2 * sums[5];
    p.grad_mean[2 * i] = f.ux * u;
    p.grad_mean[2 * i + 1] = f.uy * u + f.wy * w;
    p.grad_sigma[2 * i] = sigma_x < gsr::kMinSigmaPx ? 0.0f : u_across / sigma_x;
    p.grad_sigma[2 * i + 1] = sigma_y < gsr::kMinSigmaPx ? 0.0f : (ww - rho * thin * uw) / sigma_y;
    p.grad_rho[i] = thin * uw - (is_clamped ? 0.0f : rho * thin * thin * uu);
#pragma unroll
    for (int c = 0; c < C; ++c) p.grad_color[i * C + c] = sums[kMoments + c];
}

template <int C>
__device__ inline void apply_chain_rule(const ApplyChainRuleParams& p) {
    const int first = static_cast<int>(thread_index());
    if (!p.selection.list) {
        if (first < p.selection.count && !p.selection.large[first])
            add_up_and_derive<C>(p, first, p.sums + static_cast<long long>(first) * (kMoments + C), 1);
        return;
    }
    if (first >= p.selection.warps) return;
    const int bands = p.selection.bands();
    for (int item = first; item < *p.selection.listed; item += p.selection.warps) {
        const float* sums = p.sums + static_cast<long long>(item) * bands * (kMoments + C);
        add_up_and_derive<C>(p, p.selection.list[item], sums, bands);
    }
}

}  // namespace
