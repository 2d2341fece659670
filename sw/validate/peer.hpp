// SPDX-License-Identifier: Apache-2.0
// A float network with numbers, for another framework to compute again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace lastmile {

// peer.json: layers with every shape and padding resolved, and where each array lies in peer.bin
// (float64, little endian): weights, biases and batch norm of random parameters, inputs, labels;
// outputs in float32 and float64 with running statistics; gradients in float64 with the batch's
// statistics, and the loss. `network`: as load_source takes it.
void write_peer_case(const std::string& network, const std::filesystem::path& folder,
                     std::uint64_t seed, int threads);

}  // namespace lastmile
