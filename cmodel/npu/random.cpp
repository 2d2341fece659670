// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/random.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace lastmile::npu {
namespace {

// |z| by the low 15 bits.
const std::array<std::uint8_t, 32768>& gaussian_magnitudes() {
  static const auto table = [] {
    std::array<std::uint8_t, 32768> t{};
    for (std::uint32_t u = 0; u < t.size(); ++u) {
      t[u] = static_cast<std::uint8_t>(numeric::gaussian_z(u));
    }
    return t;
  }();
  return table;
}

}  // namespace

void hash_row(const Kernels& kernels, std::uint64_t seed, Domain domain, std::uint32_t tensor,
              std::uint32_t row, std::uint32_t first_block, std::span<std::uint64_t> out) {
  // The block number stays inside its 16 bits, so counting up never carries into the row.
  const std::uint32_t c0 = row << 16 | first_block;
  const std::uint32_t c1 = static_cast<std::uint32_t>(domain) << 16 | tensor;
  kernels.hash(seed, c0 | std::uint64_t{c1} << 32, out.data(), out.size());
}

void RowDraw::draw(const Kernels& kernels, std::uint64_t seed, Domain domain, std::uint32_t tensor,
                   std::uint32_t row, std::uint32_t columns) {
  const std::uint32_t per = numeric::elements_per_word(domain);
  used_ = (columns + per - 1) / per;
  if (words_.size() < used_) words_.resize(used_);
  hash_row(kernels, seed, domain, tensor, row, 0, {words_.data(), used_});
}

std::int32_t RowDraw::z(Distribution distribution, std::uint32_t column) const {
  return distribution == Distribution::sign_ ? numeric::sign_z(sign_bit(column))
                                             : numeric::gaussian_z(half(column));
}

void RowDraw::add_z(const Kernels& kernels, Distribution distribution, std::int32_t coefficient,
                    std::span<std::int32_t> to) const {
  kernels.add_z(words_.data(), distribution == Distribution::gaussian_,
                gaussian_magnitudes().data(), coefficient, to.data(), to.size());
}

Perturber::Perturber(const Kernels& kernels, const Perturbation& p) : kernels_(&kernels), p_(p) {
  if (!p_.on) return;
  magnitude_.resize(128);
  for (std::int32_t z = 0; z < 128; ++z)
    magnitude_[static_cast<std::size_t>(z)] = numeric::perturb_magnitude(p_.eps, p_.shift, z);
}

// The definition, element by element.
void Perturber::elements(std::span<std::int32_t> values) {
  const bool masked = p_.keep < spec::kKeepAll;
  for (std::uint32_t c = 0; c < values.size(); ++c) {
    if (masked && mask_.byte(c) >= p_.keep) continue;
    const std::int32_t z = z_.z(p_.distribution, c);
    const std::int64_t magnitude = magnitude_[static_cast<std::size_t>(z < 0 ? -z : z)];
    const numeric::Perturbed r =
        numeric::perturb(values[c], (z < 0) != p_.minus ? -magnitude : magnitude, p_.limit);
    values[c] = r.value;
    ++count_.perturbed;
    count_.clipped += r.clipped ? 1 : 0;
  }
}

void Perturber::draw(std::uint32_t row, std::size_t columns) {
  const auto count = static_cast<std::uint32_t>(columns);
  const bool signs = p_.distribution == Distribution::sign_;
  z_.draw(*kernels_, p_.seed, signs ? Domain::sign_ : Domain::gaussian_, p_.tensor, row, count);
  if (p_.keep < spec::kKeepAll)
    mask_.draw(*kernels_, p_.mask_seed, Domain::mask_, p_.tensor, row, count);
}

void Perturber::row(std::uint32_t row, std::span<std::int16_t> weights) {
  if (!p_.on) return;
  draw(row, weights.size());
  Moved moved;
  kernels_->perturb({.random = z_.words().data(),
                     .mask = p_.keep < spec::kKeepAll ? mask_.words().data() : nullptr,
                     .keep = static_cast<std::int32_t>(p_.keep),
                     .gaussian = p_.distribution == Distribution::gaussian_,
                     .minus = p_.minus,
                     .eps = p_.eps,
                     .shift = static_cast<std::uint32_t>(p_.shift),
                     .limit = p_.limit},
                    gaussian_magnitudes().data(), weights.data(), weights.size(), moved);
  count_.perturbed += moved.taken;
  count_.clipped += moved.clipped;
}

void Perturber::row(std::uint32_t row, std::span<std::int32_t> bias) {
  if (!p_.on) return;
  draw(row, bias.size());
  elements(bias);
}

}  // namespace lastmile::npu
