// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "cmodel/command/validate.hpp"
#include "tests/cmodel/limits.hpp"

namespace npu = lastmile::npu;
namespace spec = lastmile::spec;

TEST_CASE("cmodel: every limit of a command holds on both sides") {
  for (const int training : {1, 0}) {
    spec::HardwareParams hw;
    hw.training = training;
    int cases = 0;
    limits::for_each(hw, [&](const std::string& name, const limits::Command& c, spec::Error code,
                             std::uint32_t info) {
      spec::Descriptor resolved;
      const npu::Fault found = npu::validate_command(c.d, c.registers(hw), hw, resolved);
      INFO(name);
      CHECK(found.code == code);
      CHECK(found.info == info);
      ++cases;
    });
    CHECK(cases > 300);
  }
}
