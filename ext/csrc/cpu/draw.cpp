// Drawing: sort the Gaussians into tiles, then let each tile sum its own. No two threads write one pixel, a pixel sums
// in the order of the scene, and tiles lie on the grid that means count in: neither the number of threads nor where a
// frame is cut changes a bit.
#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "kernels.h"
#include "lanes.h"

namespace gsr::cpu {
namespace {

// A tile's sums stay in the first-level cache (12 KB for three channels). It is one vector wide and tall, because a
// Gaussian pays for its setup in every tile, and rows are cheap.
constexpr int kTileWidthBits = 4, kTileHeightBits = 6;
constexpr int kTileWidth = 1 << kTileWidthBits, kTileHeight = 1 << kTileHeightBits;
static_assert(kTileWidth % kLanes == 0);

// A batch bounds the memory: at most this many Gaussians, and this many (Gaussian, tile) pairs if it can be split.
constexpr int64_t kBatch = 1 << 22;
constexpr int64_t kMaxPairs = 1 << 24;

struct Tiles {
  int first_column, first_row, columns, rows;
  int count() const { return columns * rows; }

  // Whole tiles, also where the frame ends inside one: a column of values starts on the same row in every frame.
  Bounds bounds() const {
    return {first_column << kTileWidthBits, ((first_column + columns) << kTileWidthBits) - 1,
            first_row << kTileHeightBits, ((first_row + rows) << kTileHeightBits) - 1};
  }
};

Tiles tiles_of(const Frame& frame) {
  const int column = frame.left >> kTileWidthBits, row = frame.top >> kTileHeightBits;
  return {column, row, ((frame.left + frame.width - 1) >> kTileWidthBits) - column + 1,
          ((frame.top + frame.height - 1) >> kTileHeightBits) - row + 1};
}

// Calls visit(tile) for every tile that the Gaussian can touch. A small one takes all tiles of its box; a large one
// asks its ellipse, column by column.
template <class Visit>
void for_each_tile(const Ready& g, const Tiles& tiles, const Cut& cut, Visit visit) {
  if (!g.is_visible()) return;
  const int first = g.first_x >> kTileWidthBits, last = g.last_x >> kTileWidthBits;
  for (int column = first; column <= last; ++column) {
    int top = g.first_y, bottom = g.last_y;
    if (last - first > 1 && cut.reach < kInfinity) {
      const float x = static_cast<float>(column << kTileWidthBits) - g.shape.mean_x;
      const Span rows = rows_between_columns(g.shape, cut, x, x + (kTileWidth - 1));
      if (!(rows.low <= rows.high)) continue;
      top = std::max(top, static_cast<int>(most(g.shape.mean_y + rows.low, static_cast<float>(top))));
      bottom = std::min(bottom, static_cast<int>(least(g.shape.mean_y + rows.high, static_cast<float>(bottom))) + 1);
    }
    for (int row = top >> kTileHeightBits; row <= bottom >> kTileHeightBits; ++row)
      visit((row - tiles.first_row) * tiles.columns + column - tiles.first_column);
  }
}

// Adds one Gaussian's rows first_y..last_y to one vector of columns; sums: [row of the tile][C][kLanes].
template <int C>
inline void add(const Ready& g, const float* color, const Cut& cut, Lanes x, int first_y, int last_y, float* sums) {
  const Footprint& f = g.shape;
  const Lanes dx = x - f.mean_x;
  // Outside its box a Gaussian counts for nothing, but its exponent runs away: hold it a little beyond the edge.
  const float edge = 1.01f * f.ellipse_x;
  Lanes clamped = dx < edge ? dx : all(edge);
  clamped = clamped > -edge ? clamped : all(-edge);
  const Lanes base = f.ux * clamped;
  const Bits in_window = magnitude(dx) <= cut.window_x;

  for (int run = first_y; run <= last_y; run += kRun) {
    const int rows = std::min(kRun, last_y - run + 1);
    const float dy = static_cast<float>(run) - f.mean_y, w = f.wy * dy;
    const Lanes u = base + f.uy * dy;
    float* sum = sums + static_cast<int64_t>(run - first_y) * C * kLanes;
    if (g.depth < kDeepest) {
      Lanes value = exp2(-(u * u + w * w));
      Lanes ratio = exp2(-(2.0f * f.uy * u + (f.uy * f.uy + f.wy * f.wy + 2.0f * f.wy * w)));
      value = in_window ? value : Lanes{};
      for (int row = 0; row < rows; ++row, sum += C * kLanes) {
        const Bits counts = value >= cut.value;
        for (int c = 0; c < C; ++c) {
          const Lanes before = load(sum + c * kLanes);
          store(sum + c * kLanes, counts ? before + value * color[c] : before);
        }
        value *= ratio;
        ratio *= g.bend;
      }
    } else {
      for (int row = 0; row < rows; ++row, sum += C * kLanes) {
        const float dy_here = static_cast<float>(run + row) - f.mean_y, w_here = f.wy * dy_here;
        const Lanes u_here = f.ux * dx + f.uy * dy_here;
        const Lanes exponent = -(u_here * u_here + w_here * w_here);
        const Bits counts = (exponent >= cut.exponent) & in_window;
        const Lanes value = exp2(exponent);
        for (int c = 0; c < C; ++c) {
          const Lanes before = load(sum + c * kLanes);
          store(sum + c * kLanes, counts ? before + value * color[c] : before);
        }
      }
    }
  }
}

template <int C>
void sum_tile(const Scene& scene, const Frame& frame, const Tiles& tiles, const Ready* ready, int64_t first_gaussian,
              const uint32_t* list, int64_t listed, int tile, bool continues, float* out) {
  alignas(64) float sums[kTileWidth / kLanes][kTileHeight][C][kLanes];
  const int left = (tile % tiles.columns + tiles.first_column) << kTileWidthBits;
  const int top = (tile / tiles.columns + tiles.first_row) << kTileHeightBits;
  const int first_x = std::max(left, frame.left), first_y = std::max(top, frame.top);
  const int end_x = std::min(left + kTileWidth, frame.left + frame.width);
  const int end_y = std::min(top + kTileHeight, frame.top + frame.height);
  const auto each_pixel = [&](auto visit) {
    for (int c = 0; c < C; ++c)
      for (int y = first_y; y < end_y; ++y) {
        float* row = out + (static_cast<int64_t>(c) * frame.height + (y - frame.top)) * frame.width - frame.left;
        for (int x = first_x; x < end_x; ++x) visit(row[x], sums[(x - left) / kLanes][y - top][c][(x - left) % kLanes]);
      }
  };

  std::memset(sums, 0, sizeof sums);
  if (continues) each_pixel([](float& pixel, float& sum) { sum = pixel; });
  for (int64_t k = 0; k < listed; ++k) {
    if (k + 4 < listed) {
      __builtin_prefetch(ready + list[k + 4]);
      __builtin_prefetch(scene.color + (first_gaussian + list[k + 4]) * C);
    }
    const Ready& g = ready[list[k]];
    const float* color = scene.color + (first_gaussian + list[k]) * C;
    for (int strip = 0; strip < kTileWidth / kLanes; ++strip) {
      const int x = left + strip * kLanes;
      if (g.first_x >= x + kLanes || g.last_x < x) continue;
      const int from = std::max(g.first_y, top), to = std::min(g.last_y, top + kTileHeight - 1);
      add<C>(g, color, frame.cut, static_cast<float>(x) + count_up(), from, to, sums[strip][from - top][0]);
    }
  }
  each_pixel([](float& pixel, float& sum) { pixel = sum; });
}

using SumTile = decltype(&sum_tile<1>);
constexpr SumTile kSumTile[] = {nullptr,     sum_tile<1>, sum_tile<2>, sum_tile<3>, sum_tile<4>,
                                sum_tile<5>, sum_tile<6>, sum_tile<7>, sum_tile<8>, sum_tile<9>};
static_assert(sizeof kSumTile / sizeof kSumTile[0] == kMaxChannels + 1);

}  // namespace

void draw(const Scene& scene, const Frame& frame, const Threads& threads, float* out) {
  const Tiles tiles = tiles_of(frame);
  const int64_t table = static_cast<int64_t>(threads.count) * tiles.count();
  // Filled before they are read; a vector would clear them first.
  const std::unique_ptr<Ready[]> ready(new Ready[std::min(scene.count, kBatch)]);
  std::unique_ptr<uint32_t[]> list;
  std::vector<int64_t> place(table), start(tiles.count() + 1);
  int64_t room = 0, batch = kBatch;

  for (int64_t first = 0, end; first < scene.count || first == 0; first = end) {
    end = std::min(first + batch, scene.count);
    const auto share = [&](int thread) { return (end - first) * thread / threads.count; };

    // Count each thread's Gaussians per tile; from that every thread knows where in each tile's list its own begin.
    std::fill(place.begin(), place.end(), 0);
    threads.run([&](int thread) {
      const FlushDenormals flush;
      const int64_t from = share(thread), to = share(thread + 1);
      make_ready(scene, frame.cut, tiles.bounds(), first + from, to - from, ready.get() + from);
      int64_t* mine = place.data() + static_cast<int64_t>(thread) * tiles.count();
      for (int64_t i = from; i < to; ++i)
        for_each_tile(ready[i], tiles, frame.cut, [&](int tile) { ++mine[tile]; });
    });
    int64_t pairs = 0;
    for (int tile = 0; tile < tiles.count(); ++tile) {
      start[tile] = pairs;
      for (int thread = 0; thread < threads.count; ++thread) {
        int64_t& mine = place[static_cast<int64_t>(thread) * tiles.count() + tile];
        pairs += mine;
        mine = pairs - mine;
      }
    }
    start[tiles.count()] = pairs;
    if (pairs > kMaxPairs && end - first > 1) {
      batch = std::max<int64_t>(1, (end - first) / 2);
      end = first;
      continue;
    }
    if (pairs > room) list.reset(new uint32_t[room = pairs]);
    threads.run([&](int thread) {
      const FlushDenormals flush;
      int64_t* mine = place.data() + static_cast<int64_t>(thread) * tiles.count();
      for (int64_t i = share(thread), to = share(thread + 1); i < to; ++i)
        for_each_tile(ready[i], tiles, frame.cut, [&](int tile) { list[mine[tile]++] = static_cast<uint32_t>(i); });
    });

    std::atomic<int> next{0};
    threads.run([&](int) {
      const FlushDenormals flush;
      for (int tile; (tile = next.fetch_add(1, std::memory_order_relaxed)) < tiles.count();) {
        const int64_t listed = start[tile + 1] - start[tile];
        if (listed || first == 0)
          kSumTile[scene.channels](scene, frame, tiles, ready.get(), first, list.get() + start[tile], listed, tile,
                                   first > 0, out);
      }
    });
    if (scene.count == 0) break;
  }
}

}  // namespace gsr::cpu
