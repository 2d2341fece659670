// SPDX-License-Identifier: Apache-2.0
// Constants of an ONNX file, and where their data may be.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "sw/base/float16.hpp"
#include "sw/base/io.hpp"
#include "sw/graph/network.hpp"
#include "sw/import/onnx_file.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;
using importing::shown;

Constant File::tensor(const onnx::TensorProto& t) {
  const std::string name = fmt::format("tensor \"{}\"", shown(t.name()));
  Constant c;
  c.type = t.data_type();
  std::int64_t elements = 1;
  for (const std::int64_t d : t.dims()) {
    if (d < 0 || d > kMaxElements || (elements *= std::max<std::int64_t>(d, 1)) > kMaxElements)
      throw Refusal{
          fmt::format("{}: dimension {} is {}, expected 0 or more and at most {} "
                      "elements in all",
                      name, c.dims.size(), d, kMaxElements)};
    c.dims.push_back(d);
  }
  for (const std::int64_t d : c.dims)
    if (d == 0) elements = 0;
  const auto n = static_cast<std::size_t>(elements);
  std::vector<std::uint8_t> outside;
  std::span<const std::uint8_t> raw;
  if (t.data_location() == onnx::TensorProto::EXTERNAL) {
    outside = external_data(t, name);
    raw = outside;
  } else if (t.has_raw_data()) {
    raw = {reinterpret_cast<const std::uint8_t*>(t.raw_data().data()), t.raw_data().size()};
  }
  const bool packed = t.data_location() == onnx::TensorProto::EXTERNAL || t.has_raw_data();
  const auto require = [&](std::size_t found, std::size_t expected, const char* what) {
    if (found != expected)
      throw Refusal{
          fmt::format("{} has {} {}, expected {} for its shape", name, found, what, expected)};
  };
  const auto numbers = [&]<class T>(T, const auto& typed, auto& out) {
    using Out = typename std::remove_reference_t<decltype(out)>::value_type;
    if (packed) {
      require(raw.size(), n * sizeof(T), "bytes");
      for (std::size_t i = 0; i < n; ++i) {
        T v;
        std::memcpy(&v, raw.data() + i * sizeof(T), sizeof(T));
        out.push_back(static_cast<Out>(v));
      }
    } else {
      require(static_cast<std::size_t>(typed.size()), n, "values");
      for (const auto v : typed) out.push_back(static_cast<Out>(static_cast<T>(v)));
    }
  };
  const auto halves = [&](auto&& decode) {
    std::vector<std::int64_t> bits;
    numbers(std::uint16_t{}, t.int32_data(), bits);
    for (const std::int64_t b : bits) c.reals.push_back(decode(static_cast<std::uint16_t>(b)));
  };
  c.is_integer = true;
  switch (t.data_type()) {
    case onnx::TensorProto::FLOAT:
      c.is_integer = false;
      numbers(float{}, t.float_data(), c.reals);
      break;
    case onnx::TensorProto::DOUBLE:
      c.is_integer = false;
      numbers(double{}, t.double_data(), c.reals);
      break;
    case onnx::TensorProto::FLOAT16:
      c.is_integer = false;
      halves(float_of_half);
      break;
    case onnx::TensorProto::BFLOAT16:
      c.is_integer = false;
      halves([](std::uint16_t b) {
        const std::uint32_t wide = std::uint32_t{b} << 16;
        float v = 0;
        std::memcpy(&v, &wide, sizeof v);
        return v;
      });
      break;
    case onnx::TensorProto::INT64:
      numbers(std::int64_t{}, t.int64_data(), c.integers);
      break;
    case onnx::TensorProto::INT32:
      numbers(std::int32_t{}, t.int32_data(), c.integers);
      break;
    case onnx::TensorProto::INT16:
      numbers(std::int16_t{}, t.int32_data(), c.integers);
      break;
    case onnx::TensorProto::INT8:
      numbers(std::int8_t{}, t.int32_data(), c.integers);
      break;
    case onnx::TensorProto::UINT8:
    case onnx::TensorProto::BOOL:
      numbers(std::uint8_t{}, t.int32_data(), c.integers);
      break;
    default:
      throw Refusal{
          fmt::format("{} has data type {}, expected FLOAT, DOUBLE, FLOAT16, BFLOAT16, "
                      "INT64, INT32, INT16, INT8, UINT8 or BOOL",
                      name, t.data_type())};
  }
  return c;
}

// Data beside the model: a file in its folder and nowhere else.
std::vector<std::uint8_t> File::external_data(const onnx::TensorProto& t, const std::string& name) {
  namespace fs = std::filesystem;
  std::string location;
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> length;
  for (const auto& e : t.external_data()) {
    try {
      if (e.key() == "location") location = e.value();
      if (e.key() == "offset") offset = std::stoull(e.value());
      if (e.key() == "length") length = std::stoull(e.value());
    } catch (const std::exception&) {
      throw Refusal{fmt::format("{}: its external {} is \"{}\", expected a number", name, e.key(),
                                shown(e.value()))};
    }
  }
  const auto refuse = [&](const std::string& why) {
    throw Refusal{fmt::format("{}: its data are in \"{}\", {}", name, shown(location), why)};
  };
  if (folder_.empty()) refuse("which cannot be read without the model's folder");
  std::error_code ec;
  const fs::path base = fs::canonical(folder_, ec);
  if (ec) refuse("but the model's folder cannot be found");
  const fs::path path = fs::weakly_canonical(base / location, ec);
  const auto [end, inside] = std::mismatch(base.begin(), base.end(), path.begin(), path.end());
  if (location.empty() || ec || end != base.end() || inside == path.end())
    refuse("expected a file in the model's folder");
  const std::vector<std::uint8_t> all = read_file(path);
  if (external_.insert(path).second) budget_.grow(all.size());
  const std::uint64_t bytes =
      length.value_or(all.size() - std::min<std::uint64_t>(offset, all.size()));
  if (offset > all.size() || bytes > all.size() - offset)
    refuse(fmt::format("bytes {} to {}, but the file has {}", offset, offset + bytes, all.size()));
  const auto from = all.begin() + static_cast<std::ptrdiff_t>(offset);
  return {from, from + static_cast<std::ptrdiff_t>(bytes)};
}

}  // namespace lastmile::from_onnx
