// SPDX-License-Identifier: Apache-2.0
#include "sw/base/shipped.hpp"

#include <fmt/format.h>

#include <vector>

#include "sw/base/error.hpp"

namespace lastmile {

std::filesystem::path find_shipped(const std::string& folder, const std::string& name) {
  namespace fs = std::filesystem;
  if (name.ends_with(".toml")) return name;
  std::vector<fs::path> roots;
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  if (!program.empty()) roots.push_back(program.parent_path() / "share" / "lastmile");
  for (fs::path dir = program; !dir.empty(); dir = dir.parent_path()) {
    roots.push_back(dir / "sw" / "share");
    if (dir == dir.parent_path()) break;
  }
  roots.push_back(fs::path("sw") / "share");
  for (const fs::path& root : roots) {
    fs::path file = root / folder / (name + ".toml");
    if (fs::exists(file, ignored)) return file;
  }
  throw Error(ErrorKind::input,
              fmt::format("\"{0}\": no {1}/{0}.toml in share/lastmile beside the program's folder, "
                          "in sw/share above it or in the current folder, expected one of those or "
                          "the path of a .toml file",
                          name, folder));
}

}  // namespace lastmile
