// SPDX-License-Identifier: Apache-2.0
// Backends are shared objects; one that was cut short must be named, not crash the loader.
#pragma once

#include <filesystem>
#include <string>

namespace lastmile {

// dlopen that first checks that the file holds all that its ELF header says. Error(device) names
// the file and what to do (`advice`).
[[nodiscard]] void* load_shared_object(const std::filesystem::path& path,
                                       const std::string& advice);

}  // namespace lastmile
