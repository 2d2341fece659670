// SPDX-License-Identifier: Apache-2.0
// What is in a TensorFlow Lite file, checked: its operators in the order of execution, its tensors
// with their shapes, constants and scales. Read with FlatBuffers.
#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "sw/import/builder.hpp"
#include "sw/import/tflite_schema.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile::from_tflite {

using tflite::Operation;
using tflite::Operator;
using tflite::Type;

// As the format calls them; a few operators that are not supported, too.
[[nodiscard]] std::string operator_name(Operator op);
[[nodiscard]] const char* type_name(Type type);

class File {
 public:
  // Error(input) for what is no such file, or a graph that is not one. `bytes` must outlive it, and
  // begin where 8 bytes are aligned.
  File(std::span<const std::uint8_t> bytes, const std::string& name);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const tflite::Model& model() const { return *file_model_; }
  [[nodiscard]] const tflite::SubGraph& graph() const { return *graph_; }
  // Operators that the output needs, in the file's order, which is one of execution.
  [[nodiscard]] const std::vector<int>& order() const { return order_; }
  [[nodiscard]] const tflite::Tensor* tensor(int t) const {
    return graph_->tensors()->Get(static_cast<std::uint32_t>(t));
  }
  [[nodiscard]] const Operation* operation(int i) const {
    return graph_->operators()->Get(static_cast<std::uint32_t>(i));
  }
  [[nodiscard]] Operator code_of(int i) const {
    return file_model_->codes()->Get(operation(i)->code())->code();
  }
  // The operator that writes tensor t, or -1; how many inputs of needed operators read it.
  [[nodiscard]] int producer_of(int t) const { return producer_[static_cast<std::size_t>(t)]; }
  [[nodiscard]] int readers_of(int t) const { return readers_[static_cast<std::size_t>(t)]; }
  [[nodiscard]] std::vector<std::int32_t> inputs_of(int i) const {
    const auto* list = operation(i)->inputs();
    return list == nullptr ? std::vector<std::int32_t>{}
                           : std::vector<std::int32_t>(list->begin(), list->end());
  }
  [[nodiscard]] importing::Budget& budget() { return budget_; }

  // Of tensor t. They throw Refusal.
  [[nodiscard]] std::string tensor_text(int t) const;
  [[nodiscard]] std::vector<int> dims_of(int t) const;
  [[nodiscard]] std::vector<int> dims_without_batch(int t) const;
  template <class T>
  [[nodiscard]] std::vector<T> constant(int t, Type type) const {
    if (tensor(t)->type() != type)
      throw importing::Refusal{fmt::format("{} is {}, expected {}", tensor_text(t),
                                           type_name(tensor(t)->type()), type_name(type))};
    const auto data = constant_bytes(t);
    std::vector<T> out(data.size() / sizeof(T));
    std::memcpy(out.data(), data.data(), data.size());
    return out;
  }
  // A constant as numbers: float32, float16, or integers with scales (models of dynamic range), all
  // of them perhaps behind a DEQUANTIZE.
  [[nodiscard]] std::vector<float> constant_floats(int t) const;
  // Scales of weights: positive, and no zero points.
  [[nodiscard]] std::vector<float> weight_scales(int t) const;
  // Scale and zero point of an activation; `from` and `to`: what the type allows.
  [[nodiscard]] TensorQuant quant_of(int t, std::int64_t from = -128, std::int64_t to = 127) const;
  // Of an activation where it must be int8.
  [[nodiscard]] TensorQuant int8_quant(int t) const;

  // The bytes of a constant tensor, which must fill its shape exactly.
  [[nodiscard]] std::span<const std::uint8_t> constant_bytes(int t) const;

  [[noreturn]] void malformed(const std::string& text) const;

 private:
  void open();
  void index();
  void choose_operators();
  [[nodiscard]] std::vector<float> dequantized(int t) const;

  std::span<const std::uint8_t> bytes_;
  std::string name_;
  const tflite::Model* file_model_ = nullptr;
  const tflite::SubGraph* graph_ = nullptr;
  std::vector<int> producer_;  // by tensor
  std::vector<int> readers_;   // by tensor
  std::vector<int> order_;
  importing::Budget budget_;
};

}  // namespace lastmile::from_tflite
