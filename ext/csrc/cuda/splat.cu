// Drawing Gaussians on a GPU: `gsr::splat` forward and backward. Needs no CUDA header, so nvcc and NVRTC both compile
// it, and tests/ext/cuda_shim.h turns it into plain C++ that runs on a CPU.
//
// Forward (bin.h, draw.h): each pixel gathers its Gaussians. `prepare` counts the tiles that a Gaussian's ellipse really
// reaches, `emit_pairs` lists the (tile, Gaussian) pairs, the host sorts them by tile, stably, so that a tile keeps the
// Gaussians' order, and `draw` sums a tile.
//
// Backward (backward.h): each Gaussian gathers its pixels. Its gradient needs C colour sums and six moments over its
// ellipse. There are no pairs and no sort here, and the memory is that of the gradients.
//
// No sum uses atomics, so the results repeat bit for bit. `draw_naively`, with atomics, is the benchmark's baseline.
//
// A kernel takes one struct, which gsr_app/ops/cuda.py mirrors. Defining CHANNELS compiles the kernels of that number
// of channels; without it, those of 1 to 9: eight colours and the weight that normalised drawing adds.

#include "backward.h"
#include "bin.h"
#include "draw.h"
#include "draw_naively.h"

#define GSR_KERNEL(name, params, body) \
    extern "C" __global__ void __launch_bounds__(128) name(params p) { body(p); }

#define GSR_KERNELS_OF(channels)                                                                         \
    GSR_KERNEL(gsr_draw_##channels, DrawParams, draw<channels>)                                          \
    GSR_KERNEL(gsr_sum_moments_##channels, SumMomentsParams, sum_moments<channels>)                      \
    GSR_KERNEL(gsr_sum_moments_in_bands_##channels, SumMomentsParams, sum_moments_in_bands<channels>)    \
    GSR_KERNEL(gsr_apply_chain_rule_##channels, ApplyChainRuleParams, apply_chain_rule<channels>)        \
    GSR_KERNEL(gsr_draw_naively_##channels, DrawNaivelyParams, draw_naively<channels>)
#define GSR_KERNELS_OF_VALUE(channels) GSR_KERNELS_OF(channels)  // expands CHANNELS first

GSR_KERNEL(gsr_prepare, PrepareParams, prepare)
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
