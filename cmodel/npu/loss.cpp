// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/loss.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cmodel/command/validate.hpp"
#include "cmodel/npu/random.hpp"
#include "cmodel/numeric/loss.hpp"

namespace lastmile::npu {

LossResult run_loss(Memory& memory, const spec::Descriptor& d, std::uint64_t seed,
                    const Kernels& kernels, Workers& workers) {
  const std::uint32_t bytes = label_bytes(d);
  std::vector<LossResult> parts(static_cast<std::size_t>(workers.threads()));
  workers.split(d.n, [&](int part, std::uint64_t begin, std::uint64_t end) {
    std::vector<std::int16_t> logits(d.in_c);
    std::vector<std::int8_t> errors(d.has(spec::kFlagErrors) ? d.in_c : 0);
    RowDraw rounding;
    LossResult& sum = parts[static_cast<std::size_t>(part)];
    for (std::uint64_t i = begin; i < end; ++i) {
      const std::uint64_t at = d.in2_addr + i * bytes;
      const std::uint32_t label =
          bytes == 1 ? memory.load<std::uint8_t>(at) : memory.load<std::uint16_t>(at);
      numeric::ExampleLoss loss;
      // the all-ones label is only below in_c with 65536 classes
      const bool labelled = label < d.in_c && label != (bytes == 1 ? 0xffu : 0xffffu);
      if (labelled) {
        memory.copy_out(d.in_addr + 2 * i * d.in_c, std::span<std::int16_t>(logits));
        loss = numeric::cross_entropy(logits, label, d.m1, -d.e1);
        sum.sum += loss.loss;
        sum.correct += loss.correct ? 1 : 0;
        ++sum.examples;
      }
      if (d.has(spec::kFlagLosses)) memory.store(d.out_addr + 4 * i, loss.loss);
      if (!d.has(spec::kFlagErrors)) continue;
      std::fill(errors.begin(), errors.end(), std::int8_t{0});
      if (labelled) {
        rounding.draw(kernels, seed, Domain::round_, d.w_tensor, static_cast<std::uint32_t>(i),
                      d.in_c);
        for (std::uint32_t c = 0; c < d.in_c; ++c) {
          const std::uint32_t t = numeric::logit_distance(
              static_cast<std::uint32_t>(loss.top - logits[c]), d.m1, -d.e1);
          errors[c] = static_cast<std::int8_t>(
              numeric::output_error(t, loss.log_sum, c == label, rounding.half(c)));
        }
      }
      std::memcpy(memory.int8(d.out_addr + i * d.in_c), errors.data(), d.in_c);
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
