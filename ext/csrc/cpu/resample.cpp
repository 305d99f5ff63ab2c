// Resizing: every output row is a weighted sum of source rows, every output column of columns; gsr_app/ops/resize.py
// makes the lists of taps. A thread takes as many output rows as a vector has lanes: it mixes source rows a vector of
// columns at a time, stores the mixed rows side by side, so that each column is one vector, and mixes those columns.
// A pixel's arithmetic depends on its own taps alone: strips of rows have the bits of the whole.
#include <algorithm>

#include "kernels.h"
#include "lanes.h"
#include "scratch.h"

namespace gsr::cpu {
namespace {

// The taps of one output row or column that have a weight.
struct Used {
  const int64_t* index;
  const float* weight;
  int count;
};

Used used(const Taps& taps, int64_t i) {
  const int64_t* index = taps.index + i * taps.count;
  const float* weight = taps.weight + i * taps.count;
  int first = 0, end = taps.count;
  while (end > first + 1 && weight[end - 1] == 0.0f) --end;
  while (first < end - 1 && weight[first] == 0.0f) ++first;
  return {index + first, weight + first, end - first};
}

// Columns x .. x + kLanes - 1 of a mixed row; `valid` of them exist.
inline Lanes mix_rows(const Used& taps, const float* plane, int64_t row_stride, int x, int valid) {
  Lanes sum{};
  if (valid >= kLanes) {
    for (int k = 0; k < taps.count; ++k) sum += load(plane + taps.index[k] * row_stride + x) * taps.weight[k];
    return sum;
  }
  for (int k = 0; k < taps.count; ++k) {
    float some[kLanes] = {};
    std::copy_n(plane + taps.index[k] * row_stride + x, valid, some);
    sum += load(some) * taps.weight[k];
  }
  return sum;
}

inline Lanes mix_columns(const Used& taps, const float* columns) {
  Lanes sum{};
  for (int k = 0; k < taps.count; ++k) sum += load(columns + taps.index[k] * kLanes) * taps.weight[k];
  return sum;
}

void resample_rows(const Source& source, int64_t plane, const Taps& y, const Used* columns, int64_t width, int first,
                   int rows, float* mixed, float* out) {
  const float* from = source.data + plane * source.plane_stride;
  Used taps[kLanes];
  for (int row = 0; row < kLanes; ++row) taps[row] = used(y, first + std::min(row, rows - 1));
  Lanes block[kLanes];
  for (int x = 0; x < source.width; x += kLanes) {
    for (int row = 0; row < kLanes; ++row)
      block[row] = mix_rows(taps[row], from, source.row_stride, x, source.width - x);
    transpose(block);
    for (int column = 0; column < kLanes; ++column)
      store(mixed + (static_cast<int64_t>(x) + column) * kLanes, block[column]);
  }
  for (int64_t x = 0; x < width; x += kLanes) {
    const int here = static_cast<int>(std::min<int64_t>(kLanes, width - x));
    for (int column = 0; column < kLanes; ++column)
      block[column] = mix_columns(columns[x + std::min(column, here - 1)], mixed);
    transpose(block);
    for (int row = 0; row < rows; ++row) {
      float* to = out + row * width + x;
      if (here == kLanes) store(to, block[row]);
      else
        for (int lane = 0; lane < here; ++lane) to[lane] = block[row][lane];
    }
  }
}

}  // namespace

void resample(const Source& source, const Taps& y, const Taps& x, const Threads& threads, float* out) {
  request_large_pages(out, source.planes * y.size * x.size * sizeof(float));
  Scratch<Used> columns(x.size);
  for (int64_t i = 0; i < x.size; ++i) columns[i] = used(x, i);
  const int64_t blocks = (y.size + kLanes - 1) / kLanes, work = source.planes * blocks;
  threads.run([&](int thread) {
    const int64_t from = work * thread / threads.count, to = work * (thread + 1) / threads.count;
    if (from == to) return;
    Scratch<float> mixed((static_cast<int64_t>(source.width) + kLanes) * kLanes);
    for (int64_t k = from; k < to; ++k) {
      const int64_t plane = k / blocks;
      const int first = static_cast<int>(k % blocks) * kLanes;
      resample_rows(source, plane, y, columns.data(), x.size, first,
                    static_cast<int>(std::min<int64_t>(kLanes, y.size - first)), mixed.data(),
                    out + (plane * y.size + first) * x.size);
    }
  });
}

}  // namespace gsr::cpu
