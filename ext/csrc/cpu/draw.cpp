// Drawing: bin the Gaussians into tiles, then sum each tile. No two threads write one pixel, and the order in which a
// pixel sums depends on its tile alone, whose place is fixed on the grid that means are given in: neither the number of
// threads nor the cuts of a frame change a bit.
#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <vector>

#include "column_eval.h"
#include "scratch.h"

namespace gsr::cpu {
namespace {

// A tile's sums stay in the first-level cache (12 KB for three channels). It is narrow and tall because each tile
// repeats a Gaussian's setup, while rows are cheap. A tile begins every four pixels, so that tiles overlap and most
// small Gaussians fit into one; each tile adds its sums to the drawing when it is done.
constexpr int kWidthBits = 4, kHeightBits = 6, kStepBits = 2;
constexpr int kTileWidth = 1 << kWidthBits, kTileHeight = 1 << kHeightBits, kStep = 1 << kStepBits;
constexpr int kStepsPerTile = kTileWidth / kStep;
static_assert(kTileWidth % kLanes == 0);

// A Gaussian no wider than this is binned into the tiles that begin at its first column; two are enough. A wider one,
// whose first columns may lie outside the frame, is binned into tiles that do not overlap.
constexpr int kNarrow = 2 * kTileWidth - kStep + 1;

// A thread draws this many columns of tiles at a time; their sums reach into the next group's pixels, but no further.
constexpr int kGroupBits = 5;

// An entry of a tile's list: the Gaussian's index in the scene, and the rows of the tile that it covers.
struct Entry {
  uint32_t place;
  uint16_t first, rows;
};

// More pairs of (Gaussian, tile) than this, and the frame is drawn in parts: it bounds the memory.
constexpr int64_t kMaxPairs = 1 << 24;

constexpr int64_t kBlock = 256;  // Gaussians preprocessed at a time

// Gaussians of a tile whose recurrences start together: their exponentials do not wait for each other or for the sums.
constexpr int kInterleaved = 8;

// The output image.
struct Planes {
  float* data;
  int64_t plane, stride;  // from channel to channel, from row to row

  float* row(int c, int64_t y) const { return data + c * plane + y * stride; }
};

// The tiles that a frame needs, with enough columns on both sides to contain those of every narrow Gaussian.
struct Tiles {
  int first_column, first_row, columns, rows;

  int count() const { return columns * rows; }
  int index(int column, int row) const { return (row - first_row) * columns + column - first_column; }
};

constexpr int kMarginColumns = (kTileWidth + kNarrow + kStep - 1) / kStep;

Tiles tiles_of(const Frame& frame) {
  const int column = (frame.left >> kStepBits) - kMarginColumns, row = frame.top >> kHeightBits;
  return {column, row, ((frame.left + frame.width - 1) >> kStepBits) + kMarginColumns - column + 1,
          ((frame.top + frame.height - 1) >> kHeightBits) - row + 1};
}

// Whole tiles, also where the frame ends inside one, so that a recurrence starts on the same row in every frame. The
// margin beside the frame holds all of a narrow Gaussian.
Box bounds_of(const Frame& frame, const Tiles& tiles) {
  return {frame.left - kNarrow, frame.left + frame.width - 1 + kNarrow, tiles.first_row << kHeightBits,
          ((tiles.first_row + tiles.rows) << kHeightBits) - 1};
}

// How far beyond the last tile for_each_tile may index.
int slack(const Tiles& tiles) { return tiles.columns + kStepsPerTile; }

// Calls visit(tile, first, rows, counts) for every tile that the Gaussian can touch. Some calls have counts = false: for
// a small Gaussian four calls without a branch cost less than one mispredicted branch. In those, tile may be up to
// slack(tiles) beyond the last.
template <class Visit>
inline void for_each_tile(const Prepared& g, const Box& box, const Tiles& tiles, const Cut& cut, Visit visit) {
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
  const float ellipse_x = g.edge_x / kClampWidths, ellipse_y = sqrtf(-cut.exponent) / g.wy;
  const Footprint shape = {g.mean_x, g.mean_y, g.ux, g.uy, g.wy, ellipse_x, ellipse_y};
  const int start = is_narrow ? box.first_x >> kStepBits : (box.first_x >> kWidthBits) * kStepsPerTile;
  for (int column = start; column << kStepBits <= box.last_x; column += kStepsPerTile) {
    // By the ellipse rather than the box: the corners of a large box are empty.
    const float x = static_cast<float>(column << kStepBits) - g.mean_x;
    const Span span = rows_between_columns(shape, cut, x, x + (kTileWidth - 1));
    if (!(span.low <= span.high)) continue;
    const int top = static_cast<int>(maximum(g.mean_y + span.low, static_cast<float>(box.first_y)));
    const int bottom = static_cast<int>(minimum(g.mean_y + span.high, static_cast<float>(box.last_y - 1))) + 1;
    const int end = std::min(last_row, bottom >> kHeightBits);
    for (int row = std::max(first_row, top >> kHeightBits); row <= end; ++row)
      visit_tile(tiles.index(column, row), row, true);
  }
}

// Adds a Gaussian's rows y .. y + rows - 1 to one vector of columns; sums: [row][C][kLanes].
template <int C>
inline void add(const Prepared& g, const float* color, const Cut& cut, Lanes x, RowRecurrence recurrence, int y,
                int rows, float* sums) {
  Lanes tint[C];
  for (int c = 0; c < C; ++c) tint[c] = broadcast(color[c]);
  const auto put = [&](Lanes value) {
    for (int c = 0; c < C; ++c) store(sums + c * kLanes, load(sums + c * kLanes) + value * tint[c]);
    sums += C * kLanes;
  };
  const int end = y + rows;
  if (g.depth >= kMaxDepth) {
    const ColumnEval column(g, cut, x);
    for (; y < end; ++y) put(value_at(g, column, cut, y));
    return;
  }
  for (;;) {
    for (const int last = std::min(y + kRecurrenceRows, end); y < last; ++y) put(recurrence.next());
    if (y == end) return;
    recurrence = RowRecurrence(g, ColumnEval(g, cut, x), cut, y);
  }
}

// Sorts a tile's list by number of rows, so that branches on it are predictable.
void sort_by_rows(const Entry* list, int64_t listed, Entry* sorted) {
  int64_t start[kTileHeight + 2] = {};
  for (int64_t k = 0; k < listed; ++k) ++start[list[k].rows + 1];
  for (int rows = 0; rows < kTileHeight; ++rows) start[rows + 1] += start[rows];
  for (int64_t k = 0; k < listed; ++k) sorted[start[list[k].rows]++] = list[k];
}

// Adds a tile to the frame; out: [C] planes, rows of `stride`.
template <int C>
void draw_tile(const Scene& scene, const Frame& frame, const Prepared* prepared, const Entry* list, int64_t listed,
               int column, int row, const Planes& out) {
  alignas(64) float sums[kTileWidth / kLanes][kTileHeight][C][kLanes];
  std::memset(sums, 0, sizeof sums);
  const int left = column << kStepBits, top = row << kHeightBits;
  const Cut cut = frame.cut;
  for (int64_t first = 0; first < listed; first += kInterleaved) {
    const int here = static_cast<int>(std::min<int64_t>(kInterleaved, listed - first));
    for (int strip = 0; strip < kTileWidth / kLanes; ++strip) {
      const float from = static_cast<float>(left + strip * kLanes), to = from + (kLanes - 1);
      const Lanes x = broadcast(from) + lane_indices();
      RowRecurrence recurrences[kInterleaved];
      int reaching[kInterleaved], count = 0;
      for (int k = 0; k < here; ++k) {
        if (strip == 0) {
          const int64_t ahead = list[std::min(first + k + kInterleaved, listed - 1)].place;
          __builtin_prefetch(prepared + ahead);
          __builtin_prefetch(scene.color + ahead * C);
        }
        // Where a register is narrower than a tile, a Gaussian may not reach every strip of it. Without a branch, which
        // would often be mispredicted.
        const Prepared& g = prepared[list[first + k].place];
        reaching[count] = k;
        count += kTileWidth == kLanes || !((to < g.mean_x - g.edge_x) | (from > g.mean_x + g.edge_x));
      }
      for (int k = 0; k < count; ++k) {
        const Entry entry = list[first + reaching[k]];
        const Prepared& g = prepared[entry.place];
        recurrences[k] = RowRecurrence(g, ColumnEval(g, cut, x), cut, top + entry.first);
      }
      for (int k = 0; k < count; ++k) {
        const Entry entry = list[first + reaching[k]];
        add<C>(prepared[entry.place], scene.color + int64_t{entry.place} * C, cut, x, recurrences[k], top + entry.first,
               entry.rows, sums[strip][entry.first][0]);
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
  Scratch<Prepared> prepared(scene.count);
  Scratch<Box> boxes(scene.count);
  // Each thread counts its share of the Gaussians per tile, which gives where its entries begin in each tile's list.
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
      preprocess(scene, frame.cut, bounds, first, here, prepared.data() + first, boxes.data() + first);
      for (; i < first + here; ++i)
        for_each_tile(prepared[i], boxes[i], tiles, frame.cut,
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
    prepared.clear();
    boxes.clear();
    draw_halves(scene, frame, threads, out);
    return;
  }

  Scratch<Entry> list(pairs + 1);
  threads.run([&](int thread) {
    uint32_t* mine = place.data() + thread * table;
    Entry nowhere;
    for (int64_t i = share(scene.count, thread), end = share(scene.count, thread + 1); i < end; ++i)
      for_each_tile(prepared[i], boxes[i], tiles, frame.cut, [&](int tile, int first, int rows, bool counts) {
        Entry* to = list.data() + mine[tile];
        mine[tile] += counts;
        *(counts ? to : &nowhere) = {static_cast<uint32_t>(i), static_cast<uint16_t>(first),
                                     static_cast<uint16_t>(rows)};
      });
  });

  // Even groups of columns, then odd ones: no two threads write one pixel.
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
          kDrawTile[scene.channels](scene, frame, prepared.data(), sorted.get(), listed, column, row, out);
        }
      }
    });
  }
}

// Gaussians mostly come in the order of the image's rows. Then a band of rows needs a contiguous run of them, and the
// working set stays in the cache, however large the drawing.
constexpr int64_t kBandGaussians = 1 << 17;
constexpr int64_t kRun = 1 << 9;      // Gaussians that share one range of rows
constexpr double kMaxRepeats = 1.5;   // times that a Gaussian may be preprocessed on average, in several bands

struct Band {
  int top, height;
  int64_t first, count;  // its Gaussians
};

// The rows that every kRun Gaussians reach, rounded outwards.
std::vector<Span> find_rows(const Scene& scene, const Cut& cut, const Threads& threads) {
  std::vector<Span> rows((scene.count + kRun - 1) / kRun);
  const int64_t count = static_cast<int64_t>(rows.size());
  threads.run([&](int thread) {
    for (int64_t k = count * thread / threads.count; k < count * (thread + 1) / threads.count; ++k) {
      // Even lanes hold columns, odd lanes rows; only the rows are used.
      Lanes low = broadcast(kInfinity), high = broadcast(-kInfinity);
      const int64_t end = 2 * std::min((k + 1) * kRun, scene.count);
      for (int64_t i = 2 * k * kRun; i < end; i += kLanes) {
        const int64_t from = std::max<int64_t>(std::min(i, end - kLanes), 0);
        const Lanes mean = load(scene.mean + from), sigma = clamp_min(load(scene.sigma + from), broadcast(kMinSigmaPx));
        const Lanes half = clamp_max(cut.reach * sigma, broadcast(cut.window_y)) + 1.0f;
        low = clamp_max(low, mean - half);
        high = clamp_min(high, mean + half);
      }
      rows[k] = {kInfinity, -kInfinity};
      for (int lane = 1; lane < kLanes; lane += 2)
        rows[k] = {minimum(rows[k].low, low[lane]), maximum(rows[k].high, high[lane])};
    }
  });
  return rows;
}

// Bands that together cover the frame; a single one where several would cost more.
std::vector<Band> cut_bands(const Scene& scene, const Frame& frame, const Threads& threads) {
  const std::vector<Band> whole = {{frame.top, frame.height, 0, scene.count}};
  const int64_t most = scene.count / kBandGaussians;
  if (most < 2) return whole;
  const int tile_rows = static_cast<int>(std::max<int64_t>(1, frame.height / most >> kHeightBits));
  const std::vector<Span> rows = find_rows(scene, frame.cut, threads);
  std::vector<Band> bands;
  int64_t preprocessed = 0;
  for (int top = frame.top, bottom = frame.top + frame.height; top < bottom;) {
    // A band ends with a tile, so no tile is drawn twice.
    const int end = std::min(((top >> kHeightBits) + tile_rows) << kHeightBits, bottom);
    const auto meets = [&](const Span& reach) {
      return reach.low < static_cast<float>(end) && reach.high > static_cast<float>(top - 1);
    };
    const auto first = std::find_if(rows.begin(), rows.end(), meets);
    const auto last = std::find_if(rows.rbegin(), std::make_reverse_iterator(first), meets).base();
    const int64_t from = (first - rows.begin()) * kRun, to = std::min((last - rows.begin()) * kRun, scene.count);
    bands.push_back({top, end - top, std::min(from, to), std::max<int64_t>(to - from, 0)});
    preprocessed += bands.back().count;
    top = end;
  }
  return static_cast<double>(preprocessed) > kMaxRepeats * static_cast<double>(scene.count) ? whole : bands;
}

}  // namespace

void draw_on_grid(const Scene& scene, const Frame& frame, const Threads& threads, float* out) {
  const int64_t plane = static_cast<int64_t>(frame.height) * frame.width;
  request_large_pages(out, scene.channels * plane * sizeof(float));
  for (const Band& band : cut_bands(scene, frame, threads)) {
    Frame rows = frame;
    rows.top = band.top;
    rows.height = band.height;
    const Scene run = {scene.mean + 2 * band.first, scene.sigma + 2 * band.first, scene.rho + band.first,
                       scene.color + scene.channels * band.first, band.count, scene.channels};
    float* top = out + static_cast<int64_t>(band.top - frame.top) * frame.width;
    draw_frame(run, rows, threads, {top, plane, frame.width});
  }
}

}  // namespace gsr::cpu
