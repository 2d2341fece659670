// SPDX-License-Identifier: Apache-2.0
// Whole networks as PyTorch exports them, with random weights.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "sw/base/rng.hpp"
#include "tests/import/onnx_builder.hpp"

namespace lastmile::testing {

class Exported {
 public:
  using Builder = OnnxBuilder;
  using Ints = Builder::Ints;

  struct Form {
    int opset = 13;
    int side = 32;  // rows and columns of the input
    int classes = 10;
    int width = 8;  // channels behind the first convolution; all others grow with it
  };
  Exported(const Form& form, std::uint64_t seed)
      : rng_(seed, 8), b_(form.opset, form.opset > 15 ? 8 : 7), form_(form) {}

  // Batch norm beside its convolution, as of a network that was exported while it trained; or
  // folded.
  Builder::Bytes resnet18(bool norms) {
    norms_ = norms;
    channels_ = 3;
    std::string x = b_.input({3, form_.side, form_.side});
    x = relu(conv(x, form_.width, 7, 2));
    auto* pool = b_.node("MaxPool", {x});
    Builder::set(pool, "kernel_shape", Ints{3, 3});
    Builder::set(pool, "strides", Ints{2, 2});
    Builder::set(pool, "pads", Ints{1, 1, 1, 1});
    if (form_.opset > 9) Builder::set(pool, "ceil_mode", std::int64_t{0});
    x = pool->output(0);
    for (int width = form_.width; width <= 8 * form_.width; width *= 2) {
      for (int block = 0; block < 2; ++block) {
        const int stride = block == 0 && width > form_.width ? 2 : 1, before = channels_;
        std::string y = relu(conv(x, width, 3, stride));
        y = conv(y, width, 3, 1);
        if (stride != 1 || before != width) {
          channels_ = before;
          x = conv(x, width, 1, stride);
        }
        x = relu(b_.node("Add", {y, x})->output(0));
      }
    }
    return b_.build(head(x));
  }

  Builder::Bytes mobilenet_v2(bool norms) {
    norms_ = norms;
    channels_ = 3;
    std::string x = relu6(conv(b_.input({3, form_.side, form_.side}), form_.width, 3, 2));
    struct Stage {
      int expand, width, count, stride;
    };
    for (const Stage& s : {Stage{1, 4, 1, 1},
                           {6, 6, 2, 2},
                           {6, 8, 3, 2},
                           {6, 16, 4, 2},
                           {6, 24, 3, 1},
                           {6, 40, 3, 2},
                           {6, 80, 1, 1}}) {
      for (int i = 0; i < s.count; ++i) {
        const int before = channels_, hidden = before * s.expand, stride = i == 0 ? s.stride : 1;
        const int width = s.width * form_.width / 8;
        std::string y = x;
        if (s.expand != 1) y = relu6(conv(y, hidden, 1, 1));
        y = relu6(conv(y, hidden, 3, stride, hidden));
        y = conv(y, width, 1, 1);
        x = stride == 1 && before == width ? b_.node("Add", {x, y})->output(0) : y;
      }
    }
    return b_.build(head(relu6(conv(x, 20 * form_.width, 1, 1))));
  }

  Builder::Bytes mobilenet_v1(bool norms) {
    norms_ = norms;
    channels_ = 3;
    std::string x = relu(conv(b_.input({3, form_.side, form_.side}), form_.width, 3, 2));
    int width = form_.width;
    for (const int stride : {1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1}) {
      if (stride == 2 || width == form_.width) width *= 2;
      x = relu(conv(x, channels_, 3, stride, channels_));
      x = relu(conv(x, width, 1, 1));
    }
    return b_.build(head(x));
  }

  // Dense layers alone, each with batch norm; the last puts out as many numbers as come in.
  Builder::Bytes autoencoder(const std::vector<int>& inner) {
    const int size = form_.side;
    channels_ = size;
    std::string x = b_.input({size});
    for (const int units : inner) x = relu(norm(dense(x, units)));
    return b_.build(dense(x, size));
  }

 private:
  std::vector<float> randoms(std::int64_t n, double low, double high) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(rng_.uniform(low, high)));
    return v;
  }
  std::string conv(const std::string& x, int filters, int kernel, int stride, int group = 1) {
    const std::int64_t each = channels_ / group;
    const double reach = std::sqrt(6.0 / static_cast<double>(each * kernel * kernel));
    const Ints shape{filters, each, kernel, kernel};
    std::vector<std::string> inputs{
        x, b_.floats(shape, randoms(filters * each * kernel * kernel, -reach, reach))};
    if (!norms_) inputs.push_back(b_.floats({filters}, randoms(filters, -0.1, 0.1)));
    auto* n = b_.node("Conv", inputs);
    const std::int64_t pad = kernel / 2;
    Builder::set(n, "dilations", Ints{1, 1});
    Builder::set(n, "group", std::int64_t{group});
    Builder::set(n, "kernel_shape", Ints{kernel, kernel});
    Builder::set(n, "pads", Ints{pad, pad, pad, pad});
    Builder::set(n, "strides", Ints{stride, stride});
    channels_ = filters;
    return norms_ ? norm(n->output(0)) : n->output(0);
  }
  std::string norm(const std::string& y) {
    const int filters = channels_;
    const Ints per{filters};
    auto* n = b_.node(
        "BatchNormalization",
        {y, b_.floats(per, randoms(filters, 0.7, 1.2)), b_.floats(per, randoms(filters, -0.2, 0.2)),
         b_.floats(per, randoms(filters, -0.2, 0.2)), b_.floats(per, randoms(filters, 0.7, 1.3))});
    Builder::set(n, "epsilon", 1e-5F);
    Builder::set(n, "momentum", 0.9F);
    if (form_.opset >= 14) Builder::set(n, "training_mode", std::int64_t{0});
    return n->output(0);
  }
  std::string relu(const std::string& x) { return b_.node("Relu", {x})->output(0); }
  // Bounds as nodes of their own.
  std::string bound(float v) {
    auto* n = b_.node("Constant", {});
    auto* a = n->add_attribute();
    a->set_name("value");
    a->set_type(onnx::AttributeProto::TENSOR);
    a->mutable_t()->set_data_type(onnx::TensorProto::FLOAT);
    a->mutable_t()->set_raw_data(&v, sizeof v);
    return n->output(0);
  }
  std::string relu6(const std::string& x) {
    return b_.node("Clip", {x, bound(0), bound(6)})->output(0);
  }
  std::string head(std::string x) {
    x = b_.node("GlobalAveragePool", {x})->output(0);
    auto* flat = b_.node("Flatten", {x});
    Builder::set(flat, "axis", std::int64_t{1});
    x = b_.node("Identity", {flat->output(0)})->output(0);  // a Dropout that no longer drops
    return dense(x, form_.classes);
  }
  std::string dense(const std::string& x, int units) {
    const double reach = std::sqrt(6.0 / channels_);
    auto* gemm = b_.node(
        "Gemm", {x, b_.floats({units, channels_}, randoms(units * channels_, -reach, reach)),
                 b_.floats({units}, randoms(units, -0.1, 0.1))});
    Builder::set(gemm, "alpha", 1.0F);
    Builder::set(gemm, "beta", 1.0F);
    Builder::set(gemm, "transB", std::int64_t{1});
    channels_ = units;
    return gemm->output(0);
  }

  Rng rng_;
  Builder b_;
  Form form_;
  int channels_ = 3;
  bool norms_ = false;
};

}  // namespace lastmile::testing
