// SPDX-License-Identifier: Apache-2.0
// Data as the rest of the host sees it: labelled examples, NHWC, last index fastest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/base/shape.hpp"

namespace lastmile {

// Images as files hold them: unsigned bytes.
struct ImageSet {
  int n = 0, h = 0, w = 0, c = 0;
  std::vector<std::uint8_t> pixels;  // n * h * w * c, NHWC
  std::vector<Label> labels;         // n, each below classes
  int classes = 0;
};

// Examples as a network's input in real units (images: 0 black to 1 white; audio: normalized
// features).
struct Dataset {
  Shape shape;
  int classes = 0;
  std::vector<float> x;    // size() * shape.elements(), NHWC
  std::vector<Label> y;    // size() labels, each below classes
  std::vector<int> group;  // size() speakers or domains, or empty if the data has none
  // size(), or empty if no example is there twice: copies of one another have the same number.
  std::vector<std::uint32_t> copy_of;

  [[nodiscard]] std::size_t size() const noexcept { return y.size(); }
  [[nodiscard]] std::span<const float> example(std::size_t i) const {
    const auto n = static_cast<std::size_t>(shape.elements());
    return std::span(x).subspan(i * n, n);
  }
  [[nodiscard]] std::span<float> example(std::size_t i) {
    const auto n = static_cast<std::size_t>(shape.elements());
    return std::span(x).subspan(i * n, n);
  }
};

// Throws Error (input) named after `name` unless the lengths fit the shape, labels are below
// classes and values finite.
void check(const Dataset& data, const std::string& name);

// Byte b becomes b / 255.
[[nodiscard]] Dataset to_dataset(const ImageSet& images, int threads = 1);

// Examples [begin, begin + count). Error (input) if there are fewer.
[[nodiscard]] Dataset slice(const Dataset& data, std::size_t begin, std::size_t count);
[[nodiscard]] ImageSet slice(const ImageSet& images, std::size_t begin, std::size_t count);

// The examples at `indices`, in that order.
[[nodiscard]] Dataset select(const Dataset& data, std::span<const std::size_t> indices);
[[nodiscard]] ImageSet select(const ImageSet& images, std::span<const std::size_t> indices);

// 0 .. n-1 in an order that depends on the seed alone.
[[nodiscard]] std::vector<std::size_t> shuffled_indices(std::size_t n, std::uint64_t seed);
[[nodiscard]] Dataset shuffled(const Dataset& data, std::uint64_t seed);

// `count` of the examples, in random order: of every class the same share, to within one example.
// Which ones depends on the labels and the seed alone. Error (input) if there are fewer.
[[nodiscard]] std::vector<std::size_t> stratified_indices(std::span<const Label> labels,
                                                          std::size_t count, std::uint64_t seed);
// Those of 0 .. n-1 that are not in `taken`, in order.
[[nodiscard]] std::vector<std::size_t> remaining_indices(std::size_t n,
                                                         std::span<const std::size_t> taken);

// The examples whose group is `group`, in order.
[[nodiscard]] Dataset of_group(const Dataset& data, int group);

// Examples of rarer classes repeated until every class that has some has as many (of each group, if
// there are any), in random order.
[[nodiscard]] Dataset balanced(const Dataset& data, std::uint64_t seed);

// Examples per class (classes entries).
[[nodiscard]] std::vector<std::size_t> class_counts(const Dataset& data);

}  // namespace lastmile
