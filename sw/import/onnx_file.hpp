// SPDX-License-Identifier: Apache-2.0
// What is in an ONNX file, checked: its graph in the order of execution, its constants (of external
// files too), and the attributes of its nodes. Read with protobuf and ONNX's own schema.
#pragma once

#define ONNX_NAMESPACE onnx
#define ONNX_ML 1
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sw/import/builder.hpp"

namespace lastmile::from_onnx {

// A constant: numbers with their dimensions.
struct Constant {
  std::vector<std::int64_t> dims;
  std::vector<float> reals;            // of a float tensor
  std::vector<std::int64_t> integers;  // of an integer tensor
  bool is_integer = false;
  std::int32_t type = 0;  // as the file has it
  // Of integers that a DequantizeLinear made real: one for all, or one per element of `axis`.
  std::vector<float> scales;
  int axis = 0;
  std::vector<std::int64_t> codes;  // of a bias: those integers
};

class File {
 public:
  // Error(input) for what is no ONNX file, a graph that is not one, or versions that are not read.
  // `folder`: where external data may be; empty: nowhere.
  File(std::span<const std::uint8_t> bytes, const std::string& name,
       const std::filesystem::path& folder);

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] int opset() const { return opset_; }
  [[nodiscard]] const onnx::GraphProto& graph() const { return proto_.graph(); }
  [[nodiscard]] const onnx::NodeProto& node(int i) const { return proto_.graph().node(i); }
  // Nodes that the output needs, each after those it reads.
  [[nodiscard]] const std::vector<int>& order() const { return order_; }
  // Name of the only output.
  [[nodiscard]] const std::string& output() const { return output_; }
  // Whether nothing but quantizations and new views is between `name` and the output.
  [[nodiscard]] bool leads_to_output(const std::string& name) const;
  [[nodiscard]] bool computes(const std::string& name) const { return producer_.contains(name); }
  // Inputs of needed nodes that read it.
  [[nodiscard]] int readers(const std::string& name) const;
  // What the model says of itself under this key; empty: nothing.
  [[nodiscard]] std::string metadata(const std::string& key) const;
  // Null: no initializer of that name.
  [[nodiscard]] const onnx::TensorProto* initializer(const std::string& name) const;
  // Throws Refusal.
  [[nodiscard]] Constant tensor(const onnx::TensorProto& t);
  [[nodiscard]] importing::Budget& budget() { return budget_; }

  [[noreturn]] void malformed(const std::string& text) const;
  [[noreturn]] void refuse(const std::string& text) const;

 private:
  void check_header();
  void index();
  void put_in_order();
  [[nodiscard]] std::vector<std::uint8_t> external_data(const onnx::TensorProto& t,
                                                        const std::string& name);

  onnx::ModelProto proto_;
  std::string name_;
  std::filesystem::path folder_;
  int opset_ = 0;
  std::string output_;
  std::map<std::string, int, std::less<>> initializers_, producer_, readers_;
  std::vector<int> order_;
  std::set<std::filesystem::path> external_;
  importing::Budget budget_;
};

// Attributes of a node. Throw Refusal.
[[nodiscard]] const onnx::AttributeProto* attribute(const onnx::NodeProto& n, const char* name);
[[nodiscard]] std::int64_t integer(const onnx::NodeProto& n, const char* name,
                                   std::int64_t otherwise);
[[nodiscard]] float real(const onnx::NodeProto& n, const char* name, float otherwise);
[[nodiscard]] std::string text(const onnx::NodeProto& n, const char* name, const char* otherwise);
[[nodiscard]] std::optional<std::vector<std::int64_t>> integers(const onnx::NodeProto& n,
                                                                const char* name);
// A list of numbers of at least `least`, `count` of them, or all `otherwise`.
[[nodiscard]] std::vector<int> sizes(const onnx::NodeProto& n, const char* name, std::size_t count,
                                     int otherwise, int least);
[[nodiscard]] bool has_input(const onnx::NodeProto& n, int i);

}  // namespace lastmile::from_onnx
