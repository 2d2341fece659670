// SPDX-License-Identifier: Apache-2.0
#include "sw/vectors/case.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

// Operators that a file may name, each executed by one command.
std::vector<Op> known_ops() {
  std::vector<Op> known;
  each_op([&known](Op op) {
    if (!traits(op).whole && traits(op).inputs != 0) known.push_back(op);
  });
  return known;
}
constexpr std::int64_t kMostElements = std::int64_t{1} << 28;

// An object of the file with the words that lead to it, for messages.
struct Node {
  const json& at;
  std::string where;  // "file.json: layers[2]"

  [[noreturn]] void fail(std::string_view field, const std::string& found,
                         const std::string& expected) const {
    throw Error(ErrorKind::input,
                fmt::format("{}: {}: found {}, expected {}", where, field, found, expected));
  }
  [[nodiscard]] bool has(const std::string& key) const {
    return at.is_object() && at.contains(key) && !at.at(key).is_null();
  }
  [[nodiscard]] Node child(const std::string& key) const {
    return {at.at(key), where + ": " + key};
  }

  [[nodiscard]] std::string text(const std::string& key) const {
    if (!at.contains(key)) fail(key, "nothing", "a string");
    if (!at.at(key).is_string()) fail(key, shown(at.at(key)), "a string");
    return at.at(key).get<std::string>();
  }
  static std::string shown(const json& value) {
    std::string s = value.dump();
    if (s.size() > 40) s = s.substr(0, 37) + "...";
    return s;
  }
  std::int64_t integer_of(const json& v, std::string_view field, std::int64_t low,
                          std::int64_t high) const {
    const bool inside = v.is_number_unsigned()
                            ? v.get<std::uint64_t>() <=
                                      static_cast<std::uint64_t>(std::max<std::int64_t>(high, 0)) &&
                                  v.get<std::int64_t>() >= low
                            : v.is_number_integer() && v.get<std::int64_t>() >= low &&
                                  v.get<std::int64_t>() <= high;
    if (!inside) fail(field, shown(v), fmt::format("an integer {}..{}", low, high));
    return v.get<std::int64_t>();
  }
};

std::vector<std::int64_t> integers(const Node& tensor, std::int64_t low, std::int64_t high) {
  if (!tensor.at.is_object())
    tensor.fail("tensor", Node::shown(tensor.at), "an object with dtype, shape and data");
  for (const char* key : {"shape", "data"}) {
    if (!tensor.at.contains(key) || !tensor.at.at(key).is_array())
      tensor.fail(key, "nothing", "an array");
  }
  std::int64_t count = 1;
  for (const json& extent : tensor.at.at("shape")) {
    count *= tensor.integer_of(extent, "shape", 1, kMostElements);
    if (count > kMostElements)
      tensor.fail("shape", Node::shown(tensor.at.at("shape")),
                  fmt::format("at most {} elements", kMostElements));
  }
  const json& data = tensor.at.at("data");
  if (data.size() != static_cast<std::size_t>(count)) {
    tensor.fail("data", fmt::format("{} elements", data.size()),
                fmt::format("{} for shape {}", count, Node::shown(tensor.at.at("shape"))));
  }
  std::vector<std::int64_t> out;
  out.reserve(data.size());
  for (const json& v : data) out.push_back(tensor.integer_of(v, "data", low, high));
  return out;
}

void check_dtype(const Node& tensor, std::string_view expected) {
  if (!tensor.at.is_object() || !tensor.at.contains("dtype"))
    tensor.fail("dtype", "nothing", std::string(expected));
  if (const std::string dtype = tensor.text("dtype"); dtype != expected)
    tensor.fail("dtype", dtype, std::string(expected));
}

VectorTensor int8_tensor(const Node& tensor) {
  check_dtype(tensor, "int8");
  VectorTensor out;
  const auto values = integers(tensor, -128, 127);
  for (const json& extent : tensor.at.at("shape")) out.shape.push_back(extent.get<std::int64_t>());
  out.data.assign(values.begin(), values.end());
  return out;
}

std::vector<std::int32_t> int32_tensor(const Node& tensor, std::int64_t low, std::int64_t high) {
  check_dtype(tensor, "int32");
  const auto values = integers(tensor, low, high);
  return {values.begin(), values.end()};
}

using Names = std::vector<std::string_view>;

// A field that this reader does not know would be a field that it does not obey.
void check_names(const Node& node, std::string_view prefix, const Names& known) {
  for (const auto& [key, value] : node.at.items()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    std::string expected;
    if (key.ends_with("_offset"))
      expected =
          "zero points (input_zero_point is -input_offset, output_zero_point is "
          "output_offset)";
    for (const std::string_view name : known) {
      if (key.ends_with("_offset")) break;
      expected += fmt::format("{}{}", expected.empty() ? "one of: " : ", ", name);
    }
    node.fail(fmt::format("{}{}", prefix, key), Node::shown(value),
              "no field of this name, but " + expected);
  }
}

void append(Names& to, std::initializer_list<std::string_view> names) {
  to.insert(to.end(), names.begin(), names.end());
}

// What `params` of an operator may hold.
Names parameters_of(Op op) {
  Names out = {"act_min", "act_max"};
  const bool matrix = traits(op).weights;
  if (matrix)
    append(out, {"input_zero_point", "output_zero_point", "weight_zero_point", "weights_zero_point",
                 "filter_zero_point", "kernel_zero_point", "multiplier", "output_multiplier",
                 "shift", "output_shift", "groups"});
  if (matrix || traits(op).window)
    append(out, {"kernel_h", "kernel_w", "stride_h", "stride_w", "pad_h", "pad_w", "dilation_h",
                 "dilation_w", "out_h", "out_w"});
  if (op == Op::add)
    append(out, {"input1_multiplier", "input2_multiplier", "output_multiplier", "input1_shift",
                 "input2_shift", "output_shift", "left_shift", "input1_zero_point",
                 "input2_zero_point", "output_zero_point"});
  if (op == Op::softmax) append(out, {"input_multiplier", "input_left_shift", "diff_min"});
  return out;
}

// What describes a file and a layer beside its parameters.
Names fields() {
  return {"name",    "op",       "kind",   "requant", "weights_layout", "params",
          "tensors", "input",    "input1", "input2",  "inputs",         "output",
          "layers",  "expected", "source", "case",    "generator",      "licence",
          "license", "defines",  "arrays", "comment"};
}

class Reader {
 public:
  Reader(const json& root, std::string file) : root_{root, std::move(file)} {}

  VectorCase read() {
    if (!root_.at.is_object()) root_.fail("document", Node::shown(root_.at), "an object");
    VectorCase out;
    out.name = root_.has("name") ? root_.text("name") : root_.where;
    out.op = root_.text("op");
    if (out.op != "network") {
      out.layers.push_back(layer(root_, 0, out));
      return out;
    }
    check_tag(root_, "kind", "s8");
    check_tag(root_, "requant", "double32");
    if (const auto tensors = tensors_of(root_)) {
      if (tensors->has("input")) out.input = int8_tensor(tensors->child("input"));
    }
    if (!out.input && root_.has("input") && root_.at.at("input").is_object())
      out.input = int8_tensor(root_.child("input"));
    if (!root_.has("layers") || !root_.at.at("layers").is_array() ||
        root_.at.at("layers").empty()) {
      root_.fail("layers", "nothing", "an array of at least one layer");
    }
    const json& layers = root_.at.at("layers");
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Node node{layers[i], fmt::format("{}: layers[{}]", root_.where, i)};
      if (!node.at.is_object()) node.fail("layer", Node::shown(node.at), "an object");
      out.layers.push_back(layer(node, static_cast<int>(i), out));
      for (const char* key : {"name", "output"}) {
        if (node.has(key) && node.at.at(key).is_string())
          names_[node.text(key)] = static_cast<int>(i);
      }
    }
    VectorLayer& last = out.layers.back();
    if (!last.expected) {
      const auto tensors = tensors_of(root_);
      if (tensors && tensors->has("expected")) {
        last.expected = int8_tensor(tensors->child("expected"));
      } else if (root_.has("expected")) {
        last.expected = int8_tensor(root_.child("expected"));
      } else {
        root_.fail("expected", "nothing", "the output of the last layer");
      }
    }
    return out;
  }

 private:
  static std::optional<Node> tensors_of(const Node& node) {
    if (!node.has("tensors")) return std::nullopt;
    if (!node.at.at("tensors").is_object())
      node.fail("tensors", Node::shown(node.at.at("tensors")), "an object");
    return node.child("tensors");
  }
  static void check_tag(const Node& node, const std::string& key, const std::string& expected) {
    if (!node.has(key)) return;
    if (const std::string found = node.text(key); found != expected)
      node.fail(key, "\"" + found + "\"", "\"" + expected + "\"");
  }

  // A parameter; also under the layer itself, where some writers put it.
  static std::optional<json> parameter(const Node& node, const std::string& key) {
    if (node.has("params") && node.at.at("params").is_object() &&
        node.at.at("params").contains(key))
      return node.at.at("params").at(key);
    if (node.at.contains(key)) return node.at.at(key);
    return std::nullopt;
  }
  template <class T>
  static void number(const Node& node, const std::string& key, T& to, std::int64_t low,
                     std::int64_t high, bool required = false) {
    const auto v = parameter(node, key);
    if (!v) {
      if (required)
        node.fail("params." + key, "nothing", fmt::format("an integer {}..{}", low, high));
      return;
    }
    to = static_cast<T>(node.integer_of(*v, "params." + key, low, high));
  }

  // A weight zero point, number or list, under any of its usual names.
  static void check_weight_zero_point(const Node& node) {
    for (const char* key :
         {"weight_zero_point", "weights_zero_point", "filter_zero_point", "kernel_zero_point"}) {
      const auto v = parameter(node, key);
      if (!v) continue;
      const json list = v->is_array() ? *v : json::array({*v});
      for (const json& z : list) {
        if (!z.is_number_integer() || z.get<std::int64_t>() != 0) {
          node.fail(fmt::format("params.{}", key), Node::shown(*v),
                    "0: weights are symmetric, they have no zero point of their own");
        }
      }
    }
  }

  VectorOperand reference(const Node& node, const std::string& field, const json& v, int index,
                          const VectorCase& so_far) const {
    if (v.is_number_integer()) {
      const std::int64_t at = node.integer_of(v, field, -1, index - 1);
      return {std::nullopt, static_cast<int>(at)};
    }
    const std::string name = v.get<std::string>();
    if (const auto found = names_.find(name); found != names_.end())
      return {std::nullopt, found->second};
    if (so_far.input && name == "input") return {};
    const auto tensors = tensors_of(root_);
    if (tensors && tensors->has(name)) return {int8_tensor(tensors->child(name)), -1};
    node.fail(field, "\"" + name + "\"",
              "the name of an earlier layer or of a tensor of the network");
  }

  // Operand `slot` of a layer: its own tensor `key`, a reference, or what stands for it in a
  // network.
  VectorOperand operand(const Node& node, const std::string& key, std::size_t slot, int index,
                        const VectorCase& so_far) const {
    const auto tensors = tensors_of(node);
    for (const std::string& name : {key, slot == 0 ? std::string("input") : key}) {
      if (tensors && tensors->has(name)) {
        const json& v = tensors->at.at(name);
        if (v.is_string() || v.is_number_integer()) return reference(node, name, v, index, so_far);
        return {int8_tensor(tensors->child(name)), -1};
      }
      if (node.has(name)) {
        const json& v = node.at.at(name);
        if (v.is_string() || v.is_number_integer()) return reference(node, name, v, index, so_far);
        if (v.is_object()) return {int8_tensor(node.child(name)), -1};
      }
    }
    if (node.has("inputs")) {
      const json& list = node.at.at("inputs");
      const json& v = list.is_array() && slot < list.size() ? list[slot] : list;
      if ((v.is_string() && (list.is_array() || slot == 0)) || v.is_number_integer())
        return reference(node, "inputs", v, index, so_far);
      node.fail("inputs", Node::shown(list),
                fmt::format("a list of names with at least {}", slot + 1));
    }
    if (slot == 0 && index > 0) return {std::nullopt, index - 1};
    if (slot == 0 && so_far.input) return {};
    node.fail(key, "nothing", "a tensor, or the name of an earlier layer");
  }

  std::vector<std::int32_t> scale_list(const Node& node, const std::string& key, std::int64_t low,
                                       std::int64_t high) const {
    const auto tensors = tensors_of(node);
    if (tensors && tensors->has(key)) return int32_tensor(tensors->child(key), low, high);
    for (const std::string& name : {key, "output_" + key}) {
      const auto v = parameter(node, name);
      if (!v || v->is_null()) continue;
      const json list = v->is_array() ? *v : json::array({*v});
      std::vector<std::int32_t> out;
      for (const json& one : list)
        out.push_back(static_cast<std::int32_t>(node.integer_of(one, "params." + name, low, high)));
      return out;
    }
    node.fail(key, "nothing", "one value, or one per output channel");
  }

  VectorLayer layer(const Node& node, int index, const VectorCase& so_far) const {
    VectorLayer out;
    const std::string op = node.text("op");
    const std::vector<Op> known = known_ops();
    const auto found =
        std::ranges::find_if(known, [&op](Op candidate) { return op == name_of(candidate); });
    if (found == known.end()) {
      std::string names;
      for (const Op candidate : known)
        names += fmt::format("{}{}", names.empty() ? "" : ", ", name_of(candidate));
      node.fail("op", "\"" + op + "\"", names);
    }
    out.op = *found;
    out.name = node.has("name") && node.at.at("name").is_string() ? node.text("name")
                                                                  : fmt::format("{} {}", index, op);
    check_tag(node, "kind", "s8");
    check_tag(node, "requant", "double32");
    check_weight_zero_point(node);
    if (node.has("params") && !node.at.at("params").is_object())
      node.fail("params", Node::shown(node.at.at("params")), "an object");

    Names own = fields();
    const Names parameters = parameters_of(out.op);
    own.insert(own.end(), parameters.begin(), parameters.end());
    check_names(node, "", own);
    if (node.has("params")) check_names(node.child("params"), "", parameters);
    if (const auto given = tensors_of(node))
      check_names(
          *given, "",
          {"input", "input1", "input2", "weights", "bias", "multiplier", "shift", "expected"});

    const bool matrix = traits(out.op).weights;
    out.inputs.push_back(operand(node, out.op == Op::add ? "input1" : "input", 0, index, so_far));
    if (out.op == Op::add) out.inputs.push_back(operand(node, "input2", 1, index, so_far));
    const auto tensors = tensors_of(node);
    if (tensors && tensors->has("expected")) out.expected = int8_tensor(tensors->child("expected"));
    if (!out.expected && node.at.contains("op") && &node.at == &root_.at)
      node.fail("tensors.expected", "nothing", "an int8 tensor");
    if (matrix) read_matrix(node, out);
    if (matrix || traits(out.op).window) read_window(node, out);
    number(node, "act_min", out.act_min, -128, 127);
    number(node, "act_max", out.act_max, -128, 127);
    if (out.act_min > out.act_max) {
      node.fail("act_min", std::to_string(out.act_min),
                fmt::format("at most act_max, {}", out.act_max));
    }
    if (out.op == Op::add) read_add(node, out);
    if (out.op == Op::softmax) {
      number(node, "input_multiplier", out.multiplier1, 0, 0x7fffffff, true);
      number(node, "input_left_shift", out.shift1, 0, 30, true);
      number(node, "diff_min", out.diff_min, -0x80000000LL, 0, true);
    }
    return out;
  }

  void read_matrix(const Node& node, VectorLayer& out) const {
    const auto tensors = tensors_of(node);
    if (!tensors || !tensors->has("weights"))
      node.fail("tensors.weights", "nothing", "an int8 tensor");
    const std::string_view layout = out.op == Op::conv2d             ? "OHWI"
                                    : out.op == Op::depthwise_conv2d ? "HWO"
                                                                     : "OI";
    if (node.has("weights_layout") &&
        node.text("weights_layout").substr(0, layout.size()) != layout) {
      node.fail("weights_layout", "\"" + node.text("weights_layout") + "\"", std::string(layout));
    }
    out.weights = int8_tensor(tensors->child("weights"));
    if (tensors->has("bias"))
      out.bias = int32_tensor(tensors->child("bias"), -0x80000000LL, 0x7fffffff);
    out.multiplier = scale_list(node, "multiplier", 0, 0x7fffffff);
    out.shift = scale_list(node, "shift", spec::kExponentMin, spec::kExponentMax);
    number(node, "input_zero_point", out.input_zero_point, -128, 127);
    number(node, "output_zero_point", out.output_zero_point, -128, 127);
    number(node, "groups", out.groups, 1, 65535);
  }

  static void read_window(const Node& node, VectorLayer& out) {
    const bool pool = !traits(out.op).weights;
    number(node, "kernel_h", out.kernel_h, 1, 65535, pool);
    number(node, "kernel_w", out.kernel_w, 1, 65535, pool);
    number(node, "stride_h", out.stride_h, 1, 255);
    number(node, "stride_w", out.stride_w, 1, 255);
    number(node, "pad_h", out.pad_h, 0, 32767);
    number(node, "pad_w", out.pad_w, 0, 32767);
    number(node, "dilation_h", out.dilation_h, 1, 255);
    number(node, "dilation_w", out.dilation_w, 1, 255);
    number(node, "out_h", out.out_h, 1, 65535);
    number(node, "out_w", out.out_w, 1, 65535);
  }

  static void read_add(const Node& node, VectorLayer& out) {
    number(node, "input1_multiplier", out.multiplier1, 0, 0x7fffffff, true);
    number(node, "input2_multiplier", out.multiplier2, 0, 0x7fffffff, true);
    number(node, "output_multiplier", out.multiplier_out, 0, 0x7fffffff, true);
    number(node, "input1_shift", out.shift1, spec::kExponentMin, spec::kExponentMax, true);
    number(node, "input2_shift", out.shift2, spec::kExponentMin, spec::kExponentMax, true);
    number(node, "output_shift", out.shift_out, spec::kExponentMin, spec::kExponentMax, true);
    number(node, "left_shift", out.left_shift, 0, 20, true);
    number(node, "input1_zero_point", out.input_zero_point, -128, 127);
    number(node, "input2_zero_point", out.input2_zero_point, -128, 127);
    number(node, "output_zero_point", out.output_zero_point, -128, 127);
  }

  Node root_;
  std::map<std::string, int> names_;  // of earlier layers
};

}  // namespace

std::int64_t VectorTensor::elements() const { return static_cast<std::int64_t>(data.size()); }

VectorCase parse_vector_case(const std::string& text, const std::string& file) {
  json root;
  try {
    root = json::parse(text);
  } catch (const json::exception& e) {
    throw Error(ErrorKind::input, fmt::format("{}: not JSON: {}", file, e.what()));
  }
  try {
    return Reader(root, file).read();
  } catch (const json::exception& e) {
    throw Error(ErrorKind::input, fmt::format("{}: {}", file, e.what()));
  }
}

VectorCase read_vector_case(const std::filesystem::path& path) {
  return parse_vector_case(read_text_file(path), path.string());
}

}  // namespace lastmile
