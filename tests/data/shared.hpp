// SPDX-License-Identifier: Apache-2.0
// Where tests find real data: the folder that SHARED names (default ../shared), absent on most
// machines.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>

namespace lastmile::testing {

// SHARED/<name>, or an empty path after saying aloud that the test is skipped.
inline std::filesystem::path shared_folder(const std::string& name) {
  const char* root = std::getenv("SHARED");
  const auto folder =
      std::filesystem::path(root != nullptr && *root != '\0' ? root : "../shared") / name;
  if (std::filesystem::is_directory(folder)) return folder;
  MESSAGE("SKIPPED: no folder " << folder.string() << " (set SHARED)");
  std::cout << "SKIPPED: no folder " << folder.string() << " (set SHARED)\n";
  return {};
}
inline std::filesystem::path shared_data(const std::string& name) {
  return shared_folder("data/" + name);
}

}  // namespace lastmile::testing
