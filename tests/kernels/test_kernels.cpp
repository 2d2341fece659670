// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "cmodel/npu/kernels/kernels.hpp"
#include "tests/cmodel/random_command.hpp"
#include "tests/kernels/check_kernels.hpp"

using namespace lastmile;

TEST_CASE("kernels: every table this CPU can run equals plain loops") {
  const std::uint64_t seed = random_command::seed_from_environment(20260101);
  for (const npu::Kernels* k : npu::all_kernels()) {
    INFO("kernels " << std::string(k->name) << ", seed " << seed);
    const std::vector<std::string> found = kernel_check::Checker(*k, seed).run(150);
    for (const std::string& line : found) FAIL_CHECK(line);
    CHECK(found.empty());
  }
}

TEST_CASE("kernels: the portable ones are always there and come first, names are found") {
  const auto all = npu::all_kernels();
  REQUIRE(!all.empty());
  CHECK(std::string(all.front()->name) == "portable");
  for (const npu::Kernels* k : all) CHECK(npu::find_kernels(k->name) == k);
  CHECK(npu::find_kernels("mmx") == nullptr);
}
