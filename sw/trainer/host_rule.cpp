// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/host_rule.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/detmath.hpp"
#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

constexpr double kPi = 3.14159265358979323846;
// Batches are drawn from another stream than perturbations.
constexpr std::uint64_t kBatchStream = 0x6261746368;
constexpr std::uint64_t kProbeStream = 0x70726f6265;

[[noreturn]] void usage(const std::string& what) { throw Error(ErrorKind::usage, what); }

}  // namespace

void check_options(const ForwardGradientOptions& o, std::size_t examples) {
  if (o.pairs < 1 || o.pairs > spec::kMaxPairs)
    usage(fmt::format("pairs is {}, expected 1..{}", o.pairs, spec::kMaxPairs));
  if (o.batch < 1 || static_cast<std::size_t>(o.batch) > examples)
    usage(fmt::format("batch is {}, expected 1..{} (the examples to adapt on)", o.batch, examples));
  if (!(o.final_factor >= 0 && o.final_factor <= 1))
    usage(fmt::format("final factor is {}, expected 0..1", o.final_factor));
}

std::vector<std::uint64_t> pair_seeds(const ForwardGradientOptions& o, std::uint32_t step) {
  std::vector<std::uint64_t> seeds;
  seeds.reserve(static_cast<std::size_t>(o.pairs));
  for (int j = 0; j < o.pairs; ++j) {
    const auto pairs = static_cast<std::uint64_t>(o.pairs), pair = static_cast<std::uint64_t>(j);
    seeds.push_back(o.seed_rule == SeedRule::hashed ? numeric::pair_seed(o.seed, step, j)
                                                    : o.seed + step * pairs + pair);
  }
  return seeds;
}

std::uint32_t step_register(const ForwardGradientOptions& o, std::uint32_t step) {
  double factor = 1;
  if (o.schedule == StepSchedule::cosine && o.steps > 1) {
    // Midpoints: the first step is almost the whole of it, the last one is not zero.
    const double t = (static_cast<double>(step) + 0.5) / static_cast<double>(o.steps);
    factor = o.final_factor + (1 - o.final_factor) * 0.5 * (1 + det_sincos(kPi * t).cos);
  }
  return encode_step_factor(factor);
}

std::uint32_t encode_step_factor(double factor) {
  std::uint32_t shift = 0;
  while (shift < spec::kStepShiftMax && factor < 0.5) factor *= 2, ++shift;
  const auto mantissa = static_cast<std::uint32_t>(std::clamp(factor * 65536 + 0.5, 1.0, 65535.0));
  return spec::reg::kStepMantissa.set(mantissa) | spec::reg::kStepShift.set(shift);
}

double step_factor(std::uint32_t step_register) {
  return std::ldexp(static_cast<double>(spec::reg::kStepMantissa.get(step_register)) / 65536,
                    -static_cast<int>(spec::reg::kStepShift.get(step_register)));
}

std::uint64_t probe_seed(std::uint64_t seed, int probe) {
  return sub_seed(seed, kProbeStream + static_cast<std::uint64_t>(probe));
}

std::vector<std::int8_t> coefficients(Estimator estimator,
                                      std::span<const std::int64_t> differences,
                                      std::uint64_t scale) {
  std::vector<std::int8_t> out;
  out.reserve(differences.size());
  for (const std::int64_t d : differences)
    out.push_back(estimator == Estimator::sign ? numeric::sign_coefficient(d)
                                               : numeric::scaled_coefficient(d, scale));
  return out;
}

BatchSampler::BatchSampler(std::uint64_t seed, std::size_t examples, int batch)
    : seed_(sub_seed(seed, kBatchStream)),
      examples_(examples),
      batch_(static_cast<std::size_t>(batch)) {}

std::vector<std::uint32_t> BatchSampler::batch(std::uint32_t step) {
  std::vector<std::uint32_t> out;
  out.reserve(batch_);
  for (std::size_t i = 0; i < batch_; ++i) {
    const std::uint64_t at = std::uint64_t{step} * batch_ + i;
    if (at / examples_ != epoch_) {
      epoch_ = at / examples_;
      order_.resize(examples_);
      std::iota(order_.begin(), order_.end(), 0U);
      Rng(seed_, epoch_).shuffle(std::span(order_));
    }
    out.push_back(order_[static_cast<std::size_t>(at % examples_)]);
  }
  return out;
}

Estimator parse_estimator(const std::string& text) {
  if (text == "sign") return Estimator::sign;
  if (text == "scaled") return Estimator::scaled;
  usage(fmt::format("estimator is \"{}\", expected sign or scaled", text));
}
StepSchedule parse_schedule(const std::string& text) {
  if (text == "constant") return StepSchedule::constant;
  if (text == "cosine") return StepSchedule::cosine;
  usage(fmt::format("schedule is \"{}\", expected constant or cosine", text));
}
const char* name_of(Estimator estimator) {
  return estimator == Estimator::sign ? "sign" : "scaled";
}
const char* name_of(StepSchedule schedule) {
  return schedule == StepSchedule::constant ? "constant" : "cosine";
}

}  // namespace lastmile
