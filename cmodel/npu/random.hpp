// SPDX-License-Identifier: Apache-2.0
// Rows of random words and perturbed weight reads: the block between memory and the array.
// CONTRACT.md, sections Random numbers and Perturbation; the definition of every value is
// cmodel/numeric/random.hpp and perturb.hpp, this is the same in bulk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/numeric/perturb.hpp"

namespace lastmile::npu {

using numeric::Distribution;
using numeric::Domain;

// out[b] = hash_word(seed, domain, tensor, row, first_block + b).
void hash_row(const Kernels& kernels, std::uint64_t seed, Domain domain, std::uint32_t tensor,
              std::uint32_t row, std::uint32_t first_block, std::span<std::uint64_t> out);

// Random words of one row, drawn once and read by element.
class RowDraw {
 public:
  // Words that cover columns 0 .. columns - 1.
  void draw(const Kernels& kernels, std::uint64_t seed, Domain domain, std::uint32_t tensor,
            std::uint32_t row, std::uint32_t columns);
  [[nodiscard]] std::span<const std::uint64_t> words() const { return {words_.data(), used_}; }

  [[nodiscard]] std::uint32_t sign_bit(std::uint32_t column) const {
    return static_cast<std::uint32_t>(words_[column / 64] >> (column % 64)) & 1;
  }
  [[nodiscard]] std::uint32_t byte(std::uint32_t column) const {
    return static_cast<std::uint32_t>(words_[column / 8] >> (column % 8 * 8)) & 0xff;
  }
  [[nodiscard]] std::uint32_t half(std::uint32_t column) const {
    return static_cast<std::uint32_t>(words_[column / 4] >> (column % 4 * 16)) & 0xffff;
  }
  [[nodiscard]] std::int32_t z(Distribution distribution, std::uint32_t column) const;
  // to[c] += coefficient * z(distribution, c)
  void add_z(const Kernels& kernels, Distribution distribution, std::int32_t coefficient,
             std::span<std::int32_t> to) const;

 private:
  std::vector<std::uint64_t> words_;
  std::size_t used_ = 0;
};

// How the elements of one tensor are perturbed by one command.
struct Perturbation {
  bool on = false;
  Distribution distribution = Distribution::sign_;
  std::uint64_t seed = 0;
  std::uint64_t mask_seed = 0;
  std::uint32_t tensor = 0;
  std::uint32_t eps = 0;
  int shift = 0;
  std::uint32_t keep = spec::kKeepAll;
  bool minus = false;
  std::int32_t limit = numeric::kW16Max;
};

struct PerturbCount {
  std::uint64_t perturbed = 0;
  std::uint64_t clipped = 0;
  PerturbCount& operator+=(const PerturbCount& other) {
    perturbed += other.perturbed;
    clipped += other.clipped;
    return *this;
  }
};

// Perturbs columns 0 .. of row `row` in place; keeps scratch between rows.
class Perturber {
 public:
  Perturber(const Kernels& kernels, const Perturbation& p);
  void row(std::uint32_t row, std::span<std::int16_t> weights);
  void row(std::uint32_t row, std::span<std::int32_t> bias);
  [[nodiscard]] const PerturbCount& count() const { return count_; }

 private:
  void draw(std::uint32_t row, std::size_t columns);
  void elements(std::span<std::int32_t> values);

  const Kernels* kernels_;
  Perturbation p_;
  std::vector<std::int64_t> magnitude_;  // by |z|
  RowDraw z_, mask_;
  PerturbCount count_;
};

}  // namespace lastmile::npu
