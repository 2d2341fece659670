// SPDX-License-Identifier: Apache-2.0
// Any bytes either are a journal, or are refused with an Error. Checksums are made right in a
// second go, so that the header's fields and the chain of records are reached.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "sw/base/io.hpp"
#include "sw/trainer/journal.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using lastmile::fuzz::require;

constexpr char kMagic[] = "LMJRNL2\n";
constexpr std::size_t kMagicBytes = 8;

void put32(std::vector<std::uint8_t>& to, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

void check(std::span<const std::uint8_t> bytes) {
  lastmile::fuzz::accepts([&] {
    const lastmile::Journal j = lastmile::parse_journal(bytes, "fuzz");
    require(j.config.forward.pairs >= 1 && j.config.forward.pairs <= 8);
    const bool left_out = j.torn || !j.damage.empty();
    require(j.valid_bytes <= bytes.size() && left_out == (j.valid_bytes != bytes.size()));
    for (std::size_t i = 0; i < j.records.size(); ++i) {
      require(j.records[i].step == i);
      require(j.records[i].coefficients.size() == static_cast<std::size_t>(j.config.forward.pairs));
    }
    // The whole part alone is the same journal, and any tear is noticed as one.
    const lastmile::Journal whole =
        lastmile::parse_journal(bytes.first(static_cast<std::size_t>(j.valid_bytes)), "whole");
    require(!whole.torn && whole.records.size() == j.records.size() && whole.config == j.config);
    require(whole.end == j.end && j.result_step() <= j.records.size());
    require(!j.end || j.config.hold_out != 0);
    if (j.end) {
      const auto cut =
          lastmile::parse_journal(bytes.first(static_cast<std::size_t>(j.valid_bytes) - 1), "cut");
      require(cut.torn && !cut.end && cut.records.size() == j.records.size());
    } else if (!j.records.empty()) {
      const auto cut =
          lastmile::parse_journal(bytes.first(static_cast<std::size_t>(j.valid_bytes) - 1), "cut");
      require(cut.torn && cut.records.size() + 1 == j.records.size());
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  check({data, size});
  if (size < 2) return 0;
  // First byte: kind of header; second: length of what is taken of the input for it; then records.
  static constexpr const char* kHeaders[] = {
      R"({"base_digest":1,"config":{"batch":64,"data_digest":3,"distribution":"SIGN",)"
      R"("estimator":"scaled","final_factor":0.0,"mask_seed":0,"schedule":"cosine","steps":3000,)"
      R"("tensors":[{"eps":1.5,"keep":256,"step":0.25,"tensor":0}]},"pairs":1,"seed":2})",
      R"({"base_digest":18446744073709551615,"config":{"batch":1,"data_digest":0,)"
      R"("distribution":"GAUSSIAN","estimator":"sign","final_factor":1.0,"mask_seed":9,)"
      R"("schedule":"constant","steps":4,"tensors":[]},"pairs":8,"seed":0})",
      R"({"base_digest":1,"config":{"batch":64,"data_digest":3,"distribution":"SIGN",)"
      R"("estimator":"sign","final_factor":0.0,"mask_seed":0,"schedule":"cosine","steps":3000,)"
      R"("tensors":[]},"hold_out":10,"pairs":1,"seed":2,"seed_rule":"hashed"})"};
  const std::size_t taken = std::min<std::size_t>(data[1], size - 2);
  const bool given = data[0] < std::size(kHeaders);
  const std::string header = given ? std::string(kHeaders[data[0]])
                                   : std::string(reinterpret_cast<const char*>(data) + 2, taken);
  std::vector<std::uint8_t> bytes(kMagic, kMagic + kMagicBytes);
  put32(bytes, static_cast<std::uint32_t>(header.size()));
  bytes.insert(bytes.end(), header.begin(), header.end());
  std::uint32_t chain = lastmile::crc32(bytes);
  put32(bytes, chain);
  std::size_t record = 0;  // bytes before its checksum; 0: the header is refused
  lastmile::fuzz::accepts([&] {
    const lastmile::RunConfig config = lastmile::parse_journal(bytes, "header").config;
    require(lastmile::parse_run_config(lastmile::to_text(config), "again") == config);
    record = 24 + static_cast<std::size_t>(config.forward.pairs);
  });
  std::size_t at = 2 + (given ? 0 : taken);
  for (std::uint32_t step = 0; record != 0 && at + record <= size; ++step, at += record) {
    std::vector<std::uint8_t> body(data + at, data + at + record);
    if (body[3] != 0xff) std::memcpy(body.data(), &step, sizeof step);
    chain = lastmile::crc32(body, chain);
    bytes.insert(bytes.end(), body.begin(), body.end());
    put32(bytes, chain);
  }
  bytes.insert(bytes.end(), data + at, data + size);
  check(bytes);
  return 0;
}
