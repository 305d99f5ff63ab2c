// A vector of floats as wide as the machine's registers, by the compiler's vector extension (GCC and Clang).
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace gsr::cpu {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

typedef float Lanes __attribute__((vector_size(4 * kLanes)));
typedef int32_t Bits __attribute__((vector_size(4 * kLanes)));

inline Lanes load(const float* from) {
  Lanes x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

inline void store(float* to, Lanes x) { std::memcpy(to, &x, sizeof x); }

inline Lanes broadcast(float x) { return x - Lanes{}; }

inline Lanes lane_indices() {
  Lanes x;
  for (int lane = 0; lane < kLanes; ++lane) x[lane] = static_cast<float>(lane);
  return x;
}

inline Lanes absolute(Lanes x) { return (Lanes)((Bits)x & 0x7fffffff); }

inline Lanes clamp_min(Lanes x, Lanes low) { return x > low ? x : low; }

inline Lanes clamp_max(Lanes x, Lanes high) { return x < high ? x : high; }

inline float sum(Lanes x) {
  float lane[kLanes];
  store(lane, x);
  for (int half = kLanes / 2; half; half /= 2)
    for (int k = 0; k < half; ++k) lane[k] += lane[k + half];
  return lane[0];
}

// 2^x to 8e-8 relative, for x within -126..126.
inline Lanes exp2_in_range(Lanes x) {
  const Lanes shifted = x + 12582912.0f;  // 1.5 * 2^23: rounds to an integer, which lands in the low bits
  const Lanes f = x - (shifted - 12582912.0f);
  Lanes p = 0.00015345810970757157f * f + 0.0013399930903688073f;
  p = p * f + 0.009618489071726799f;
  p = p * f + 0.05550328642129898f;
  p = p * f + 0.24022646248340607f;
  p = p * f + 0.6931471824645996f;
  p = p * f + 1.0f;
  return (Lanes)((Bits)p + ((Bits)shifted << 23));
}

// 2^x for any x, clamped to the range of normal floats.
inline Lanes exp2(Lanes x) { return exp2_in_range(clamp_max(clamp_min(x, broadcast(-126.0f)), broadcast(126.0f))); }

// Denormal numbers cost a hundred cycles each on x86: results that small are flushed to 0 while such an object lives.
class FlushDenormals {
#if defined(__SSE__)
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#else
 public:
  FlushDenormals() {}
#endif
};

}  // namespace gsr::cpu
