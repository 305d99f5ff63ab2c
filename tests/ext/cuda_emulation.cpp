// The device source, run by cuda_shim.h: for each kernel a launcher that takes the number of blocks, the order in which
// threads take turns, and the kernel's struct.

#include "cuda_shim.h"
#include "../../ext/csrc/cuda/splat.cu"

#define LAUNCHER(kernel, Params)                                                                      \
    extern "C" const char* launch_##kernel(long long blocks, int order, const Params* params) {       \
        return shim::run(blocks, kBlock, order, [params] { kernel(*params); });                       \
    }                                                                                                 \
    extern "C" int size_of_##kernel() { return static_cast<int>(sizeof(Params)); }

#define LAUNCHERS_OF(channels)                                             \
    LAUNCHER(gsr_draw_##channels, DrawParams)                              \
    LAUNCHER(gsr_sum_moments_##channels, SumMomentsParams)       \
    LAUNCHER(gsr_sum_moments_in_bands_##channels, SumMomentsParams)        \
    LAUNCHER(gsr_apply_chain_rule_##channels, ApplyChainRuleParams)   \
    LAUNCHER(gsr_draw_naively_##channels, DrawNaivelyParams)

LAUNCHER(gsr_prepare, PrepareParams)
LAUNCHER(gsr_emit_pairs, EmitPairsParams)
LAUNCHERS_OF(1)
LAUNCHERS_OF(2)
LAUNCHERS_OF(3)
LAUNCHERS_OF(4)
LAUNCHERS_OF(5)
LAUNCHERS_OF(6)
LAUNCHERS_OF(7)
LAUNCHERS_OF(8)
LAUNCHERS_OF(9)
