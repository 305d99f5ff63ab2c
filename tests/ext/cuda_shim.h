// Enough of CUDA to run a kernel on a processor, one thread at a time, and to notice what a GPU would not forgive.
//
// Each thread of a block is a fiber. It runs until it waits for its warp (ballot, shuffle) or its block
// (__syncthreads), then the next one runs; whoever waits goes on when all have come. A thread that misses a warp-wide
// call or a barrier is an error. The order in which threads take turns can be chosen: a kernel that forgets a barrier
// gives another answer in another order.

#pragma once

#include <ucontext.h>

#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __shared__ static  // blocks run one after the other
#define __launch_bounds__(threads)

namespace shim {

constexpr int kLanes = 32;
constexpr std::size_t kStackBytes = 64 * 1024;

enum class State { ready, waits_for_warp, waits_for_block, done };
enum class Order { forward, backward, scattered };

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack{new char[kStackBytes]};
    State state = State::done;
    unsigned calls = 0;  // warp-wide calls so far; their values live in two slots in turn
};

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

inline std::vector<Fiber> fibers;
inline std::vector<unsigned> exchange[2];  // what each thread has brought to a warp-wide call
inline ucontext_t scheduler;
inline int running = 0;
inline Index thread, block;
inline std::function<void()> body;

inline void wait(State state) {
    Fiber& self = fibers[running];
    self.state = state;
    swapcontext(&self.context, &scheduler);
}

inline void run_fiber() {
    body();
    fibers[running].state = State::done;
}

// Brings a value to all lanes of the warp and gives those of all 32.
inline const unsigned* trade(unsigned value) {
    std::vector<unsigned>& slot = exchange[fibers[running].calls++ % 2];
    slot[running] = value;
    wait(State::waits_for_warp);
    return &slot[running / kLanes * kLanes];
}

inline bool all(int first, int last, State state) {
    for (int i = first; i < last; ++i)
        if (fibers[i].state != state) return false;
    return true;
}

inline void release(int first, int last) {
    for (int i = first; i < last; ++i) fibers[i].state = State::ready;
}

inline const char* run_block(int threads, Order order) {
    for (int i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.state = State::ready;
        fiber.calls = 0;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStackBytes;
        fiber.context.uc_link = &scheduler;
        makecontext(&fiber.context, run_fiber, 0);
    }
    for (;;) {
        bool has_run = false;
        for (int turn = 0; turn < threads; ++turn) {
            // 77 and the number of threads, a power of two, have no common factor: each gets one turn.
            const int scattered = (turn * 77 + 13) % threads;
            const int i = order == Order::forward ? turn : order == Order::backward ? threads - 1 - turn : scattered;
            if (fibers[i].state != State::ready) continue;
            has_run = true;
            running = i;
            thread.x = i;
            swapcontext(&scheduler, &fibers[i].context);
        }
        if (all(0, threads, State::done)) return nullptr;
        if (all(0, threads, State::waits_for_block)) {
            release(0, threads);
            continue;
        }
        for (int warp = 0; warp < threads; warp += kLanes)
            if (all(warp, warp + kLanes, State::waits_for_warp)) {
                release(warp, warp + kLanes);
                has_run = true;
            }
        if (!has_run) return "some threads wait for others that never come";
    }
}

inline const char* run(long long blocks, int threads, int order, std::function<void()> kernel) {
    if (threads % kLanes != 0) return "a block must have whole warps here";
    if (static_cast<int>(fibers.size()) < threads) fibers.resize(threads);
    for (auto& slot : exchange) slot.assign(threads, 0);
    body = std::move(kernel);
    for (long long i = 0; i < blocks; ++i) {
        block.x = static_cast<unsigned>(i);
        if (const char* error = run_block(threads, static_cast<Order>(order))) return error;
    }
    return nullptr;
}

}  // namespace shim

#define threadIdx ::shim::thread
#define blockIdx ::shim::block

inline void __syncthreads() { shim::wait(shim::State::waits_for_block); }

inline unsigned __ballot_sync(unsigned, unsigned is_set) {
    const unsigned* lanes = shim::trade(is_set != 0);
    unsigned bits = 0;
    for (int i = 0; i < shim::kLanes; ++i) bits |= lanes[i] << i;
    return bits;
}

inline float __shfl_xor_sync(unsigned, float value, int distance) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    const unsigned* lanes = shim::trade(bits);
    std::memcpy(&value, &lanes[(shim::running % shim::kLanes) ^ distance], sizeof value);
    return value;
}

inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

inline float atomicAdd(float* at, float value) {
    const float before = *at;
    *at += value;
    return before;
}

inline int atomicAdd(int* at, int value) {
    const int before = *at;
    *at += value;
    return before;
}

inline int atomicOr(int* at, int bits) {
    const int before = *at;
    *at |= bits;
    return before;
}
