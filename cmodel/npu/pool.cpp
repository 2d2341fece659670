#include "cmodel/npu/pool.hpp"

#include <algorithm>
#include <vector>

#include "cmodel/numeric/fixed.hpp"

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

void run_pool(Memory& memory, const spec::Descriptor& d, Workers& workers) {
  const bool maximum = d.has(spec::kFlagMax);
  const std::size_t channels = d.in_c;
  workers.split(std::uint64_t{d.n} * d.out_h, [&](int, std::uint64_t begin, std::uint64_t end) {
    std::vector<std::int32_t> sum(channels);
    std::vector<std::int8_t> top(channels);
    for (std::uint64_t line = begin; line < end; ++line) {
      const std::uint64_t image = line / d.out_h;
      const std::int64_t y = static_cast<std::int64_t>(line % d.out_h) * d.stride_h - d.pad_top;
      const Taps rows = inside(y, d.kernel_h, d.dilation_h, d.in_h);
      for (std::uint32_t column = 0; column < d.out_w; ++column) {
        const std::int64_t x = std::int64_t{column} * d.stride_w - d.pad_left;
        const Taps columns = inside(x, d.kernel_w, d.dilation_w, d.in_w);
        std::fill(sum.begin(), sum.end(), 0);
        std::fill(top.begin(), top.end(), std::int8_t{-128});
        for (std::int64_t ky = rows.first; ky < rows.last; ++ky) {
          for (std::int64_t kx = columns.first; kx < columns.last; ++kx) {
            const auto in_y = static_cast<std::uint64_t>(y + ky * d.dilation_h);
            const auto in_x = static_cast<std::uint64_t>(x + kx * d.dilation_w);
            const std::int8_t* from =
                memory.int8(d.in_addr + ((image * d.in_h + in_y) * d.in_w + in_x) * channels);
            if (maximum) {
              for (std::size_t c = 0; c < channels; ++c) top[c] = std::max(top[c], from[c]);
            } else {
              for (std::size_t c = 0; c < channels; ++c) sum[c] += from[c];
            }
          }
        }
        std::int8_t* to = memory.int8(d.out_addr + (line * d.out_w + column) * channels);
        const auto count =
            static_cast<std::int32_t>((rows.last - rows.first) * (columns.last - columns.first));
        for (std::size_t c = 0; c < channels; ++c) {
          const std::int32_t v = maximum      ? top[c]
                                 : count == 0 ? 0
                                              : numeric::pool_average(sum[c], count);
          to[c] = static_cast<std::int8_t>(std::clamp(v, d.act_min, d.act_max));
        }
      }
    }
  });
}

}  // namespace lastmile::npu
