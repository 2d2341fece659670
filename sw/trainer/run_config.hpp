// SPDX-License-Identifier: Apache-2.0
// What a training run is: where it starts, what trains, by which rule, with which seeds. Two runs
// with equal configurations end in the same bits. A journal begins with it; this is the one place
// that writes and reads that text.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sw/compiler/training.hpp"
#include "sw/data/dataset.hpp"
#include "sw/quantizer/quantized.hpp"
#include "sw/trainer/host_rule.hpp"

namespace lastmile {

// What lets an outsider confirm or refute a run by its journal: records are chained by SHA-256,
// beginning with the header, which holds the digests of what it started from.
struct AuditConfig {
  std::uint32_t every = 0;  // a digest of all weights every so many steps; 0: no audit
  std::string data, base;   // SHA-256 of the examples and of the quantized network
};

struct RunConfig {
  std::uint64_t base_digest = 0;  // of the quantized network it starts from
  std::uint64_t data_digest = 0;  // of all examples, those held out included
  ForwardGradientOptions forward = {};
  spec::Distribution distribution = spec::Distribution::sign_;
  std::uint64_t mask_seed = 0;
  std::vector<TensorTraining> tensors = {};  // what trains, how far it is perturbed and moved
  AuditConfig audit = {};
  int hold_out = 0;  // per cent of the examples that choose the result (held_out.hpp)
  [[nodiscard]] std::uint32_t steps() const { return forward.steps; }
  bool operator==(const RunConfig& other) const;  // of every field
};

[[nodiscard]] std::uint64_t network_digest(const QuantizedNetwork& network);
[[nodiscard]] std::uint64_t data_digest(const Dataset& data);

// Makes the journal of this run one for an audit.
void make_auditable(RunConfig& config, std::uint32_t every, const QuantizedNetwork& base,
                    const Dataset& data);
[[nodiscard]] std::string network_sha256(const QuantizedNetwork& network);
[[nodiscard]] std::string data_sha256(const Dataset& data);

// The header text of a journal, and back. Reading checks every field once: Error(journal) naming
// `name`, the field, the value and what was expected. Fields it does not know are errors, too: they
// would change what the records mean.
[[nodiscard]] std::string to_text(const RunConfig& config);
[[nodiscard]] RunConfig parse_run_config(std::string_view text, const std::string& name);
// The same as a document, for people.
[[nodiscard]] nlohmann::json to_json(const RunConfig& config);

// Error(journal) unless the journal `name` is of the expected run; names the first field that
// differs, outer ones first.
void require_same_run(const std::string& name, const RunConfig& found, const RunConfig& expected);
// The part of it that is known without options and data: for a replay.
void require_same_base(const std::string& name, const RunConfig& found,
                       const QuantizedNetwork& base);
void require_same_data(const std::string& name, const RunConfig& found, const Dataset& data);

}  // namespace lastmile
