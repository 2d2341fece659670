#include "cmodel/npu/update.hpp"

#include <array>
#include <vector>

#include "cmodel/npu/random.hpp"
#include "cmodel/npu/validate.hpp"
#include "cmodel/numeric/perturb.hpp"

namespace lastmile::npu {
namespace {

template <class T>
void update_row(Memory& memory, std::uint64_t address, std::span<const std::int32_t> gradient,
                const RowDraw& rounding, const RowDraw* mask, std::uint32_t keep,
                numeric::Step step, std::int32_t limit, UpdateCount& count) {
  for (std::uint32_t c = 0; c < gradient.size(); ++c) {
    if (mask != nullptr && mask->byte(c) >= keep) continue;
    const std::uint64_t at = address + c * sizeof(T);
    const numeric::Updated r =
        numeric::update(memory.load<T>(at), gradient[c], step, rounding.half(c), limit);
    memory.store(at, static_cast<T>(r.value));
    ++count.updated;
    count.zero += r.zero ? 1 : 0;
    count.clipped += r.clipped ? 1 : 0;
  }
}

}  // namespace

UpdateCount run_update(Memory& memory, const spec::Descriptor& d, const RegisterFile& regs,
                       Workers& workers) {
  const auto distribution = static_cast<Distribution>(regs.distribution());
  const numeric::Step step =
      numeric::combine_step(d.step, static_cast<int>(d.step_shift), regs.step_mantissa(),
                            static_cast<int>(regs.step_shift()));
  std::vector<UpdateCount> parts(static_cast<std::size_t>(workers.threads()));
  workers.split(d.out_c, [&](int part, std::uint64_t begin, std::uint64_t end) {
    RowDraw z, mask, rounding;
    std::vector<std::int32_t> gradient(d.in_c);
    UpdateCount& count = parts[static_cast<std::size_t>(part)];
    for (std::uint64_t r = begin; r < end; ++r) {
      const auto row = static_cast<std::uint32_t>(r);
      std::fill(gradient.begin(), gradient.end(), 0);
      for (std::uint32_t j = 0; j < regs.pairs(); ++j) {
        z.draw(regs.pair_seed(j),
               distribution == Distribution::sign_ ? Domain::sign_ : Domain::gaussian_, d.w_tensor,
               row, d.in_c);
        const std::int32_t coefficient = regs.pair_coef(j);
        for (std::uint32_t c = 0; c < d.in_c; ++c)
          gradient[c] += coefficient * z.z(distribution, c);
      }
      rounding.draw(regs.pair_seed(0), Domain::round_, d.w_tensor, row, d.in_c);
      if (d.w_keep < 256) mask.draw(regs.mask_seed(), Domain::mask_, d.w_tensor, row, d.in_c);
      const RowDraw* masked = d.w_keep < 256 ? &mask : nullptr;
      const std::uint64_t address = d.w_addr + r * d.w_pitch;
      if (d.has(spec::kFlagW8)) {
        update_row<std::int8_t>(memory, address, gradient, rounding, masked, d.w_keep, step,
                                numeric::kW8Max, count);
      } else if (d.has(spec::kFlagW32)) {
        update_row<std::int32_t>(memory, address, gradient, rounding, masked, d.w_keep, step,
                                 numeric::kBiasMax, count);
      } else {
        update_row<std::int16_t>(memory, address, gradient, rounding, masked, d.w_keep, step,
                                 numeric::kW16Max, count);
      }
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
