// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/readout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile {
namespace {

constexpr int kRecordMultiple = 64;  // rows of weights and records begin at such addresses
// Biases keep a bit of room, as those of other layers do.
constexpr double kBiasRoom = 0x1p30;
constexpr const char* kRecordName = "readout.record";

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Cells along a side after pooling with this stride, the rest of the last cell outside the input.
int cells(int side, int stride) { return (side + stride - 1) / stride; }

std::int64_t pooled_elements(const Shape& s, int stride) {
  return std::int64_t{cells(s.h, stride)} * cells(s.w, stride) * s.c;
}

class Maker {
 public:
  Maker(const QuantizedNetwork& base, const ReadoutOptions& options)
      : base_(base), net_(base.network), o_(options), head_(net_.logits_layer()) {
    const Layer& head = net_.layers[at(head_)];
    if (head.op != Op::fully_connected || head.inputs[0] == kNetworkInput)
      throw Error(ErrorKind::input,
                  fmt::format("readouts: network '{}': the last layer with weights, '{}', is {}, "
                              "expected fully_connected on an inner layer",
                              net_.name, head.name, name_of(head.op)));
    if (base.logits.requant.empty())
      throw Error(ErrorKind::input,
                  fmt::format("readouts: network '{}' has no int16 logits", net_.name));
    features_ = head.inputs[0];
  }

  ReadoutNetwork make() {
    if (o_.taps == "auto") {
      choose();
    } else if (o_.taps != "none") {
      parse();
    }
    build();
    out_.network.preprocessing = base_.preprocessing;  // of the same data
    check_quantized(out_.network, "readouts");
    return std::move(out_);
  }

 private:
  struct Chosen {
    int layer = 0;
    int stride = 1;
  };

  [[noreturn]] static void usage(const std::string& tap, const std::string& text) {
    throw Error(ErrorKind::usage, fmt::format("tap '{}': {}", tap, text));
  }

  [[nodiscard]] bool same_zero_point(int layer) const {
    return base_.quant_of(layer).zero_point == base_.quant_of(features_).zero_point;
  }

  // Layers that the features are computed from.
  [[nodiscard]] std::vector<bool> below_features() const {
    std::vector<bool> below(net_.layers.size(), false);
    below[at(features_)] = true;
    for (int i = features_; i >= 0; --i) {
      if (!below[at(i)]) continue;
      for (const int in : net_.layers[at(i)].inputs)
        if (in >= 0) below[at(in)] = true;
    }
    return below;
  }

  void choose() {
    const std::vector<bool> below = below_features();
    std::int64_t room = o_.record_bytes - net_.layers[at(features_)].out.elements() - 1;
    std::vector<std::pair<int, int>> seen;  // heights and widths
    for (int i = features_ - 1; i >= 0; --i) {
      const Layer& l = net_.layers[at(i)];
      const Shape& s = l.out;
      const std::pair<int, int> size{s.h, s.w};
      if (!below[at(i)] || s.h * s.w == 1 || !same_zero_point(i) ||
          std::find(seen.begin(), seen.end(), size) != seen.end())
        continue;
      seen.push_back(size);
      const Shape& f = net_.layers[at(features_)].out;
      if (size == std::pair{f.h, f.w}) continue;
      int stride = 1;
      const int longest = std::max(s.h, s.w);
      while (stride < longest && pooled_elements(s, stride) > room) ++stride;
      if (pooled_elements(s, stride) > room || stride > 255) continue;
      room -= pooled_elements(s, stride);
      chosen_.push_back({i, stride});
    }
    std::reverse(chosen_.begin(), chosen_.end());
  }

  void parse() {
    std::size_t from = 0;
    while (from <= o_.taps.size()) {
      const std::size_t end = std::min(o_.taps.find(',', from), o_.taps.size());
      const std::string tap = o_.taps.substr(from, end - from);
      from = end + 1;
      const std::size_t colon = tap.rfind(':');
      const std::string name = tap.substr(0, colon);
      const int layer = find_layer(net_, name);
      if (layer < 0 || layer >= head_)
        usage(tap, "expected auto, none, or layers before the last one as layer[:grid],...");
      if (layer == features_) usage(tap, "the last layer reads it already, expected another layer");
      if (!same_zero_point(layer))
        usage(tap,
              fmt::format("its zero point is {}, expected {}, that of the features",
                          base_.quant_of(layer).zero_point, base_.quant_of(features_).zero_point));
      for (const Chosen& c : chosen_)
        if (c.layer == layer) usage(tap, "it is listed twice");
      const Shape& s = net_.layers[at(layer)].out;
      const int longest = std::max(s.h, s.w);
      int stride = 1;
      if (colon != std::string::npos) {
        int grid = 0;
        const char* last = tap.data() + tap.size();
        const auto r = std::from_chars(tap.data() + colon + 1, last, grid);
        if (r.ec != std::errc{} || r.ptr != last || grid < 1 || grid > longest)
          usage(tap,
                fmt::format("the grid is '{}', expected 1 to {}", tap.substr(colon + 1), longest));
        stride = cells(longest, grid);
        if (stride > 255)
          usage(tap, fmt::format("pooling by {}, expected at most 255: a larger grid", stride));
      }
      chosen_.push_back({layer, stride});
    }
    std::sort(chosen_.begin(), chosen_.end(),
              [](const Chosen& a, const Chosen& b) { return a.layer < b.layer; });
  }

  int add(Layer layer, QuantizedLayer quantized) {
    out_.network.network.layers.push_back(std::move(layer));
    out_.network.layers.push_back(std::move(quantized));
    return static_cast<int>(out_.network.layers.size()) - 1;
  }

  [[nodiscard]] int moved(int layer) const { return layer < 0 ? layer : index_.at(layer); }

  int add_pool(int layer, int stride) {
    Layer l;
    l.name = fmt::format("readout.{}", net_.layers[at(layer)].name);
    l.op = Op::average_pool2d;
    l.inputs = {moved(layer)};
    l.in = net_.layers[at(layer)].out;
    l.out = {cells(l.in.h, stride), cells(l.in.w, stride), l.in.c};
    l.kernel_h = l.stride_h = std::min(stride, l.in.h);
    l.kernel_w = l.stride_w = std::min(stride, l.in.w);
    l.pad_bottom = l.out.h * l.kernel_h - l.in.h;
    l.pad_right = l.out.w * l.kernel_w - l.in.w;
    QuantizedLayer q;
    q.out = base_.layers[at(layer)].out;
    return add(std::move(l), std::move(q));
  }

  void build() {
    QuantizedNetwork& net = out_.network;
    net.weight_type = base_.weight_type;
    net.input = base_.input;
    net.network.name = net_.name;
    net.network.input = net_.input;
    net.network.classes = net_.classes;
    std::vector<int> parts;
    for (int i = 0; i < head_; ++i) {
      Layer l = net_.layers[at(i)];
      for (int& in : l.inputs) in = moved(in);
      index_[i] = add(std::move(l), base_.layers[at(i)]);
      for (const Chosen& c : chosen_)
        if (c.layer == i) parts.push_back(c.stride == 1 ? index_[i] : add_pool(i, c.stride));
    }
    parts.insert(parts.begin(), moved(features_));
    for (const Chosen& c : chosen_) {
      const Shape& s = net_.layers[at(c.layer)].out;
      out_.taps.push_back({net_.layers[at(c.layer)].name, cells(std::max(s.h, s.w), c.stride)});
    }
    add_record(parts);
    add_head();
    for (int i = head_ + 1; i < static_cast<int>(net_.layers.size()); ++i) {
      Layer l = net_.layers[at(i)];
      for (int& in : l.inputs) in = moved(in);
      index_[i] = add(std::move(l), base_.layers[at(i)]);
    }
  }

  void add_record(const std::vector<int>& parts) {
    const TensorQuant& quant = base_.quant_of(features_);
    Layer l;
    l.name = kRecordName;
    l.op = Op::concat;
    l.inputs = parts;
    std::int64_t sum = 0;
    for (const int p : parts) {
      const std::int64_t elements = out_.network.network.shape_of(p).elements();
      l.parts.push_back({elements, static_cast<double>(quant.scale) /
                                       static_cast<double>(out_.network.quant_of(p).scale)});
      sum += elements;
    }
    if (sum + kRecordMultiple > kMaxDimension)
      throw Error(ErrorKind::usage,
                  fmt::format("readouts: a record of {} elements, expected at most "
                              "{}: fewer taps or smaller grids",
                              sum, kMaxDimension - kRecordMultiple));
    QuantizedLayer q;
    q.out = quant;
    // 1 as far as int8 goes, and never nothing.
    const double steps = std::max(1.0, std::round(1.0 / quant.scale));
    const std::int32_t up = 127 - quant.zero_point, down = 128 + quant.zero_point;
    const std::int32_t one = static_cast<std::int32_t>(std::min<double>(steps, std::max(up, down)));
    q.constants.push_back(static_cast<std::int8_t>(quant.zero_point + (up >= down ? one : -one)));
    while ((sum + static_cast<std::int64_t>(q.constants.size())) % kRecordMultiple != 0)
      q.constants.push_back(static_cast<std::int8_t>(quant.zero_point));
    for (const std::int8_t c : q.constants)
      l.constants.push_back(static_cast<double>(quant.scale) * (c - quant.zero_point));
    l.in = {1, 1, static_cast<int>(sum)};
    l.out = {1, 1, static_cast<int>(sum) + static_cast<int>(l.constants.size())};
    out_.record = add(std::move(l), std::move(q));
  }

  void add_head() {
    Layer l = net_.layers[at(head_)];
    const QuantizedLayer& old = base_.layers[at(head_)];
    l.inputs = {out_.record};
    l.in = out_.network.network.shape_of(out_.record);
    QuantizedLayer q = old;
    q.columns = l.in.c;
    q.weight_type.reset();  // of another width before, maybe
    if (base_.weight_type != WeightType::w16) q.weight_type = WeightType::w16;
    double largest = 0;
    for (int r = 0; r < old.rows; ++r)
      for (int c = 0; c < old.columns; ++c) largest = std::max(largest, std::abs(real(old, r, c)));
    double widest = (largest > 0 ? largest : 1.0) / o_.weight_range / weight_limit(WeightType::w16);
    for (std::size_t i = 0; i < q.bias.size(); ++i)
      widest = std::max(widest, std::abs(static_cast<double>(old.bias[i])) *
                                    static_cast<double>(old.weight_scale[i]) / kBiasRoom);
    const auto scale = static_cast<float>(widest);
    q.weight_scale.assign(at(old.rows), scale);
    q.weights.assign(at(q.rows) * at(q.columns), 0);
    for (int r = 0; r < old.rows; ++r) {
      for (int c = 0; c < old.columns; ++c)
        q.weights[at(r) * at(q.columns) + at(c)] =
            static_cast<std::int16_t>(std::lround(real(old, r, c) / scale));
    }
    const double in_scale = base_.quant_of(features_).scale;
    for (std::size_t i = 0; i < q.bias.size(); ++i)
      q.bias[i] = static_cast<std::int32_t>(
          std::round(old.bias[i] * (static_cast<double>(old.weight_scale[i]) / scale)));
    for (std::size_t i = 0; i < q.requant.size(); ++i)
      q.requant[i] = encode_requant(in_scale * scale / old.out.scale,
                                    fmt::format("layer '{}': scale ratio", l.name));
    const LogitQuant& logits = base_.logits;
    const double range = static_cast<double>(logits.scale) * numeric::kW16Max;
    out_.network.logits =
        encode_logits(l, q.weight_scale, in_scale, range, std::max(1.0, o_.logit_headroom));
    index_[head_] = add(std::move(l), std::move(q));
  }

  static double real(const QuantizedLayer& q, int r, int c) {
    return q.weights[at(r) * at(q.columns) + at(c)] * static_cast<double>(q.weight_scale[at(r)]);
  }

  const QuantizedNetwork& base_;
  const Network& net_;
  const ReadoutOptions& o_;
  int head_, features_ = 0;
  std::vector<Chosen> chosen_;  // by layer
  std::map<int, int> index_;    // of the base's layers here
  ReadoutNetwork out_;
};

}  // namespace

ReadoutNetwork make_readout_network(const QuantizedNetwork& base, const ReadoutOptions& options) {
  return Maker(base, options).make();
}

FloatParams<float> readout_params(const Network& network, const FloatParams<float>& params) {
  FloatParams<float> out = zero_params<float>(network);
  std::size_t from = 0;
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    if (l.op == Op::concat || l.name.starts_with("readout.")) continue;
    const LayerParams<float>& old = params.layers.at(from++);
    if (!has_weights(l)) continue;
    if (old.weights.size() == out.layers[i].weights.size()) {
      out.layers[i] = old;
      continue;
    }
    out.layers[i].bias = old.bias;
    const auto rows = static_cast<std::size_t>(l.filters);
    const std::size_t columns = old.weights.size() / rows,
                      wide = out.layers[i].weights.size() / rows;
    for (std::size_t r = 0; r < rows; ++r)
      std::copy_n(old.weights.begin() + static_cast<std::ptrdiff_t>(r * columns), columns,
                  out.layers[i].weights.begin() + static_cast<std::ptrdiff_t>(r * wide));
  }
  return out;
}

}  // namespace lastmile
