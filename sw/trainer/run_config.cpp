// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/run_config.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/sha256.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/header_fields.hpp"
#include "sw/trainer/held_out.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

TensorTraining tensor_of(const json& j, const std::string& path, const std::string& name) {
  constexpr double kMost = std::numeric_limits<double>::max();
  const HeaderFields f(j, path, name, {"tensor", "eps", "step", "keep"});
  return {f.integer<std::uint32_t>("tensor"), f.number("eps", kMost), f.number("step", kMost),
          f.small("keep", 0, spec::kKeepAll)};
}

AuditConfig audit_of(const json& j, const std::string& name) {
  const HeaderFields f(j, "audit", name, {"weights_every", "data_sha256", "base_sha256"});
  return {f.integer<std::uint32_t>("weights_every", 1), f.sha256("data_sha256"),
          f.sha256("base_sha256")};
}

std::string distribution_name(spec::Distribution d) { return std::string(spec::to_string(d)); }

// Value at a JSON pointer, for a message.
std::string value_at(const json& j, const std::string& pointer) {
  const json::json_pointer at(pointer);
  return j.contains(at) ? j.at(at).dump() : "missing";
}

}  // namespace

std::uint64_t network_digest(const QuantizedNetwork& network) { return xxh64(serialize(network)); }

std::uint64_t data_digest(const Dataset& data) {
  const std::uint64_t x = xxh64(bytes_of(std::span(data.x)));
  if (data.classes > 256) return xxh64(bytes_of(std::span(data.y)), x);
  const std::vector<std::uint8_t> y(data.y.begin(),
                                    data.y.end());  // journals of before keep theirs
  return xxh64(bytes_of(std::span(y)), x);
}

std::string network_sha256(const QuantizedNetwork& network) {
  return hex(Sha256().update(serialize(network)).digest());
}

std::string data_sha256(const Dataset& data) {
  const std::array<std::uint32_t, 5> sizes{
      static_cast<std::uint32_t>(data.shape.h), static_cast<std::uint32_t>(data.shape.w),
      static_cast<std::uint32_t>(data.shape.c), static_cast<std::uint32_t>(data.classes),
      static_cast<std::uint32_t>(data.size())};
  return hex(Sha256()
                 .update(bytes_of(std::span(sizes)))
                 .update(bytes_of(std::span(data.x)))
                 .update(bytes_of(std::span(data.y)))
                 .digest());
}

void make_auditable(RunConfig& config, std::uint32_t every, const QuantizedNetwork& base,
                    const Dataset& data) {
  config.audit = {every, data_sha256(data), network_sha256(base)};
}

json to_json(const RunConfig& c) {
  json tensors = json::array();
  for (const TensorTraining& t : c.tensors)
    tensors.push_back(
        {{"tensor", t.tensor}, {"eps", t.eps_lsb}, {"step", t.step_lsb}, {"keep", t.keep}});
  json j = {{"seed", c.forward.seed},
            {"pairs", c.forward.pairs},
            {"base_digest", c.base_digest},
            {"config",
             {{"steps", c.forward.steps},
              {"batch", c.forward.batch},
              {"estimator", name_of(c.forward.estimator)},
              {"schedule", name_of(c.forward.schedule)},
              {"final_factor", c.forward.final_factor},
              {"distribution", distribution_name(c.distribution)},
              {"mask_seed", c.mask_seed},
              {"data_digest", c.data_digest},
              {"tensors", tensors}}}};
  // Journals of before there was a choice keep their text.
  if (c.forward.seed_rule == SeedRule::hashed) j["seed_rule"] = kHashedSeeds;
  if (c.hold_out != 0) j["hold_out"] = c.hold_out;
  if (c.audit.every != 0)
    j["audit"] = {{"weights_every", c.audit.every},
                  {"data_sha256", c.audit.data},
                  {"base_sha256", c.audit.base}};
  return j;
}

bool RunConfig::operator==(const RunConfig& other) const {
  return to_json(*this) == to_json(other);
}

std::string to_text(const RunConfig& config) { return to_json(config).dump(); }

RunConfig parse_run_config(std::string_view text, const std::string& name) {
  json whole;
  try {
    whole = json::parse(text);
  } catch (const json::exception& e) {
    fail_journal(name, fmt::format("header: {}", e.what()));
  }
  const HeaderFields top(
      whole, "", name,
      {"seed", "pairs", "base_digest", "config", "seed_rule", "audit", "hold_out"});
  RunConfig c;
  if (whole.contains("audit")) c.audit = audit_of(top.at("audit"), name);
  if (whole.contains("hold_out")) c.hold_out = top.small("hold_out", 1, kMostHeldOut);
  c.forward.seed_rule = SeedRule::counting;
  if (whole.contains("seed_rule"))
    c.forward.seed_rule =
        top.choice("seed_rule", {SeedRule::hashed}, [](SeedRule) { return kHashedSeeds; });
  c.forward.seed = top.integer<std::uint64_t>("seed");
  c.forward.pairs = top.small("pairs", 1, spec::kMaxPairs);
  c.base_digest = top.integer<std::uint64_t>("base_digest");
  const HeaderFields f(top.at("config"), "config", name,
                       {"steps", "batch", "estimator", "schedule", "final_factor", "distribution",
                        "mask_seed", "data_digest", "tensors"});
  c.forward.steps = f.integer<std::uint32_t>("steps");
  c.forward.batch = f.small("batch", 1, std::numeric_limits<int>::max());
  c.forward.estimator = f.choice("estimator", {Estimator::sign, Estimator::scaled},
                                 [](Estimator e) { return name_of(e); });
  c.forward.schedule = f.choice("schedule", {StepSchedule::constant, StepSchedule::cosine},
                                [](StepSchedule s) { return name_of(s); });
  c.forward.final_factor = f.number("final_factor", 1);
  c.distribution =
      f.choice("distribution", {spec::Distribution::sign_, spec::Distribution::gaussian_},
               distribution_name);
  c.mask_seed = f.integer<std::uint64_t>("mask_seed");
  c.data_digest = f.integer<std::uint64_t>("data_digest");
  const json& tensors = f.at("tensors");
  if (!tensors.is_array()) f.wrong("tensors", "a list");
  for (std::size_t i = 0; i < tensors.size(); ++i)
    c.tensors.push_back(tensor_of(tensors[i], fmt::format("config.tensors[{}]", i), name));
  return c;
}

void require_same_run(const std::string& name, const RunConfig& found, const RunConfig& expected) {
  if (found == expected) return;
  json a = to_json(found), b = to_json(expected);
  const json a_config = std::move(a["config"]), b_config = std::move(b["config"]);
  a.erase("config");
  b.erase("config");
  const auto compare = [&](const json& have, const json& want) {
    if (have == want) return;
    const std::string at = json::diff(have, want).at(0).at("path").get<std::string>();
    fail_journal(name, fmt::format("it is the journal of another run: {} is {}, expected {}",
                                   at.empty() ? "config" : at.substr(1), value_at(have, at),
                                   value_at(want, at)));
  };
  compare(a, b);
  compare(a_config, b_config);
}

void require_same_base(const std::string& name, const RunConfig& found,
                       const QuantizedNetwork& base) {
  if (const std::uint64_t given = network_digest(base); found.base_digest != given)
    fail_journal(
        name,
        fmt::format("it starts from the network with digest {:016x}, the given one has {:016x}",
                    found.base_digest, given));
}

void require_same_data(const std::string& name, const RunConfig& found, const Dataset& data) {
  if (const std::uint64_t given = data_digest(data); found.data_digest != given)
    fail_journal(
        name, fmt::format("it trained on the data with digest {:016x}, the given ones have {:016x}",
                          found.data_digest, given));
}

}  // namespace lastmile
