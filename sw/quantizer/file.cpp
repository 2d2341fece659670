// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/file.hpp"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string_view>
#include <type_traits>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/graph/reader.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little,
              "the file is written as it lies in memory");

constexpr std::string_view kMagic = "LMQUANT\n";
constexpr std::uint32_t kVersion = 1, kMixedVersion = 2, kStatisticsVersion = 3,
                        kPreprocessedVersion = 4, kDifferenceVersion = 5;
constexpr std::size_t kPrefix = 24;
constexpr std::uint32_t kLargestHeader = 1U << 24;

template <class T>
void append(std::vector<std::uint8_t>& out, const T& value) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(&value);
  out.insert(out.end(), p, p + sizeof(T));
}

json quant_json(const TensorQuant& q) {
  return {{"scale", static_cast<double>(q.scale)}, {"zero_point", q.zero_point}};
}

json add_json(const numeric::AddParams& a) {
  return {{"zero_points", {a.zp1, a.zp2, a.zp_out}},
          {"multipliers", {a.m1, a.m2, a.mo}},
          {"exponents", {a.e1, a.e2, a.eo}},
          {"left_shift", a.left_shift},
          {"clamp", {a.act_min, a.act_max}}};
}

json layer_json(const Layer& layer, const QuantizedLayer& q) {
  json j = {{"name", layer.name}, {"out", quant_json(q.out)}, {"clamp", {q.act_min, q.act_max}}};
  if (q.weight_type) j["weight_type"] = name_of(*q.weight_type);
  if (!q.mean.empty()) j["statistics"] = true;
  switch (layer.op) {
    case Op::concat:
      j["constants"] = q.constants;
      break;
    case Op::add:
      j["add"] = add_json(q.add);
      break;
    case Op::softmax:
      j["softmax"] = {{"multiplier", q.softmax.multiplier},
                      {"left_shift", q.softmax.left_shift},
                      {"diff_min", q.softmax.diff_min}};
      break;
    case Op::conv2d:
    case Op::depthwise_conv2d:
    case Op::fully_connected:
    case Op::max_pool2d:
    case Op::average_pool2d:
    case Op::global_average_pool:
      break;
  }
  return j;
}

// The oldest version that has what the file needs.
std::uint32_t version_of(const QuantizedNetwork& net) {
  if (net.network.reconstructs()) return kDifferenceVersion;
  if (!net.preprocessing.empty()) return kPreprocessedVersion;
  std::uint32_t version = kVersion;
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    if (!net.layers[i].mean.empty()) return kStatisticsVersion;
    if (net.layers[i].weight_type || net.network.layers[i].op == Op::concat)
      version = kMixedVersion;
  }
  return version;
}

// The arrays of a file, in order, as bytes. Weights of w8 are stored as int8.
struct Blob {
  std::string name;
  std::size_t count = 0;
  std::vector<std::uint8_t> bytes;
};

template <class T>
Blob blob_of(std::string name, std::span<const T> values) {
  const auto bytes = bytes_of(values);
  return {std::move(name), values.size(), {bytes.begin(), bytes.end()}};
}

std::vector<Blob> blobs_of(const QuantizedNetwork& net) {
  std::vector<Blob> out;
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const QuantizedLayer& q = net.layers[i];
    const std::string& name = net.network.layers[i].name;
    if (!has_weights(net.network.layers[i])) continue;
    if (net.weight_type_of(i) == WeightType::w8) {
      const std::vector<std::int8_t> narrow(q.weights.begin(), q.weights.end());
      out.push_back(blob_of(name + ".weights", std::span(narrow)));
    } else {
      out.push_back(blob_of(name + ".weights", std::span(q.weights)));
    }
    out.push_back(blob_of(name + ".weight_scale", std::span(q.weight_scale)));
    out.push_back(blob_of(name + ".bias", std::span(q.bias)));
    out.push_back(blob_of(name + ".requant", std::span(q.requant)));
    if (q.mean.empty()) continue;
    out.push_back(blob_of(name + ".mean", std::span(q.mean)));
    out.push_back(blob_of(name + ".deviation", std::span(q.deviation)));
  }
  out.push_back(blob_of("logits.requant", std::span(net.logits.requant)));
  return out;
}

// Everything that reads a file knows where it is, so that errors name the field.
class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, const std::string& origin)
      : bytes_(bytes), origin_(origin) {}

  [[noreturn]] void fail(const std::string& field, const std::string& found,
                         const std::string& expected) const {
    throw Error(ErrorKind::input,
                fmt::format("{}: {} is {}, expected {}", origin_, field, found, expected));
  }

  QuantizedNetwork read() {
    const json header = read_header();
    QuantizedNetwork net;
    const std::string toml = text(header, "network", "header");
    net.network = parse_network(toml, origin_ + ": header.network");
    if (preprocessed_ && (!difference_ || header.contains("preprocessing")))
      net.preprocessing = text(header, "preprocessing", "header");
    net.weight_type = width(header, "header");
    net.input = quant(member(header, "input", "header"), "header.input");
    const json& layers = member(header, "layers", "header");
    if (!layers.is_array() || layers.size() != net.network.layers.size())
      fail("header.layers", fmt::format("{} entries", layers.size()),
           fmt::format("a list of {}", net.network.layers.size()));
    net.layers.resize(layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i)
      read_layer(layers[i], net.network.layers[i], net.layers[i]);
    const json& logits = member(header, "logits", "header");
    net.logits.scale = real(logits, "scale", "header.logits");
    const auto clamp = integers<2>(logits, "clamp", "header.logits");
    net.logits.act_min = clamp[0];
    net.logits.act_max = clamp[1];
    net.logits.loss_multiplier = static_cast<std::uint32_t>(
        integer(logits, "loss_multiplier", "header.logits", 0, spec::kLossMultiplierMax));
    net.logits.loss_shift =
        static_cast<std::int32_t>(integer(logits, "loss_shift", "header.logits", 0, 31));
    if (difference_ && header.contains("difference")) {
      const std::string in = "header.difference";
      const json& d = header["difference"];
      net.difference = {real(d, "scale", in), read_add(member(d, "add", in), in + ".add")};
    }
    read_arrays(header, net);
    return net;
  }

 private:
  json read_header() {
    if (bytes_.size() < kPrefix)
      fail("file", fmt::format("{} bytes", bytes_.size()), fmt::format("at least {}", kPrefix));
    if (std::memcmp(bytes_.data(), kMagic.data(), kMagic.size()) != 0)
      fail("magic", "something else", "LMQUANT, the mark of a quantized network");
    const auto version = value<std::uint32_t>(8);
    if (version < kVersion || version > kDifferenceVersion)
      fail("version", std::to_string(version),
           fmt::format("{} to {}", kVersion, kDifferenceVersion));
    mixed_ = version >= kMixedVersion;
    statistics_ = version >= kStatisticsVersion;
    preprocessed_ = version >= kPreprocessedVersion;
    difference_ = version >= kDifferenceVersion;
    const auto size = value<std::uint32_t>(12);
    if (size > kLargestHeader || size > bytes_.size() - kPrefix)
      fail("header size", std::to_string(size),
           fmt::format("at most the {} bytes that follow", bytes_.size() - kPrefix));
    const auto header = bytes_.subspan(kPrefix, size);
    check_hash("header", header, fmt::format("{:016x}", value<std::uint64_t>(16)));
    at_ = kPrefix + size;
    json j = json::parse(header.begin(), header.end(), nullptr, false);
    if (!j.is_object()) fail("header", "not a JSON object", "one");
    return j;
  }

  void check_hash(const std::string& field, std::span<const std::uint8_t> bytes,
                  const std::string& expected) const {
    const std::string found = fmt::format("{:016x}", xxh64(bytes));
    if (found != expected) fail(field + " checksum", found, expected);
  }

  template <class T>
  [[nodiscard]] T value(std::size_t at) const {
    T v;
    std::memcpy(&v, bytes_.data() + at, sizeof v);
    return v;
  }

  const json& member(const json& j, const char* name, const std::string& in) const {
    const auto found = j.is_object() ? j.find(name) : j.end();
    if (!j.is_object() || found == j.end()) fail(in + "." + name, "missing", "a value");
    return *found;
  }
  std::string text(const json& j, const char* name, const std::string& in) const {
    const json& v = member(j, name, in);
    if (!v.is_string()) fail(in + "." + name, v.type_name(), "a string");
    return v.get<std::string>();
  }
  float real(const json& j, const char* name, const std::string& in) const {
    const json& v = member(j, name, in);
    if (!v.is_number()) fail(in + "." + name, v.type_name(), "a number");
    const auto d = v.get<double>();
    if (!(std::abs(d) <= 3.4028234663852886e38))
      fail(in + "." + name, fmt::format("{}", d), "a 32-bit float");
    return static_cast<float>(d);
  }
  std::int64_t check_integer(const json& v, const std::string& field, std::int64_t low,
                             std::int64_t high) const {
    if (!v.is_number_integer()) fail(field, v.type_name(), "an integer");
    if (v.is_number_unsigned() && v.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
      fail(field, "too large", fmt::format("{} to {}", low, high));
    const auto i = v.get<std::int64_t>();
    if (i < low || i > high) fail(field, std::to_string(i), fmt::format("{} to {}", low, high));
    return i;
  }
  std::int64_t integer(const json& j, const char* name, const std::string& in, std::int64_t low,
                       std::int64_t high) const {
    return check_integer(member(j, name, in), in + "." + name, low, high);
  }
  template <std::size_t N>
  std::array<std::int32_t, N> integers(const json& j, const char* name,
                                       const std::string& in) const {
    const json& v = member(j, name, in);
    const std::string field = in + "." + name;
    if (!v.is_array() || v.size() != N) fail(field, v.type_name(), fmt::format("{} integers", N));
    std::array<std::int32_t, N> out{};
    for (std::size_t i = 0; i < N; ++i)
      out[i] = static_cast<std::int32_t>(check_integer(v[i], field, INT32_MIN, INT32_MAX));
    return out;
  }
  WeightType width(const json& j, const std::string& in) const {
    const std::string name = text(j, "weight_type", in);
    if (name != "w8" && name != "w16") fail(in + ".weight_type", "'" + name + "'", "w8 or w16");
    return name == "w8" ? WeightType::w8 : WeightType::w16;
  }
  TensorQuant quant(const json& j, const std::string& in) const {
    return {real(j, "scale", in),
            static_cast<std::int32_t>(integer(j, "zero_point", in, -128, 127))};
  }

  void read_layer(const json& j, const Layer& layer, QuantizedLayer& q) const {
    const std::string in = "header.layers." + layer.name;
    q.out = quant(member(j, "out", in), in + ".out");
    const auto clamp = integers<2>(j, "clamp", in);
    q.act_min = clamp[0];
    q.act_max = clamp[1];
    if (mixed_ && j.contains("weight_type")) q.weight_type = width(j, in);
    switch (layer.op) {
      case Op::concat:
        read_constants(j, in, q);
        break;
      case Op::add:
        q.add = read_add(member(j, "add", in), in + ".add");
        break;
      case Op::softmax: {
        const json& s = member(j, "softmax", in);
        const auto number = [&](const char* name) {
          return static_cast<std::int32_t>(integer(s, name, in + ".softmax", INT32_MIN, INT32_MAX));
        };
        q.softmax = {number("multiplier"), number("left_shift"), number("diff_min")};
        break;
      }
      case Op::conv2d:
      case Op::depthwise_conv2d:
      case Op::fully_connected:
      case Op::max_pool2d:
      case Op::average_pool2d:
      case Op::global_average_pool:
        break;
    }
  }

  void read_constants(const json& j, const std::string& in, QuantizedLayer& q) const {
    const json& values = member(j, "constants", in);
    if (!values.is_array()) fail(in + ".constants", values.type_name(), "a list of integers");
    for (const json& v : values)
      q.constants.push_back(
          static_cast<std::int8_t>(check_integer(v, in + ".constants", -128, 127)));
  }

  numeric::AddParams read_add(const json& a, const std::string& where) const {
    const auto zp = integers<3>(a, "zero_points", where);
    const auto m = integers<3>(a, "multipliers", where);
    const auto e = integers<3>(a, "exponents", where);
    const auto c = integers<2>(a, "clamp", where);
    const auto shift = static_cast<int>(integer(a, "left_shift", where, 0, 20));
    return {zp[0], zp[1], zp[2], m[0], m[1], m[2], e[0], e[1], e[2], shift, c[0], c[1]};
  }

  template <class T>
  std::vector<T> array(const std::string& name, std::size_t count) {
    if (next_array_ >= arrays_.size()) fail("header.arrays", "too short", "an entry for " + name);
    const json& j = arrays_[next_array_++];
    const std::string in = "header.arrays." + name;
    const std::string found = text(j, "name", "header.arrays");
    if (found != name) fail("header.arrays", "'" + found + "'", "'" + name + "'");
    integer(j, "count", in, static_cast<std::int64_t>(count), static_cast<std::int64_t>(count));
    const std::size_t bytes = count * sizeof(T);
    if (bytes > bytes_.size() - at_)
      fail("array " + name, fmt::format("{} bytes", bytes_.size() - at_), fmt::format("{}", bytes));
    const auto part = bytes_.subspan(at_, bytes);
    check_hash("array " + name, part, text(j, "xxh64", in));
    std::vector<T> out(count);
    if (bytes != 0) std::memcpy(out.data(), part.data(), bytes);
    at_ += bytes;
    return out;
  }

  void read_arrays(const json& header, QuantizedNetwork& net) {
    arrays_ = member(header, "arrays", "header");
    if (!arrays_.is_array()) fail("header.arrays", arrays_.type_name(), "a list");
    for (std::size_t i = 0; i < net.layers.size(); ++i) {
      const Layer& layer = net.network.layers[i];
      QuantizedLayer& q = net.layers[i];
      if (!has_weights(layer)) continue;
      const MatrixShape shape = matrix_shape(layer);
      const auto filters = static_cast<std::size_t>(layer.filters);
      const auto elements = static_cast<std::size_t>(weight_count(layer));
      q.rows = shape.rows;
      q.columns = shape.columns;
      if (net.weight_type_of(i) == WeightType::w8) {
        const auto narrow = array<std::int8_t>(layer.name + ".weights", elements);
        q.weights.assign(narrow.begin(), narrow.end());
      } else {
        q.weights = array<std::int16_t>(layer.name + ".weights", elements);
      }
      q.weight_scale = array<float>(layer.name + ".weight_scale", filters);
      q.bias = array<std::int32_t>(layer.name + ".bias", layer.bias ? filters : 0);
      q.requant = array<Requant>(layer.name + ".requant", filters);
      if (!statistics_ || !member(header, "layers", "header")[i].contains("statistics")) continue;
      q.mean = array<float>(layer.name + ".mean", filters);
      q.deviation = array<float>(layer.name + ".deviation", filters);
    }
    // Absent when the network has no int16 logits.
    const Layer& head = net.network.layers[static_cast<std::size_t>(net.network.logits_layer())];
    std::size_t classes = 0;
    if (next_array_ < arrays_.size()) {
      classes = static_cast<std::size_t>(
          integer(arrays_[next_array_], "count", "header.arrays.logits.requant", 0, head.filters));
    }
    net.logits.requant = array<Requant>("logits.requant", classes);
    if (next_array_ != arrays_.size())
      fail("header.arrays", fmt::format("{} entries", arrays_.size()),
           fmt::format("{}", next_array_));
    if (at_ != bytes_.size())
      fail("file", fmt::format("{} bytes", bytes_.size()), fmt::format("{}", at_));
  }

  std::span<const std::uint8_t> bytes_;
  const std::string& origin_;
  std::size_t at_ = 0;
  bool mixed_ = false, statistics_ = false, preprocessed_ = false, difference_ = false;
  json arrays_;
  std::size_t next_array_ = 0;
};

}  // namespace

std::vector<std::uint8_t> serialize(const QuantizedNetwork& net) {
  check_quantized(net, "quantized network '" + net.network.name + "'");
  const std::vector<Blob> blobs = blobs_of(net);
  json layers = json::array(), arrays = json::array();
  for (std::size_t i = 0; i < net.layers.size(); ++i)
    layers.push_back(layer_json(net.network.layers[i], net.layers[i]));
  for (const Blob& b : blobs)
    arrays.push_back(
        {{"name", b.name}, {"count", b.count}, {"xxh64", fmt::format("{:016x}", xxh64(b.bytes))}});
  json header = {{"network", to_toml(net.network)},
                 {"weight_type", name_of(net.weight_type)},
                 {"input", quant_json(net.input)},
                 {"layers", layers},
                 {"logits",
                  {{"scale", static_cast<double>(net.logits.scale)},
                   {"clamp", {net.logits.act_min, net.logits.act_max}},
                   {"loss_multiplier", net.logits.loss_multiplier},
                   {"loss_shift", net.logits.loss_shift}}},
                 {"arrays", arrays}};
  if (!net.preprocessing.empty()) header["preprocessing"] = net.preprocessing;
  if (net.difference)
    header["difference"] = {{"scale", static_cast<double>(net.difference->scale)},
                            {"add", add_json(net.difference->add)}};
  const std::string text = header.dump();
  if (text.size() > kLargestHeader) {
    throw Error(ErrorKind::input,
                fmt::format("quantized network '{}': header has {} bytes, expected at most {}",
                            net.network.name, text.size(), kLargestHeader));
  }
  std::vector<std::uint8_t> out(kMagic.begin(), kMagic.end());
  append(out, version_of(net));
  append(out, static_cast<std::uint32_t>(text.size()));
  append(out, xxh64(bytes_of(std::span(text))));
  out.insert(out.end(), text.begin(), text.end());
  for (const Blob& b : blobs) out.insert(out.end(), b.bytes.begin(), b.bytes.end());
  return out;
}

QuantizedNetwork parse_quantized(std::span<const std::uint8_t> bytes, const std::string& origin) {
  Reader reader(bytes, origin);
  QuantizedNetwork net = reader.read();
  check_quantized(net, origin);
  const std::vector<std::uint8_t> canonical = serialize(net);
  if (!std::equal(canonical.begin(), canonical.end(), bytes.begin(), bytes.end()))
    reader.fail("header", "of another form", "exactly what this version writes");
  return net;
}

void save_quantized(const std::filesystem::path& path, const QuantizedNetwork& network) {
  write_file_atomic(path, serialize(network));
}

QuantizedNetwork load_quantized(const std::filesystem::path& path) {
  return parse_quantized(read_file(path), path.string());
}

}  // namespace lastmile
