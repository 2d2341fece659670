// SPDX-License-Identifier: Apache-2.0
#include "cmodel/device/profile.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastmile {

using spec::Counter;

void Position::annotate(const std::string& what) {
  if (what.starts_with("step ")) {
    step_ = what;
    phase_.clear();
    queue_ = 0;
  } else {
    phase_ = what;
  }
}

std::string Position::text() const {
  return fmt::format("{}{}{}, queue {}", step_, step_.empty() ? "" : ", ",
                     phase_.empty() ? "no phase" : phase_, queue_);
}

std::uint64_t Position::seed(std::uint64_t base) const {
  std::uint64_t h = base ^ 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : step_) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return (h ^ queue_) * 0x100000001b3U;
}

void Profile::commit(const std::string& phase, std::uint32_t command, std::uint32_t opcode,
                     const Counters& now, const Counters* predicted) {
  Entry& e = entries_[{phase, command}];
  e.opcode = opcode;
  ++e.runs;
  for (std::size_t i = 0; i < now.size(); ++i) {
    e.sum[i] += now[i] - before_[i];
    if (predicted != nullptr) e.predicted[i] += (*predicted)[i];
  }
  before_ = now;
}

std::uint64_t Profile::total(Counter which) const {
  std::uint64_t sum = 0;
  for (const auto& [key, e] : entries_) sum += e.sum[static_cast<std::size_t>(which)];
  return sum;
}

std::uint64_t Profile::predicted_cycles() const {
  std::uint64_t sum = 0;
  for (const auto& [key, e] : entries_)
    sum += e.predicted[static_cast<std::size_t>(Counter::cycles_)];
  return sum;
}

nlohmann::json Profile::json(const spec::HardwareParams& hw) const {
  const double multipliers = static_cast<double>(hw.rows) * hw.cols;
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [key, e] : entries_) {
    nlohmann::json row = {{"command", key.second},
                          {"opcode", spec::to_string(static_cast<spec::Opcode>(e.opcode))},
                          {"runs", e.runs}};
    const bool predicted = e.predicted[static_cast<std::size_t>(Counter::cycles_)] != 0;
    for (std::size_t i = 0; i < e.sum.size(); ++i) {
      std::string name(spec::kCounterName[i]);
      std::transform(name.begin(), name.end(), name.begin(),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      row[name] = e.sum[i];
      if (predicted && !spec::kCounterIsEvent[i]) row["predicted_" + name] = e.predicted[i];
    }
    const std::uint64_t cycles = e.sum[static_cast<std::size_t>(Counter::cycles_)];
    row["utilisation"] =
        cycles == 0 ? 0.0
                    : static_cast<double>(e.sum[static_cast<std::size_t>(Counter::macs_)]) /
                          (static_cast<double>(cycles) * multipliers);
    out[key.first].push_back(std::move(row));
  }
  return out;
}

}  // namespace lastmile
