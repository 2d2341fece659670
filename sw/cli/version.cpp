// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/version.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cmodel/spec/npu_identity.hpp"
#include "cmodel/spec/npu_spec.hpp"
#include "sw/cli/backend.hpp"

// sw/build.mk says both; a build that does not know its commit (no git) says nothing of it.
#ifndef LASTMILE_VERSION
#define LASTMILE_VERSION "0"
#endif
#ifndef LASTMILE_COMMIT
#define LASTMILE_COMMIT ""
#endif

namespace lastmile {

const char* version_number() { return LASTMILE_VERSION; }

std::string version_text() {
  const std::string commit = LASTMILE_COMMIT;
  return fmt::format("lastmile {}{}\ncontract {}, specification {:08x}\nbackends: {}",
                     version_number(), commit.empty() ? "" : " (commit " + commit + ")",
                     spec::kContract, spec::kSpecHash, fmt::join(backend_names(), ", "));
}

}  // namespace lastmile
