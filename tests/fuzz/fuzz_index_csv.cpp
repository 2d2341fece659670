// SPDX-License-Identifier: Apache-2.0
// Cut lists of audio data sets.
#include <string>

#include "sw/data/cut_list.hpp"
#include "tests/fuzz/fuzz.hpp"

using lastmile::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto text = lastmile::fuzz::as_text(data, size);
  const auto check = [](const lastmile::CutList& list) {
    for (const auto& cut : list.cuts) {
      require(cut.start >= 0 && cut.length >= 1 && cut.start + cut.length > cut.start);
      require(cut.label >= 0 && static_cast<std::size_t>(cut.label) < list.class_names.size());
      require(!cut.file.empty() && cut.file[0] != '/' && cut.file.find("../") != 0);
    }
  };
  lastmile::fuzz::accepts([&] { check(lastmile::parse_cut_list(text, "index")); });
  // Below a right first line, so that the rows are reached from the start.
  lastmile::fuzz::accepts([&] {
    check(lastmile::parse_cut_list(
        "file,start,length,class,class_name,speaker,split\n" + std::string(text), "index"));
  });
  return 0;
}
