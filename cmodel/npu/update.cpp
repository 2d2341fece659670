// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/update.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "cmodel/command/validate.hpp"
#include "cmodel/npu/random.hpp"
#include "cmodel/numeric/perturb.hpp"

namespace lastmile::npu {
namespace {

// One row of 32-bit elements, one by one: the definition.
void update_row(Memory& memory, std::uint64_t address, std::span<const std::int32_t> gradient,
                const RowDraw& rounding, const RowDraw* mask, std::uint32_t keep,
                numeric::Step step, UpdateCount& count) {
  for (std::uint32_t c = 0; c < gradient.size(); ++c) {
    if (mask != nullptr && mask->byte(c) >= keep) continue;
    const std::uint64_t at = address + c * sizeof(std::int32_t);
    const numeric::Updated r = numeric::update(memory.load<std::int32_t>(at), gradient[c], step,
                                               rounding.half(c), numeric::kBiasMax);
    memory.store(at, r.value);
    ++count.updated;
    count.zero += r.zero ? 1 : 0;
    count.clipped += r.clipped ? 1 : 0;
  }
}

}  // namespace

UpdateCount run_update(Memory& memory, const spec::Descriptor& d, const RegisterFile& regs,
                       const Kernels& kernels, Workers& workers) {
  const auto distribution = static_cast<Distribution>(regs.distribution());
  const numeric::Step step =
      numeric::combine_step(d.step, static_cast<int>(d.step_shift), regs.step_mantissa(),
                            static_cast<int>(regs.step_shift()));
  const bool given = d.has(spec::kFlagGradient);
  std::vector<UpdateCount> parts(static_cast<std::size_t>(workers.threads()));
  workers.split(d.out_c, [&](int part, std::uint64_t begin, std::uint64_t end) {
    RowDraw z, mask, rounding;
    std::vector<std::int32_t> gradient(d.in_c);
    UpdateCount& count = parts[static_cast<std::size_t>(part)];
    for (std::uint64_t r = begin; r < end; ++r) {
      const auto row = static_cast<std::uint32_t>(r);
      const std::uint32_t pairs = given ? 0 : regs.pairs();
      if (given) {
        memory.copy_out(d.in_addr + r * gradient_pitch(d), std::span<std::int32_t>(gradient));
        for (std::int32_t& g : gradient) g = std::max(g, -0x7fffffff);
      } else {
        std::fill(gradient.begin(), gradient.end(), 0);
      }
      for (std::uint32_t j = 0; j < pairs; ++j) {
        z.draw(kernels, regs.pair_seed(j),
               distribution == Distribution::sign_ ? Domain::sign_ : Domain::gaussian_, d.w_tensor,
               row, d.in_c);
        const std::int32_t coefficient = regs.pair_coef(j);
        z.add_z(kernels, distribution, coefficient, gradient);
      }
      rounding.draw(kernels, regs.pair_seed(0), Domain::round_, d.w_tensor, row, d.in_c);
      if (d.w_keep < spec::kKeepAll)
        mask.draw(kernels, regs.mask_seed(), Domain::mask_, d.w_tensor, row, d.in_c);
      const RowDraw* masked = d.w_keep < spec::kKeepAll ? &mask : nullptr;
      const std::uint64_t address = d.w_addr + r * d.w_pitch;
      if (d.has(spec::kFlagW32)) {
        update_row(memory, address, gradient, rounding, masked, d.w_keep, step, count);
        continue;
      }
      const bool w8 = d.has(spec::kFlagW8);
      const UpdateStep narrow = {.gradient = gradient.data(),
                                 .rounding = rounding.words().data(),
                                 .mask = masked != nullptr ? mask.words().data() : nullptr,
                                 .keep = static_cast<std::int32_t>(d.w_keep),
                                 .mantissa = step.mantissa,
                                 .shift = step.shift,
                                 .limit = w8 ? numeric::kW8Max : numeric::kW16Max};
      Moved moved;
      if (w8) {
        kernels.update8(narrow, memory.int8(address), d.in_c, moved);
      } else {
        // rows begin at multiples of 64 bytes; the kernel copies in and out
        auto* const weights = reinterpret_cast<std::int16_t*>(memory.int8(address));
        kernels.update16(narrow, weights, d.in_c, moved);
      }
      count.updated += moved.taken;
      count.zero += moved.zero;
      count.clipped += moved.clipped;
    }
  });
  UpdateCount total;
  for (const UpdateCount& part : parts) {
    total.updated += part.updated;
    total.zero += part.zero;
    total.clipped += part.clipped;
  }
  return total;
}

}  // namespace lastmile::npu
