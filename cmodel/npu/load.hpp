// SPDX-License-Identifier: Apache-2.0
// Input side: a region of an int8 NHWC tensor becomes what the array multiplies, with the zero
// point where the image ends, so that the array's loops know nothing of padding. CONTRACT.md,
// Operators.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Part of the output that is computed at once: images x rows x columns of output positions. Not the
// hardware's tile unless the padded image is large: results do not depend on it.
struct Block {
  std::uint64_t image = 0, images = 0;
  std::uint64_t row = 0, rows = 0;
  std::uint64_t column = 0, columns = 0;
  [[nodiscard]] std::uint64_t positions() const { return images * rows * columns; }
};

// How a command's output is cut into blocks.
class BlockPlan {
 public:
  BlockPlan(const spec::Descriptor& d, int threads);

  // Rows and columns of input that so many output rows or columns see.
  [[nodiscard]] std::uint64_t region_rows(std::uint64_t rows) const;
  [[nodiscard]] std::uint64_t region_columns(std::uint64_t columns) const;

  // Calls body(part, block) for every block, the blocks of one part in order.
  template <class Body>
  void for_each(Workers& workers, const Body& body) const {
    const std::uint64_t down = (d_.out_h + rows_ - 1) / rows_;
    const std::uint64_t across = (d_.out_w + columns_ - 1) / columns_;
    if (down * across == 1) {
      workers.split(d_.n, [&](int part, std::uint64_t begin, std::uint64_t end) {
        for (std::uint64_t i = begin; i < end; i += images_) {
          body(part, Block{i, std::min(images_, end - i), 0, d_.out_h, 0, d_.out_w});
        }
      });
      return;
    }
    workers.split(d_.n * down * across, [&](int part, std::uint64_t begin, std::uint64_t end) {
      for (std::uint64_t i = begin; i < end; ++i) {
        const std::uint64_t y = i / across % down * rows_;
        const std::uint64_t x = i % across * columns_;
        body(part, Block{i / across / down, 1, y, std::min(rows_, d_.out_h - y), x,
                         std::min(columns_, d_.out_w - x)});
      }
    });
  }

 private:
  const spec::Descriptor& d_;
  std::uint64_t images_, rows_, columns_;
};

// The region of one block, converted: int16 x - zero_point, or bytes x + Kernels::byte_zero.
// Element (image, row, column, channel) is at ((image * rows + row) * columns + column) * channels
// + channel; kReadBehind more bytes may be read behind the end.
class InputRegion {
 public:
  void load(const Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
            const Block& block, const Kernels& kernels, Format format);
  [[nodiscard]] const std::int16_t* words() const { return words_.data(); }
  // What stands `elements` behind the first element.
  [[nodiscard]] const void* at(Format format, std::size_t elements) const {
    if (format == Format::words) return words_.data() + elements;
    return bytes_.data() + elements;
  }

 private:
  std::vector<std::int16_t> words_;
  std::vector<std::uint8_t> bytes_;
};

}  // namespace lastmile::npu
