// SPDX-License-Identifier: Apache-2.0
// Arrays in numpy's files: .npz is a ZIP archive (stored or deflated) of .npy arrays, each with a
// header that is a Python dictionary. Read: little-endian float16, float32, float64 and integers of
// 8 to 64 bits, in either order of the elements. Written: float32, stored, the same bytes for equal
// arrays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sw/golden/params.hpp"

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
[[nodiscard]] std::vector<std::uint8_t> encode_npy(const NpyArray& array);
// At most 4 GiB in all.
[[nodiscard]] std::vector<std::uint8_t> encode_npz(
    std::span<const std::pair<std::string, NpyArray>> arrays);

// A network's float weights as .npz: one array "layer/tensor" for each tensor that the network has
// (weights, bias, gamma, beta, mean, variance), in the layouts of sw/graph/network.hpp. Loading
// wants all of them in the right shape, and no other.
[[nodiscard]] std::vector<std::uint8_t> encode_weights(const Network& network,
                                                       const FloatParams<float>& params);
[[nodiscard]] FloatParams<float> decode_weights(std::span<const std::uint8_t> bytes,
                                                const std::string& name, const Network& network);

// Weights in a file: .npz, or a checkpoint (sw/golden/checkpoint.hpp) under any other name.
// `preprocessing`: kept in a checkpoint alone.
void save_weights(const std::filesystem::path& path, const Network& network,
                  const FloatParams<float>& params, const std::string& preprocessing = {});
[[nodiscard]] FloatParams<float> load_weights(const std::filesystem::path& path,
                                              const Network& network);

}  // namespace lastmile
