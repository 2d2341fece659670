// SPDX-License-Identifier: Apache-2.0
// The kernels' check as a program of its own, for an emulated CPU (tests/kernels/kernels.mk).
// Argument: a seed. Prints what differs, and the tables that were checked.
#include <cstdio>
#include <cstdlib>

#include "tests/kernels/check_kernels.hpp"

int main(int argc, char** argv) {
  const std::uint64_t seed = argc > 1 ? std::strtoull(argv[1], nullptr, 0) : 20260101;
  int passed = 0, failed = 0;
  for (const lastmile::npu::Kernels* k : lastmile::npu::all_kernels()) {
    const auto found = kernel_check::Checker(*k, seed).run(40);
    for (const auto& line : found)
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), line.c_str());
    std::printf("kernels %s: %s\n", k->name, found.empty() ? "equal" : "DIFFER");
    found.empty() ? ++passed : ++failed;
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
