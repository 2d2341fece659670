// SPDX-License-Identifier: Apache-2.0
// Random layers in the vectors' JSON format, with outputs from the plain loops of
// tests/cmodel/reference.hpp.
#pragma once

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sw/base/rng.hpp"
#include "tests/cmodel/reference.hpp"

namespace layer_builder {

using nlohmann::json;
using reference::Descriptor;
using reference::Opcode;
namespace spec = lastmile::spec;

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<std::int8_t> data;
};

inline json to_json(const Tensor& t) {
  return {{"dtype", "int8"}, {"shape", t.shape}, {"data", t.data}};
}
inline json to_json(const std::vector<std::int32_t>& v) {
  return {{"dtype", "int32"}, {"shape", {v.size()}}, {"data", v}};
}

struct BuiltLayer {
  json text;  // without input and expected
  Tensor out;
};

class Builder {
 public:
  explicit Builder(std::uint64_t seed) : rng_(seed) {}

  std::int64_t in(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  Tensor tensor(std::vector<std::int64_t> shape) {
    std::int64_t n = 1;
    for (const std::int64_t e : shape) n *= e;
    Tensor t{std::move(shape), std::vector<std::int8_t>(static_cast<std::size_t>(n))};
    for (auto& v : t.data) v = static_cast<std::int8_t>(rng_.next());
    return t;
  }

  BuiltLayer conv(const Tensor& x, std::int64_t out_c, std::int64_t kernel, std::int64_t stride,
                  std::int64_t pad, std::int64_t groups) {
    Start s = start("conv2d", Opcode::conv2d_, x);
    Descriptor& d = s.d;
    image(d, x);
    d.groups = u(groups);
    d.out_c = u(out_c);
    d.cin_group = d.in_c / d.groups, d.cout_group = d.out_c / d.groups;
    window(s, kernel, stride, pad);
    s.layer.text["params"]["groups"] = groups;
    const Tensor w = tensor({out_c, kernel, kernel, d.cin_group});
    matrix(s, w, d.out_c);
    return finish(s, {d.n, d.out_h, d.out_w, d.out_c});
  }
  BuiltLayer depthwise(const Tensor& x, std::int64_t multiplier, std::int64_t kernel,
                       std::int64_t stride, std::int64_t pad) {
    Start s = start("depthwise_conv2d", Opcode::depthwise_, x);
    Descriptor& d = s.d;
    image(d, x);
    d.out_c = d.in_c * u(multiplier);
    d.cout_group = u(multiplier);
    window(s, kernel, stride, pad);
    const Tensor w = tensor({kernel, kernel, d.out_c});
    matrix(s, w, u(kernel * kernel));
    return finish(s, {d.n, d.out_h, d.out_w, d.out_c});
  }
  BuiltLayer fully_connected(const Tensor& x, std::int64_t outputs, std::int64_t rows) {
    Start s = start("fully_connected", Opcode::conv2d_, x);
    Descriptor& d = s.d;
    d.n = u(rows);
    d.in_c = d.cin_group = u(static_cast<std::int64_t>(x.data.size()) / rows);
    d.out_c = d.cout_group = u(outputs);
    d.groups = d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = 1;
    d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
    s.layer.text["params"]["weight_zero_point"] = 0;
    const Tensor w = tensor({outputs, d.in_c});
    matrix(s, w, d.out_c);
    return finish(s, {rows, outputs});
  }
  BuiltLayer pool(const Tensor& x, bool maximum, std::int64_t kernel, std::int64_t stride,
                  std::int64_t pad) {
    Start s = start(maximum ? "max_pool2d" : "average_pool2d", Opcode::pool_, x);
    Descriptor& d = s.d;
    image(d, x);
    if (maximum) d.flags |= spec::kFlagMax;
    window(s, kernel, stride, pad);
    json& p = s.layer.text["params"];
    p["kernel_h"] = p["kernel_w"] = kernel;
    p["act_min"] = d.act_min = static_cast<std::int32_t>(in(-128, -100));
    p["act_max"] = d.act_max = static_cast<std::int32_t>(in(100, 127));
    return finish(s, {d.n, d.out_h, d.out_w, d.in_c});
  }
  BuiltLayer add(const Tensor& x, const Tensor& y) {
    Start s = start("add", Opcode::add_, x);
    Descriptor& d = s.d;
    d.n = 1;
    d.in_c = u(static_cast<std::int64_t>(x.data.size()));
    d.in2_addr = place(s, y.data.data(), y.data.size());
    d.in_zp = zero(), d.in2_zp = zero(), d.add_zp = zero();
    d.m1 = u(in(1 << 30, 0x7fffffff)), d.m2 = u(in(1 << 30, 0x7fffffff)),
    d.mo = u(in(1 << 30, 0x7fffffff));
    d.e1 = static_cast<int>(in(-2, 0)), d.e2 = static_cast<int>(in(-2, 0)),
    d.eo = static_cast<int>(in(-21, -18));
    d.add_shift = 20;
    d.add_act_min = -128, d.add_act_max = static_cast<std::int32_t>(in(60, 127));
    s.layer.text["params"] = {{"input1_multiplier", d.m1},
                              {"input2_multiplier", d.m2},
                              {"output_multiplier", d.mo},
                              {"input1_shift", d.e1},
                              {"input2_shift", d.e2},
                              {"output_shift", d.eo},
                              {"left_shift", 20},
                              {"act_min", -128},
                              {"act_max", d.add_act_max},
                              {"input1_zero_point", d.in_zp},
                              {"input2_zero_point", d.in2_zp},
                              {"output_zero_point", d.add_zp}};
    return finish(s, x.shape);
  }
  BuiltLayer softmax(const Tensor& x) {
    Start s = start("softmax", Opcode::softmax_, x);
    Descriptor& d = s.d;
    d.in_c = u(x.shape.back());
    d.n = u(static_cast<std::int64_t>(x.data.size())) / d.in_c;
    d.m1 = u(in(1 << 30, 0x7fffffff));
    d.e1 = static_cast<int>(in(19, 23));
    d.diff_min = -static_cast<std::int32_t>((std::int64_t{31} << 26) >> d.e1);
    s.layer.text["params"] = {
        {"input_multiplier", d.m1}, {"input_left_shift", d.e1}, {"diff_min", d.diff_min}};
    return finish(s, x.shape);
  }

 private:
  struct Start {
    Descriptor d;
    std::vector<std::byte> memory;
    BuiltLayer layer;
  };
  static std::uint32_t u(std::int64_t v) { return static_cast<std::uint32_t>(v); }
  std::int32_t zero() { return static_cast<std::int32_t>(in(-128, 127)); }

  static std::uint32_t place(Start& s, const void* data, std::size_t bytes) {
    const std::size_t at = (s.memory.size() + 63) / 64 * 64;
    s.memory.resize(at + bytes);
    if (data != nullptr && bytes != 0) std::memcpy(s.memory.data() + at, data, bytes);
    return static_cast<std::uint32_t>(at);
  }
  static Start start(const char* op, Opcode code, const Tensor& x) {
    Start s;
    s.layer.text = {
        {"op", op}, {"kind", "s8"}, {"params", json::object()}, {"tensors", json::object()}};
    s.d.opcode = static_cast<std::uint32_t>(code);
    s.d.in_addr = place(s, x.data.data(), x.data.size());
    return s;
  }
  static void image(Descriptor& d, const Tensor& x) {
    d.n = u(x.shape[0]), d.in_h = u(x.shape[1]), d.in_w = u(x.shape[2]), d.in_c = u(x.shape[3]);
  }
  static void window(Start& s, std::int64_t kernel, std::int64_t stride, std::int64_t pad) {
    Descriptor& d = s.d;
    d.kernel_h = d.kernel_w = u(kernel);
    d.stride_h = d.stride_w = u(stride);
    d.dilation_h = d.dilation_w = 1;
    d.pad_top = d.pad_left = u(pad);
    d.out_h = (d.in_h + 2 * d.pad_top - d.kernel_h) / d.stride_h + 1;
    d.out_w = (d.in_w + 2 * d.pad_left - d.kernel_w) / d.stride_w + 1;
    json& p = s.layer.text["params"];
    p["stride_h"] = p["stride_w"] = stride;
    p["pad_h"] = p["pad_w"] = pad;
    p["out_h"] = d.out_h;
    p["out_w"] = d.out_w;
  }
  void matrix(Start& s, const Tensor& w, std::uint32_t rows) {
    Descriptor& d = s.d;
    json& t = s.layer.text;
    t["requant"] = "double32";
    const std::size_t columns = w.data.size() / rows;
    d.w_pitch = static_cast<std::uint32_t>((columns + 63) / 64 * 64);
    d.flags |= spec::kFlagW8;
    d.w_addr = place(s, nullptr, std::size_t{rows} * d.w_pitch);
    for (std::size_t r = 0; r < rows; ++r) {
      std::memcpy(s.memory.data() + d.w_addr + r * d.w_pitch, w.data.data() + r * columns, columns);
    }
    t["tensors"]["weights"] = to_json(w);
    t["tensors"]["bias"] = nullptr;
    if (in(0, 2) != 0) {
      std::vector<std::int32_t> bias(d.out_c);
      for (auto& b : bias) b = static_cast<std::int32_t>(in(-20000, 20000));
      d.bias_addr = place(s, bias.data(), bias.size() * 4);
      d.flags |= spec::kFlagHasBias;
      t["tensors"]["bias"] = to_json(bias);
    }
    const std::size_t scales = in(0, 2) == 0 ? 1 : d.out_c;
    std::vector<std::int32_t> m(scales), e(scales), table;
    for (auto& v : m) v = static_cast<std::int32_t>(in(1 << 30, 0x7fffffff));
    for (auto& v : e) v = static_cast<std::int32_t>(in(-9, -7));
    for (std::size_t o = 0; o < d.out_c; ++o) {
      table.push_back(m[scales == 1 ? 0 : o]);
      table.push_back(e[scales == 1 ? 0 : o]);
    }
    d.rq_addr = place(s, table.data(), table.size() * 4);
    t["tensors"]["multiplier"] = to_json(m);
    t["tensors"]["shift"] = to_json(e);
    json& p = t["params"];
    p["input_zero_point"] = d.in_zp = zero();
    p["output_zero_point"] = d.out_zp = zero();
    p["act_min"] = d.act_min = static_cast<std::int32_t>(in(-128, -60));
    p["act_max"] = d.act_max = static_cast<std::int32_t>(in(60, 127));
    d.w_keep = d.b_keep = 256;
  }
  static BuiltLayer finish(Start& s, std::vector<std::int64_t> shape) {
    std::int64_t n = 1;
    for (const std::int64_t e : shape) n *= e;
    s.d.out_addr = place(s, nullptr, static_cast<std::size_t>(n));
    s.memory.resize(s.memory.size() + 64);
    const reference::Registers none;
    reference::Model(s.memory, none).run(s.d);
    s.layer.out = {std::move(shape), std::vector<std::int8_t>(static_cast<std::size_t>(n))};
    std::memcpy(s.layer.out.data.data(), s.memory.data() + s.d.out_addr,
                static_cast<std::size_t>(n));
    return s.layer;
  }

  lastmile::Rng rng_;
};

// A case of one operator.
inline std::string single(BuiltLayer layer, const Tensor& x, const Tensor* y = nullptr) {
  json& t = layer.text["tensors"];
  t[y == nullptr ? "input" : "input1"] = to_json(x);
  if (y != nullptr) t["input2"] = to_json(*y);
  t["expected"] = to_json(layer.out);
  layer.text["name"] = "generated";
  return layer.text.dump();
}

}  // namespace layer_builder
