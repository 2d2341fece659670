// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/pool.hpp"

#include <algorithm>
#include <vector>

#include "cmodel/command/validate.hpp"

namespace lastmile::npu {
namespace {

// Taps of one window along one axis that lie inside the image: first, one behind the last.
struct Taps {
  std::int64_t first = 0, last = 0;
};
Taps inside(std::int64_t start, std::uint32_t kernel, std::uint32_t dilation,
            std::uint32_t extent) {
  const std::int64_t step = dilation;
  const std::int64_t first = start >= 0 ? 0 : (-start + step - 1) / step;
  const std::int64_t last = start >= extent ? 0 : (std::int64_t{extent} - 1 - start) / step + 1;
  return {first, std::clamp<std::int64_t>(last, first, std::max<std::int64_t>(first, kernel))};
}

}  // namespace

void run_pool(Memory& memory, const spec::Descriptor& d, const Kernels& kernels, Workers& workers) {
  const auto channels = static_cast<std::int64_t>(d.in_c);
  std::vector<Taps> columns(d.out_w);
  for (std::uint32_t x = 0; x < d.out_w; ++x) {
    columns[x] =
        inside(std::int64_t{x} * d.stride_w - d.pad_left, d.kernel_w, d.dilation_w, d.in_w);
  }
  const auto pool = d.has(spec::kFlagMax) ? kernels.pool_max : kernels.pool_average;
  workers.split(std::uint64_t{d.n} * d.out_h, [&](int, std::uint64_t begin, std::uint64_t end) {
    PoolWindow w;
    w.first = memory.int8(d.in_addr);  // windows without any tap still have an address
    w.row_step = channels * d.in_w * d.dilation_h;
    w.column_step = channels * d.dilation_w;
    for (std::uint64_t line = begin; line < end; ++line) {
      const std::int64_t top = static_cast<std::int64_t>(line % d.out_h) * d.stride_h - d.pad_top;
      const Taps rows = inside(top, d.kernel_h, d.dilation_h, d.in_h);
      const auto image = static_cast<std::int64_t>(line / d.out_h) * d.in_h;
      for (std::uint32_t column = 0; column < d.out_w; ++column) {
        const Taps across = columns[column];
        const std::int64_t left = std::int64_t{column} * d.stride_w - d.pad_left;
        w.rows = rows.last - rows.first;
        w.columns = across.last - across.first;
        if (w.rows == 0 || w.columns == 0) {
          w.rows = w.columns = 0;
        } else {
          const std::int64_t y = image + top + rows.first * d.dilation_h;
          const std::int64_t x = left + across.first * d.dilation_w;
          w.first =
              memory.int8(d.in_addr + static_cast<std::uint64_t>((y * d.in_w + x) * channels));
        }
        std::int8_t* to = memory.int8(d.out_addr + line / d.out_h * output_image_elements(d) +
                                      (line % d.out_h * d.out_w + column) * d.in_c);
        pool(w, d.in_c, d.act_min, d.act_max, to);
      }
    }
  });
}

}  // namespace lastmile::npu
