// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/loss.hpp"

#include <vector>

#include "cmodel/command/validate.hpp"
#include "cmodel/numeric/loss.hpp"

namespace lastmile::npu {

LossResult run_loss(Memory& memory, const spec::Descriptor& d, Workers& workers) {
  const std::uint32_t bytes = label_bytes(d);
  std::vector<LossResult> parts(static_cast<std::size_t>(workers.threads()));
  workers.split(d.n, [&](int part, std::uint64_t begin, std::uint64_t end) {
    std::vector<std::int16_t> logits(d.in_c);
    LossResult& sum = parts[static_cast<std::size_t>(part)];
    for (std::uint64_t i = begin; i < end; ++i) {
      const std::uint64_t at = d.in2_addr + i * bytes;
      const std::uint32_t label =
          bytes == 1 ? memory.load<std::uint8_t>(at) : memory.load<std::uint16_t>(at);
      numeric::ExampleLoss loss;
      // the all-ones label is only below in_c with 65536 classes
      if (label < d.in_c && label != (bytes == 1 ? 0xffu : 0xffffu)) {
        memory.copy_out(d.in_addr + 2 * i * d.in_c, std::span<std::int16_t>(logits));
        loss = numeric::cross_entropy(logits, label, d.m1, -d.e1);
        sum.sum += loss.loss;
        sum.correct += loss.correct ? 1 : 0;
        ++sum.examples;
      }
      if (d.has(spec::kFlagLosses)) memory.store(d.out_addr + 4 * i, loss.loss);
    }
  });
  LossResult total;
  for (const LossResult& part : parts) {
    total.sum += part.sum;
    total.correct += part.correct;
    total.examples += part.examples;
  }
  return total;
}

}  // namespace lastmile::npu
