// SPDX-License-Identifier: Apache-2.0
// A network's float weights as arrays of numpy (sw/base/npy.hpp), and weights in files of any kind.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sw/base/npy.hpp"
#include "sw/golden/params.hpp"

namespace lastmile {

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
