// SPDX-License-Identifier: Apache-2.0
#include "sw/data/idx.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/gzip_head.hpp"
#include "sw/base/io.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", name, what));
}

struct Header {
  std::vector<std::uint32_t> dims;
  std::span<const std::uint8_t> data;
};

// `kinds` names the accepted dimension counts for the message.
Header parse_header(std::span<const std::uint8_t> bytes, const std::string& name, int min_dims,
                    int max_dims, std::string_view kinds) {
  if (bytes.size() < 4) fail(name, fmt::format("magic: {} bytes, expected 4", bytes.size()));
  const auto magic =
      fmt::format("{:02x} {:02x} {:02x} {:02x}", bytes[0], bytes[1], bytes[2], bytes[3]);
  if (bytes[0] != 0 || bytes[1] != 0)
    fail(name, fmt::format("magic: bytes {}, expected 00 00 08 and the number of dimensions "
                           "(not an IDX file)",
                           magic));
  if (bytes[2] != 0x08)
    fail(name, fmt::format("magic: element type {:02x}, expected 08 (unsigned bytes)", bytes[2]));
  const int count = bytes[3];
  if (count < min_dims || count > max_dims)
    fail(name, fmt::format("magic: {} dimensions, expected {}", count, kinds));
  const std::size_t header = 4 + 4 * static_cast<std::size_t>(count);
  if (bytes.size() < header)
    fail(name, fmt::format("header: {} bytes, expected {}", bytes.size(), header));
  Header h;
  for (std::size_t at = 4; at < header; at += 4)
    h.dims.push_back((std::uint32_t{bytes[at]} << 24) | (std::uint32_t{bytes[at + 1]} << 16) |
                     (std::uint32_t{bytes[at + 2]} << 8) | bytes[at + 3]);
  h.data = bytes.subspan(header);
  return h;
}

void check_dim(const std::string& name, std::string_view field, std::uint32_t value,
               std::uint32_t max) {
  if (value < 1 || value > max)
    fail(name, fmt::format("{}: {}, expected 1 to {}", field, value, max));
}

void check_size(const std::string& name, std::size_t found, std::uint64_t expected,
                std::string_view meaning) {
  if (found != expected)
    fail(name, fmt::format("data: {} bytes, expected {} ({}): {}", found, expected, meaning,
                           found < expected ? "truncated" : "bytes after the end"));
}

// The header of images, whose sizes are within the limits.
Header image_header(std::span<const std::uint8_t> bytes, const std::string& name) {
  Header h = parse_header(bytes, name, 3, 4, "3 or 4 (images)");
  check_dim(name, "images", h.dims[0], kIdxMaxExamples);
  check_dim(name, "rows", h.dims[1], kIdxMaxSide);
  check_dim(name, "columns", h.dims[2], kIdxMaxSide);
  check_dim(name, "channels", h.dims.size() == 4 ? h.dims[3] : 1, kIdxMaxChannels);
  return h;
}

// At most 10^7 * 2^12 * 2^12 * 2^4 < 2^52: no overflow.
std::uint64_t pixels_of(const Header& h) {
  std::uint64_t n = 1;
  for (const std::uint32_t d : h.dims) n *= d;
  return n;
}

void require_count(std::size_t labels, const std::string& labels_name, std::size_t images,
                   const std::string& images_name) {
  if (labels != images)
    fail(labels_name,
         fmt::format("labels: {}, expected {} (the images of {})", labels, images, images_name));
}

// The whole file of images. Compressed ones are decompressed only if they claim as many as there
// are labels, and no further than the end that they claim: a small file cannot cost memory.
std::vector<std::uint8_t> image_bytes(const fs::path& path, std::size_t labels,
                                      const std::string& labels_name) {
  constexpr std::size_t kLongestHeader = 20;
  std::vector<std::uint8_t> bytes = read_file(path);
  if (!is_gzip(bytes)) return bytes;
  const std::vector<std::uint8_t> head = gunzip_head(bytes, kLongestHeader);
  const Header h = image_header(head, path.string());
  require_count(labels, labels_name, h.dims[0], path.string());
  return gunzip(bytes, path.string(), 4 + 4 * h.dims.size() + pixels_of(h));
}

void append_u32(std::vector<std::uint8_t>& out, std::size_t value) {
  for (const int shift : {24, 16, 8, 0})
    out.push_back(static_cast<std::uint8_t>((value >> shift) & 0xff));
}

void write(const fs::path& path, std::span<const std::uint8_t> bytes) {
  write_file_atomic(
      path, path.extension() == ".gz" ? gzip(bytes) : std::vector(bytes.begin(), bytes.end()));
}

constexpr std::size_t kMostLabelBytes = kIdxMaxExamples + 8;

}  // namespace

ImageSet parse_idx_images(std::span<const std::uint8_t> bytes, const std::string& name) {
  const Header h = image_header(bytes, name);
  const std::uint32_t channels = h.dims.size() == 4 ? h.dims[3] : 1;
  check_size(name, h.data.size(), pixels_of(h),
             fmt::format("{} images of {}x{}x{}", h.dims[0], h.dims[1], h.dims[2], channels));
  ImageSet out;
  out.n = static_cast<int>(h.dims[0]);
  out.h = static_cast<int>(h.dims[1]);
  out.w = static_cast<int>(h.dims[2]);
  out.c = static_cast<int>(channels);
  out.pixels.assign(h.data.begin(), h.data.end());
  return out;
}

std::vector<Label> parse_idx_labels(std::span<const std::uint8_t> bytes, const std::string& name) {
  const Header h = parse_header(bytes, name, 1, 1, "1 (labels)");
  check_dim(name, "labels", h.dims[0], kIdxMaxExamples);
  check_size(name, h.data.size(), h.dims[0], fmt::format("{} labels", h.dims[0]));
  return {h.data.begin(), h.data.end()};
}

ImageSet join_idx(ImageSet images, const std::string& images_name, std::vector<Label> labels,
                  const std::string& labels_name, int classes) {
  require_count(labels.size(), labels_name, static_cast<std::size_t>(images.n), images_name);
  const int largest = labels.empty() ? 0 : *std::max_element(labels.begin(), labels.end());
  if (classes == 0) {
    classes = largest + 1;
    std::vector<bool> seen(static_cast<std::size_t>(classes));
    for (const Label label : labels) seen[label] = true;
    for (int k = 0; k < classes; ++k)
      if (!seen[static_cast<std::size_t>(k)])
        fail(labels_name, fmt::format("labels: the largest is {} but none is {}, expected "
                                      "every class from 0 to the largest",
                                      largest, k));
    if (classes < 2) fail(labels_name, "labels: all are 0, expected at least 2 classes");
  } else if (largest >= classes) {
    const auto at =
        std::find_if(labels.begin(), labels.end(), [&](Label label) { return label >= classes; });
    fail(labels_name,
         fmt::format("labels: {} at example {}, expected below {} (the number of classes)", *at,
                     at - labels.begin(), classes));
  }
  images.labels = std::move(labels);
  images.classes = classes;
  return images;
}

ImageSet read_idx(const fs::path& images, const fs::path& labels, int classes) {
  std::vector<Label> found =
      parse_idx_labels(read_file_maybe_gzip(labels, kMostLabelBytes), labels.string());
  ImageSet set =
      parse_idx_images(image_bytes(images, found.size(), labels.string()), images.string());
  return join_idx(std::move(set), images.string(), std::move(found), labels.string(), classes);
}

std::optional<IdxFolder> find_idx_folder(const fs::path& folder) {
  const auto find = [&](std::initializer_list<std::string_view> parts,
                        std::initializer_list<std::string_view> types) -> fs::path {
    std::error_code ignored;
    fs::path first;
    for (const std::string_view part : parts)
      for (const std::string_view type : types)
        for (const std::string_view sep : {"-", "."})
          for (const std::string_view gz : {"", ".gz"}) {
            auto path = folder / fmt::format("{}{}{}-ubyte{}", part, sep, type, gz);
            if (!fs::is_regular_file(path, ignored)) continue;
            if (first.empty()) {
              first = std::move(path);
            } else if (read_file_maybe_gzip(first) != read_file_maybe_gzip(path)) {
              fail(path.string(), fmt::format("its content differs from {}'s, expected one of the "
                                              "two, or the same in both",
                                              first.string()));
            }
          }
    return first;
  };
  IdxFolder out;
  out.train_images = find({"train-images"}, {"idx3", "idx4"});
  out.train_labels = find({"train-labels"}, {"idx1"});
  out.test_images = find({"t10k-images", "test-images"}, {"idx3", "idx4"});
  out.test_labels = find({"t10k-labels", "test-labels"}, {"idx1"});
  if (out.train_images.empty() && out.train_labels.empty() && out.test_images.empty() &&
      out.test_labels.empty())
    return std::nullopt;
  const auto require = [&](const fs::path& found, const char* usual) {
    if (found.empty())
      fail(folder.string(),
           fmt::format("no {0} or {0}.gz, expected beside the other IDX files", usual));
  };
  require(out.train_images, "train-images-idx3-ubyte");
  require(out.train_labels, "train-labels-idx1-ubyte");
  require(out.test_images, "t10k-images-idx3-ubyte");
  require(out.test_labels, "t10k-labels-idx1-ubyte");
  return out;
}

namespace {

// Of a set for an autoencoder: normal examples (0) to train on, tests with others (1). 0: of no
// such set, the labels say how many classes there are.
int normal_classes(const IdxFolder& files) {
  const auto largest = [](const fs::path& path) {
    const auto labels =
        parse_idx_labels(read_file_maybe_gzip(path, kMostLabelBytes), path.string());
    return labels.empty() ? 0 : *std::max_element(labels.begin(), labels.end());
  };
  return largest(files.train_labels) == 0 && largest(files.test_labels) == 1 ? 2 : 0;
}

}  // namespace

IdxTask read_idx_folder(const IdxFolder& files, int classes) {
  IdxTask task;
  task.train = read_idx(files.train_images, files.train_labels,
                        classes == 0 ? normal_classes(files) : classes);
  task.test = read_idx(files.test_images, files.test_labels, task.train.classes);
  if (task.test.h != task.train.h || task.test.w != task.train.w || task.test.c != task.train.c)
    fail(files.test_images.string(),
         fmt::format("images: {}x{}x{}, expected {}x{}x{} as in {}", task.test.h, task.test.w,
                     task.test.c, task.train.h, task.train.w, task.train.c,
                     files.train_images.string()));
  return task;
}

void write_idx_images(const fs::path& path, const ImageSet& images) {
  std::vector<std::uint8_t> out{0, 0, 8, static_cast<std::uint8_t>(images.c == 1 ? 3 : 4)};
  for (const int dim : {images.n, images.h, images.w})
    append_u32(out, static_cast<std::size_t>(dim));
  if (images.c != 1) append_u32(out, static_cast<std::size_t>(images.c));
  out.insert(out.end(), images.pixels.begin(), images.pixels.end());
  write(path, out);
}

void write_idx_labels(const fs::path& path, std::span<const Label> labels) {
  std::vector<std::uint8_t> out{0, 0, 8, 1};
  append_u32(out, labels.size());
  for (const Label label : labels) {
    if (label > 0xff)
      fail(path.string(), fmt::format("label {}, expected at most 255 in this format", label));
    out.push_back(static_cast<std::uint8_t>(label));
  }
  write(path, out);
}

}  // namespace lastmile
