// SPDX-License-Identifier: Apache-2.0
#include "sw/data/dataset.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>

#include "sw/base/error.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

void check_range(std::size_t begin, std::size_t count, std::size_t size) {
  if (begin > size || count > size - begin)
    throw Error(ErrorKind::input, fmt::format("data set: examples {} to {} wanted, it has {}",
                                              begin, begin + count, size));
}

template <class T>
std::vector<T> part(const std::vector<T>& v, std::size_t begin, std::size_t count) {
  const auto first = v.begin() + static_cast<std::ptrdiff_t>(begin);
  return {first, first + static_cast<std::ptrdiff_t>(count)};
}

}  // namespace

void check(const Dataset& data, const std::string& name) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::input, fmt::format("{}: {}", name, what));
  };
  if (data.shape.h < 1 || data.shape.w < 1 || data.shape.c < 1)
    fail(fmt::format("shape {}x{}x{}, expected every dimension to be at least 1", data.shape.h,
                     data.shape.w, data.shape.c));
  if (data.classes < 2 || data.classes > kMaxClasses)
    fail(fmt::format("{} classes, expected 2 to {}", data.classes, kMaxClasses));
  const auto elements = static_cast<std::size_t>(data.shape.elements());
  if (data.x.size() != data.size() * elements)
    fail(fmt::format("{} values for {} examples, expected {}", data.x.size(), data.size(),
                     data.size() * elements));
  if (!data.copy_of.empty() && data.copy_of.size() != data.size())
    fail(fmt::format("{} numbers of copies, expected {}", data.copy_of.size(), data.size()));
  if (!data.group.empty() && data.group.size() != data.size())
    fail(fmt::format("{} groups, expected {}", data.group.size(), data.size()));
  for (std::size_t i = 0; i < data.size(); ++i)
    if (data.y[i] >= data.classes)
      fail(fmt::format("label {} of example {}, expected below {}", data.y[i], i, data.classes));
  const auto bad =
      std::find_if(data.x.begin(), data.x.end(), [](float v) { return !std::isfinite(v); });
  if (bad != data.x.end()) {
    const auto at = static_cast<std::size_t>(bad - data.x.begin());
    fail(fmt::format("value {} at element {} of example {}, expected a finite number", *bad,
                     at % elements, at / elements));
  }
}

Dataset to_dataset(const ImageSet& images, int threads) {
  Dataset data;
  data.shape = {images.h, images.w, images.c};
  data.classes = images.classes;
  data.y = images.labels;
  data.x.resize(images.pixels.size());
  std::array<float, 256> real{};
  for (std::size_t b = 0; b < real.size(); ++b) real[b] = static_cast<float>(b) / 255.0F;
  parallel_for(
      threads, static_cast<std::int64_t>(data.x.size()), [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
          data.x[i] = real[images.pixels[i]];
      });
  return data;
}

Dataset slice(const Dataset& data, std::size_t begin, std::size_t count) {
  check_range(begin, count, data.size());
  const auto elements = static_cast<std::size_t>(data.shape.elements());
  Dataset out;
  out.shape = data.shape;
  out.classes = data.classes;
  out.x = part(data.x, begin * elements, count * elements);
  out.y = part(data.y, begin, count);
  if (!data.group.empty()) out.group = part(data.group, begin, count);
  if (!data.copy_of.empty()) out.copy_of = part(data.copy_of, begin, count);
  return out;
}

ImageSet slice(const ImageSet& images, std::size_t begin, std::size_t count) {
  check_range(begin, count, images.labels.size());
  const auto elements = static_cast<std::size_t>(images.h) * static_cast<std::size_t>(images.w) *
                        static_cast<std::size_t>(images.c);
  ImageSet out = {static_cast<int>(count), images.h, images.w, images.c, {}, {}, images.classes};
  out.pixels = part(images.pixels, begin * elements, count * elements);
  out.labels = part(images.labels, begin, count);
  return out;
}

Dataset select(const Dataset& data, std::span<const std::size_t> indices) {
  const auto elements = static_cast<std::size_t>(data.shape.elements());
  Dataset out;
  out.shape = data.shape;
  out.classes = data.classes;
  out.x.reserve(indices.size() * elements);
  out.y.reserve(indices.size());
  for (const std::size_t i : indices) {
    check_range(i, 1, data.size());
    const auto values = data.example(i);
    out.x.insert(out.x.end(), values.begin(), values.end());
    out.y.push_back(data.y[i]);
    if (!data.group.empty()) out.group.push_back(data.group[i]);
    if (!data.copy_of.empty()) out.copy_of.push_back(data.copy_of[i]);
  }
  return out;
}

ImageSet select(const ImageSet& images, std::span<const std::size_t> indices) {
  const auto elements = static_cast<std::size_t>(images.h) * static_cast<std::size_t>(images.w) *
                        static_cast<std::size_t>(images.c);
  ImageSet out = {
      static_cast<int>(indices.size()), images.h, images.w, images.c, {}, {}, images.classes};
  out.pixels.reserve(indices.size() * elements);
  for (const std::size_t i : indices) {
    check_range(i, 1, images.labels.size());
    const auto first = images.pixels.begin() + static_cast<std::ptrdiff_t>(i * elements);
    out.pixels.insert(out.pixels.end(), first, first + static_cast<std::ptrdiff_t>(elements));
    out.labels.push_back(images.labels[i]);
  }
  return out;
}

std::vector<std::size_t> stratified_indices(std::span<const Label> labels, std::size_t count,
                                            std::uint64_t seed) {
  constexpr std::size_t kOrderStream = 256;  // of random numbers; the others are those of a class
  check_range(0, count, labels.size());
  const std::size_t classes =
      labels.empty() ? 0 : std::size_t{1} + *std::max_element(labels.begin(), labels.end());
  std::vector<std::vector<std::size_t>> of_class(classes);
  for (std::size_t i = 0; i < labels.size(); ++i) of_class[labels[i]].push_back(i);
  // Whole examples of each class's share, then one more for the largest remainders. Products stay
  // exact: both factors are far below 2^32.
  std::vector<std::size_t> take(classes), rest(classes), order(classes);
  std::size_t left = count;
  for (std::size_t k = 0; k < order.size(); ++k) {
    order[k] = k;
    take[k] = of_class[k].size() * count / labels.size();
    rest[k] = of_class[k].size() * count % labels.size();
    left -= take[k];
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return rest[a] > rest[b]; });
  for (std::size_t k = 0; k < left; ++k) ++take[order[k]];
  std::vector<std::size_t> out;
  for (std::size_t k = 0; k < of_class.size(); ++k) {
    Rng(seed, k < kOrderStream ? k : k + 1).shuffle(std::span(of_class[k]));
    out.insert(out.end(), of_class[k].begin(),
               of_class[k].begin() + static_cast<std::ptrdiff_t>(take[k]));
  }
  Rng(seed, kOrderStream).shuffle(std::span(out));
  return out;
}

std::vector<std::size_t> remaining_indices(std::size_t n, std::span<const std::size_t> taken) {
  std::vector<bool> gone(n, false);
  for (const std::size_t i : taken) gone[i] = true;
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < n; ++i)
    if (!gone[i]) out.push_back(i);
  return out;
}

std::vector<std::size_t> shuffled_indices(std::size_t n, std::uint64_t seed) {
  std::vector<std::size_t> indices(n);
  std::iota(indices.begin(), indices.end(), std::size_t{0});
  Rng(seed).shuffle(std::span(indices));
  return indices;
}

Dataset shuffled(const Dataset& data, std::uint64_t seed) {
  return select(data, shuffled_indices(data.size(), seed));
}

Dataset of_group(const Dataset& data, int group) {
  std::vector<std::size_t> indices;
  for (std::size_t i = 0; i < data.group.size(); ++i)
    if (data.group[i] == group) indices.push_back(i);
  return select(data, indices);
}

Dataset balanced(const Dataset& data, std::uint64_t seed) {
  std::map<int, std::map<int, std::vector<std::size_t>>> cells;  // by group, then class
  for (std::size_t i = 0; i < data.size(); ++i)
    cells[data.group.empty() ? 0 : data.group[i]][data.y[i]].push_back(i);
  std::vector<std::size_t> indices;
  for (const auto& [group, classes] : cells) {
    std::size_t most = 0;
    for (const auto& [label, examples] : classes) most = std::max(most, examples.size());
    for (const auto& [label, examples] : classes)
      for (std::size_t i = 0; i < most; ++i) indices.push_back(examples[i % examples.size()]);
  }
  Rng(seed).shuffle(std::span(indices));
  Dataset out = select(data, indices);
  if (out.copy_of.empty()) out.copy_of.assign(indices.begin(), indices.end());
  return out;
}

std::vector<std::size_t> class_counts(const Dataset& data) {
  std::vector<std::size_t> counts(static_cast<std::size_t>(data.classes));
  for (const auto y : data.y) ++counts[y];
  return counts;
}

}  // namespace lastmile
