// SPDX-License-Identifier: Apache-2.0
// What readers of model files share: names, a list of everything that is unsupported, and a bound
// on what a small file may grow to.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile::importing {

// One thing that cannot be imported. Caught by the reader, which goes on to find the others.
struct Refusal {
  std::string text;
};

class Problems {
 public:
  explicit Problems(std::string file) : file_(std::move(file)) {}
  void add(std::string text);
  // What the network description cannot hold, found at `where`. Its text begins with the file and a
  // layer that has no name yet, which are left out.
  void add(const std::string& where, const Error& error);
  // Said once, behind the list.
  void remark(std::string text) { remark_ = std::move(text); }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  // Throws Error(input) that lists them all, if there are any.
  void raise() const;

 private:
  std::string file_;
  std::vector<std::string> list_;
  std::string remark_;
};

// Names as the network description allows them (letters, digits, _ - . and at most 64), each once.
class LayerNames {
 public:
  [[nodiscard]] std::string take(std::string_view wanted, std::string_view otherwise);

 private:
  std::set<std::string> taken_{"input"};
};
// Sets `classes` and what the network is for: `said` if its file says it ("cross-entropy" or
// "reconstruction"), else it is an autoencoder if its last layer has weights and as many outputs as
// the input has elements.
void settle_loss(Network& network, const std::string& said);
// The name of a network from its file's.
[[nodiscard]] std::string network_name(const std::string& file);

// Elements that a file may turn into: several layers may share one array of a file, so that the
// sizes of the layers are not bounded by its own.
class Budget {
 public:
  explicit Budget(std::size_t file_bytes)
      : left_(static_cast<std::int64_t>(4 * file_bytes) + (std::int64_t{1} << 24)) {}
  // Another file that belongs to the model.
  void grow(std::size_t file_bytes) { left_ += static_cast<std::int64_t>(4 * file_bytes); }
  // Throws Refusal when `elements` more are too many.
  void take(std::int64_t elements);

 private:
  std::int64_t left_;
};

// The int16 logits that the loss needs are not in an int8 model: they reach what its int8 output
// does, and twice as far, because training moves them. A network that cannot have any runs without;
// a note says so.
void set_logits(QuantizedNetwork& network, std::vector<std::string>& notes);

// The first part of a text for a message, control characters replaced.
[[nodiscard]] std::string shown(std::string_view text, std::size_t most = 80);

}  // namespace lastmile::importing
