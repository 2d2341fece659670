// SPDX-License-Identifier: Apache-2.0
// Any bytes either are a journal of readouts, or are refused with an Error. Checksums are made
// right in a second go, so that the fields of the records are reached.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sw/base/io.hpp"
#include "sw/trainer/readout_journal.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using lastmile::fuzz::require;

void put32(std::vector<std::uint8_t>& to, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

void check(std::span<const std::uint8_t> bytes) {
  lastmile::fuzz::accepts([&] {
    const lastmile::ReadoutJournal j = lastmile::parse_readout_journal(bytes, "fuzz");
    const bool left_out = j.torn || !j.damage.empty();
    require(j.valid_bytes <= bytes.size() && left_out == (j.valid_bytes != bytes.size()));
    require(j.snapshots.empty() || j.choice.has_value());
    for (std::size_t i = 1; i < j.snapshots.size(); ++i) {
      require(j.snapshots[i].step > j.snapshots[i - 1].step);
      require(j.snapshots[i].weights.size() == j.snapshots[0].weights.size());
    }
    const bool known = std::any_of(j.snapshots.begin(), j.snapshots.end(),
                                   [&](const auto& s) { return s.step == j.end.value_or(0); });
    require(!j.end || known);
    // The whole part alone is the same journal.
    const lastmile::ReadoutJournal whole = lastmile::parse_readout_journal(
        bytes.first(static_cast<std::size_t>(j.valid_bytes)), "whole");
    require(!whole.torn && whole.snapshots.size() == j.snapshots.size() &&
            whole.header == j.header && whole.end == j.end);
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({data, size});
  constexpr std::string_view kStart = "LMRDOT1\n", kHeader = "{\"version\":1}";
  std::vector<std::uint8_t> bytes(kStart.begin(), kStart.end());
  put32(bytes, static_cast<std::uint32_t>(kHeader.size()));
  bytes.insert(bytes.end(), kHeader.begin(), kHeader.end());
  std::uint32_t chain = lastmile::crc32(bytes);
  put32(bytes, chain);
  // A record: kind, step, length of what is taken of the input.
  std::size_t at = 0;
  while (size - at >= 3) {
    const std::size_t taken = std::min<std::size_t>(data[at + 2], size - at - 3);
    std::vector<std::uint8_t> record;
    put32(record, data[at]);
    put32(record, data[at + 1]);
    put32(record, static_cast<std::uint32_t>(taken));
    record.insert(record.end(), data + at + 3, data + at + 3 + taken);
    chain = lastmile::crc32(record, chain);
    put32(record, chain);
    bytes.insert(bytes.end(), record.begin(), record.end());
    at += 3 + taken;
  }
  check(bytes);
  return 0;
}
