// SPDX-License-Identifier: Apache-2.0
// WAV and FLAC in memory. libsndfile and libFLAC are not instrumented: this covers our own checks
// and their use.
#include "sw/data/audio.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lastmile::fuzz::accepts([&] {
    lastmile::fuzz::require(!lastmile::decode_audio(std::span(data, size), "audio").empty());
  });
  return 0;
}
