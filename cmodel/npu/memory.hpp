// SPDX-License-Identifier: Apache-2.0
// The NPU's memory as its engines see it: bytes, little-endian, no alignment assumed. Commands are
// checked against MEM_LIMIT and the size before any engine runs (validate.hpp), so these accessors
// do not check again.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace lastmile::npu {

static_assert(std::endian::native == std::endian::little,
              "the model keeps memory in the NPU's byte order");

class Memory {
 public:
  explicit Memory(std::span<std::byte> bytes) : bytes_(bytes) {}

  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

  [[nodiscard]] const std::int8_t* int8(std::uint64_t address) const {
    return reinterpret_cast<const std::int8_t*>(bytes_.data() + address);
  }
  [[nodiscard]] std::int8_t* int8(std::uint64_t address) {
    return reinterpret_cast<std::int8_t*>(bytes_.data() + address);
  }
  // How many of `count` records of `bytes` bytes that follow each other from `address` on exist.
  // A command may name rows of its input that no tile reads; those need not exist.
  [[nodiscard]] std::uint64_t existing(std::uint64_t address, std::uint64_t bytes,
                                       std::uint64_t count) const {
    return address >= size() ? 0 : std::min(count, (size() - address) / bytes);
  }
  template <class T>
  [[nodiscard]] T load(std::uint64_t address) const {
    T value;
    std::memcpy(&value, bytes_.data() + address, sizeof value);
    return value;
  }
  template <class T>
  void store(std::uint64_t address, T value) {
    std::memcpy(bytes_.data() + address, &value, sizeof value);
  }
  template <class T>
  void copy_out(std::uint64_t address, std::span<T> to) const {
    if (!to.empty()) std::memcpy(to.data(), bytes_.data() + address, to.size_bytes());
  }

 private:
  std::span<std::byte> bytes_;
};

}  // namespace lastmile::npu
