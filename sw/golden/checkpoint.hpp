// SPDX-License-Identifier: Apache-2.0
// Float weights in a file. Little-endian, version 1:
//
//   8 bytes   "LMFLOAT" 0
//   u32       version, 1 or 2
//   string    network name (u32 length, bytes)
//   u64       fingerprint(network) of sw/graph/reader.hpp: shapes, wiring and batch norm must be
//   the same on loading
//   string    version 2 alone: what the network's input has to go through
//             (sw/data/preprocessing.hpp)
//   u32       number of tensors; then for each, in the order of layers and of
//   LayerParams' members:
//     string    "layer/tensor", such as "conv1/weights"
//     u32       number of dimensions, then each as u32, in the layouts of sw/graph/network.hpp
//     f32[]     values, last dimension fastest
//   u64       XXH64 of everything before it
//
// Only tensors that the network has are in the file, and all of them are.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sw/golden/params.hpp"

namespace lastmile {

inline constexpr std::uint32_t kCheckpointVersion = 1, kPreprocessedCheckpointVersion = 2;

// The tensors that a network has, in the file's order, and where they live in its parameters.
struct NamedTensor {
  std::string name;  // "layer/tensor"
  std::vector<std::uint32_t> shape;
  std::vector<float>* values;
};
[[nodiscard]] std::vector<NamedTensor> named_tensors(const Network& network,
                                                     FloatParams<float>& params);

// Atomic and durable. Refuses (Error(input)) what check_params refuses, so that a file never holds
// what cannot be loaded.
// `preprocessing`: text that is kept; empty: none, as version 1.
void save_checkpoint(const std::filesystem::path& path, const Network& network,
                     const FloatParams<float>& params, const std::string& preprocessing = {});

// Error(input) naming the file and what is wrong: magic, version, length, checksum, network,
// tensor, shape, or an element that is not finite.
[[nodiscard]] FloatParams<float> load_checkpoint(const std::filesystem::path& path,
                                                 const Network& network);

// The same to and from bytes; `name` is what errors call them.
[[nodiscard]] std::vector<std::uint8_t> encode_checkpoint(const Network& network,
                                                          const FloatParams<float>& params,
                                                          const std::string& preprocessing = {});
[[nodiscard]] FloatParams<float> decode_checkpoint(std::span<const std::uint8_t> bytes,
                                                   const std::string& name, const Network& network);

// What a file holds, without the network it belongs to. Error(input) as above, but values are not
// looked at.
struct CheckpointContents {
  struct Tensor {
    std::string name;
    std::vector<std::uint32_t> shape;
  };
  std::string network;
  std::uint64_t fingerprint = 0;
  std::string preprocessing;  // empty: the file has none
  std::vector<Tensor> tensors;
};
[[nodiscard]] CheckpointContents describe_checkpoint(std::span<const std::uint8_t> bytes,
                                                     const std::string& name);

}  // namespace lastmile
