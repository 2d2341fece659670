// SPDX-License-Identifier: Apache-2.0
// Writes small TensorFlow Lite files for tests, field by field.
#pragma once

#include <flatbuffers/flatbuffers.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "sw/import/tflite_schema.hpp"

namespace lastmile::testing {

class TfliteBuilder {
 public:
  using Operator = tflite::Operator;
  using Type = tflite::Type;

  struct Field {
    int id = 0;
    int bytes = 4;
    std::int32_t integer = 0;
    float real = 0;
    bool is_real = false;
  };
  static Field byte(int id, int value) { return {id, 1, value, 0, false}; }
  static Field word(int id, int value) { return {id, 4, value, 0, false}; }
  static Field real(int id, float value) { return {id, 4, 0, value, true}; }

  struct TensorSpec {
    std::vector<std::int32_t> shape;
    Type type = Type::int8;
    std::string name;
    std::vector<float> scale;
    std::vector<std::int64_t> zero_point;
    std::int32_t dimension = 0;
    std::vector<std::uint8_t> data;  // empty: computed
  };

  int tensor(TensorSpec spec) {
    tensors_.push_back(std::move(spec));
    return static_cast<int>(tensors_.size()) - 1;
  }
  int activation(std::vector<std::int32_t> shape, float scale, std::int64_t zero_point) {
    const std::string name = "t" + std::to_string(tensors_.size());
    return tensor({std::move(shape), Type::int8, name, {scale}, {zero_point}, 0, {}});
  }
  template <class T>
  int constant(std::vector<std::int32_t> shape, Type type, const std::vector<T>& values,
               std::vector<float> scale = {}, std::int32_t dimension = 0) {
    std::vector<std::uint8_t> data(values.size() * sizeof(T));
    std::memcpy(data.data(), values.data(), data.size());
    std::vector<std::int64_t> zero(scale.size(), 0);
    return tensor({std::move(shape), type, "constant", std::move(scale), zero, dimension, data});
  }
  void op(Operator code, std::vector<std::int32_t> inputs, std::vector<std::int32_t> outputs,
          int options_type = 0, std::vector<Field> options = {}) {
    operators_.push_back(
        {code, std::move(inputs), std::move(outputs), options_type, std::move(options)});
  }

  std::uint32_t version = 3;

  [[nodiscard]] std::vector<std::uint8_t> build(std::vector<std::int32_t> inputs,
                                                std::vector<std::int32_t> outputs) const {
    flatbuffers::FlatBufferBuilder b;
    using Any = flatbuffers::Offset<void>;
    std::vector<Any> buffers{table(b, {})}, tensors, codes, operators;
    for (const TensorSpec& t : tensors_) {
      std::uint32_t buffer = 0;
      if (!t.data.empty()) {
        buffer = static_cast<std::uint32_t>(buffers.size());
        b.ForceVectorAlignment(t.data.size(), 1, 16);
        const auto data = b.CreateVector(t.data).o;
        buffers.push_back(table(b, {{0, data}}));
      }
      flatbuffers::uoffset_t quantization = 0;
      if (!t.scale.empty()) {
        const auto scale = b.CreateVector(t.scale).o;
        const auto zero = b.CreateVector(t.zero_point).o;
        const auto start = b.StartTable();
        b.AddOffset(tflite::slot(2), Any(scale));
        b.AddOffset(tflite::slot(3), Any(zero));
        b.AddElement<std::int32_t>(tflite::slot(6), t.dimension, 0);
        quantization = b.EndTable(start);
      }
      const auto shape = b.CreateVector(t.shape).o;
      const auto name = b.CreateString(t.name).o;
      const auto start = b.StartTable();
      b.AddOffset(tflite::slot(0), Any(shape));
      b.AddElement<std::int8_t>(tflite::slot(1), static_cast<std::int8_t>(t.type), 0);
      b.AddElement<std::uint32_t>(tflite::slot(2), buffer, 0);
      b.AddOffset(tflite::slot(3), Any(name));
      if (quantization != 0) b.AddOffset(tflite::slot(4), Any(quantization));
      tensors.emplace_back(b.EndTable(start));
    }
    for (std::size_t i = 0; i < operators_.size(); ++i) {
      const OperatorSpec& o = operators_[i];
      const auto code = static_cast<std::int32_t>(o.code);
      auto start = b.StartTable();
      b.AddElement<std::int8_t>(tflite::slot(0), static_cast<std::int8_t>(code > 127 ? 127 : code),
                                0);
      b.AddElement<std::int32_t>(tflite::slot(3), code, 0);
      codes.emplace_back(b.EndTable(start));
      flatbuffers::uoffset_t options = 0;
      if (o.options_type != 0) {
        start = b.StartTable();
        for (const Field& f : o.options) {
          if (f.is_real)
            b.AddElement<float>(tflite::slot(f.id), f.real, 0);
          else if (f.bytes == 1)
            b.AddElement<std::int8_t>(tflite::slot(f.id), static_cast<std::int8_t>(f.integer), 0);
          else
            b.AddElement<std::int32_t>(tflite::slot(f.id), f.integer, 0);
        }
        options = b.EndTable(start);
      }
      const auto in = b.CreateVector(o.inputs).o;
      const auto out = b.CreateVector(o.outputs).o;
      start = b.StartTable();
      b.AddElement<std::uint32_t>(tflite::slot(0), static_cast<std::uint32_t>(i), 0);
      b.AddOffset(tflite::slot(1), Any(in));
      b.AddOffset(tflite::slot(2), Any(out));
      b.AddElement<std::uint8_t>(tflite::slot(3), static_cast<std::uint8_t>(o.options_type), 0);
      if (options != 0) b.AddOffset(tflite::slot(4), Any(options));
      operators.emplace_back(b.EndTable(start));
    }
    const auto graph_tensors = b.CreateVector(tensors).o;
    const auto graph_inputs = b.CreateVector(inputs).o;
    const auto graph_outputs = b.CreateVector(outputs).o;
    const auto graph_operators = b.CreateVector(operators).o;
    const auto graph =
        table(b, {{0, graph_tensors}, {1, graph_inputs}, {2, graph_outputs}, {3, graph_operators}});
    const auto model_codes = b.CreateVector(codes).o;
    const auto model_graphs = b.CreateVector(std::vector<Any>{graph}).o;
    const auto model_buffers = b.CreateVector(buffers).o;
    const auto start = b.StartTable();
    b.AddElement<std::uint32_t>(tflite::slot(0), version, 0);
    b.AddOffset(tflite::slot(1), Any(model_codes));
    b.AddOffset(tflite::slot(2), Any(model_graphs));
    b.AddOffset(tflite::slot(4), Any(model_buffers));
    b.Finish(Any(b.EndTable(start)), "TFL3");
    return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
  }

 private:
  struct OperatorSpec {
    Operator code;
    std::vector<std::int32_t> inputs, outputs;
    int options_type = 0;
    std::vector<Field> options;
  };
  static flatbuffers::Offset<void> table(
      flatbuffers::FlatBufferBuilder& b,
      const std::vector<std::pair<int, flatbuffers::uoffset_t>>& offsets) {
    const auto start = b.StartTable();
    for (const auto& [id, at] : offsets)
      b.AddOffset(tflite::slot(id), flatbuffers::Offset<void>(at));
    return flatbuffers::Offset<void>(b.EndTable(start));
  }

  std::vector<TensorSpec> tensors_;
  std::vector<OperatorSpec> operators_;
};

}  // namespace lastmile::testing
