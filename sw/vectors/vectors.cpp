// SPDX-License-Identifier: Apache-2.0
#include "sw/vectors/vectors.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <vector>

#include "cmodel/spec/npu_identity.hpp"
#include "cmodel/spec/registers.hpp"
#include "sw/base/error.hpp"
#include "sw/compiler/tiling.hpp"

namespace lastmile {
namespace {

namespace reg = spec::reg;
using spec::Descriptor;
using spec::Opcode;

std::uint32_t u32(std::int64_t v) { return static_cast<std::uint32_t>(v); }

// An activation in device memory.
struct Placed {
  std::uint32_t address = 0;
  std::vector<std::int64_t> shape;
  [[nodiscard]] std::int64_t elements() const {
    std::int64_t n = 1;
    for (const std::int64_t e : shape) n *= e;
    return n;
  }
};

class Runner {
 public:
  Runner(Device& device, const VectorCase& vectors, std::string file)
      : device_(device), case_(vectors), file_(std::move(file)), hw_(read_hardware(device)) {}

  VectorResult run() {
    VectorResult result{
        .name = case_.name, .op = case_.op, .passed = true, .compared = 0, .difference = {}};
    if (case_.input) input_ = place(*case_.input);
    for (layer_ = 0; layer_ < case_.layers.size(); ++layer_) {
      const VectorLayer& l = case_.layers[layer_];
      outputs_.push_back(execute(l));
      if (l.expected && !compare(l, outputs_.back(), result)) return result;
    }
    return result;
  }

 private:
  [[noreturn]] void fail(const std::string& field, const std::string& found,
                         const std::string& expected) const {
    throw Error(ErrorKind::input, fmt::format("{}: layer {}: {}: found {}, expected {}", file_,
                                              case_.layers[layer_].name, field, found, expected));
  }
  void demand(bool holds, const std::string& field, const std::string& found,
              const std::string& expected) const {
    if (!holds) fail(field, found, expected);
  }

  std::uint32_t allocate(std::uint64_t bytes) {
    const std::uint64_t at = next_;
    next_ = (at + bytes + spec::kAlign - 1) / spec::kAlign * spec::kAlign;
    if (next_ > std::min<std::uint64_t>(device_.memory_size(), 0xffffffff)) {
      fail("memory", fmt::format("{} bytes needed", next_),
           fmt::format("at most the device's {}", device_.memory_size()));
    }
    return static_cast<std::uint32_t>(at);
  }
  template <class T>
  std::uint32_t store(const std::vector<T>& values) {
    const std::uint32_t at = allocate(values.size() * sizeof(T));
    device_.write_memory(at, std::as_bytes(std::span<const T>(values)));
    return at;
  }
  Placed place(const VectorTensor& t) { return {store(t.data), t.shape}; }

  Placed input(const VectorOperand& o) {
    if (o.literal) return place(*o.literal);
    return o.layer < 0 ? input_ : outputs_[static_cast<std::size_t>(o.layer)];
  }

  static std::string shown(const std::vector<std::int64_t>& shape) {
    return fmt::format("[{}]", fmt::join(shape, ", "));
  }

  static std::vector<std::int64_t> without_ones(std::vector<std::int64_t> shape) {
    std::erase(shape, 1);
    return shape;
  }

  // NHWC extents of an activation.
  void image(const Placed& in, Descriptor& d) const {
    demand(in.shape.size() == 4, "input shape", shown(in.shape), "four extents, NHWC");
    for (std::size_t i = 0; i < 3; ++i)
      demand(in.shape[i] <= 65535, "input shape", shown(in.shape), "extents of at most 65535");
    demand(in.shape[3] <= 65536, "input shape", shown(in.shape), "at most 65536 channels");
    d.n = u32(in.shape[0]);
    d.in_h = u32(in.shape[1]);
    d.in_w = u32(in.shape[2]);
    d.in_c = u32(in.shape[3]);
  }

  void window(const VectorLayer& l, Descriptor& d, std::int64_t kernel_h,
              std::int64_t kernel_w) const {
    d.kernel_h = u32(kernel_h);
    d.kernel_w = u32(kernel_w);
    d.stride_h = u32(l.stride_h);
    d.stride_w = u32(l.stride_w);
    d.dilation_h = u32(l.dilation_h);
    d.dilation_w = u32(l.dilation_w);
    d.pad_top = u32(l.pad_h);
    d.pad_left = u32(l.pad_w);
    const auto extent = [&](std::int64_t given, std::size_t axis, std::int64_t in, std::int64_t pad,
                            std::int64_t kernel, std::int64_t dilation, std::int64_t stride) {
      if (given != 0) return given;
      if (l.expected && l.expected->shape.size() == 4) return l.expected->shape[axis];
      return (in + 2 * pad - (kernel - 1) * dilation - 1) / stride + 1;
    };
    const std::int64_t out_h =
        extent(l.out_h, 1, d.in_h, l.pad_h, kernel_h, l.dilation_h, l.stride_h);
    const std::int64_t out_w =
        extent(l.out_w, 2, d.in_w, l.pad_w, kernel_w, l.dilation_w, l.stride_w);
    demand(out_h >= 1 && out_h <= 65535, "out_h", std::to_string(out_h), "1..65535");
    demand(out_w >= 1 && out_w <= 65535, "out_w", std::to_string(out_w), "1..65535");
    d.out_h = u32(out_h);
    d.out_w = u32(out_w);
  }

  // Weight matrix with rows padded to the pitch.
  void weights(Descriptor& d, const std::vector<std::int8_t>& data, std::uint64_t rows) {
    const std::uint64_t columns = data.size() / rows;
    d.w_pitch =
        u32(static_cast<std::int64_t>((columns + spec::kAlign - 1) / spec::kAlign * spec::kAlign));
    std::vector<std::int8_t> padded(rows * d.w_pitch);
    for (std::uint64_t r = 0; r < rows; ++r)
      std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(r * columns), columns,
                  padded.begin() + static_cast<std::ptrdiff_t>(r * d.w_pitch));
    d.w_addr = store(padded);
    d.flags |= spec::kFlagW8;
  }

  void scales(const VectorLayer& l, Descriptor& d) {
    const auto per_channel = [&](const std::vector<std::int32_t>& v, const char* field) {
      demand(v.size() == 1 || v.size() == d.out_c, field, fmt::format("{} values", v.size()),
             fmt::format("1 or {}", d.out_c));
    };
    per_channel(l.multiplier, "multiplier");
    per_channel(l.shift, "shift");
    std::vector<std::int32_t> table(2 * std::size_t{d.out_c});
    for (std::size_t o = 0; o < d.out_c; ++o) {
      table[2 * o] = l.multiplier[l.multiplier.size() == 1 ? 0 : o];
      table[2 * o + 1] = l.shift[l.shift.size() == 1 ? 0 : o];
    }
    d.rq_addr = store(table);
    if (!l.bias.empty()) {
      demand(l.bias.size() == d.out_c, "bias", fmt::format("{} values", l.bias.size()),
             std::to_string(d.out_c));
      d.bias_addr = store(l.bias);
      d.flags |= spec::kFlagHasBias;
    }
    d.in_zp = l.input_zero_point;
    d.out_zp = l.output_zero_point;
    d.act_min = l.act_min;
    d.act_max = l.act_max;
    d.w_keep = d.b_keep = spec::kKeepAll;
  }

  Placed convolution(const VectorLayer& l) {
    Descriptor d;
    const Placed in = input(l.inputs[0]);
    image(in, d);
    const VectorTensor& w = *l.weights;
    demand(w.shape.size() == 4, "weights shape", shown(w.shape), "four extents, OHWI");
    d.opcode = static_cast<std::uint32_t>(Opcode::conv2d_);
    const std::int64_t groups = l.groups != 0 ? l.groups : d.in_c / w.shape[3];
    demand(groups >= 1 && groups * w.shape[3] == d.in_c, "weights shape", shown(w.shape),
           fmt::format("input channels / groups ({} / {}) as the last extent", d.in_c, groups));
    demand(w.shape[0] % groups == 0, "groups", std::to_string(groups),
           fmt::format("a divisor of the {} output channels", w.shape[0]));
    demand(w.shape[0] <= 65536 && w.shape[1] <= 65535 && w.shape[2] <= 65535, "weights shape",
           shown(w.shape), "extents below the NPU's limits");
    d.groups = u32(groups);
    d.out_c = u32(w.shape[0]);
    d.cin_group = u32(w.shape[3]);
    d.cout_group = d.out_c / d.groups;
    window(l, d, w.shape[1], w.shape[2]);
    weights(d, w.data, d.out_c);
    scales(l, d);
    return finish(d, in.address, {d.n, d.out_h, d.out_w, d.out_c});
  }

  Placed depthwise(const VectorLayer& l) {
    Descriptor d;
    const Placed in = input(l.inputs[0]);
    image(in, d);
    std::vector<std::int64_t> shape = l.weights->shape;
    if (shape.size() == 4 && shape[0] == 1) shape.erase(shape.begin());
    demand(shape.size() == 3, "weights shape", shown(shape), "three extents, HWO");
    d.opcode = static_cast<std::uint32_t>(Opcode::depthwise_);
    demand(shape[2] % d.in_c == 0 && shape[2] <= 65536 && shape[0] <= 65535 && shape[1] <= 65535,
           "weights shape", shown(shape),
           fmt::format("a multiple of the {} input channels as the last extent", d.in_c));
    d.groups = 1;
    d.out_c = u32(shape[2]);
    d.cout_group = d.out_c / d.in_c;
    window(l, d, shape[0], shape[1]);
    weights(d, l.weights->data, u32(shape[0] * shape[1]));
    scales(l, d);
    return finish(d, in.address, {d.n, d.out_h, d.out_w, d.out_c});
  }

  Placed fully_connected(const VectorLayer& l) {
    Descriptor d;
    const Placed in = input(l.inputs[0]);
    const VectorTensor& w = *l.weights;
    demand(w.shape.size() == 2 && w.shape[0] <= 65536 && w.shape[1] <= 65536, "weights shape",
           shown(w.shape), "two extents, OI, of at most 65536");
    demand(in.elements() % w.shape[1] == 0 && in.elements() / w.shape[1] <= 65535, "input shape",
           shown(in.shape), fmt::format("rows of the weights' {} inputs", w.shape[1]));
    d.opcode = static_cast<std::uint32_t>(Opcode::conv2d_);
    d.n = u32(in.elements() / w.shape[1]);
    d.groups = d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = 1;
    d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
    d.in_c = d.cin_group = u32(w.shape[1]);
    d.out_c = d.cout_group = u32(w.shape[0]);
    weights(d, w.data, d.out_c);
    scales(l, d);
    return finish(d, in.address, {d.n, d.out_c});
  }

  Placed pool(const VectorLayer& l) {
    Descriptor d;
    const Placed in = input(l.inputs[0]);
    image(in, d);
    d.opcode = static_cast<std::uint32_t>(Opcode::pool_);
    if (l.op == Op::max_pool2d) d.flags |= spec::kFlagMax;
    window(l, d, l.kernel_h, l.kernel_w);
    d.act_min = l.act_min;
    d.act_max = l.act_max;
    return finish(d, in.address, {d.n, d.out_h, d.out_w, d.in_c});
  }

  Placed add(const VectorLayer& l) {
    const Placed first = input(l.inputs[0]);
    const Placed second = input(l.inputs[1]);
    demand(first.elements() == second.elements(), "input2 shape", shown(second.shape),
           fmt::format("as many elements as input1, {}", shown(first.shape)));
    Placed out{allocate(static_cast<std::uint64_t>(first.elements())), first.shape};
    // one command holds n * in_c elements: whole rows of 65536, then the rest
    for (std::int64_t at = 0; at < first.elements();) {
      const std::int64_t rest = first.elements() - at;
      Descriptor d;
      d.opcode = static_cast<std::uint32_t>(Opcode::add_);
      d.in_c = u32(std::min<std::int64_t>(rest, 65536));
      d.n = u32(std::min<std::int64_t>(rest / d.in_c, 65535));
      d.in_addr = first.address + u32(at);
      d.in2_addr = second.address + u32(at);
      d.out_addr = out.address + u32(at);
      d.in_zp = l.input_zero_point;
      d.in2_zp = l.input2_zero_point;
      d.add_zp = l.output_zero_point;
      d.m1 = u32(l.multiplier1);
      d.m2 = u32(l.multiplier2);
      d.mo = u32(l.multiplier_out);
      d.e1 = l.shift1;
      d.e2 = l.shift2;
      d.eo = l.shift_out;
      d.add_shift = u32(l.left_shift);
      d.add_act_min = l.act_min;
      d.add_act_max = l.act_max;
      submit(d);
      at += std::int64_t{d.n} * d.in_c;
    }
    return out;
  }

  Placed softmax(const VectorLayer& l) {
    const Placed in = input(l.inputs[0]);
    demand(
        !in.shape.empty() && in.shape.back() <= 65536 && in.elements() / in.shape.back() <= 65535,
        "input shape", shown(in.shape), "rows of classes");
    if (in.shape.back() > spec::kSoftmaxClasses)
      throw Unsupported(fmt::format("{}: layer {}: softmax of {} classes, the NPU's has at most {}",
                                    file_, l.name, in.shape.back(), spec::kSoftmaxClasses));
    Descriptor d;
    d.opcode = static_cast<std::uint32_t>(Opcode::softmax_);
    d.in_c = u32(in.shape.back());
    d.n = u32(in.elements() / in.shape.back());
    d.m1 = u32(l.multiplier1);
    d.e1 = l.shift1;
    d.diff_min = l.diff_min;
    return finish(d, in.address, in.shape);
  }

  Placed finish(Descriptor& d, std::uint32_t in, std::vector<std::int64_t> shape) {
    Placed out{0, std::move(shape)};
    out.address = allocate(static_cast<std::uint64_t>(out.elements()));
    d.in_addr = in;
    d.out_addr = out.address;
    try {
      choose_tiles(d, hw_);
    } catch (const Error& e) {
      throw Unsupported(
          fmt::format("{}: layer {}: {}", file_, case_.layers[layer_].name, e.what()));
    }
    submit(d);
    return out;
  }

  Placed execute(const VectorLayer& l) {
    switch (l.op) {
      case Op::conv2d:
        return convolution(l);
      case Op::depthwise_conv2d:
        return depthwise(l);
      case Op::fully_connected:
        return fully_connected(l);
      case Op::add:
        return add(l);
      case Op::average_pool2d:
      case Op::max_pool2d:
        return pool(l);
      case Op::softmax:
        return softmax(l);
      case Op::global_average_pool:  // no file names these
      case Op::concat:
        break;
    }
    return {};
  }

  void submit(Descriptor d) {
    d.tag = u32(static_cast<std::int64_t>(layer_ & 0xffff));
    const spec::DescriptorWords words = spec::encode(d);
    const std::uint32_t at = allocate(sizeof words);
    device_.write_memory(at, std::as_bytes(std::span(words)));
    device_.annotate(fmt::format("vector {} layer {}", case_.name, case_.layers[layer_].name));
    device_.write_register(reg::kCtrl, spec::kSoftReset);
    device_.write_register(reg::kMemLimit, static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                               device_.memory_size(), 0xffffffff)));
    device_.write_register(reg::kPolarity, u32(static_cast<std::int64_t>(spec::Polarity::none_)));
    device_.write_register(reg::kIrqEnable,
                           reg::kIrqEnableDone.mask() | reg::kIrqEnableError.mask());
    device_.write_register(reg::kQueueAddr, at);
    device_.write_register(reg::kQueueCount, 1);
    device_.write_register(reg::kCtrl, spec::kStart);
    if (!device_.wait_interrupt())
      throw Error(ErrorKind::device,
                  fmt::format("{}: layer {}: the device never raised its interrupt", file_,
                              case_.layers[layer_].name));
    device_.write_register(reg::kIrqStatus,
                           reg::kIrqStatusDone.mask() | reg::kIrqStatusError.mask());
    const auto code = static_cast<spec::Error>(device_.read_register(reg::kErrorCode));
    if (code == spec::Error::none_) return;
    const std::uint32_t info = device_.read_register(reg::kErrorInfo);
    const std::string text =
        fmt::format("{}: layer {}: the NPU refuses the command: {} {}", file_,
                    case_.layers[layer_].name, spec::to_string(code), spec::info_text(code, info));
    // Limits of a build; a shape that contradicts itself is the file's fault.
    if (code == spec::Error::tile_ || code == spec::Error::unsupported_) throw Unsupported(text);
    throw Error(ErrorKind::input, text);
  }

  bool compare(const VectorLayer& l, const Placed& out, VectorResult& result) {
    const VectorTensor& expected = *l.expected;
    // Extents of 1 that only one of the two writes say nothing about where an element is.
    const bool same = expected.shape.size() == out.shape.size()
                          ? expected.shape == out.shape
                          : without_ones(expected.shape) == without_ones(out.shape);
    demand(same, "expected",
           fmt::format("{} elements, shape {}", expected.elements(), shown(expected.shape)),
           fmt::format("{} for the output {}", out.elements(), shown(out.shape)));
    std::vector<std::int8_t> found(expected.data.size());
    device_.read_memory(out.address, std::as_writable_bytes(std::span(found)));
    const auto [at, other] = std::mismatch(found.begin(), found.end(), expected.data.begin());
    result.compared += found.size();
    if (at == found.end()) return true;
    std::int64_t index = at - found.begin();
    std::vector<std::int64_t> place(expected.shape.size());
    for (std::size_t i = place.size(); i-- > 0; index /= expected.shape[i])
      place[i] = index % expected.shape[i];
    result.passed = false;
    result.difference = fmt::format("layer {}: output {}: found {}, expected {}", l.name,
                                    shown(place), *at, *other);
    return false;
  }

  Device& device_;
  const VectorCase& case_;
  std::string file_;
  spec::HardwareParams hw_;
  std::uint64_t next_ = 0;
  std::size_t layer_ = 0;
  Placed input_;
  std::vector<Placed> outputs_;
};

}  // namespace

spec::HardwareParams read_hardware(Device& device) {
  const std::uint32_t id = device.read_register(reg::kId);
  if (id != spec::kMagic)
    throw Error(ErrorKind::device,
                fmt::format("register ID is 0x{:08x}, expected 0x{:08x}", id, spec::kMagic));
  const std::uint32_t hash = device.read_register(reg::kSpec);
  if (hash != spec::kSpecHash) {
    throw Error(ErrorKind::device, fmt::format("register SPEC is 0x{:08x}, expected 0x{:08x}: the "
                                               "device was built from another npu.toml",
                                               hash, spec::kSpecHash));
  }
  spec::HardwareWords words{};
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = device.read_register(spec::kHardwareRegisters[i]);
  const spec::HardwareParams hw = spec::hardware_of(words);
  if (const auto bad = spec::bad_parameter(hw); !bad.empty()) {
    throw Error(ErrorKind::device, fmt::format("hardware parameter {} of the device (HW0 0x{:08x}, "
                                               "HW1 0x{:08x}) is none of those in npu.toml",
                                               bad, words[0], words[1]));
  }
  return hw;
}

VectorResult run_vector_case(Device& device, const VectorCase& vectors, const std::string& file) {
  return Runner(device, vectors, file).run();
}

VectorResult run_vector_file(Device& device, const std::filesystem::path& path) {
  return run_vector_case(device, read_vector_case(path), path.string());
}

}  // namespace lastmile
