// SPDX-License-Identifier: Apache-2.0
// Arrays in numpy's files: .npz is a ZIP archive (stored or deflated) of .npy arrays, each with a
// header that is a Python dictionary. Read: little-endian float16, float32, float64 and integers of
// 8 to 64 bits, in either order of the elements. Written: float32, stored, the same bytes for equal
// arrays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace lastmile {

struct NpyArray {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // last dimension fastest
};

// Error(input) naming `name` and what is wrong. Data of at most 2 GiB in all.
[[nodiscard]] NpyArray parse_npy(std::span<const std::uint8_t> bytes, const std::string& name);
[[nodiscard]] std::vector<std::pair<std::string, NpyArray>> parse_npz(
    std::span<const std::uint8_t> bytes, const std::string& name);
// Names and shapes of an archive's arrays, whose data are checked but not kept.
struct NpzShape {
  std::string name;
  std::vector<std::int64_t> shape;
};
[[nodiscard]] std::vector<NpzShape> npz_shapes(std::span<const std::uint8_t> bytes,
                                               const std::string& name);

// What stands in front of an array's elements.
struct NpyHeader {
  std::vector<std::int64_t> shape;
  std::string type;  // numpy's name: "|u1", "<f4", ...
  bool fortran = false;
  std::size_t bytes = 0;  // of the header
  [[nodiscard]] std::size_t elements() const;
};
// An array of an archive, or one that is a file of its own, of which only the header was read. It
// refers to the bytes it was found in.
struct NpzEntry {
  std::string name;
  std::string where;  // what errors call it
  NpyHeader header;
  std::span<const std::uint8_t> packed;
  bool deflated = false;
  std::size_t size = 0;  // of header and data
  std::optional<std::uint32_t> checksum;
};
[[nodiscard]] std::vector<NpzEntry> npz_entries(std::span<const std::uint8_t> bytes,
                                                const std::string& name);
[[nodiscard]] NpzEntry npy_entry(std::span<const std::uint8_t> bytes, const std::string& name);
[[nodiscard]] NpyArray read_array(const NpzEntry& entry);

[[nodiscard]] std::vector<std::uint8_t> encode_npy(const NpyArray& array);
// At most 4 GiB in all.
[[nodiscard]] std::vector<std::uint8_t> encode_npz(
    std::span<const std::pair<std::string, NpyArray>> arrays);

}  // namespace lastmile
