// SPDX-License-Identifier: Apache-2.0
#include "sw/import/builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "sw/base/error_list.hpp"
#include "sw/base/text.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile::importing {
namespace {

constexpr std::size_t kLongestName = 64;
constexpr std::size_t kMostProblems = 50;
constexpr double kLogitHeadroom = 2.0;

std::string allowed_name(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '.';
    out += fine ? c : '_';
  }
  // The end of a path tells more than its beginning.
  if (out.size() > kLongestName) out.erase(0, out.size() - kLongestName);
  return out;
}

}  // namespace

void Problems::add(std::string text) {
  if (std::find(list_.begin(), list_.end(), text) == list_.end()) list_.push_back(std::move(text));
}

void Problems::add(const std::string& where, const Error& error) {
  std::string text = error.what();
  if (text.starts_with(file_ + ": ")) text.erase(0, file_.size() + 2);
  if (text.starts_with("layer ''")) {
    if (const std::size_t end = text.find(": "); end != std::string::npos) text.erase(0, end + 2);
  }
  add(where + ": " + text);
}

void Problems::raise() const {
  if (list_.empty()) return;
  const std::string behind = remark_.empty() ? "" : "\n" + remark_;
  if (list_.size() == 1)
    throw ErrorList(ErrorKind::input, printable(fmt::format("{}: {}", file_, list_[0])) + behind);
  std::string text = printable(file_);
  text += fmt::format(": {} things are not supported:", list_.size());
  for (std::size_t i = 0; i < std::min(list_.size(), kMostProblems); ++i)
    text += "\n  " + printable(list_[i]);
  if (list_.size() > kMostProblems)
    text += fmt::format("\n  and {} more", list_.size() - kMostProblems);
  throw ErrorList(ErrorKind::input, text + behind);
}

std::string LayerNames::take(std::string_view wanted, std::string_view otherwise) {
  std::string base = allowed_name(wanted);
  if (base.find_first_not_of("_-.") == std::string::npos) base = allowed_name(otherwise);
  std::string name = base;
  for (int i = 2; !taken_.insert(name).second; ++i) {
    const std::string suffix = fmt::format("_{}", i);
    name = base.substr(0, kLongestName - suffix.size()) + suffix;
  }
  return name;
}

void settle_loss(Network& n, const std::string& said) {
  const Layer& last = n.layers.back();
  n.classes = static_cast<int>(std::min<std::int64_t>(last.out.elements(), kMaxElements));
  const bool as_large = has_weights(last) && last.out.elements() == n.input.elements();
  if (as_large && said != name_of(Loss::cross_entropy)) n.loss = Loss::reconstruction;
}

std::string network_name(const std::string& file) {
  const std::string name = allowed_name(std::filesystem::path(file).stem().string());
  return name.empty() ? "model" : name;
}

void Budget::take(std::int64_t elements) {
  if (elements > left_)
    throw Refusal{fmt::format(
        "{} more elements of weights than the file's size allows ({} are left): expected arrays "
        "that are not shared by many layers",
        elements, left_)};
  left_ -= elements;
}

void set_logits(QuantizedNetwork& network, std::vector<std::string>& notes) {
  const auto head = static_cast<std::size_t>(network.network.logits_layer());
  const Layer& layer = network.network.layers[head];
  if (!has_weights(layer)) {
    notes.push_back(
        fmt::format("layer '{}' gives the classes and has no weights: the network runs, but has no "
                    "logits for a loss",
                    layer.name));
    return;
  }
  const QuantizedLayer& q = network.layers[head];
  const double largest =
      static_cast<double>(q.out.scale) *
      std::max(std::abs(-128 - q.out.zero_point), std::abs(127 - q.out.zero_point));
  try {
    network.logits = encode_logits(layer, q.weight_scale, network.quant_of(layer.inputs[0]).scale,
                                   largest, kLogitHeadroom);
  } catch (const Error& e) {
    notes.push_back(fmt::format("no logits for a loss: {}", e.what()));
  }
}

std::string shown(std::string_view text, std::size_t most) {
  std::string out;
  for (const char c : text.substr(0, most))
    out += static_cast<unsigned char>(c) < 32 || static_cast<unsigned char>(c) >= 127 ? '?' : c;
  if (text.size() > most) out += "...";
  return out;
}

}  // namespace lastmile::importing
