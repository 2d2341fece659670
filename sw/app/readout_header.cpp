// SPDX-License-Identifier: Apache-2.0
#include "sw/app/readout_header.hpp"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "sw/trainer/header_fields.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

constexpr double kMost = std::numeric_limits<double>::max();
constexpr int kMostSmall = std::numeric_limits<int>::max();

}  // namespace

json readout_header(const QuantizedNetwork& base, const Dataset& train,
                    const ReadoutAdaptOptions& o, double largest_rate,
                    std::span<const TensorTraining> inner) {
  const ReadoutRunOptions& r = o.run;
  json h = {{"version", 1},
            {"base_digest", network_digest(base)},
            {"data_digest", data_digest(train)},
            {"taps", o.readout.taps},
            {"record_bytes", o.readout.record_bytes},
            {"weight_range", o.readout.weight_range},
            {"logit_headroom", o.readout.logit_headroom},
            {"steps", r.steps},
            {"batch", r.batch},
            {"seed", r.seed},
            {"rates", r.rates},
            {"largest_rate", largest_rate},
            {"snapshots", r.snapshots},
            {"final_factor", r.final_factor}};
  if (o.audit)
    h["audit"] = {{"data_sha256", data_sha256(train)}, {"base_sha256", network_sha256(base)}};
  if (r.inner_steps == 0) return h;
  h["inner_steps"] = r.inner_steps;
  h["pairs"] = r.pairs;
  if (r.seed_rule == SeedRule::hashed) h["seed_rule"] = kHashedSeeds;
  h["distribution"] = spec::to_string(o.fixed.distribution);
  for (const TensorTraining& t : inner)
    h["inner"].push_back({{"tensor", t.tensor}, {"eps_lsb", t.eps_lsb}, {"step_lsb", t.step_lsb}});
  return h;
}

ReadoutRun parse_readout_header(const json& header, const std::string& name) {
  const HeaderFields f(
      header, "", name,
      {"version",      "base_digest",    "data_digest", "taps",         "record_bytes",
       "weight_range", "logit_headroom", "steps",       "batch",        "seed",
       "rates",        "largest_rate",   "snapshots",   "final_factor", "audit",
       "inner_steps",  "pairs",          "seed_rule",   "distribution", "inner"});
  ReadoutRun out;
  static_cast<void>(f.small("version", 1, 1));
  static_cast<void>(f.integer<std::uint64_t>("base_digest"));
  static_cast<void>(f.integer<std::uint64_t>("data_digest"));
  ReadoutOptions& readout = out.options.readout;
  readout.taps = f.text("taps");
  readout.record_bytes = f.small("record_bytes", 0, kMostSmall);
  readout.weight_range = f.number("weight_range", 1);
  readout.logit_headroom = f.number("logit_headroom", kMost);
  ReadoutRunOptions& r = out.options.run;
  r.steps = f.integer<std::uint32_t>("steps", 1);
  r.batch = f.small("batch", 1, kMostSmall);
  r.seed = f.integer<std::uint64_t>("seed");
  r.rates = f.small("rates", 1, kMostSmall);
  r.snapshots = f.small("snapshots", 1, kMostSmall);
  r.final_factor = f.number("final_factor", 1);
  out.largest_rate = f.number("largest_rate", kMost);
  out.options.fixed.batch = r.batch;
  out.options.audit = f.has("audit");
  if (out.options.audit) {
    const HeaderFields audit(f.at("audit"), "audit", name, {"data_sha256", "base_sha256"});
    static_cast<void>(audit.sha256("data_sha256"));
    static_cast<void>(audit.sha256("base_sha256"));
  }
  if (!f.has("inner_steps")) return out;
  r.inner_steps = f.integer<std::uint32_t>("inner_steps", 1, UINT32_MAX - r.steps);
  r.pairs = f.small("pairs", 1, spec::kMaxPairs);
  r.seed_rule = f.has("seed_rule") ? f.choice("seed_rule", {SeedRule::hashed},
                                              [](SeedRule) { return kHashedSeeds; })
                                   : SeedRule::counting;
  out.options.fixed.distribution =
      f.choice("distribution", {spec::Distribution::sign_, spec::Distribution::gaussian_},
               [](spec::Distribution d) { return std::string(spec::to_string(d)); });
  const json& inner = f.at("inner");
  if (!inner.is_array()) f.wrong("inner", "a list");
  for (std::size_t i = 0; i < inner.size(); ++i) {
    const HeaderFields t(inner[i], fmt::format("inner[{}]", i), name,
                         {"tensor", "eps_lsb", "step_lsb"});
    TensorTraining training;
    training.tensor = t.integer<std::uint32_t>("tensor");
    training.eps_lsb = t.number("eps_lsb", kMost);
    training.step_lsb = t.number("step_lsb", kMost);
    out.inner.push_back(training);
  }
  return out;
}

std::string header_difference(const json& found, const json& expected) {
  for (const auto& [key, value] : expected.items()) {
    const std::string text = found.contains(key) ? found.at(key).dump() : "missing";
    if (text != value.dump()) return fmt::format("{} is {}, expected {}", key, text, value.dump());
  }
  for (const auto& [key, value] : found.items())
    if (!expected.contains(key)) return fmt::format("{} is {}, expected none", key, value.dump());
  return {};
}

}  // namespace lastmile
