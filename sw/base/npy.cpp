// SPDX-License-Identifier: Apache-2.0
#include "sw/base/npy.hpp"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "sw/base/error.hpp"
#include "sw/base/float16.hpp"
#include "sw/base/io.hpp"

namespace lastmile {
namespace {

using Bytes = std::span<const std::uint8_t>;
constexpr std::int64_t kMostElements = std::int64_t{1} << 31;
constexpr std::size_t kMostRank = 8;

[[noreturn]] void fail(const std::string& name, const std::string& text) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", name, text));
}

template <class T>
T load(Bytes bytes, std::size_t at) {
  T v{};
  std::memcpy(&v, bytes.data() + at, sizeof v);
  return v;
}
template <class T>
void store(std::vector<std::uint8_t>& out, T v) {
  const auto* from = reinterpret_cast<const std::uint8_t*>(&v);
  out.insert(out.end(), from, from + sizeof v);
}

// What stands behind 'key': in numpy's header, up to the next comma outside brackets.
std::string entry(const std::string& header, const std::string& key, const std::string& name) {
  std::size_t at = header.find("'" + key + "'");
  if (at == std::string::npos) fail(name, fmt::format("its header has no '{}'", key));
  at = header.find(':', at);
  if (at == std::string::npos) fail(name, fmt::format("its header has no value of '{}'", key));
  at = header.find_first_not_of(' ', at + 1);
  if (at == std::string::npos) fail(name, fmt::format("its header has no value of '{}'", key));
  const bool tuple = header[at] == '(';
  const std::size_t end = tuple ? header.find(')', at) : header.find_first_of(",}", at);
  if (end == std::string::npos) fail(name, fmt::format("the value of '{}' does not end", key));
  return header.substr(at, end - at + (tuple ? 1 : 0));
}

std::vector<std::int64_t> shape_of(const std::string& text, const std::string& name) {
  std::vector<std::int64_t> shape;
  std::int64_t elements = 1;
  for (std::size_t i = 1; i < text.size();) {
    if (text[i] < '0' || text[i] > '9') {
      if (text[i] != ' ' && text[i] != ',' && text[i] != ')')
        fail(name, fmt::format("shape is {}, expected numbers", text));
      ++i;
      continue;
    }
    std::int64_t d = 0;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i) {
      d = d * 10 + (text[i] - '0');
      if (d > kMostElements) fail(name, fmt::format("shape is {}, too many elements", text));
    }
    shape.push_back(d);
    if ((elements *= std::max<std::int64_t>(d, 1)) > kMostElements || shape.size() > kMostRank)
      fail(name, fmt::format("shape is {}, expected at most {} dimensions and {} elements", text,
                             kMostRank, kMostElements));
  }
  return shape;
}

template <class T>
void convert(Bytes data, std::vector<float>& out) {
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = static_cast<float>(load<T>(data, i * sizeof(T)));
}

struct ElementType {
  std::size_t bytes;
  void (*convert)(Bytes, std::vector<float>&);
};
const std::map<std::string, ElementType>& element_types() {
  static const std::map<std::string, ElementType> all = {
      {"<f4", {4, convert<float>}},
      {"<f8", {8, convert<double>}},
      {"<f2",
       {2,
        [](Bytes data, std::vector<float>& out) {
          for (std::size_t i = 0; i < out.size(); ++i)
            out[i] = float_of_half(load<std::uint16_t>(data, 2 * i));
        }}},
      {"|i1", {1, convert<std::int8_t>}},
      {"|u1", {1, convert<std::uint8_t>}},
      {"<i2", {2, convert<std::int16_t>}},
      {"<u2", {2, convert<std::uint16_t>}},
      {"<i4", {4, convert<std::int32_t>}},
      {"<u4", {4, convert<std::uint32_t>}},
      {"<i8", {8, convert<std::int64_t>}},
  };
  return all;
}

// First dimension fastest to last dimension fastest.
void reorder(NpyArray& a) {
  std::vector<float> out(a.values.size());
  std::vector<std::int64_t> index(a.shape.size(), 0);
  for (float& v : out) {
    std::size_t from = 0, step = 1;
    for (std::size_t d = 0; d < index.size(); ++d) {
      from += static_cast<std::size_t>(index[d]) * step;
      step *= static_cast<std::size_t>(a.shape[d]);
    }
    v = a.values[from];
    for (std::size_t d = index.size(); d-- > 0;) {
      if (++index[d] < a.shape[d]) break;
      index[d] = 0;
    }
  }
  a.values = std::move(out);
}

// Deflated data, a part at a time.
class Inflater {
 public:
  Inflater(Bytes from, std::string name) : name_(std::move(name)) {
    if (inflateInit2(&z_, -MAX_WBITS) != Z_OK) fail(name_, "zlib cannot be started");
    z_.next_in = const_cast<Bytef*>(from.data());
    z_.avail_in = static_cast<uInt>(from.size());
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater() { inflateEnd(&z_); }

  // Fills `to`.
  void next(std::span<std::uint8_t> to) {
    z_.next_out = to.data();
    z_.avail_out = static_cast<uInt>(to.size());
    while (z_.avail_out != 0) {
      const int code = ended_ ? Z_DATA_ERROR : inflate(&z_, Z_SYNC_FLUSH);
      ended_ = code == Z_STREAM_END;
      if (code != Z_OK && !ended_) fail(name_, "its compressed data are damaged");
    }
  }
  // Nothing may follow what was taken.
  void end() {
    std::uint8_t more = 0;
    z_.next_out = &more;
    z_.avail_out = 1;
    if (!ended_ && (inflate(&z_, Z_SYNC_FLUSH) != Z_STREAM_END || z_.avail_out == 0))
      fail(name_, "its compressed data are damaged");
  }

 private:
  std::string name_;
  z_stream z_{};
  bool ended_ = false;
};

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50;
constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22;

constexpr std::size_t kPrefixBytes = 12, kMostHeaderBytes = std::size_t{1} << 20;

// Bytes of the header of an array of `size` bytes in all, from its first kPrefixBytes.
std::size_t header_bytes(Bytes beginning, std::size_t size, const std::string& name) {
  if (beginning.size() < 10 || std::memcmp(beginning.data(), "\x93NUMPY", 6) != 0)
    fail(name, "it does not begin with \\x93NUMPY");
  const int major = beginning[6];
  if (major < 1 || major > 3) fail(name, fmt::format("format {} of .npy, expected 1 to 3", major));
  const std::size_t prefix = major == 1 ? 10 : kPrefixBytes;
  if (beginning.size() < prefix) fail(name, "it ends in its header");
  const std::size_t length =
      major == 1 ? load<std::uint16_t>(beginning, 8) : load<std::uint32_t>(beginning, 8);
  if (length > size - prefix) fail(name, "it ends in its header");
  if (length > kMostHeaderBytes)
    fail(name, fmt::format("a header of {} bytes, expected at most {}", length, kMostHeaderBytes));
  return prefix + length;
}

// `bytes`: the header alone, of an array of `size` bytes in all. The size is that of its shape.
NpyHeader parse_npy_header(Bytes bytes, std::size_t size, const std::string& name) {
  const std::size_t prefix = bytes[6] == 1 ? 10 : kPrefixBytes;
  const std::string header(reinterpret_cast<const char*>(bytes.data()) + prefix,
                           bytes.size() - prefix);
  std::string type = entry(header, "descr", name);
  std::erase_if(type, [](char c) { return c == '\'' || c == '"' || c == ' '; });
  const auto known = element_types().find(type);
  if (known == element_types().end())
    fail(name, fmt::format("element type is {}, expected little-endian f2, f4, f8, i1, u1, i2, u2, "
                           "i4, u4 or i8",
                           type.substr(0, 16)));
  NpyHeader h;
  h.shape = shape_of(entry(header, "shape", name), name);
  h.type = known->first;
  h.bytes = bytes.size();
  const std::size_t data = size - bytes.size();
  const std::size_t expected = h.elements() * known->second.bytes;
  if (data != expected)
    fail(name, fmt::format("{} bytes of data, expected {} for its shape and type", data, expected));
  h.fortran = entry(header, "fortran_order", name).find("True") != std::string::npos;
  return h;
}

NpyArray array_of(const NpyHeader& header, Bytes data) {
  NpyArray a;
  a.shape = header.shape;
  a.values.resize(header.elements());
  element_types().at(header.type).convert(data, a.values);
  if (header.fortran) reorder(a);
  return a;
}

void read_header(NpzEntry& e) {
  std::vector<std::uint8_t> beginning(std::min(e.size, kPrefixBytes));
  if (!e.deflated) {
    const std::size_t bytes = header_bytes(e.packed.first(beginning.size()), e.size, e.where);
    e.header = parse_npy_header(e.packed.first(bytes), e.size, e.where);
    return;
  }
  Inflater in(e.packed, e.where);
  in.next(beginning);
  const std::size_t bytes = header_bytes(beginning, e.size, e.where);
  const std::size_t known = std::min(bytes, beginning.size());
  beginning.resize(bytes);
  in.next(std::span(beginning).subspan(known));
  e.header = parse_npy_header(beginning, e.size, e.where);
}

// The same without keeping anything.
void check_array(const NpzEntry& e) {
  std::uint32_t checksum = e.deflated ? 0 : crc32(e.packed);
  if (e.deflated) {
    Inflater in(e.packed, e.where);
    std::vector<std::uint8_t> part(std::size_t{1} << 16);
    for (std::size_t left = e.size; left != 0; left -= part.size()) {
      part.resize(std::min(left, part.size()));
      in.next(part);
      checksum = crc32(part, checksum);
    }
    in.end();
  }
  if (checksum != *e.checksum) fail(e.where, "its checksum is wrong");
}

}  // namespace

std::size_t NpyHeader::elements() const {
  std::int64_t n = 1;
  for (const std::int64_t d : shape) n *= d;
  return static_cast<std::size_t>(n);
}

std::vector<NpzEntry> npz_entries(Bytes bytes, const std::string& name) {
  if (bytes.size() < kEndBytes) fail(name, "it is too short for a ZIP archive");
  std::size_t end = bytes.size() - kEndBytes;
  const std::size_t least = end > 65535 ? end - 65535 : 0;  // a comment may follow
  while (load<std::uint32_t>(bytes, end) != kEnd) {
    if (end == least) fail(name, "it has no directory of a ZIP archive at its end");
    --end;
  }
  const std::size_t count = load<std::uint16_t>(bytes, end + 10);
  std::size_t at = load<std::uint32_t>(bytes, end + 16);
  std::size_t left = kDefaultReadLimit;
  std::vector<NpzEntry> out;
  for (std::size_t i = 0; i < count; ++i) {
    if (at > end || end - at < kCentralBytes || load<std::uint32_t>(bytes, at) != kCentral)
      fail(name, fmt::format("entry {} of its directory is damaged", i));
    NpzEntry e;
    const auto method = load<std::uint16_t>(bytes, at + 10);
    e.checksum = load<std::uint32_t>(bytes, at + 16);
    const std::size_t packed = load<std::uint32_t>(bytes, at + 20);
    e.size = load<std::uint32_t>(bytes, at + 24);
    const std::size_t name_bytes = load<std::uint16_t>(bytes, at + 28);
    const std::size_t behind =
        std::size_t{load<std::uint16_t>(bytes, at + 30)} + load<std::uint16_t>(bytes, at + 32);
    const std::size_t local = load<std::uint32_t>(bytes, at + 42);
    if (end - at - kCentralBytes < name_bytes + behind)
      fail(name, fmt::format("entry {} of its directory is damaged", i));
    e.name.assign(reinterpret_cast<const char*>(bytes.data()) + at + kCentralBytes, name_bytes);
    at += kCentralBytes + name_bytes + behind;
    e.where = fmt::format("{}: entry \"{}\"", name, e.name.substr(0, 80));
    if (local > bytes.size() || bytes.size() - local < kLocalBytes ||
        load<std::uint32_t>(bytes, local) != kLocal)
      fail(e.where, "its place in the archive is damaged");
    const std::size_t from = local + kLocalBytes + load<std::uint16_t>(bytes, local + 26) +
                             load<std::uint16_t>(bytes, local + 28);
    if (from > bytes.size() || packed > bytes.size() - from) fail(e.where, "its data are cut off");
    if (e.size > left) fail(e.where, "the arrays are larger than 2 GiB in all");
    left -= e.size;
    e.packed = bytes.subspan(from, packed);
    e.deflated = method == 8;
    if (!e.deflated && (method != 0 || packed != e.size))
      fail(e.where, "expected an entry that is stored or deflated");
    // Deflate never does better than 1032 to 1: a larger size is a lie.
    if (e.deflated && e.size / 1032 > packed)
      fail(e.where, "its compressed data are shorter than its size allows");
    if (e.name.ends_with(".npy")) e.name.resize(e.name.size() - 4);
    read_header(e);
    out.push_back(std::move(e));
  }
  return out;
}

NpzEntry npy_entry(Bytes bytes, const std::string& name) {
  NpzEntry e;
  e.where = name;
  e.packed = bytes;
  e.size = bytes.size();
  const std::size_t header =
      header_bytes(bytes.first(std::min(bytes.size(), kPrefixBytes)), bytes.size(), name);
  e.header = parse_npy_header(bytes.first(header), bytes.size(), name);
  return e;
}

NpyArray read_array(const NpzEntry& e) {
  std::vector<std::uint8_t> inflated;
  if (e.deflated) {
    inflated.resize(e.size);
    Inflater in(e.packed, e.where);
    in.next(inflated);
    in.end();
  }
  const Bytes content = e.deflated ? Bytes(inflated) : e.packed;
  if (e.checksum && crc32(content) != *e.checksum) fail(e.where, "its checksum is wrong");
  return array_of(e.header, content.subspan(e.header.bytes));
}

NpyArray parse_npy(Bytes bytes, const std::string& name) {
  return read_array(npy_entry(bytes, name));
}

std::vector<std::pair<std::string, NpyArray>> parse_npz(Bytes bytes, const std::string& name) {
  std::vector<std::pair<std::string, NpyArray>> out;
  for (const NpzEntry& e : npz_entries(bytes, name)) out.emplace_back(e.name, read_array(e));
  return out;
}

std::vector<NpzShape> npz_shapes(Bytes bytes, const std::string& name) {
  std::vector<NpzShape> out;
  for (NpzEntry& e : npz_entries(bytes, name)) {
    check_array(e);
    out.push_back({std::move(e.name), std::move(e.header.shape)});
  }
  return out;
}

std::vector<std::uint8_t> encode_npy(const NpyArray& a) {
  std::string shape;
  for (const std::int64_t d : a.shape) shape += fmt::format("{}, ", d);
  if (a.shape.size() > 1) shape.resize(shape.size() - 2);
  if (a.shape.size() == 1) shape.resize(shape.size() - 1);
  std::string header =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}", shape);
  // numpy wants the data aligned to 64 bytes.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  std::vector<std::uint8_t> out{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  out.reserve(10 + header.size() + a.values.size() * sizeof(float));
  store(out, static_cast<std::uint16_t>(header.size()));
  out.insert(out.end(), header.begin(), header.end());
  const auto data = bytes_of(std::span(a.values));
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

std::vector<std::uint8_t> encode_npz(std::span<const std::pair<std::string, NpyArray>> arrays) {
  std::vector<std::uint8_t> out, directory;
  for (const auto& [name, array] : arrays) {
    const std::vector<std::uint8_t> data = encode_npy(array);
    const std::string inner = name + ".npy";
    if (out.size() + data.size() > 0xffffffffU || arrays.size() > 65535)
      throw Error(ErrorKind::input, "more than 4 GiB or 65535 arrays for one .npz file");
    const auto at = static_cast<std::uint32_t>(out.size());
    const auto size = static_cast<std::uint32_t>(data.size());
    // Version, flags, method, time and date (1 January 1980), checksum, sizes, lengths.
    const auto common = [&](std::vector<std::uint8_t>& to) {
      for (const int v : {20, 0, 0, 0, 0x21}) store(to, static_cast<std::uint16_t>(v));
      store(to, crc32(data));
      store(to, size);
      store(to, size);
      store(to, static_cast<std::uint16_t>(inner.size()));
      store(to, std::uint16_t{0});
    };
    store(out, kLocal);
    common(out);
    out.insert(out.end(), inner.begin(), inner.end());
    out.insert(out.end(), data.begin(), data.end());
    store(directory, kCentral);
    store(directory, std::uint16_t{20});
    common(directory);
    for (int i = 0; i < 3; ++i) store(directory, std::uint16_t{0});  // comment, disk, attributes
    store(directory, std::uint32_t{0});
    store(directory, at);
    directory.insert(directory.end(), inner.begin(), inner.end());
  }
  const auto at = static_cast<std::uint32_t>(out.size());
  out.insert(out.end(), directory.begin(), directory.end());
  store(out, kEnd);
  store(out, std::uint32_t{0});
  for (int i = 0; i < 2; ++i) store(out, static_cast<std::uint16_t>(arrays.size()));
  store(out, static_cast<std::uint32_t>(directory.size()));
  store(out, at);
  store(out, std::uint16_t{0});
  return out;
}

}  // namespace lastmile
