// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/update.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "cmodel/npu/random.hpp"
#include "cmodel/npu/validate.hpp"
#include "cmodel/numeric/perturb.hpp"

namespace lastmile::npu {
namespace {

// One row, element by element: the definition.
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

// The same for int8 and int16 without branches, so that the compiler can take several elements at
// once. Steps of kFar and more leave either range whatever the weight.
template <class T>
void update_narrow(Memory& memory, std::uint64_t address, std::span<const std::int32_t> gradient,
                   const RowDraw& rounding, const RowDraw* mask, std::uint32_t keep,
                   numeric::Step step, std::int32_t limit, UpdateCount& count) {
  constexpr std::size_t kBlock = 64;
  constexpr std::int64_t kFar = 1 << 17;
  const int up = step.shift >= 17 ? step.shift - 17 : 0;
  const int down = step.shift >= 17 ? 0 : 17 - step.shift;
  for (std::size_t first = 0; first < gradient.size(); first += kBlock) {
    const std::size_t size = std::min(kBlock, gradient.size() - first);
    std::array<T, kBlock> w{};
    std::array<std::uint16_t, kBlock> random{};
    std::array<std::uint8_t, kBlock> byte{};  // below any keep but 0, which masks everything
    std::array<std::int32_t, kBlock> g{}, q{};
    const std::uint64_t at = address + first * sizeof(T);
    memory.copy_out(at, std::span<T>(w.data(), size));
    std::copy_n(gradient.begin() + static_cast<std::ptrdiff_t>(first), size, g.begin());
    std::memcpy(random.data(), rounding.words().data() + first / 4, (size + 3) / 4 * 8);
    if (mask != nullptr) {
      std::memcpy(byte.data(), mask->words().data() + first / 8, (size + 7) / 8 * 8);
    }
    for (std::size_t i = 0; i < kBlock; ++i) {
      const auto magnitude = static_cast<std::uint32_t>(g[i] < 0 ? -g[i] : g[i]);
      const std::uint64_t p = (std::uint64_t{magnitude} * step.mantissa) << spec::kStepPreshift;
      const std::uint64_t dither = (std::uint64_t{random[i]} * 2 + 1) << up >> down;
      const auto steps = static_cast<std::int64_t>((p + dither) >> step.shift);
      q[i] = static_cast<std::int32_t>(steps < kFar ? steps : kFar);
    }
    std::uint32_t kept = 0, zero = 0, clipped = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const std::int32_t take = i < size && byte[i] < keep ? -1 : 0;
      const std::int32_t moved = w[i] + (g[i] < 0 ? q[i] : -q[i]);
      const std::int32_t inside = std::min(std::max(moved, -limit), limit);
      const std::int32_t none = q[i] == 0 ? -1 : 0;
      kept += static_cast<std::uint32_t>(-take);
      zero += static_cast<std::uint32_t>(-(take & none));
      clipped += static_cast<std::uint32_t>(-(take & ~none & (moved != inside ? -1 : 0)));
      w[i] = static_cast<T>((take & ~none) != 0 ? inside : w[i]);
    }
    std::memcpy(memory.int8(at), w.data(), size * sizeof(T));
    count.updated += kept;
    count.zero += zero;
    count.clipped += clipped;
  }
}

}  // namespace

UpdateCount run_update(Memory& memory, const spec::Descriptor& d, const RegisterFile& regs,
                       Workers& workers) {
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
        z.draw(regs.pair_seed(j),
               distribution == Distribution::sign_ ? Domain::sign_ : Domain::gaussian_, d.w_tensor,
               row, d.in_c);
        const std::int32_t coefficient = regs.pair_coef(j);
        z.add_z(distribution, coefficient, gradient);
      }
      rounding.draw(regs.pair_seed(0), Domain::round_, d.w_tensor, row, d.in_c);
      if (d.w_keep < 256) mask.draw(regs.mask_seed(), Domain::mask_, d.w_tensor, row, d.in_c);
      const RowDraw* masked = d.w_keep < 256 ? &mask : nullptr;
      const std::uint64_t address = d.w_addr + r * d.w_pitch;
      if (d.has(spec::kFlagW8)) {
        update_narrow<std::int8_t>(memory, address, gradient, rounding, masked, d.w_keep, step,
                                   numeric::kW8Max, count);
      } else if (d.has(spec::kFlagW32)) {
        update_row<std::int32_t>(memory, address, gradient, rounding, masked, d.w_keep, step,
                                 numeric::kBiasMax, count);
      } else {
        update_narrow<std::int16_t>(memory, address, gradient, rounding, masked, d.w_keep, step,
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
