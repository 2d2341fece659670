// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/pool.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "cmodel/npu/validate.hpp"

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

// Taps of one window that lie inside the image, as addresses of their first channel.
struct Window {
  const std::int8_t* first;
  std::int64_t rows, columns;          // taps inside
  std::int64_t row_step, column_step;  // bytes from one tap to the next
};

// `N` channels of one output position.
template <std::size_t N>
void maximum(const Window& w, std::size_t channel, std::int32_t least, std::int32_t most,
             std::int8_t* to) {
  using Bytes [[gnu::vector_size(N)]] = std::int8_t;
  const std::int8_t* row = w.first + channel;
  Bytes top = Bytes{} + std::int8_t{-128};
  for (std::int64_t y = 0; y < w.rows; ++y, row += w.row_step) {
    const std::int8_t* from = row;
    for (std::int64_t x = 0; x < w.columns; ++x, from += w.column_step) {
      Bytes tap;
      std::memcpy(&tap, from, N);
      top = top > tap ? top : tap;
    }
  }
  const Bytes low = Bytes{} + static_cast<std::int8_t>(least);
  const Bytes high = Bytes{} + static_cast<std::int8_t>(most);
  top = top > low ? top : low;
  top = top < high ? top : high;
  std::memcpy(to, &top, N);
}

template <std::size_t N>
void average(const Window& w, std::size_t channel, std::int32_t least, std::int32_t most,
             std::int8_t* to) {
  std::array<std::int32_t, N> sum{};
  const std::int8_t* row = w.first + channel;
  for (std::int64_t y = 0; y < w.rows; ++y, row += w.row_step) {
    const std::int8_t* from = row;
    for (std::int64_t x = 0; x < w.columns; ++x, from += w.column_step) {
      for (std::size_t c = 0; c < N; ++c) sum[c] += from[c];
    }
  }
  const auto count = static_cast<std::int32_t>(std::max<std::int64_t>(1, w.rows * w.columns));
  const auto divisor = static_cast<double>(count);
  for (std::size_t c = 0; c < N; ++c) {
    // |sum| < 2^24: the quotient of doubles truncates as the integers' does
    const std::int32_t rounded = sum[c] > 0 ? sum[c] + count / 2 : sum[c] - count / 2;
    const auto value = static_cast<std::int32_t>(static_cast<double>(rounded) / divisor);
    to[c] = static_cast<std::int8_t>(std::clamp(value, least, most));
  }
}

void pool_position(bool max, const Window& w, std::size_t channels, std::int32_t least,
                   std::int32_t most, std::int8_t* to) {
  std::size_t c = 0;
  if (max) {
    for (; c + 32 <= channels; c += 32) maximum<32>(w, c, least, most, to + c);
    for (; c + 8 <= channels; c += 8) maximum<8>(w, c, least, most, to + c);
    for (; c + 2 <= channels; c += 2) maximum<2>(w, c, least, most, to + c);
    if (c < channels) maximum<1>(w, c, least, most, to + c);
  } else {
    for (; c + 32 <= channels; c += 32) average<32>(w, c, least, most, to + c);
    for (; c + 8 <= channels; c += 8) average<8>(w, c, least, most, to + c);
    for (; c < channels; ++c) average<1>(w, c, least, most, to + c);
  }
}

}  // namespace

void run_pool(Memory& memory, const spec::Descriptor& d, Workers& workers) {
  const auto channels = static_cast<std::int64_t>(d.in_c);
  std::vector<Taps> columns(d.out_w);
  for (std::uint32_t x = 0; x < d.out_w; ++x) {
    columns[x] =
        inside(std::int64_t{x} * d.stride_w - d.pad_left, d.kernel_w, d.dilation_w, d.in_w);
  }
  workers.split(std::uint64_t{d.n} * d.out_h, [&](int, std::uint64_t begin, std::uint64_t end) {
    Window w{};
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
        pool_position(d.has(spec::kFlagMax), w, d.in_c, d.act_min, d.act_max, to);
      }
    }
  });
}

}  // namespace lastmile::npu
