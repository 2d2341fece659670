// SPDX-License-Identifier: Apache-2.0
// Bytes that are zero until they are written. The operating system hands out the pages when they
// are touched: a device of gigabytes that only counts commands costs what its queues take.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <span>

namespace lastmile {

class ZeroedMemory {
 public:
  // bytes > 0. std::bad_alloc if there is no room for so many.
  explicit ZeroedMemory(std::uint64_t bytes)
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): the one call that leaves the pages untouched
      : bytes_(static_cast<std::byte*>(std::calloc(bytes, 1))), size_(bytes) {
    if (!bytes_) throw std::bad_alloc();
  }
  [[nodiscard]] std::byte* data() { return bytes_.get(); }
  [[nodiscard]] const std::byte* data() const { return bytes_.get(); }
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] std::span<std::byte> bytes() { return {bytes_.get(), size_}; }

 private:
  struct Free {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it came from calloc
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::uint64_t size_;
};

}  // namespace lastmile
