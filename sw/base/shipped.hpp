// SPDX-License-Identifier: Apache-2.0
// Files that come with the program (sw/share): networks, energy tables.
#pragma once

#include <filesystem>
#include <string>

namespace lastmile {

// `name` itself if it is a .toml file, else sw/share/<folder>/<name>.toml: installed beside the
// program, in the source tree it was built in, or in the current folder. Error(input) says where it
// was looked for.
[[nodiscard]] std::filesystem::path find_shipped(const std::string& folder,
                                                 const std::string& name);

}  // namespace lastmile
