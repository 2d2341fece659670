// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/predictor.hpp"

#include "cmodel/command/traffic.hpp"
#include "cmodel/command/validate.hpp"

namespace lastmile::timing {

npu::Counters Predictor::commit(const spec::DescriptorWords& words) {
  spec::Descriptor resolved;
  if (npu::validate_command(spec::decode(words), regs_, hw_, resolved)) return {};
  const CommandTiming& t = cache_.of(resolved, npu::mode_of(resolved, regs_));
  npu::Counters c = t.counters;
  c[spec::Counter::cycles_] = clock_.command(t);
  return c;
}

}  // namespace lastmile::timing
