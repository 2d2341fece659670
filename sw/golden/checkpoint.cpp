// SPDX-License-Identifier: Apache-2.0
#include "sw/golden/checkpoint.hpp"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/graph/reader.hpp"

namespace lastmile {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the file is little-endian, and so is memory");

constexpr char kMagic[8] = {'L', 'M', 'F', 'L', 'O', 'A', 'T', '\0'};
// Magic, version, length of the name, fingerprint, number of tensors and checksum: what the
// shortest file has.
constexpr std::size_t kShortest = 8 + 4 + 4 + 8 + 4 + 8;

std::vector<std::uint32_t> weight_shape(const Layer& l) {
  const auto u = [](int v) { return static_cast<std::uint32_t>(v); };
  if (l.op == Op::conv2d) return {u(l.filters), u(l.kernel_h), u(l.kernel_w), u(l.in.c / l.groups)};
  if (l.op == Op::depthwise_conv2d) return {u(l.kernel_h), u(l.kernel_w), u(l.filters)};
  return {u(l.filters), static_cast<std::uint32_t>(l.in.elements())};
}

class Writer {
 public:
  template <class T>
  void value(const T& v) {
    raw(&v, sizeof v);
  }
  void text(const std::string& s) {
    value(static_cast<std::uint32_t>(s.size()));
    raw(s.data(), s.size());
  }
  void raw(const void* data, std::size_t size) {
    const auto* from = static_cast<const std::uint8_t*>(data);
    bytes.insert(bytes.end(), from, from + size);
  }
  std::vector<std::uint8_t> bytes;
};

class Reader {
 public:
  Reader(std::span<const std::uint8_t> bytes, const std::string& name)
      : bytes_(bytes), name_(name) {}

  [[noreturn]] void fail(const std::string& text) const {
    throw Error(ErrorKind::input, fmt::format("{}: {}", name_, text));
  }
  void raw(void* to, std::size_t size, const std::string& what) {
    const std::size_t at = at_;
    skip(size, what);
    if (size > 0) std::memcpy(to, bytes_.data() + at, size);
  }
  void skip(std::size_t size, const std::string& what) {
    if (bytes_.size() - at_ < size) {
      fail(fmt::format("{} needs {} bytes at offset {}, but {} are left", what, size, at_,
                       bytes_.size() - at_));
    }
    at_ += size;
  }
  template <class T>
  T value(const std::string& what) {
    T v{};
    raw(&v, sizeof v, what);
    return v;
  }
  std::string text(const std::string& what) {
    const auto size = value<std::uint32_t>(what);
    if (bytes_.size() - at_ < size)
      fail(fmt::format("{} has length {}, but {} bytes are left", what, size, bytes_.size() - at_));
    std::string s(size, '\0');
    raw(s.data(), size, what);
    return s;
  }
  [[nodiscard]] std::size_t left() const { return bytes_.size() - at_; }

 private:
  std::span<const std::uint8_t> bytes_;
  const std::string& name_;
  std::size_t at_ = 0;
};

std::string shape_text(const std::vector<std::uint32_t>& shape) {
  std::string text;
  for (const std::uint32_t d : shape) text += fmt::format("{}{}", text.empty() ? "" : "x", d);
  return text;
}

// Mark, version and checksum; what follows is the network's name.
std::uint32_t read_prefix(Reader& in, std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kShortest || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    in.fail(fmt::format("{} bytes without the mark LMFLOAT, expected a checkpoint of float weights",
                        bytes.size()));
  }
  char magic[sizeof kMagic];
  in.raw(magic, sizeof magic, "mark");
  const auto version = in.value<std::uint32_t>("version");
  if (version != kCheckpointVersion && version != kPreprocessedCheckpointVersion) {
    in.fail(fmt::format("version is {}, expected {} or {}", version, kCheckpointVersion,
                        kPreprocessedCheckpointVersion));
  }
  std::uint64_t stored = 0;
  std::memcpy(&stored, bytes.data() + bytes.size() - sizeof stored, sizeof stored);
  const std::uint64_t sum = xxh64(bytes.first(bytes.size() - sizeof stored));
  if (stored != sum) {
    in.fail(fmt::format("checksum is {:016x}, expected {:016x}: the file is damaged or cut short",
                        stored, sum));
  }
  return version;
}

std::string read_preprocessing(Reader& in, std::uint32_t version) {
  if (version < kPreprocessedCheckpointVersion) return {};
  std::string text = in.text("preprocessing");
  if (text.empty()) in.fail("preprocessing is empty, expected some text in version 2");
  return text;
}

void read_end(const Reader& in) {
  constexpr std::size_t checksum = 8;
  if (in.left() != checksum)
    in.fail(fmt::format("{} bytes after the last tensor", in.left() - checksum));
}

void read_tensor(Reader& in, const NamedTensor& slot) {
  const std::string name = in.text("tensor name");
  if (name != slot.name) in.fail(fmt::format("tensor is '{}', expected '{}'", name, slot.name));
  const auto rank = in.value<std::uint32_t>(fmt::format("'{}' dimension count", name));
  if (rank != slot.shape.size()) {
    in.fail(fmt::format("'{}' has {} dimensions, expected {}", name, rank, slot.shape.size()));
  }
  std::vector<std::uint32_t> shape(rank);
  for (std::uint32_t& d : shape) d = in.value<std::uint32_t>(fmt::format("'{}' shape", name));
  if (shape != slot.shape) {
    in.fail(fmt::format("'{}' has shape {}, expected {}", name, shape_text(shape),
                        shape_text(slot.shape)));
  }
  in.raw(slot.values->data(), slot.values->size() * sizeof(float),
         fmt::format("'{}' values", name));
}

}  // namespace

std::vector<NamedTensor> named_tensors(const Network& network, FloatParams<float>& params) {
  std::vector<NamedTensor> slots;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    LayerParams<float>& p = params.layers[i];
    if (!p.weights.empty()) slots.push_back({l.name + "/weights", weight_shape(l), &p.weights});
    const std::pair<const char*, std::vector<float>*> rest[] = {{"bias", &p.bias},
                                                                {"gamma", &p.gamma},
                                                                {"beta", &p.beta},
                                                                {"mean", &p.mean},
                                                                {"variance", &p.variance}};
    for (const auto& [name, values] : rest) {
      if (!values->empty())
        slots.push_back({l.name + "/" + name, {static_cast<std::uint32_t>(l.filters)}, values});
    }
  }
  return slots;
}

std::vector<std::uint8_t> encode_checkpoint(const Network& network,
                                            const FloatParams<float>& params,
                                            const std::string& preprocessing) {
  check_params(network, params, fmt::format("weights of '{}'", network.name));
  FloatParams<float> copy = params;
  const std::vector<NamedTensor> slots = named_tensors(network, copy);
  Writer out;
  out.raw(kMagic, sizeof kMagic);
  out.value(preprocessing.empty() ? kCheckpointVersion : kPreprocessedCheckpointVersion);
  out.text(network.name);
  out.value(fingerprint(network));
  if (!preprocessing.empty()) out.text(preprocessing);
  out.value(static_cast<std::uint32_t>(slots.size()));
  for (const NamedTensor& slot : slots) {
    out.text(slot.name);
    out.value(static_cast<std::uint32_t>(slot.shape.size()));
    for (const std::uint32_t d : slot.shape) out.value(d);
    out.raw(slot.values->data(), slot.values->size() * sizeof(float));
  }
  out.value(xxh64(out.bytes));
  return std::move(out.bytes);
}

FloatParams<float> decode_checkpoint(std::span<const std::uint8_t> bytes, const std::string& name,
                                     const Network& network) {
  Reader in(bytes, name);
  const std::uint32_t version = read_prefix(in, bytes);
  const std::string network_name = in.text("network name");
  if (network_name != network.name) {
    in.fail(fmt::format("weights of network '{}', expected '{}'", network_name, network.name));
  }
  const auto print = in.value<std::uint64_t>("fingerprint");
  if (print != fingerprint(network)) {
    in.fail(
        fmt::format("fingerprint of network '{}' is {:016x}, expected {:016x}: it was saved for "
                    "another input shape, "
                    "number of classes or version of the network",
                    network_name, print, fingerprint(network)));
  }
  static_cast<void>(read_preprocessing(in, version));
  FloatParams<float> params = zero_params<float>(network);
  const std::vector<NamedTensor> slots = named_tensors(network, params);
  const auto count = in.value<std::uint32_t>("number of tensors");
  if (count != slots.size()) in.fail(fmt::format("{} tensors, expected {}", count, slots.size()));
  for (const NamedTensor& slot : slots) read_tensor(in, slot);
  read_end(in);
  check_params(network, params, name);
  return params;
}

CheckpointContents describe_checkpoint(std::span<const std::uint8_t> bytes,
                                       const std::string& name) {
  Reader in(bytes, name);
  const std::uint32_t version = read_prefix(in, bytes);
  CheckpointContents out;
  out.network = in.text("network name");
  out.fingerprint = in.value<std::uint64_t>("fingerprint");
  out.preprocessing = read_preprocessing(in, version);
  const auto count = in.value<std::uint32_t>("number of tensors");
  for (std::uint32_t i = 0; i < count; ++i) {
    CheckpointContents::Tensor t{in.text("tensor name"), {}};
    const auto rank = in.value<std::uint32_t>(fmt::format("'{}' dimension count", t.name));
    if (rank == 0 || rank > 4)
      in.fail(fmt::format("'{}' has {} dimensions, expected 1 to 4", t.name, rank));
    std::uint64_t size = sizeof(float);
    for (std::uint32_t d = 0; d < rank; ++d) {
      t.shape.push_back(in.value<std::uint32_t>(fmt::format("'{}' shape", t.name)));
      if (t.shape.back() == 0 || size > in.left() / t.shape.back()) {
        in.fail(fmt::format("'{}' has shape {}, but {} bytes are left", t.name, shape_text(t.shape),
                            in.left()));
      }
      size *= t.shape.back();
    }
    in.skip(size, fmt::format("'{}' values", t.name));
    out.tensors.push_back(std::move(t));
  }
  read_end(in);
  return out;
}

void save_checkpoint(const std::filesystem::path& path, const Network& network,
                     const FloatParams<float>& params, const std::string& preprocessing) {
  write_file_atomic(path, encode_checkpoint(network, params, preprocessing));
}

FloatParams<float> load_checkpoint(const std::filesystem::path& path, const Network& network) {
  return decode_checkpoint(read_file(path), path.string(), network);
}

}  // namespace lastmile
