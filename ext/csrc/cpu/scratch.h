// Uninitialised memory for one drawing.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <new>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace gsr::cpu {

constexpr size_t kLargePage = size_t{2} << 20;

// A page fault for every 4 KB of a large block adds up. Requests large pages wherever one fits; a refusal does no harm.
inline void request_large_pages(void* data, size_t bytes) {
#if defined(__linux__)
  const uintptr_t from = (reinterpret_cast<uintptr_t>(data) + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t to = (reinterpret_cast<uintptr_t>(data) + bytes) / kLargePage * kLargePage;
  if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE);
#else
  (void)data, (void)bytes;
#endif
}

// A few blocks of earlier drawings, 128 MB in all: allocating fresh memory is a good part of a small drawing's cost.
class BlockCache {
 public:
  static BlockCache& blocks() {
    static BlockCache& cache = *new BlockCache;  // never destroyed: a thread may still be drawing at process exit
    return cache;
  }

  // The smallest that fits and is at most twice as large; bytes becomes its size.
  void* take(size_t& bytes) {
    const std::lock_guard<std::mutex> lock(mutex_);
    Block* best = nullptr;
    for (Block& block : blocks_)
      if (block.bytes >= bytes && block.bytes / 2 <= bytes && (!best || block.bytes < best->bytes)) best = &block;
    if (!best) return nullptr;
    const Block taken = *best;
    *best = {};
    total_ -= taken.bytes;
    bytes = taken.bytes;
    return taken.data;
  }

  void give(void* data, size_t bytes) {
    if (bytes <= kMost) {
      const std::lock_guard<std::mutex> lock(mutex_);
      // The oldest go first: drawings of another size have begun.
      while (total_ + bytes > kMost || is_full()) {
        int last = kBlocks - 1;
        while (!blocks_[last].data) --last;
        total_ -= blocks_[last].bytes;
        std::free(blocks_[last].data);
        blocks_[last] = {};
      }
      int gap = 0;
      while (blocks_[gap].data) ++gap;
      for (; gap > 0; --gap) blocks_[gap] = blocks_[gap - 1];
      blocks_[0] = {data, bytes};
      total_ += bytes;
      return;
    }
    std::free(data);
  }

 private:
  struct Block {
    void* data = nullptr;
    size_t bytes = 0;
  };

  static constexpr int kBlocks = 8;
  static constexpr size_t kMost = size_t{128} << 20;
  bool is_full() const {
    for (const Block& block : blocks_)
      if (!block.data) return false;
    return true;
  }

  std::mutex mutex_;
  Block blocks_[kBlocks];
  size_t total_ = 0;
};

template <class T>
class Scratch {
 public:
  explicit Scratch(int64_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    const size_t page = bytes < kLargePage ? 4096 : kLargePage;
    bytes_ = (bytes / page + 1) * page;
    data_ = static_cast<T*>(BlockCache::blocks().take(bytes_));
    if (data_) return;
    data_ = static_cast<T*>(std::aligned_alloc(page, bytes_));
    if (!data_) throw std::bad_alloc();
    request_large_pages(data_, bytes_);
  }
  ~Scratch() { clear(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  void clear() {
    if (data_) BlockCache::blocks().give(data_, bytes_);
    data_ = nullptr;
  }
  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  size_t bytes_;
  T* data_;
};

}  // namespace gsr::cpu
