// SPDX-License-Identifier: Apache-2.0
// A plain interpreter of ONNX files in double precision, which keeps ONNX's own layout.
#pragma once

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "sw/import/onnx_file.hpp"

namespace lastmile::testing {

using Ints = std::vector<std::int64_t>;

struct Array {
  Ints dims;
  std::vector<double> values;
  [[nodiscard]] std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int64_t d : dims) n *= d;
    return n;
  }
};

// Computes the nodes in order on one example, batch first, as the operators' definitions say.
class Interpreter {
 public:
  explicit Interpreter(const std::vector<std::uint8_t>& file) {
    REQUIRE(model_.ParseFromArray(file.data(), static_cast<int>(file.size())));
    for (const auto& t : model_.graph().initializer()) {
      Array a;
      a.dims.assign(t.dims().begin(), t.dims().end());
      if (t.data_type() == onnx::TensorProto::INT64) {
        a.values.assign(t.int64_data().begin(), t.int64_data().end());
      } else if (t.data_type() != onnx::TensorProto::FLOAT) {
        a.values.assign(t.int32_data().begin(), t.int32_data().end());
        if (t.data_type() == onnx::TensorProto::UINT8) unsigned_.insert(t.name());
      } else if (t.has_raw_data()) {
        for (std::size_t i = 0; i < t.raw_data().size() / 4; ++i) {
          float v = 0;
          std::memcpy(&v, t.raw_data().data() + 4 * i, 4);
          a.values.push_back(v);
        }
      } else {
        a.values.assign(t.float_data().begin(), t.float_data().end());
      }
      values_[t.name()] = a;
    }
  }
  Array run(const Array& x) {
    values_[model_.graph().input(0).name()] = x;
    for (const auto& n : model_.graph().node()) values_[n.output(0)] = step(n);
    return values_.at(model_.graph().output(0).name());
  }

 private:
  static const onnx::AttributeProto* find(const onnx::NodeProto& n, const char* name) {
    for (const auto& a : n.attribute())
      if (a.name() == name) return &a;
    return nullptr;
  }
  static Ints ints(const onnx::NodeProto& n, const char* name, std::size_t count, std::int64_t d) {
    const auto* a = find(n, name);
    return a == nullptr ? Ints(count, d) : Ints(a->ints().begin(), a->ints().end());
  }
  static std::int64_t integer(const onnx::NodeProto& n, const char* name, std::int64_t d) {
    const auto* a = find(n, name);
    return a == nullptr ? d : a->i();
  }
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
  const Array& in(const onnx::NodeProto& n, int i) { return values_.at(n.input(i)); }

  Array step(const onnx::NodeProto& n) {
    const std::string& op = n.op_type();
    if (op == "Constant") {
      float v = 0;
      std::memcpy(&v, find(n, "value")->t().raw_data().data(), sizeof v);
      return {{}, {v}};
    }
    Array x = in(n, 0);
    if (op == "Identity" || op == "Dropout") return x;
    if (op == "Relu") return each(x, [](double v) { return std::max(v, 0.0); });
    if (op == "Clip") return each(x, [](double v) { return std::clamp(v, 0.0, 6.0); });
    if (op == "QuantizeLinear") {
      const double scale = in(n, 1).values[0], zero = in(n, 2).values[0];
      const double low = unsigned_.contains(n.input(2)) ? 0 : -128;
      return each(x, [&](double v) {
        return std::clamp(std::nearbyint(v / scale) + zero, low, low + 255);
      });
    }
    if (op == "DequantizeLinear") {
      const Array &scale = in(n, 1), &zero = in(n, 2);
      Array y = x;
      std::size_t inner = 1;
      for (std::size_t d = at(integer(n, "axis", 1)) + 1; d < x.dims.size(); ++d)
        inner *= at(x.dims[d]);
      for (std::size_t i = 0; i < y.values.size(); ++i) {
        const std::size_t k = scale.values.size() == 1 ? 0 : i / inner % scale.values.size();
        y.values[i] = (y.values[i] - zero.values[k]) * scale.values[k];
      }
      return y;
    }
    if (op == "Flatten") {
      x.dims = {1, x.elements()};
      return x;
    }
    if (op == "Reshape") {
      Ints dims;
      std::int64_t known = 1;
      const Array& shape = in(n, 1);
      for (const double d : shape.values) dims.push_back(static_cast<std::int64_t>(d));
      if (dims[0] == -1) dims[0] = 1;
      for (const std::int64_t d : dims) known *= d == -1 ? 1 : d;
      for (std::int64_t& d : dims)
        if (d == -1) d = x.elements() / known;
      x.dims = dims;
      return x;
    }
    if (op == "Transpose") return transpose(x, ints(n, "perm", 0, 0));
    if (op == "Pad") return pad(x, in(n, 1));
    if (op == "Add" || op == "Mul" || op == "Sub" || op == "Div") return broadcast(x, in(n, 1), op);
    if (op == "BatchNormalization") {
      const double e = static_cast<double>(find(n, "epsilon")->f());
      const std::int64_t inner = x.elements() / x.dims[1];
      for (std::int64_t i = 0; i < x.elements(); ++i) {
        const std::size_t c = at(i / inner);
        x.values[at(i)] = (x.values[at(i)] - in(n, 3).values[c]) /
                              std::sqrt(in(n, 4).values[c] + e) * in(n, 1).values[c] +
                          in(n, 2).values[c];
      }
      return x;
    }
    if (op == "Gemm" || op == "MatMul") return dense(n, x);
    if (op == "GlobalAveragePool") {
      const std::int64_t inner = x.elements() / x.dims[1];
      Array y{{1, x.dims[1], 1, 1}, {}};
      for (std::int64_t c = 0; c < x.dims[1]; ++c) {
        double sum = 0;
        for (std::int64_t i = 0; i < inner; ++i) sum += x.values[at(c * inner + i)];
        y.values.push_back(sum / static_cast<double>(inner));
      }
      return y;
    }
    if (op == "Softmax") {
      double sum = 0;
      for (double& v : x.values) sum += v = std::exp(v);
      for (double& v : x.values) v /= sum;
      return x;
    }
    return window(n, x);
  }
  static Array each(Array x, const std::function<double(double)>& f) {
    for (double& v : x.values) v = f(v);
    return x;
  }
  static Array transpose(const Array& x, const Ints& perm) {
    Array y;
    const std::size_t r = perm.size();
    Ints stride(r, 1);
    for (std::size_t i = r - 1; i > 0; --i) stride[i - 1] = stride[i] * x.dims[i];
    for (const std::int64_t p : perm) y.dims.push_back(x.dims[at(p)]);
    for (std::int64_t i = 0; i < x.elements(); ++i) {
      std::int64_t rest = i, from = 0;
      for (std::size_t d = r; d-- > 0;) {
        from += rest % y.dims[d] * stride[at(perm[d])];
        rest /= y.dims[d];
      }
      y.values.push_back(x.values[at(from)]);
    }
    return y;
  }
  static Array pad(const Array& x, const Array& p) {
    const auto v = [&](std::size_t i) { return static_cast<std::int64_t>(p.values[i]); };
    Array y{{1, x.dims[1], x.dims[2] + v(2) + v(6), x.dims[3] + v(3) + v(7)}, {}};
    y.values.assign(at(y.elements()), 0);
    for (std::int64_t c = 0; c < x.dims[1]; ++c)
      for (std::int64_t i = 0; i < x.dims[2]; ++i)
        for (std::int64_t j = 0; j < x.dims[3]; ++j)
          y.values[at((c * y.dims[2] + i + v(2)) * y.dims[3] + j + v(3))] =
              x.values[at((c * x.dims[2] + i) * x.dims[3] + j)];
    return y;
  }
  static Array broadcast(Array a, const Array& b, const std::string& op) {
    for (std::int64_t i = 0; i < a.elements(); ++i) {
      // Dimensions align at their ends.
      std::int64_t rest = i, from = 0, step = 1;
      for (std::size_t d = 0; d < a.dims.size(); ++d) {
        const std::int64_t size = a.dims[a.dims.size() - 1 - d];
        if (d < b.dims.size()) {
          const std::int64_t other = b.dims[b.dims.size() - 1 - d];
          if (other > 1) from += rest % size * step;
          step *= other;
        }
        rest /= size;
      }
      double& v = a.values[at(i)];
      const double w = b.values[at(from)];
      v = op == "Add" ? v + w : op == "Sub" ? v - w : op == "Mul" ? v * w : v / w;
    }
    return a;
  }
  Array dense(const onnx::NodeProto& n, const Array& x) {
    const Array& w = in(n, 1);
    const bool transposed = integer(n, "transB", 0) != 0;
    const std::int64_t k = x.dims.back(), units = w.dims[transposed ? 0 : 1];
    Array y = x;
    y.dims.back() = units;
    y.values.clear();
    for (std::int64_t r = 0; r < x.elements() / k; ++r) {
      for (std::int64_t o = 0; o < units; ++o) {
        double sum = n.input_size() > 2 ? in(n, 2).values[at(o)] : 0;
        for (std::int64_t i = 0; i < k; ++i)
          sum += x.values[at(r * k + i)] * w.values[at(transposed ? o * k + i : i * units + o)];
        y.values.push_back(sum);
      }
    }
    return y;
  }
  Array window(const onnx::NodeProto& n, Array x) {
    const bool conv = n.op_type() == "Conv";
    const bool line = x.dims.size() == 3;
    if (line) x.dims.insert(x.dims.begin() + 2, 1);
    const std::size_t rank = line ? 1 : 2;
    Ints kernel = ints(n, "kernel_shape", 0, 0);
    Array w;
    if (conv) {
      w = in(n, 1);
      kernel.assign(w.dims.begin() + 2, w.dims.end());
    }
    Ints stride = ints(n, "strides", rank, 1), dilation = ints(n, "dilations", rank, 1),
         pads = ints(n, "pads", 2 * rank, 0);
    if (line) {
      kernel.insert(kernel.begin(), 1);
      stride.insert(stride.begin(), 1);
      dilation.insert(dilation.begin(), 1);
      pads = {0, pads[0], 0, pads[1]};
    }
    const auto* automatic = find(n, "auto_pad");
    Ints out(2);
    for (std::size_t d = 0; d < 2; ++d) {
      const std::int64_t size = x.dims[d + 2], reach = (kernel[d] - 1) * dilation[d] + 1;
      if (automatic != nullptr && automatic->s() != "NOTSET") {
        out[d] = (size + stride[d] - 1) / stride[d];
        const std::int64_t total =
            std::max<std::int64_t>((out[d] - 1) * stride[d] + reach - size, 0);
        pads[d] = automatic->s() == "SAME_LOWER" ? total - total / 2 : total / 2;
      } else {
        const std::int64_t room = size + pads[d] + pads[d + 2] - reach;
        out[d] = room / stride[d] + 1;
        if (integer(n, "ceil_mode", 0) != 0 && room % stride[d] != 0 &&
            out[d] * stride[d] < size + pads[d])
          ++out[d];
      }
    }
    const std::int64_t group = integer(n, "group", 1);
    const std::int64_t filters = conv ? w.dims[0] : x.dims[1];
    Array y{{1, filters, out[0], out[1]}, {}};
    for (std::int64_t o = 0; o < filters; ++o) {
      for (std::int64_t i = 0; i < out[0]; ++i) {
        for (std::int64_t j = 0; j < out[1]; ++j) {
          double sum = conv && n.input_size() > 2 ? in(n, 2).values[at(o)] : 0, most = -1e30;
          std::int64_t count = 0;
          const std::int64_t channels = conv ? w.dims[1] : 1;
          for (std::int64_t c = 0; c < channels; ++c) {
            const std::int64_t ic = conv ? o / (filters / group) * channels + c : o;
            for (std::int64_t a = 0; a < kernel[0]; ++a) {
              for (std::int64_t b = 0; b < kernel[1]; ++b) {
                const std::int64_t u = i * stride[0] - pads[0] + a * dilation[0];
                const std::int64_t v = j * stride[1] - pads[1] + b * dilation[1];
                if (u < 0 || u >= x.dims[2] || v < 0 || v >= x.dims[3]) continue;
                const double value = x.values[at((ic * x.dims[2] + u) * x.dims[3] + v)];
                most = std::max(most, value);
                sum += conv ? value *
                                  w.values[at(((o * channels + c) * kernel[0] + a) * kernel[1] + b)]
                            : value;
                ++count;
              }
            }
          }
          if (n.op_type() == "AveragePool")
            sum /= static_cast<double>(
                integer(n, "count_include_pad", 0) != 0 ? kernel[0] * kernel[1] : count);
          y.values.push_back(n.op_type() == "MaxPool" ? most : sum);
        }
      }
    }
    if (line) y.dims.erase(y.dims.begin() + 2);
    return y;
  }

  onnx::ModelProto model_;
  std::set<std::string> unsigned_;
  std::map<std::string, Array> values_;
};

}  // namespace lastmile::testing
