// SPDX-License-Identifier: Apache-2.0
#include "sw/app/rescale.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"

namespace lastmile {
namespace {

constexpr int kMostRounds = 24;  // a range 2^24 times too small is of another network

// Codes of one tensor over all data.
struct Codes {
  int low = 127, high = -128;
  std::int64_t at_low = 0, at_high = 0, all = 0;
  template <class T>
  void add(std::span<const T> codes, int least, int most) {
    for (const T v : codes) {
      low = std::min<int>(low, v), high = std::max<int>(high, v);
      at_low += v <= least ? 1 : 0, at_high += v >= most ? 1 : 0;
    }
    all += static_cast<std::int64_t>(codes.size());
  }
};

class Measurement {
 public:
  Measurement(const QuantizedNetwork& q, const Dataset& data, const DeviceOpener& open,
              const FixedOptions& options)
      : q_(q), open_(open), options_(options), x_(data.x.size()), examples_(data.size()) {
    quantize_activations(data.x, q.input, x_);
    each_ = data.size() == 0 ? 0 : data.x.size() / data.size();
  }

  [[nodiscard]] Codes layer(int i) const {
    Codes out;
    passes(i, [&](Driver& d, std::size_t n) {
      const std::vector<std::int8_t> codes = d.output();
      const auto size = static_cast<std::size_t>(q_.network.shape_of(i).elements()) * n;
      out.add(std::span(codes).first(size), -128, 127);
    });
    return out;
  }
  [[nodiscard]] Codes logits() const {
    Codes out;
    passes({}, [&](Driver& d, std::size_t n) {
      const std::vector<std::int16_t> codes = d.logits();
      out.add(std::span(codes).first(n * static_cast<std::size_t>(q_.network.classes)), -32768,
              32767);
    });
    return out;
  }

 private:
  template <class Use>
  void passes(std::optional<int> layer, const Use& use) const {
    CompileOptions o;
    o.batch = static_cast<int>(
        std::min(examples_, static_cast<std::size_t>(std::max(options_.batch, 1))));
    o.output_layer = layer;
    const Session s = open_session(compile(q_, options_.hardware, o), open_, options_.threads);
    const auto batch = static_cast<std::size_t>(o.batch);
    for (std::size_t at = 0; at < examples_; at += batch) {
      stop_if_asked();
      const std::size_t n = std::min(batch, examples_ - at);
      // Nobody knows the labels, and nobody needs them.
      const std::vector<int> labels(layer ? 0 : n, -1);
      s->load_batch(std::span(x_).subspan(at * each_, n * each_), labels);
      static_cast<void>(s->forward());
      use(*s.driver, n);
    }
  }

  const QuantizedNetwork& q_;
  const DeviceOpener& open_;
  const FixedOptions& options_;
  std::vector<std::int8_t> x_;
  std::size_t examples_, each_ = 0;
};

}  // namespace

RescaleResult rescale_on_device(const QuantizedNetwork& network, const Dataset& data,
                                const DeviceOpener& open, const FixedOptions& options,
                                double share) {
  if (data.size() == 0) throw Error(ErrorKind::input, "rescale: no example to measure on");
  RescaleResult out{network, {}, 0};
  const auto over = [&](std::int64_t at, std::int64_t all) {
    return static_cast<double>(at) > share * static_cast<double>(all);
  };
  const int head = network.network.logits_layer();
  // A layer's values are right when those before it are: one after the other.
  for (int i = 0; i <= head; ++i) {
    const Layer& l = network.network.layers[static_cast<std::size_t>(i)];
    if (traits(l.op).keeps_quant || l.op == Op::concat) continue;
    const bool last = i == head && !network.logits.requant.empty();
    bool widened = false;
    NewRanges r;
    r.layers.resize(network.layers.size());
    for (;; ++out.rounds) {
      if (out.rounds == kMostRounds * static_cast<int>(network.layers.size()))
        throw Error(ErrorKind::input, "rescale: ranges grow without end");
      const Measurement m(out.network, data, open, options);
      const Codes c = last ? m.logits() : m.layer(i);
      if (last) {
        if (!over(c.at_high + c.at_low, c.all)) {
          break;
        }
        r.largest_logit = 2 * 32767.0 * static_cast<double>(out.network.logits.scale);
      } else {
        const TensorQuant q = out.network.layers[static_cast<std::size_t>(i)].out;
        const double scale = q.scale;
        TensorRange::Interval now{scale * (-128 - q.zero_point), scale * (127 - q.zero_point)};
        // An activation's own clamp is no loss.
        const bool low = l.activation == Activation::none && over(c.at_low, c.all);
        const bool high =
            over(c.at_high, c.all) && !(l.activation == Activation::relu6 && now.high >= 6 - scale);
        if (!low && !high) {
          if (widened) {
            r.layers[static_cast<std::size_t>(i)] = {
                std::min(0.0, scale * (c.low - q.zero_point)),
                std::max(0.0, scale * (c.high - q.zero_point))};
            out.network = rescale(out.network, r);
          }
          break;
        }
        if (low) now.low *= 2;
        if (high) now.high *= 2;
        if (low && now.low == 0) now.low = -now.high;
        if (high && now.high == 0) now.high = -now.low;
        r.layers[static_cast<std::size_t>(i)] = now;
      }
      out.network = rescale(out.network, r);
      if (!widened) out.widened.push_back(l.name);
      widened = true;
    }
  }
  return out;
}

}  // namespace lastmile
