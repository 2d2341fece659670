// SPDX-License-Identifier: Apache-2.0
#include "sw/graph/reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <toml.hpp>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/toml_text.hpp"

namespace lastmile {
namespace {

const char* kind_of(const toml::value& value) {
  switch (value.type()) {
    case toml::value_t::boolean:
      return "a boolean";
    case toml::value_t::integer:
      return "an integer";
    case toml::value_t::floating:
      return "a floating-point number";
    case toml::value_t::string:
      return "a string";
    case toml::value_t::array:
      return "an array";
    case toml::value_t::table:
      return "a table";
    default:
      return "a value of another type";
  }
}

// The value as a user wrote it, as far as messages need it.
std::string shown(const toml::value& value) {
  if (value.is_integer()) return fmt::format("{}", value.as_integer());
  if (value.is_string()) return fmt::format("\"{}\"", value.as_string().str);
  if (value.is_boolean()) return value.as_boolean() ? "true" : "false";
  if (value.is_floating()) return fmt::format("{}", value.as_floating());
  if (value.is_array()) {
    std::string text = "[";
    for (const toml::value& v : value.as_array()) {
      if (text.size() > 1) text += ", ";
      text += v.is_array() ? "..." : shown(v);
    }
    return text + "]";
  }
  return kind_of(value);
}

// One table of the file. Every key that is read is remembered; `finish` refuses the others.
class Table {
 public:
  Table(const toml::value& value, std::string file, std::string where)
      : value_(&value), file_(std::move(file)), where_(std::move(where)) {}

  void rename(std::string where) { where_ = std::move(where); }

  const toml::value* find(const std::string& key) {
    known_.insert(key);
    const auto& table = value_->as_table();
    const auto it = table.find(key);
    return it == table.end() ? nullptr : &it->second;
  }

  [[noreturn]] void wrong(const std::string& key, const std::string& expected) const {
    const toml::value& v = value_->as_table().at(key);
    throw Error(ErrorKind::input,
                fmt::format("{}:{}: {}{} is {}, expected {}", file_, v.location().line(), where_,
                            key, shown(v), expected));
  }

  [[noreturn]] void missing(const std::string& key, const std::string& expected) const {
    throw Error(ErrorKind::input, fmt::format("{}:{}: {}{} is missing, expected {}", file_,
                                              value_->location().line(), where_, key, expected));
  }

  std::string text(const std::string& key, const char* expected, const char* fallback) {
    const toml::value* v = find(key);
    if (v == nullptr) {
      if (fallback == nullptr) missing(key, expected);
      return fallback;
    }
    if (!v->is_string()) wrong(key, expected);
    return v->as_string().str;
  }

  bool flag(const std::string& key, bool fallback) {
    const toml::value* v = find(key);
    if (v == nullptr) return fallback;
    if (!v->is_boolean()) wrong(key, "true or false");
    return v->as_boolean();
  }

  int integer(const std::string& key, int low, const std::string& expected) {
    const toml::value* v = find(key);
    if (v == nullptr) missing(key, expected);
    return integer_of(*v, key, low, expected);
  }

  // N or [height, width].
  std::array<int, 2> pair(const std::string& key, const std::string& expected) {
    const toml::value* v = find(key);
    if (v == nullptr) missing(key, expected);
    if (!v->is_array()) {
      const int n = integer_of(*v, key, 1, expected);
      return {n, n};
    }
    const auto& a = v->as_array();
    if (a.size() != 2) wrong(key, expected);
    return {integer_of(a[0], key, 1, expected), integer_of(a[1], key, 1, expected)};
  }

  int integer_of(const toml::value& v, const std::string& key, int low,
                 const std::string& expected) const {
    if (!v.is_integer() || v.as_integer() < low || v.as_integer() > kMaxDimension)
      wrong(key, expected);
    return static_cast<int>(v.as_integer());
  }

  // An array of numbers; empty where the key is missing.
  std::vector<double> numbers(const std::string& key, const std::string& expected) {
    const toml::value* v = find(key);
    std::vector<double> out;
    if (v == nullptr) return out;
    if (!v->is_array()) wrong(key, expected);
    for (const toml::value& e : v->as_array()) {
      if (!e.is_integer() && !e.is_floating()) wrong(key, expected);
      out.push_back(e.is_integer() ? static_cast<double>(e.as_integer()) : e.as_floating());
    }
    return out;
  }

  bool has(const std::string& key) const { return value_->as_table().count(key) != 0; }

  void finish(const std::string& expected) const {
    for (const auto& [key, v] : value_->as_table()) {
      if (known_.count(key) == 0) {
        throw Error(ErrorKind::input,
                    fmt::format("{}:{}: {}unknown key '{}', expected one of: {}", file_,
                                v.location().line(), where_, key, expected));
      }
    }
  }

  // All keys that this table was asked for.
  std::string known() const {
    std::string text;
    for (const std::string& key : known_) text += (text.empty() ? "" : ", ") + key;
    return text;
  }

 private:
  const toml::value* value_;
  std::string file_, where_;
  std::set<std::string> known_;
};

constexpr const char* kSizeText = "an integer of 1 to 65535";
constexpr const char* kPairText = "an integer of 1 to 65535 or [height, width]";

Op read_op(Table& table) {
  std::vector<std::string> names;
  each_op([&names](Op op) { names.emplace_back(name_of(op)); });
  const std::string last = names.back();
  const std::string expected =
      fmt::format("{} or {}", fmt::join(names.begin(), names.end() - 1, ", "), last);
  const std::string text = table.text("op", expected.c_str(), nullptr);
  const auto found = std::ranges::find(names, text);
  if (found == names.end()) table.wrong("op", expected);
  return static_cast<Op>(found - names.begin());
}

Activation read_activation(Table& table) {
  const std::string text = table.text("activation", "none, relu or relu6", "none");
  for (const Activation a : {Activation::none, Activation::relu, Activation::relu6}) {
    if (text == name_of(a)) return a;
  }
  table.wrong("activation", "none, relu or relu6");
}

// TensorFlow's "same": ceil(in / stride) outputs, the odd element of padding at the bottom and
// right.
void same_padding(int in, int kernel, int stride, int dilation, int& before, int& after) {
  const std::int64_t out = (std::int64_t{in} + stride - 1) / stride;
  const std::int64_t reach = std::int64_t{kernel - 1} * dilation + 1;
  const std::int64_t total = std::max<std::int64_t>((out - 1) * stride + reach - in, 0);
  before = static_cast<int>(total / 2);
  after = static_cast<int>(total - total / 2);
}

void read_padding(Table& table, Layer& layer) {
  const char* expected = "\"same\", \"valid\" or [top, bottom, left, right]";
  const toml::value* v = table.find("padding");
  if (v == nullptr) return;
  if (v->is_array()) {
    const auto& a = v->as_array();
    if (a.size() != 4) table.wrong("padding", expected);
    layer.pad_top = table.integer_of(a[0], "padding", 0, expected);
    layer.pad_bottom = table.integer_of(a[1], "padding", 0, expected);
    layer.pad_left = table.integer_of(a[2], "padding", 0, expected);
    layer.pad_right = table.integer_of(a[3], "padding", 0, expected);
    return;
  }
  if (!v->is_string()) table.wrong("padding", expected);
  const std::string& text = v->as_string().str;
  if (text == "same") {
    // Beyond these a field would not fit; output_shape names the kernel or dilation at fault.
    if (std::int64_t{layer.kernel_h} * layer.dilation_h > kMaxDimension ||
        std::int64_t{layer.kernel_w} * layer.dilation_w > kMaxDimension) {
      table.wrong("padding", "\"valid\": kernel * dilation exceeds 65535");
    }
    same_padding(layer.in.h, layer.kernel_h, layer.stride_h, layer.dilation_h, layer.pad_top,
                 layer.pad_bottom);
    same_padding(layer.in.w, layer.kernel_w, layer.stride_w, layer.dilation_w, layer.pad_left,
                 layer.pad_right);
  } else if (text != "valid") {
    table.wrong("padding", expected);
  }
}

void read_inputs(Table& table, const Network& network, Layer& layer) {
  const auto resolve = [&](const toml::value& v, const std::string& key) {
    const int index = v.is_string() ? find_layer(network, v.as_string().str) : -2;
    if (index < kNetworkInput) table.wrong(key, "names of earlier layers, or \"input\"");
    return index;
  };
  const int previous = static_cast<int>(network.layers.size()) - 1;
  const toml::value* one = table.find("input");
  const toml::value* many = table.find("inputs");
  if (one != nullptr && many != nullptr) table.wrong("input", "either input or inputs, not both");
  if (one != nullptr) {
    layer.inputs = {resolve(*one, "input")};
  } else if (many != nullptr) {
    if (!many->is_array()) table.wrong("inputs", "an array of names of earlier layers");
    for (const toml::value& v : many->as_array()) layer.inputs.push_back(resolve(v, "inputs"));
  } else {
    layer.inputs = {previous};
  }
  if (traits(layer.op).inputs == 0 && !layer.inputs.empty()) return;
  const std::size_t arity = traits(layer.op).inputs;
  if (layer.inputs.size() != arity) {
    if (many != nullptr)
      table.wrong("inputs", fmt::format("{} name(s) for op {}", arity, name_of(layer.op)));
    table.missing("inputs", fmt::format("two names for op {}", name_of(layer.op)));
  }
  layer.in = network.shape_of(layer.inputs[0]);
}

// Gains and constants of a concat; its shape.
void read_concat(Table& table, const Network& network, Layer& layer) {
  const std::vector<double> gains =
      table.numbers("gains", fmt::format("{} numbers, one per input", layer.inputs.size()));
  if (!gains.empty() && gains.size() != layer.inputs.size())
    table.wrong("gains", fmt::format("{} numbers, one per input", layer.inputs.size()));
  layer.constants = table.numbers("constants", "an array of numbers");
  std::int64_t sum = 0;
  for (std::size_t k = 0; k < layer.inputs.size(); ++k) {
    const std::int64_t elements = network.shape_of(layer.inputs[k]).elements();
    layer.parts.push_back({elements, gains.empty() ? 1.0 : gains[k]});
    sum += elements;
  }
  layer.in = {1, 1, static_cast<int>(std::min<std::int64_t>(sum, kMaxDimension + 1))};
}

void read_weights(Table& table, Layer& layer, int classes) {
  if (layer.op == Op::conv2d) {
    layer.filters = table.integer("filters", 1, kSizeText);
    if (table.has("groups")) layer.groups = table.integer("groups", 1, kSizeText);
    table.find("groups");
  } else if (layer.op == Op::depthwise_conv2d) {
    if (table.has("multiplier")) layer.multiplier = table.integer("multiplier", 1, kSizeText);
    table.find("multiplier");
    const std::int64_t channels = std::int64_t{layer.in.c} * layer.multiplier;
    if (channels > kMaxDimension) {
      table.wrong("multiplier", fmt::format("at most {} for {} input channels",
                                            kMaxDimension / layer.in.c, layer.in.c));
    }
    layer.filters = static_cast<int>(channels);
  } else {
    const toml::value* v = table.find("units");
    const bool all = v != nullptr && v->is_string() && v->as_string().str == "classes";
    layer.filters =
        all ? classes : table.integer("units", 1, "an integer of 1 to 65535 or \"classes\"");
  }
  layer.batch_norm = table.flag("batch_norm", false);
  if (layer.batch_norm && table.has("bias")) {
    table.wrong("bias", "no bias key beside batch_norm = true, whose shift is the bias");
  }
  layer.bias = table.flag("bias", true);
}

// Padding behind the input that makes the last window, which begins inside, a whole one.
int ceil_padding(int in, int kernel, int stride, int dilation, int before, int after) {
  const std::int64_t reach = std::int64_t{kernel - 1} * dilation + 1;
  const std::int64_t room = std::int64_t{in} + before + after - reach;
  if (room < 0) return after;  // output_shape says what is wrong
  std::int64_t last = (room + stride - 1) / stride;
  if (last * stride >= std::int64_t{in} + before) --last;
  return static_cast<int>(std::max<std::int64_t>(after, last * stride + reach - in - before));
}

void read_pool(Table& table, Layer& layer) {
  if (table.flag("ceil_mode", false)) {
    layer.pad_bottom = ceil_padding(layer.in.h, layer.kernel_h, layer.stride_h, layer.dilation_h,
                                    layer.pad_top, layer.pad_bottom);
    layer.pad_right = ceil_padding(layer.in.w, layer.kernel_w, layer.stride_w, layer.dilation_w,
                                   layer.pad_left, layer.pad_right);
  }
  const bool padded = layer.pad_top + layer.pad_bottom + layer.pad_left + layer.pad_right != 0;
  if (table.flag("count_include_pad", false) && layer.op == Op::average_pool2d && padded)
    table.wrong("count_include_pad",
                "false: the mean is over the elements inside the input; with padding in it, write "
                "a depthwise_conv2d with weights of 1 / window");
}

void read_window(Table& table, Layer& layer) {
  const auto kernel = table.pair("kernel", kPairText);
  layer.kernel_h = kernel[0];
  layer.kernel_w = kernel[1];
  const bool pool = !has_weights(layer);
  std::array<int, 2> stride = pool ? kernel : std::array{1, 1};
  if (table.has("stride")) stride = table.pair("stride", kPairText);
  table.find("stride");
  layer.stride_h = stride[0];
  layer.stride_w = stride[1];
  if (table.has("dilation")) {
    const auto dilation = table.pair("dilation", kPairText);
    layer.dilation_h = dilation[0];
    layer.dilation_w = dilation[1];
  }
  table.find("dilation");
  read_padding(table, layer);
  if (pool) read_pool(table, layer);
}

Layer read_layer(const toml::value& value, const std::string& file, const Network& network) {
  if (!value.is_table()) {
    throw Error(ErrorKind::input, fmt::format("{}:{}: layer is {}, expected a table", file,
                                              value.location().line(), kind_of(value)));
  }
  Table table(value, file, fmt::format("layer {}: ", network.layers.size()));
  Layer layer;
  layer.name = table.text("name", "a name", nullptr);
  table.rename(fmt::format("layer '{}': ", layer.name));
  if (find_layer(network, layer.name) != -2)
    table.wrong("name", "a name that no earlier layer has");
  layer.op = read_op(table);
  read_inputs(table, network, layer);
  if (layer.op == Op::concat) {
    read_concat(table, network, layer);
  } else if (traits(layer.op).whole) {
    layer.kernel_h = layer.in.h;
    layer.kernel_w = layer.in.w;
  } else if (traits(layer.op).window) {
    read_window(table, layer);
  }
  if (has_weights(layer)) read_weights(table, layer, network.classes);
  if (traits(layer.op).activation) layer.activation = read_activation(table);
  table.finish(table.known());
  layer.out = output_shape(layer, fmt::format("{}:{}", file, value.location().line()));
  return layer;
}

bool is_task(const toml::value& v) { return v.is_string() && v.as_string().str == "task"; }

void read_header(Table& table, const std::optional<TaskShape>& task, Network& network) {
  network.name = table.text("name", "a name", nullptr);
  if (network.name.empty() || network.name.size() > 64 ||
      network.name.find_first_of("\"\\\n\r\t") != std::string::npos) {
    table.wrong("name", "1 to 64 characters without quotes, backslashes or line breaks");
  }
  const char* input_text = "\"task\" or [height, width, channels]";
  const toml::value* input = table.find("input");
  if (input == nullptr) table.missing("input", input_text);
  if (is_task(*input)) {
    if (!task) table.wrong("input", "[height, width, channels], as no task gives the shape");
    network.input = task->input;
  } else {
    if (!input->is_array() || input->as_array().size() != 3) table.wrong("input", input_text);
    const auto& a = input->as_array();
    network.input = {table.integer_of(a[0], "input", 1, input_text),
                     table.integer_of(a[1], "input", 1, input_text),
                     table.integer_of(a[2], "input", 1, input_text)};
    if (task && task->binding && task->input != network.input) {
      table.wrong("input", fmt::format("[{}, {}, {}], the shape of the task, or \"task\"",
                                       task->input.h, task->input.w, task->input.c));
    }
  }
  const char* loss_text = "\"cross-entropy\" or \"reconstruction\"";
  const std::string loss = table.text("loss", loss_text, name_of(Loss::cross_entropy));
  for (const Loss l : {Loss::cross_entropy, Loss::reconstruction})
    if (loss == name_of(l)) network.loss = l;
  if (loss != name_of(network.loss)) table.wrong("loss", loss_text);
  if (network.reconstructs()) {
    if (table.find("classes") != nullptr)
      table.wrong("classes",
                  "no such key beside loss = \"reconstruction\": the output is as large as the "
                  "input");
    if (network.input.elements() > kMaxDimension)
      table.wrong("input", fmt::format("at most {} elements beside loss = \"reconstruction\"",
                                       kMaxDimension));
    network.classes = static_cast<int>(network.input.elements());
    return;
  }
  const char* classes_text = "\"task\" or an integer of 2 to 65535";
  const toml::value* classes = table.find("classes");
  if (classes == nullptr) table.missing("classes", classes_text);
  if (is_task(*classes)) {
    if (!task) table.wrong("classes", "an integer, as no task gives it");
    network.classes = task->classes;
  } else {
    network.classes = table.integer_of(*classes, "classes", 2, classes_text);
    if (task && task->binding && task->classes != network.classes) {
      table.wrong("classes",
                  fmt::format("{}, the classes of the task, or \"task\"", task->classes));
    }
  }
}

}  // namespace

Network parse_network(std::string_view text, const std::string& file,
                      std::optional<TaskShape> task) {
  const toml::value root = parse_toml(text, file);
  Table table(root, file, "");
  Network network;
  read_header(table, task, network);
  const toml::value* layers = table.find("layer");
  if (layers == nullptr) table.missing("layer", "at least one [[layer]]");
  table.finish(table.known());
  if (!layers->is_array()) table.wrong("layer", "[[layer]] tables");
  if (layers->as_array().size() > static_cast<std::size_t>(kMaxLayers)) {
    throw Error(ErrorKind::input, fmt::format("{}: {} layers, expected at most {}", file,
                                              layers->as_array().size(), kMaxLayers));
  }
  for (const toml::value& v : layers->as_array())
    network.layers.push_back(read_layer(v, file, network));
  check_network(network, file);
  return network;
}

Network read_network(const std::string& path, std::optional<TaskShape> task) {
  return parse_network(read_text_file(path), path, task);
}

FixedShape read_fixed_shape(const std::string& path) {
  const toml::value root = parse_toml(read_text_file(path), path);
  Table table(root, path, "");
  Network network;
  read_header(table, TaskShape{{}, 0, false}, network);
  FixedShape out;
  if (network.input != Shape{}) out.input = network.input;
  if (network.classes != 0 && !network.reconstructs()) out.classes = network.classes;
  out.autoencoder = network.reconstructs();
  return out;
}

std::string to_toml(const Network& network) {
  std::string text = fmt::format("name = \"{}\"\ninput = [{}, {}, {}]\n", network.name,
                                 network.input.h, network.input.w, network.input.c);
  text += network.reconstructs() ? fmt::format("loss = \"{}\"\n", name_of(network.loss))
                                 : fmt::format("classes = {}\n", network.classes);
  for (const Layer& l : network.layers) {
    text +=
        fmt::format("\n[[layer]]\nname = \"{}\"\nop = \"{}\"\ninputs = [", l.name, name_of(l.op));
    for (std::size_t i = 0; i < l.inputs.size(); ++i) {
      const int from = l.inputs[i];
      text += fmt::format(
          "{}\"{}\"", i == 0 ? "" : ", ",
          from == kNetworkInput ? "input" : network.layers[static_cast<std::size_t>(from)].name);
    }
    text += "]\n";
    const bool conv = l.op == Op::conv2d || l.op == Op::depthwise_conv2d;
    if (traits(l.op).window && !traits(l.op).whole) {
      text += fmt::format("kernel = [{}, {}]\nstride = [{}, {}]\n", l.kernel_h, l.kernel_w,
                          l.stride_h, l.stride_w);
      if (conv || l.dilation_h != 1 || l.dilation_w != 1)
        text += fmt::format("dilation = [{}, {}]\n", l.dilation_h, l.dilation_w);
      text += fmt::format("padding = [{}, {}, {}, {}]\n", l.pad_top, l.pad_bottom, l.pad_left,
                          l.pad_right);
    }
    if (l.op == Op::conv2d) text += fmt::format("filters = {}\ngroups = {}\n", l.filters, l.groups);
    if (l.op == Op::depthwise_conv2d) text += fmt::format("multiplier = {}\n", l.multiplier);
    if (l.op == Op::fully_connected) text += fmt::format("units = {}\n", l.filters);
    if (has_weights(l))
      text += l.batch_norm ? "batch_norm = true\n" : fmt::format("bias = {}\n", l.bias);
    if (l.op == Op::concat) {
      std::string gains, constants;
      for (const ConcatPart& p : l.parts)
        gains += fmt::format("{}{}", gains.empty() ? "" : ", ", p.gain);
      for (const double c : l.constants)
        constants += fmt::format("{}{}", constants.empty() ? "" : ", ", c);
      text += fmt::format("gains = [{}]\nconstants = [{}]\n", gains, constants);
    }
    if (traits(l.op).activation) {
      text += fmt::format("activation = \"{}\"\n", name_of(l.activation));
    }
  }
  return text;
}

std::uint64_t fingerprint(const Network& network) {
  const std::string text = to_toml(network);
  return xxh64(bytes_of(std::span(text)));
}

}  // namespace lastmile
