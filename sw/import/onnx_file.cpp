// SPDX-License-Identifier: Apache-2.0
#include "sw/import/onnx_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/graph/network.hpp"

namespace lastmile::from_onnx {
namespace {

using importing::Refusal;
using importing::shown;

constexpr int kOldestOpset = 7, kNewestOpset = 21;

}  // namespace

File::File(std::span<const std::uint8_t> bytes, const std::string& name,
           const std::filesystem::path& folder)
    : name_(name), folder_(folder), budget_(bytes.size()) {
  if (bytes.size() > static_cast<std::size_t>(std::numeric_limits<int>::max()))
    malformed("it is larger than 2 GiB: weights of that size belong in external data");
  if (!proto_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    malformed("it cannot be parsed (truncated, or another format)");
  check_header();
  index();
  put_in_order();
}

void File::malformed(const std::string& text) const {
  throw Error(ErrorKind::input, fmt::format("{}: not a valid ONNX file: {}", name_, text));
}
void File::refuse(const std::string& text) const {
  throw Error(ErrorKind::input, fmt::format("{}: {}", name_, text));
}

int File::readers(const std::string& name) const {
  const auto found = readers_.find(name);
  return found == readers_.end() ? 0 : found->second;
}

bool File::leads_to_output(const std::string& name) const {
  static const std::set<std::string, std::less<>> kept = {
      "QuantizeLinear", "DequantizeLinear", "Identity", "Cast",
      "Flatten",        "Reshape",          "Squeeze",  "Unsqueeze"};
  std::string at = output_;
  while (at != name) {
    const auto from = producer_.find(at);
    if (from == producer_.end()) return false;
    const onnx::NodeProto& n = node(from->second);
    if (!kept.contains(n.op_type()) || n.input_size() == 0) return false;
    at = n.input(0);
  }
  return true;
}

std::string File::metadata(const std::string& key) const {
  for (const auto& p : proto_.metadata_props())
    if (p.key() == key) return p.value();
  return {};
}

const onnx::TensorProto* File::initializer(const std::string& name) const {
  const auto found = initializers_.find(name);
  return found == initializers_.end() ? nullptr : &proto_.graph().initializer(found->second);
}

void File::check_header() {
  if (!proto_.has_graph() || proto_.graph().node_size() == 0) malformed("it has no graph");
  if (proto_.ir_version() < 3 || proto_.ir_version() > 10)
    refuse(fmt::format("IR version is {}, expected 3 to 10", proto_.ir_version()));
  for (const auto& o : proto_.opset_import()) {
    if (!o.domain().empty() && o.domain() != "ai.onnx") continue;
    if (o.version() < kOldestOpset || o.version() > kNewestOpset)
      refuse(
          fmt::format("opset is {}, expected {} to {}", o.version(), kOldestOpset, kNewestOpset));
    opset_ = static_cast<int>(o.version());
  }
  if (opset_ == 0) malformed("it names no opset of the domain ai.onnx");
}

void File::index() {
  const auto& g = proto_.graph();
  for (int i = 0; i < g.initializer_size(); ++i) {
    const std::string& name = g.initializer(i).name();
    if (!initializers_.emplace(name, i).second)
      malformed(fmt::format("two initializers are called \"{}\"", shown(name)));
  }
  for (int i = 0; i < g.node_size(); ++i) {
    for (const std::string& name : node(i).output()) {
      if (name.empty()) continue;
      if (initializers_.contains(name) || !producer_.emplace(name, i).second)
        malformed(fmt::format("two things are called \"{}\"", shown(name)));
    }
  }
  if (g.output_size() != 1) refuse(fmt::format("it has {} outputs, expected one", g.output_size()));
  output_ = g.output(0).name();
}

// Nodes that the output needs, each after those it reads; a cycle is an error.
void File::put_in_order() {
  enum class State : char { fresh, open, done };
  std::vector<State> state(static_cast<std::size_t>(proto_.graph().node_size()), State::fresh);
  const auto first = producer_.find(output_);
  if (first == producer_.end()) malformed("no node computes its output");
  std::vector<std::pair<int, int>> stack{{first->second, 0}};
  state[static_cast<std::size_t>(first->second)] = State::open;
  while (!stack.empty()) {
    auto& [i, next] = stack.back();
    if (next == node(i).input_size()) {
      state[static_cast<std::size_t>(i)] = State::done;
      order_.push_back(i);
      stack.pop_back();
      continue;
    }
    const std::string& name = node(i).input(next++);
    ++readers_[name];
    const auto from = producer_.find(name);
    if (from == producer_.end()) continue;
    State& s = state[static_cast<std::size_t>(from->second)];
    if (s == State::open)
      malformed(fmt::format("\"{}\" is computed from itself (a cycle)", shown(name)));
    if (s == State::fresh) {
      s = State::open;
      stack.emplace_back(from->second, 0);
    }
  }
}

const onnx::AttributeProto* attribute(const onnx::NodeProto& n, const char* name) {
  for (const auto& a : n.attribute())
    if (a.name() == name) return &a;
  return nullptr;
}

std::int64_t integer(const onnx::NodeProto& n, const char* name, std::int64_t otherwise) {
  const auto* a = attribute(n, name);
  return a == nullptr ? otherwise : a->i();
}

float real(const onnx::NodeProto& n, const char* name, float otherwise) {
  const auto* a = attribute(n, name);
  return a == nullptr ? otherwise : a->f();
}

std::string text(const onnx::NodeProto& n, const char* name, const char* otherwise) {
  const auto* a = attribute(n, name);
  return a == nullptr ? otherwise : a->s();
}

std::optional<std::vector<std::int64_t>> integers(const onnx::NodeProto& n, const char* name) {
  const auto* a = attribute(n, name);
  if (a == nullptr) return {};
  return std::vector<std::int64_t>(a->ints().begin(), a->ints().end());
}

// A list of numbers in a range, `count` of them, or all `otherwise`.
std::vector<int> sizes(const onnx::NodeProto& n, const char* name, std::size_t count, int otherwise,
                       int least) {
  const auto list = integers(n, name);
  if (!list) return std::vector<int>(count, otherwise);
  std::vector<int> out;
  for (const std::int64_t v : *list) {
    if (v < least || v > kMaxDimension)
      throw Refusal{fmt::format("{} is [{}], expected numbers of {} to {}", name,
                                fmt::join(*list, ", "), least, kMaxDimension)};
    out.push_back(static_cast<int>(v));
  }
  if (out.size() != count)
    throw Refusal{fmt::format("{} has {} numbers, expected {}", name, out.size(), count)};
  return out;
}

bool has_input(const onnx::NodeProto& n, int i) {
  return i < n.input_size() && !n.input(i).empty();
}

}  // namespace lastmile::from_onnx
