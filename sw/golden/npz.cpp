// SPDX-License-Identifier: Apache-2.0
#include "sw/golden/npz.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/golden/checkpoint.hpp"

namespace lastmile {
namespace {

using Bytes = std::span<const std::uint8_t>;

[[noreturn]] void fail(const std::string& name, const std::string& text) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", name, text));
}

}  // namespace

std::vector<std::uint8_t> encode_weights(const Network& network, const FloatParams<float>& params) {
  check_params(network, params, "weights to write");
  FloatParams<float> copy = params;
  std::vector<std::pair<std::string, NpyArray>> arrays;
  for (const NamedTensor& t : named_tensors(network, copy))
    arrays.emplace_back(t.name, NpyArray{{t.shape.begin(), t.shape.end()}, std::move(*t.values)});
  return encode_npz(arrays);
}

FloatParams<float> decode_weights(Bytes bytes, const std::string& name, const Network& network) {
  const std::vector<NpzEntry> entries = npz_entries(bytes, name);
  std::map<std::string, const NpzEntry*> found;
  for (const NpzEntry& e : entries)
    if (!found.emplace(e.name, &e).second)
      fail(name, fmt::format("two arrays are called \"{}\"", e.name));
  FloatParams<float> params = zero_params<float>(network);
  const std::vector<NamedTensor> tensors = named_tensors(network, params);
  // Names and shapes first: only what the network has room for is inflated.
  std::vector<const NpzEntry*> wanted;
  for (const NamedTensor& t : tensors) {
    const auto it = found.find(t.name);
    const std::vector<std::int64_t> shape(t.shape.begin(), t.shape.end());
    if (it == found.end())
      fail(name, fmt::format("it has no array \"{}\" of {}, which network {} needs", t.name,
                             fmt::join(shape, " x "), network.name));
    if (it->second->header.shape != shape)
      fail(name, fmt::format("array \"{}\" is {}, expected {}", t.name,
                             fmt::join(it->second->header.shape, " x "), fmt::join(shape, " x ")));
    wanted.push_back(it->second);
    found.erase(it);
  }
  if (!found.empty())
    fail(name, fmt::format("array \"{}\" is none of network {}", found.begin()->first.substr(0, 80),
                           network.name));
  for (std::size_t i = 0; i < tensors.size(); ++i)
    *tensors[i].values = read_array(*wanted[i]).values;
  check_params(network, params, name);
  return params;
}

void save_weights(const std::filesystem::path& path, const Network& network,
                  const FloatParams<float>& params, const std::string& preprocessing) {
  if (path.extension() == ".npz")
    write_file_atomic(path, encode_weights(network, params));
  else
    save_checkpoint(path, network, params, preprocessing);
}

FloatParams<float> load_weights(const std::filesystem::path& path, const Network& network) {
  if (path.extension() == ".npz") return decode_weights(read_file(path), path.string(), network);
  return load_checkpoint(path, network);
}

}  // namespace lastmile
