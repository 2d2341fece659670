// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/predictor.hpp"

#include "cmodel/npu/validate.hpp"

namespace lastmile::timing {

npu::TrafficMode mode_of(const spec::Descriptor& d, const npu::RegisterFile& regs) {
  const bool on = regs.polarity() != 0;
  return {.weights_perturbed = on && d.has(spec::kFlagWTrain),
          .bias_perturbed = on && d.has(spec::kFlagBTrain) && d.has(spec::kFlagHasBias),
          .distribution = static_cast<numeric::Distribution>(regs.distribution()),
          .pairs = regs.pairs()};
}

npu::Counters Predictor::commit(const spec::DescriptorWords& words) {
  spec::Descriptor resolved;
  if (npu::validate(spec::decode(words), regs_, hw_, resolved)) return {};
  const CommandTiming& t = cache_.of(resolved, mode_of(resolved, regs_));
  npu::Counters c = t.counters;
  c[spec::Counter::cycles_] = clock_.command(t);
  return c;
}

}  // namespace lastmile::timing
