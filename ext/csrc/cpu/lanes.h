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

// Of two vectors a and b the first, or the last, halves of a0 b0 a1 b1 and so on.
#if defined(__clang__)
#define GSR_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define GSR_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, Bits{__VA_ARGS__})
#endif
#if defined(__AVX512F__)
inline Lanes zip_first(Lanes a, Lanes b) {
  return GSR_SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Lanes zip_last(Lanes a, Lanes b) {
  return GSR_SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}
#elif defined(__AVX__)
inline Lanes zip_first(Lanes a, Lanes b) { return GSR_SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11); }
inline Lanes zip_last(Lanes a, Lanes b) { return GSR_SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15); }
#else
inline Lanes zip_first(Lanes a, Lanes b) { return GSR_SHUFFLE(a, b, 0, 4, 1, 5); }
inline Lanes zip_last(Lanes a, Lanes b) { return GSR_SHUFFLE(a, b, 2, 6, 3, 7); }
#endif
#undef GSR_SHUFFLE

// Turns kLanes rows into columns, in place: each round halves the distance between neighbours of a column.
inline void transpose(Lanes (&rows)[kLanes]) {
  for (int round = 1; round < kLanes; round *= 2) {
    Lanes zipped[kLanes];
    for (int k = 0; k < kLanes / 2; ++k) {
      zipped[2 * k] = zip_first(rows[k], rows[k + kLanes / 2]);
      zipped[2 * k + 1] = zip_last(rows[k], rows[k + kLanes / 2]);
    }
    for (int k = 0; k < kLanes; ++k) rows[k] = zipped[k];
  }
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
