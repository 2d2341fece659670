// SPDX-License-Identifier: Apache-2.0
// Writes small ONNX files for tests, node by node.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/import/onnx_file.hpp"

namespace lastmile::testing {

class OnnxBuilder {
 public:
  using Bytes = std::vector<std::uint8_t>;
  using Ints = std::vector<std::int64_t>;

  explicit OnnxBuilder(int opset = 13, int ir = 7) {
    model_.set_ir_version(ir);
    model_.add_opset_import()->set_version(opset);
  }
  std::string input(const Ints& dims, const char* batch = "N") {
    auto* v = model_.mutable_graph()->add_input();
    v->set_name("x");
    auto* t = v->mutable_type()->mutable_tensor_type();
    t->set_elem_type(onnx::TensorProto::FLOAT);
    auto* shape = t->mutable_shape();
    if (*batch != '\0') shape->add_dim()->set_dim_param(batch);
    for (const std::int64_t d : dims) shape->add_dim()->set_dim_value(d);
    return "x";
  }
  std::string floats(const Ints& dims, const std::vector<float>& values, bool raw = true) {
    auto* t = fresh_tensor(dims, onnx::TensorProto::FLOAT);
    if (raw)
      t->set_raw_data(values.data(), values.size() * sizeof(float));
    else
      for (const float v : values) t->add_float_data(v);
    return t->name();
  }
  std::string integers(const Ints& values) {
    auto* t = fresh_tensor({static_cast<std::int64_t>(values.size())}, onnx::TensorProto::INT64);
    for (const std::int64_t v : values) t->add_int64_data(v);
    return t->name();
  }
  // Integers of `type`; one of them without dimensions: a scalar.
  std::string codes(const Ints& dims, const std::vector<int>& values, int type) {
    auto* t = fresh_tensor(dims, type);
    for (const int v : values) t->add_int32_data(v);
    return t->name();
  }
  std::string scalar(float v) { return floats({}, {v}); }
  onnx::NodeProto* node(const std::string& op, const std::vector<std::string>& inputs) {
    auto* n = model_.mutable_graph()->add_node();
    n->set_op_type(op);
    n->set_name(op + std::to_string(count_));
    for (const std::string& i : inputs) n->add_input(i);
    n->add_output("v" + std::to_string(count_++));
    return n;
  }
  static void set(onnx::NodeProto* n, const char* name, const Ints& values) {
    auto* a = n->add_attribute();
    a->set_name(name);
    a->set_type(onnx::AttributeProto::INTS);
    for (const std::int64_t v : values) a->add_ints(v);
  }
  static void set(onnx::NodeProto* n, const char* name, std::int64_t value) {
    auto* a = n->add_attribute();
    a->set_name(name);
    a->set_type(onnx::AttributeProto::INT);
    a->set_i(value);
  }
  static void set(onnx::NodeProto* n, const char* name, float value) {
    auto* a = n->add_attribute();
    a->set_name(name);
    a->set_type(onnx::AttributeProto::FLOAT);
    a->set_f(value);
  }
  static void set(onnx::NodeProto* n, const char* name, const std::string& value) {
    auto* a = n->add_attribute();
    a->set_name(name);
    a->set_type(onnx::AttributeProto::STRING);
    a->set_s(value);
  }
  Bytes build(const std::string& output) {
    model_.mutable_graph()->clear_output();
    model_.mutable_graph()->add_output()->set_name(output);
    const std::string s = model_.SerializeAsString();
    return {s.begin(), s.end()};
  }
  onnx::ModelProto& model() { return model_; }
  onnx::GraphProto& graph() { return *model_.mutable_graph(); }

 private:
  onnx::TensorProto* fresh_tensor(const Ints& dims, int type) {
    auto* t = model_.mutable_graph()->add_initializer();
    t->set_name("c" + std::to_string(count_++));
    t->set_data_type(type);
    for (const std::int64_t d : dims) t->add_dims(d);
    return t;
  }
  onnx::ModelProto model_;
  int count_ = 0;
};

}  // namespace lastmile::testing
