// Drawing: sort the Gaussians into tiles, then let each tile sum its own. No two threads write one pixel, and the order
// in which a pixel sums depends on its tile alone, which lies on the grid that means count in: neither the number of
// threads nor where a frame is cut changes a bit.
#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <vector>

#include "column_eval.h"
#include "scratch.h"

namespace gsr::cpu {
namespace {

// A tile's sums stay in the first-level cache (12 KB for three channels). It is narrow and tall, because a Gaussian
// pays for its setup in every tile, while rows are cheap. A tile begins every four pixels, so that tiles overlap and most
// small Gaussians fit into one; each adds its sums to the drawing when it is done.
constexpr int kWidthBits = 4, kHeightBits = 6, kStepBits = 2;
constexpr int kTileWidth = 1 << kWidthBits, kTileHeight = 1 << kHeightBits, kStep = 1 << kStepBits;
constexpr int kStepsPerTile = kTileWidth / kStep;
static_assert(kTileWidth % kLanes == 0);

// A Gaussian no wider than this goes to the tiles that begin where it does; two are enough. A wider one, whose beginning
// a frame may cut off, goes to tiles that do not overlap.
constexpr int kNarrow = 2 * kTileWidth - kStep + 1;

// So many columns of tiles are one thread's work; their sums reach into the next group's pixels, but no further.
constexpr int kGroupBits = 5;

// What a tile's list says of a Gaussian: its place in the scene, and which of the tile's rows it has.
struct Entry {
  uint32_t place;
  uint16_t first, rows;
};

// More pairs of (Gaussian, tile) than this, and the frame is drawn in parts: it bounds the memory.
constexpr int64_t kMaxPairs = 1 << 24;

constexpr int64_t kBlock = 256;  // Gaussians made ready at a time

// So many Gaussians of a tile start together: their exponentials do not wait for each other, nor for the sums.
constexpr int kAtOnce = 8;

// Where a drawing goes.
struct Planes {
  float* data;
  int64_t plane, stride;  // from channel to channel, from row to row

  float* row(int c, int64_t y) const { return data + c * plane + y * stride; }
};

// The tiles that a frame needs, and on both sides enough others that a narrow Gaussian's are always among them.
struct Tiles {
  int first_column, first_row, columns, rows;

  int count() const { return columns * rows; }
  int index(int column, int row) const { return (row - first_row) * columns + column - first_column; }
};

constexpr int kBeside = (kTileWidth + kNarrow + kStep - 1) / kStep;

Tiles tiles_of(const Frame& frame) {
  const int column = (frame.left >> kStepBits) - kBeside, row = frame.top >> kHeightBits;
  return {column, row, ((frame.left + frame.width - 1) >> kStepBits) + kBeside - column + 1,
          ((frame.top + frame.height - 1) >> kHeightBits) - row + 1};
}

// Whole tiles, also where the frame ends inside one: a column of values starts on the same row in every frame. Beside the
// frame there is room for all of a narrow Gaussian.
Box bounds_of(const Frame& frame, const Tiles& tiles) {
  return {frame.left - kNarrow, frame.left + frame.width - 1 + kNarrow, tiles.first_row << kHeightBits,
          ((tiles.first_row + tiles.rows) << kHeightBits) - 1};
}

// How far beyond the last tile for_each_tile looks.
int slack(const Tiles& tiles) { return tiles.columns + kStepsPerTile; }

// Calls visit(tile, first, rows, counts) for every tile that the Gaussian can touch, and for some that it does not, with
// counts = false: for a small Gaussian four calls without a branch cost less than one mispredicted one. There tile may be
// up to slack(tiles) beyond the last.
template <class Visit>
inline void for_each_tile(const Ready& g, const Box& box, const Tiles& tiles, const Cut& cut, Visit visit) {
  if (box.is_empty()) return;
  const auto visit_tile = [&](int tile, int row, bool counts) {
    const int top = row << kHeightBits, first = std::max(box.first_y - top, 0);
    visit(tile, first, std::min(box.last_y - top, kTileHeight - 1) - first + 1, counts);
  };
  const bool is_narrow = box.last_x - box.first_x < kNarrow;
  const int first_row = box.first_y >> kHeightBits, last_row = box.last_y >> kHeightBits;
  if (is_narrow && last_row - first_row < 2) {
    const int column = box.first_x >> kStepBits, tile = tiles.index(column, first_row);
    const bool has_right = box.last_x >= (column << kStepBits) + kTileWidth, has_below = last_row > first_row;
    visit_tile(tile, first_row, true);
    visit_tile(tile + kStepsPerTile, first_row, has_right);
    visit_tile(tile + tiles.columns, first_row + 1, has_below);
    visit_tile(tile + tiles.columns + kStepsPerTile, first_row + 1, has_right & has_below);
    return;
  }
  const float ellipse_x = g.edge_x / kHold, ellipse_y = sqrtf(-cut.exponent) / g.wy;
  const Footprint shape = {g.mean_x, g.mean_y, g.ux, g.uy, g.wy, ellipse_x, ellipse_y};
  const int start = is_narrow ? box.first_x >> kStepBits : (box.first_x >> kWidthBits) * kStepsPerTile;
  for (int column = start; column << kStepBits <= box.last_x; column += kStepsPerTile) {
    // Ask the ellipse: the corners of a large box are empty.
    const float x = static_cast<float>(column << kStepBits) - g.mean_x;
    const Span span = rows_between_columns(shape, cut, x, x + (kTileWidth - 1));
    if (!(span.low <= span.high)) continue;
    const int top = static_cast<int>(most(g.mean_y + span.low, static_cast<float>(box.first_y)));
    const int bottom = static_cast<int>(least(g.mean_y + span.high, static_cast<float>(box.last_y - 1))) + 1;
    const int end = std::min(last_row, bottom >> kHeightBits);
    for (int row = std::max(first_row, top >> kHeightBits); row <= end; ++row)
      visit_tile(tiles.index(column, row), row, true);
  }
}

// Adds a Gaussian's rows y .. y + rows - 1 to one vector of columns; sums: [row][C][kLanes].
template <int C>
inline void add(const Ready& g, const float* color, const Cut& cut, Lanes x, Run run, int y, int rows, float* sums) {
  Lanes tint[C];
  for (int c = 0; c < C; ++c) tint[c] = all(color[c]);
  const auto put = [&](Lanes value) {
    for (int c = 0; c < C; ++c) store(sums + c * kLanes, load(sums + c * kLanes) + value * tint[c]);
    sums += C * kLanes;
  };
  const int end = y + rows;
  if (g.depth >= kDeepest) {
    const Column column(g, cut, x);
    for (; y < end; ++y) put(value_at(g, column, cut, y));
    return;
  }
  for (;;) {
    for (const int last = std::min(y + kRun, end); y < last; ++y) put(run.next());
    if (y == end) return;
    run = Run(g, Column(g, cut, x), cut, y);
  }
}

// Orders a tile's list by number of rows: what branches on it becomes predictable.
void sort_by_rows(const Entry* list, int64_t listed, Entry* sorted) {
  int64_t start[kTileHeight + 2] = {};
  for (int64_t k = 0; k < listed; ++k) ++start[list[k].rows + 1];
  for (int rows = 0; rows < kTileHeight; ++rows) start[rows + 1] += start[rows];
  for (int64_t k = 0; k < listed; ++k) sorted[start[list[k].rows]++] = list[k];
}

// Adds a tile to the frame; out: [C] planes, rows of `stride`.
template <int C>
void draw_tile(const Scene& scene, const Frame& frame, const Ready* ready, const Entry* list, int64_t listed,
               int column, int row, const Planes& out) {
  alignas(64) float sums[kTileWidth / kLanes][kTileHeight][C][kLanes];
  std::memset(sums, 0, sizeof sums);
  const int left = column << kStepBits, top = row << kHeightBits;
  const Cut cut = frame.cut;
  for (int64_t first = 0; first < listed; first += kAtOnce) {
    const int here = static_cast<int>(std::min<int64_t>(kAtOnce, listed - first));
    for (int strip = 0; strip < kTileWidth / kLanes; ++strip) {
      const Lanes x = all(static_cast<float>(left + strip * kLanes)) + count_up();
      Run runs[kAtOnce];
      for (int k = 0; k < here; ++k) {
        const int64_t ahead = list[std::min(first + k + kAtOnce, listed - 1)].place;
        __builtin_prefetch(ready + ahead);
        __builtin_prefetch(scene.color + ahead * C);
        const Ready& g = ready[list[first + k].place];
        runs[k] = Run(g, Column(g, cut, x), cut, top + list[first + k].first);
      }
      for (int k = 0; k < here; ++k) {
        const Entry entry = list[first + k];
        const Ready& g = ready[entry.place];
        // Where a register is narrower than a tile, a Gaussian may miss one strip of it.
        if (kTileWidth > kLanes && (x[kLanes - 1] < g.mean_x - g.edge_x || x[0] > g.mean_x + g.edge_x)) continue;
        add<C>(g, scene.color + int64_t{entry.place} * C, cut, x, runs[k], top + entry.first, entry.rows,
               sums[strip][entry.first][0]);
      }
    }
  }

  const int first_y = std::max(top, frame.top), end_y = std::min(top + kTileHeight, frame.top + frame.height);
  for (int strip = 0; strip < kTileWidth / kLanes; ++strip) {
    const int x = left + strip * kLanes;
    const int from = std::max(x, frame.left) - x, to = std::min(x + kLanes, frame.left + frame.width) - x;
    for (int c = 0; c < C; ++c)
      for (int y = first_y; y < end_y; ++y) {
        float* pixels = out.row(c, y - frame.top) + (x - frame.left);
        const float* sum = sums[strip][y - top][c];
        if (to - from == kLanes) store(pixels, load(pixels) + load(sum));
        else
          for (int lane = from; lane < to; ++lane) pixels[lane] += sum[lane];
      }
  }
}

using DrawTile = decltype(&draw_tile<1>);
constexpr DrawTile kDrawTile[] = {nullptr,      draw_tile<1>, draw_tile<2>, draw_tile<3>, draw_tile<4>,
                                  draw_tile<5>, draw_tile<6>, draw_tile<7>, draw_tile<8>, draw_tile<9>};
static_assert(sizeof kDrawTile / sizeof kDrawTile[0] == kMaxChannels + 1);

void draw_frame(const Scene& scene, const Frame& frame, const Threads& threads, const Planes& out);

void draw_halves(const Scene& scene, const Frame& frame, const Threads& threads, const Planes& out) {
  const bool is_tall = frame.height > kTileHeight;
  Frame one = frame, other = frame;
  int &size = is_tall ? one.height : one.width, &rest = is_tall ? other.height : other.width;
  size /= 2;
  rest -= size;
  (is_tall ? other.top : other.left) += size;
  draw_frame(scene, one, threads, out);
  draw_frame(scene, other, threads, {out.row(0, is_tall ? size : 0) + (is_tall ? 0 : size), out.plane, out.stride});
}

void draw_frame(const Scene& scene, const Frame& frame, const Threads& threads, const Planes& out) {
  const Tiles tiles = tiles_of(frame);
  const Box bounds = bounds_of(frame, tiles);
  Scratch<Ready> ready(scene.count);
  Scratch<Box> boxes(scene.count);
  // Each thread counts its share of the Gaussians per tile; then it knows where in each tile's list its own begin.
  const int64_t table = tiles.count() + slack(tiles);
  std::vector<uint32_t> place(threads.count * table);
  const auto share = [&](int64_t whole, int thread) { return whole * thread / threads.count; };
  threads.run([&](int thread) {
    const FlushDenormals flush;
    for (int c = 0; c < scene.channels; ++c)
      for (int64_t y = share(frame.height, thread), end = share(frame.height, thread + 1); y < end; ++y)
        std::fill_n(out.row(c, y), frame.width, 0.0f);
    uint32_t* mine = place.data() + thread * table;
    for (int64_t i = share(scene.count, thread), end = share(scene.count, thread + 1); i < end;) {
      const int64_t first = i, here = std::min(end - i, kBlock);
      make_ready(scene, frame.cut, bounds, first, here, ready.data() + first, boxes.data() + first);
      for (; i < first + here; ++i)
        for_each_tile(ready[i], boxes[i], tiles, frame.cut,
                      [&](int tile, int, int, bool counts) { mine[tile] += counts; });
    }
  });
  std::vector<int64_t> start(tiles.count() + 1);
  int64_t pairs = 0, longest = 0;
  for (int tile = 0; tile < tiles.count(); ++tile) {
    start[tile] = pairs;
    for (int thread = 0; thread < threads.count; ++thread) {
      uint32_t& mine = place[thread * table + tile];
      const uint32_t counted = mine;
      mine = static_cast<uint32_t>(pairs);
      pairs += counted;
    }
    longest = std::max(longest, pairs - start[tile]);
  }
  start[tiles.count()] = pairs;
  if (pairs > kMaxPairs && (frame.height > kTileHeight || frame.width > kTileWidth)) {
    ready.clear();
    boxes.clear();
    draw_halves(scene, frame, threads, out);
    return;
  }

  Scratch<Entry> list(pairs + 1);
  threads.run([&](int thread) {
    uint32_t* mine = place.data() + thread * table;
    Entry nowhere;
    for (int64_t i = share(scene.count, thread), end = share(scene.count, thread + 1); i < end; ++i)
      for_each_tile(ready[i], boxes[i], tiles, frame.cut, [&](int tile, int first, int rows, bool counts) {
        Entry* to = list.data() + mine[tile];
        mine[tile] += counts;
        *(counts ? to : &nowhere) = {static_cast<uint32_t>(i), static_cast<uint16_t>(first), static_cast<uint16_t>(rows)};
      });
  });

  // Every second group of columns, then those between: no two threads write one pixel.
  const int first_column = (frame.left >> kStepBits) - (kStepsPerTile - 1);
  const int end_column = ((frame.left + frame.width - 1) >> kStepBits) + 1;
  const int first_group = first_column >> kGroupBits, last_group = (end_column - 1) >> kGroupBits;
  for (int parity = 0; parity < 2; ++parity) {
    const int from = first_group + ((first_group ^ parity) & 1), groups = (last_group - from + 2) / 2;
    std::atomic<int> next{0};
    threads.run([&](int) {
      const FlushDenormals flush;
      const std::unique_ptr<Entry[]> sorted(new Entry[longest]);
      for (int work; (work = next.fetch_add(1, std::memory_order_relaxed)) < groups * tiles.rows;) {
        const int row = tiles.first_row + work / groups, group = from + work % groups * 2;
        const int end = std::min((group + 1) << kGroupBits, end_column);
        for (int column = std::max(group << kGroupBits, first_column); column < end; ++column) {
          const int tile = tiles.index(column, row);
          const int64_t listed = start[tile + 1] - start[tile];
          if (listed == 0) continue;
          sort_by_rows(list.data() + start[tile], listed, sorted.get());
          kDrawTile[scene.channels](scene, frame, ready.data(), sorted.get(), listed, column, row, out);
        }
      }
    });
  }
}

// Gaussians mostly come in the order of the picture's rows. Then a band of rows needs a stretch of them, and what is
// worked on at a time stays in the cache, however large the drawing.
constexpr int64_t kBandGaussians = 1 << 17;
constexpr int64_t kStretch = 1 << 9;   // Gaussians whose rows are known together
constexpr double kWorthwhile = 1.5;    // bands may begin this many Gaussians for every one there is

struct Band {
  int top, height;
  int64_t first, count;  // of its Gaussians
};

// The rows that every kStretch Gaussians reach, a little generously.
std::vector<Span> find_rows(const Scene& scene, const Cut& cut, const Threads& threads) {
  std::vector<Span> rows((scene.count + kStretch - 1) / kStretch);
  const int64_t count = static_cast<int64_t>(rows.size());
  threads.run([&](int thread) {
    for (int64_t k = count * thread / threads.count; k < count * (thread + 1) / threads.count; ++k) {
      // Columns and rows take turns in the lanes; only the rows are asked for.
      Lanes low = all(kInfinity), high = all(-kInfinity);
      const int64_t end = 2 * std::min((k + 1) * kStretch, scene.count);
      for (int64_t i = 2 * k * kStretch; i < end; i += kLanes) {
        const int64_t from = std::max<int64_t>(std::min(i, end - kLanes), 0);
        const Lanes mean = load(scene.mean + from), sigma = at_least(load(scene.sigma + from), all(kMinSigmaPx));
        const Lanes half = at_most(cut.reach * sigma, all(cut.window_y)) + 1.0f;
        low = at_most(low, mean - half);
        high = at_least(high, mean + half);
      }
      rows[k] = {kInfinity, -kInfinity};
      for (int lane = 1; lane < kLanes; lane += 2)
        rows[k] = {least(rows[k].low, low[lane]), most(rows[k].high, high[lane])};
    }
  });
  return rows;
}

// Bands that together are the frame; one when more would not pay.
std::vector<Band> cut_bands(const Scene& scene, const Frame& frame, const Threads& threads) {
  const std::vector<Band> whole = {{frame.top, frame.height, 0, scene.count}};
  const int64_t wanted = scene.count / kBandGaussians;
  if (wanted < 2) return whole;
  const int tile_rows = static_cast<int>(std::max<int64_t>(1, frame.height / wanted >> kHeightBits));
  const std::vector<Span> rows = find_rows(scene, frame.cut, threads);
  std::vector<Band> bands;
  int64_t begun = 0;
  for (int top = frame.top, bottom = frame.top + frame.height; top < bottom;) {
    // Ends with a tile: none is drawn twice.
    const int end = std::min(((top >> kHeightBits) + tile_rows) << kHeightBits, bottom);
    const auto meets = [&](const Span& reach) {
      return reach.low < static_cast<float>(end) && reach.high > static_cast<float>(top - 1);
    };
    const auto first = std::find_if(rows.begin(), rows.end(), meets);
    const auto last = std::find_if(rows.rbegin(), std::make_reverse_iterator(first), meets).base();
    const int64_t from = (first - rows.begin()) * kStretch, to = std::min((last - rows.begin()) * kStretch, scene.count);
    bands.push_back({top, end - top, std::min(from, to), std::max<int64_t>(to - from, 0)});
    begun += bands.back().count;
    top = end;
  }
  return static_cast<double>(begun) > kWorthwhile * static_cast<double>(scene.count) ? whole : bands;
}

}  // namespace

void draw(const Scene& scene, const Frame& frame, const Threads& threads, float* out) {
  const int64_t plane = static_cast<int64_t>(frame.height) * frame.width;
  ask_for_large_pages(out, scene.channels * plane * sizeof(float));
  for (const Band& band : cut_bands(scene, frame, threads)) {
    Frame part = frame;
    part.top = band.top;
    part.height = band.height;
    const Scene some = {scene.mean + 2 * band.first, scene.sigma + 2 * band.first, scene.rho + band.first,
                        scene.color + scene.channels * band.first, band.count, scene.channels};
    draw_frame(some, part, threads, {out + static_cast<int64_t>(band.top - frame.top) * frame.width, plane, frame.width});
  }
}

}  // namespace gsr::cpu
