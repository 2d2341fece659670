// SPDX-License-Identifier: Apache-2.0
#include "sw/import/tflite_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sw/base/error.hpp"

namespace lastmile::from_tflite {

File::File(std::span<const std::uint8_t> bytes, const std::string& name)
    : bytes_(bytes), name_(name), budget_(bytes.size()) {
  open();
  index();
  choose_operators();
}

void File::malformed(const std::string& text) const {
  throw Error(ErrorKind::input,
              fmt::format("{}: not a valid TensorFlow Lite file: {}", name_, text));
}

void File::open() {
  if (bytes_.size() < 8 || std::memcmp(bytes_.data() + 4, "TFL3", 4) != 0)
    malformed("bytes 4 to 7 are not \"TFL3\"");
  if (bytes_.size() >= FLATBUFFERS_MAX_BUFFER_SIZE) malformed("it is larger than 2 GiB");
  flatbuffers::Verifier verifier(bytes_.data(), bytes_.size());
  if (!verifier.VerifyBuffer<tflite::Model>("TFL3"))
    malformed("an offset, a length or a nesting leads outside the file");
  file_model_ = flatbuffers::GetRoot<tflite::Model>(bytes_.data());
  if (file_model_->version() != 3)
    malformed(fmt::format("schema version is {}, expected 3", file_model_->version()));
  if (file_model_->graphs() == nullptr || file_model_->graphs()->size() == 0)
    malformed("it has no graph");
  if (file_model_->graphs()->size() > 1)
    throw Error(ErrorKind::input, fmt::format("{}: it has {} graphs, expected one", name_,
                                              file_model_->graphs()->size()));
  graph_ = file_model_->graphs()->Get(0);
  if (graph_->tensors() == nullptr || graph_->operators() == nullptr ||
      graph_->outputs() == nullptr || file_model_->codes() == nullptr ||
      file_model_->buffers() == nullptr) {
    malformed("tensors, operators, outputs, operator codes or buffers are missing");
  }
}

// Every number that points at something must point inside.
void File::index() {
  const auto tensors = static_cast<std::int64_t>(graph_->tensors()->size());
  const auto operators = static_cast<std::int64_t>(graph_->operators()->size());
  producer_.assign(static_cast<std::size_t>(tensors), -1);
  readers_.assign(static_cast<std::size_t>(tensors), 0);
  for (std::uint32_t t = 0; t < graph_->tensors()->size(); ++t) {
    const std::uint32_t buffer = graph_->tensors()->Get(t)->buffer();
    if (buffer >= file_model_->buffers()->size())
      malformed(fmt::format("tensor {} is in buffer {} of {}", t, buffer,
                            file_model_->buffers()->size()));
  }
  for (std::int64_t i = 0; i < operators; ++i) {
    const Operation* op = operation(static_cast<int>(i));
    if (op->code() >= file_model_->codes()->size())
      malformed(fmt::format("operator {} has code {} of {}", i, op->code(),
                            file_model_->codes()->size()));
    if (op->inputs() != nullptr) {
      for (const std::int32_t t : *op->inputs())
        if (t < -1 || t >= tensors)
          malformed(fmt::format("operator {} reads tensor {} of {}", i, t, tensors));
    }
    if (op->outputs() == nullptr) continue;
    for (const std::int32_t t : *op->outputs()) {
      if (t < 0 || t >= tensors)
        malformed(fmt::format("operator {} writes tensor {} of {}", i, t, tensors));
      int& from = producer_[static_cast<std::size_t>(t)];
      if (from != -1)
        malformed(fmt::format("operators {} and {} both write tensor {}", from, i, t));
      from = static_cast<int>(i);
    }
  }
  for (const auto* list : {graph_->inputs(), graph_->outputs()}) {
    if (list == nullptr) continue;
    for (const std::int32_t t : *list)
      if (t < 0 || t >= tensors) malformed(fmt::format("an input or output is tensor {}", t));
  }
  if (graph_->outputs()->size() != 1)
    throw Error(ErrorKind::input, fmt::format("{}: it has {} outputs, expected one", name_,
                                              graph_->outputs()->size()));
}

// The operators that the output needs, in the file's order, which must be one of execution.
void File::choose_operators() {
  std::vector<bool> needed(graph_->operators()->size(), false);
  std::vector<int> open{producer_of(graph_->outputs()->Get(0))};
  while (!open.empty()) {
    const int i = open.back();
    open.pop_back();
    if (i < 0 || needed[static_cast<std::size_t>(i)]) continue;
    needed[static_cast<std::size_t>(i)] = true;
    for (const std::int32_t t : inputs_of(i)) {
      if (t < 0) continue;
      ++readers_[static_cast<std::size_t>(t)];
      const int from = producer_of(t);
      if (from >= i)
        malformed(
            fmt::format("operator {} reads tensor {}, which operator {} writes only then "
                        "(a cycle, or operators out of order)",
                        i, t, from));
      open.push_back(from);
    }
  }
  for (std::size_t i = 0; i < needed.size(); ++i)
    if (needed[i]) order_.push_back(static_cast<int>(i));
  if (order_.empty()) malformed("no operator computes the output");
}

}  // namespace lastmile::from_tflite
