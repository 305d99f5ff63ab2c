// Drawing Gaussians on a GPU: `gsr::splat` forward and backward. Needs no CUDA header, so nvcc and NVRTC both compile
// it, and tests/ext/cuda_shim.h turns it into plain C++ that runs on a CPU.
//
// Forward: each pixel gathers its Gaussians. `preprocess` counts the tiles that a Gaussian's ellipse really reaches,
// `emit_pairs` lists the (tile, Gaussian) pairs, the host sorts them by tile, stably, so that a tile keeps the
// Gaussians' order, and `draw` sums a tile in registers: one block per tile, one warp per quarter.
//
// Backward: each Gaussian gathers its pixels. Its gradient needs C colour sums and six moments over its ellipse, so
// `backward_moments` gives it a warp that reads the image's gradient in place; large Gaussians are shared by several
// warps, a band of rows each. `backward_gradients` adds the bands up and applies the chain rule. There are no pairs and
// no sort here, and the memory is that of the gradients.
//
// Neither direction uses atomics, so the results repeat bit for bit. `naive_draw`, with atomics, is the baseline of the
// benchmark.
//
// A kernel takes one struct, which gsr_app/ops/cuda.py mirrors. Defining CHANNELS compiles the kernels of that number
// of channels; without it, those of 1 to 9: eight colours and the weight that normalised drawing adds.

#include "../splat.h"

namespace {

constexpr int kTile = 16;    // pixels along a tile's side
constexpr int kQuarter = 8;  // pixels along the side of what one warp draws
constexpr int kBlock = 128;  // threads per block: a tile's four warps, and the Gaussians staged at a time
constexpr int kWarp = 32;
constexpr int kWarpRows = 4, kWarpColumns = 8;  // pixels that a warp covers at a time in the backward pass
constexpr int kMoments = 6;
constexpr unsigned kAllLanes = 0xffffffffu;

// A Gaussian whose box holds more pixels than this is shared by several warps in the backward pass: one warp would take
// over a hundred steps while the others idle.
constexpr long long kLargePixels = 4096;

constexpr float kLn2 = 0.69314718056f;

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

__device__ inline long long thread_index() {
    return static_cast<long long>(blockIdx.x) * kBlock + threadIdx.x;
}

__device__ inline float value_at(float exponent, float least_exponent, bool is_in_window) {
    return is_in_window && exponent >= least_exponent ? exp2f(exponent) : 0.0f;
}

// ------------------------------------------------------------------------------------------------------- preprocessing

struct PreprocessParams {
    const float* mean;      // [N, 2]
    const float* sigma;     // [N, 2]
    const float* rho;       // [N]
    Prepared* prepared;     // [N]
    int* tiles;             // [N] how many tiles each reaches; or null
    unsigned char* large;   // [N] whether it is shared by several warps; or null
    long long count;
    Frame frame;
};

__device__ inline void preprocess(const PreprocessParams& p) {
    const long long i = thread_index();
    if (i >= p.count) return;
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
        p.large[i] = is_seen && static_cast<long long>(rows.count()) * columns.count() > kLargePixels;
    }
}

struct EmitPairsParams {
    const Prepared* prepared;  // [N]
    const long long* ends;  // [N] running sum of the tile counts
    int* tile;              // [P]
    int* owner;             // [P]
    long long first, last;  // the Gaussians of this batch
    long long base;         // pairs of earlier batches
    Frame frame;
};

__device__ inline void emit_pairs(const EmitPairsParams& p) {
    const long long i = p.first + thread_index();
    if (i >= p.last) return;
    long long slot = (i > 0 ? p.ends[i - 1] : 0) - p.base;
    each_tile_column(p.frame, p.prepared[i].footprint, [&](int column, int first, int last) {
        for (int row = first; row <= last; ++row, ++slot) {
            p.tile[slot] = row * p.frame.tiles_across() + column;
            p.owner[slot] = static_cast<int>(i);
        }
    });
}

// ----------------------------------------------------------------------------------------------------------- forward

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

// ---------------------------------------------------------------------------------------------------------- backward

struct BackwardMomentsParams {
    const Prepared* prepared;    // [N]
    const float* color;          // [N, C]
    const float* grad_image;     // [C, H, W]
    const long long* list;       // [count] which Gaussians, all of them large; or null for all that are not
    const unsigned char* large;  // [N]
    float* sums;                 // [count, bands, 6 + C]
    long long count;
    int bands;
    Frame frame;
};

// With dL/dvalue = <color, grad> and t = value * dL/dvalue: the sums over the pixels of t*u, t*w, t*u*u, t*u*w, t*w*w
// and t*u*ux*dx, and of value * grad for each channel. In (u, w), because the moments of a thin slanted Gaussian in
// (dx, dy) would cancel. The sixth follows from the others, but loses digits where dx is 0 and sigma_x is tiny.
template <int C>
__device__ inline void backward_moments(const BackwardMomentsParams& p) {
    const long long warp = thread_index() / kWarp;
    if (warp >= p.count * p.bands) return;
    const long long item = warp / p.bands;
    const int band = static_cast<int>(warp % p.bands), lane = threadIdx.x % kWarp;
    const long long i = p.list ? p.list[item] : item;
    if (!p.list && p.large[i]) return;

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
    for (int row = rows.first + band * kWarpRows + lane / kWarpColumns; row <= rows.last;
         row += p.bands * kWarpRows) {
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
        if (lane == k) p.sums[warp * (kMoments + C) + k] = sum;
    }
}

struct BackwardGradientsParams {
    const Prepared* prepared;    // [N]
    const float* sigma;          // [N, 2]
    const float* rho;            // [N]
    const long long* list;       // [count], or null for all Gaussians that are not large
    const unsigned char* large;  // [N]
    const float* sums;           // [count, bands, 6 + C]
    float* grad_mean;            // [N, 2]
    float* grad_sigma;           // [N, 2]
    float* grad_rho;             // [N]
    float* grad_color;           // [N, C]
    long long count;
    int bands;
};

// d(value) = -2 ln2 value (u du + w dw). Up to one factor, u = (a - rho b) / sqrt(m) and w = b.
template <int C>
__device__ inline void backward_gradients(const BackwardGradientsParams& p) {
    const long long item = thread_index();
    if (item >= p.count) return;
    const long long i = p.list ? p.list[item] : item;
    if (!p.list && p.large[i]) return;

    float sums[kMoments + C];
#pragma unroll
    for (int k = 0; k < kMoments + C; ++k) sums[k] = 0.0f;
    for (int band = 0; band < p.bands; ++band) {
        const float* from = p.sums + (item * p.bands + band) * (kMoments + C);
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

// -------------------------------------------------------------------------------------------- the benchmark's baseline

struct NaiveDrawParams {
    const Prepared* prepared;  // [N]
    const float* color;  // [N, C]
    float* image;        // [C, H, W], zeroed
    long long count;
    Frame frame;
};

// One thread draws a whole Gaussian: it visits every row of the image and adds with global atomics.
template <int C>
__device__ inline void naive_draw(const NaiveDrawParams& p) {
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

#define GSR_KERNEL(name, params, body) \
    extern "C" __global__ void __launch_bounds__(128) name(params p) { body(p); }

#define GSR_KERNELS_OF(channels)                                                                         \
    GSR_KERNEL(gsr_draw_##channels, DrawParams, draw<channels>)                                          \
    GSR_KERNEL(gsr_backward_moments_##channels, BackwardMomentsParams, backward_moments<channels>)       \
    GSR_KERNEL(gsr_backward_gradients_##channels, BackwardGradientsParams, backward_gradients<channels>) \
    GSR_KERNEL(gsr_naive_draw_##channels, NaiveDrawParams, naive_draw<channels>)
#define GSR_KERNELS_OF_VALUE(channels) GSR_KERNELS_OF(channels)  // expands CHANNELS first

GSR_KERNEL(gsr_preprocess, PreprocessParams, preprocess)
GSR_KERNEL(gsr_emit_pairs, EmitPairsParams, emit_pairs)

#ifdef CHANNELS
GSR_KERNELS_OF_VALUE(CHANNELS)
#else
GSR_KERNELS_OF(1)
GSR_KERNELS_OF(2)
GSR_KERNELS_OF(3)
GSR_KERNELS_OF(4)
GSR_KERNELS_OF(5)
GSR_KERNELS_OF(6)
GSR_KERNELS_OF(7)
GSR_KERNELS_OF(8)
GSR_KERNELS_OF(9)
#endif
