// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/load.hpp"

#include <algorithm>

#include "cmodel/command/validate.hpp"

namespace lastmile::npu {
namespace {

constexpr std::uint64_t kBudget = std::uint64_t{1}
                                  << 16;  // int16 elements of a region that stay in the cache
constexpr std::uint64_t kWholeImage = std::uint64_t{1}
                                      << 20;  // largest padded image that is not cut

// The rows of one block, one after another: convert(from, to, count) what is inside the image,
// `padding` around it.
template <class T, class Convert>
void load_region(const Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
                 const Block& block, T padding, std::vector<T>& values, const Convert& convert) {
  const auto rows = static_cast<std::int64_t>(plan.region_rows(block.rows));
  const auto columns = static_cast<std::int64_t>(plan.region_columns(block.columns));
  const auto channels = static_cast<std::int64_t>(d.in_c);
  const std::size_t size =
      static_cast<std::size_t>(rows * columns * channels) * block.images + kReadBehind;
  if (values.size() < size) values.resize(size);
  const std::int64_t top = static_cast<std::int64_t>(block.row * d.stride_h) - d.pad_top;
  const std::int64_t left = static_cast<std::int64_t>(block.column * d.stride_w) - d.pad_left;
  const std::int64_t first =
      std::clamp<std::int64_t>(-left, 0, columns);  // first column inside the image
  const std::int64_t last =
      std::clamp<std::int64_t>(std::int64_t{d.in_w} - left, first, columns);  // one behind the last
  T* to = values.data();
  for (std::uint64_t image = block.image; image < block.image + block.images; ++image) {
    for (std::int64_t row = 0; row < rows; ++row, to += columns * channels) {
      const std::int64_t y = top + row;
      if (y < 0 || y >= d.in_h || first == last) {
        std::fill_n(to, columns * channels, padding);
        continue;
      }
      const std::uint64_t pixel = (image * d.in_h + static_cast<std::uint64_t>(y)) * d.in_w +
                                  static_cast<std::uint64_t>(left + first);
      const std::uint64_t address = d.in_addr + pixel * d.in_c;
      const std::uint64_t inside =
          memory.existing(address, d.in_c, static_cast<std::uint64_t>(last - first));
      const std::int64_t behind = first + static_cast<std::int64_t>(inside);
      std::fill_n(to, first * channels, padding);
      if (inside != 0) convert(memory.int8(address), to + first * channels, inside * d.in_c);
      std::fill_n(to + behind * channels, (columns - behind) * channels, padding);
    }
  }
  std::fill_n(to, kReadBehind, padding);
}

}  // namespace

BlockPlan::BlockPlan(const spec::Descriptor& d, int threads)
    : d_(d), images_(1), rows_(d.out_h), columns_(d.out_w) {
  // the product of the extents may pass 64 bits, so it is taken in steps
  const std::uint64_t row = region_columns(d.out_w) * d.in_c;
  const bool whole = row <= kWholeImage && region_rows(d.out_h) <= kWholeImage / row;
  if (!whole) {
    rows_ = d.tile_h;
    columns_ = d.tile_w;
    return;
  }
  const auto parts = static_cast<std::uint64_t>(threads);
  if (d.n < parts) rows_ = (d.out_h + parts - 1) / parts;
  images_ = std::max<std::uint64_t>(1, kBudget / (region_rows(d.out_h) * row));
}

std::uint64_t BlockPlan::region_rows(std::uint64_t rows) const {
  return region_extent(rows, d_.stride_h, d_.kernel_h, d_.dilation_h);
}
std::uint64_t BlockPlan::region_columns(std::uint64_t columns) const {
  return region_extent(columns, d_.stride_w, d_.kernel_w, d_.dilation_w);
}

void InputRegion::load(const Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
                       const Block& block, const Kernels& kernels, Format format) {
  if (format == Format::words) {
    load_region(memory, d, plan, block, std::int16_t{0}, words_,
                [&](const std::int8_t* from, std::int16_t* to, std::uint64_t count) {
                  kernels.widen(from, to, count, d.in_zp);
                });
  } else {
    const auto padding = static_cast<std::uint8_t>(d.in_zp + kernels.byte_zero);
    load_region(memory, d, plan, block, padding, bytes_, kernels.shift_bytes);
  }
}

}  // namespace lastmile::npu
