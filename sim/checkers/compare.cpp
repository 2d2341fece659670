// SPDX-License-Identifier: Apache-2.0
#include "sim/checkers/compare.hpp"

#include <fmt/format.h>

#include <cstring>

#include "cmodel/command/validate.hpp"

namespace lastmile::sim {
namespace {

using spec::Descriptor;

std::int64_t value(std::span<const std::byte> memory, std::uint64_t address, std::uint32_t bytes) {
  std::int64_t v = 0;
  std::memcpy(&v, memory.data() + address, bytes);
  const unsigned unused = 64 - 8 * bytes;
  return v << unused >> unused;
}

// Rows without a gap between them are one row.
Region without_gaps(Region r) {
  if (r.pitch == r.row_bytes) {
    r.row_bytes *= r.rows;
    r.pitch = r.row_bytes;
    r.rows = 1;
  }
  return r;
}

}  // namespace

bool Region::holds(const Range& r) const {
  if (rows == 0 || r.first < first) return false;
  const std::uint64_t row = (r.first - first) / pitch;
  return row < rows && r.last <= first + row * pitch + row_bytes;
}

Region output_region(const Descriptor& d) {
  const spec::OpcodeTraits& is = spec::traits(d.op());
  Region r;
  r.first = d.out_addr;
  r.rows = 1;
  switch (is.result) {
    case spec::Result::none_:
      return {};
    case spec::Result::elements_:
      r.element_bytes = npu::output_bytes(d);
      if (is.layout == spec::Layout::image_) {
        r.rows = d.n;
        r.row_bytes = std::uint64_t{d.out_h} * d.out_w * npu::output_channels(d) * r.element_bytes;
        r.pitch = npu::output_image_elements(d) * r.element_bytes;
        return without_gaps(r);
      }
      r.row_bytes = std::uint64_t{d.n} * d.in_c * r.element_bytes;
      break;
    case spec::Result::losses_:
      if (d.has(spec::kFlagErrors)) {
        r.element_bytes = npu::output_bytes(d);
        r.row_bytes = std::uint64_t{d.n} * d.in_c * r.element_bytes;
        break;
      }
      if (!d.has(spec::kFlagLosses)) return {};
      r.element_bytes = npu::output_bytes(d);
      r.row_bytes = std::uint64_t{d.n} * r.element_bytes;
      break;
    case spec::Result::in_place_:
      r.first = d.w_addr;
      r.element_bytes = npu::weight_bytes(d);
      r.rows = d.out_c;
      r.row_bytes = std::uint64_t{d.in_c} * r.element_bytes;
      r.pitch = d.w_pitch;
      return without_gaps(r);
  }
  r.pitch = r.row_bytes;
  return r;
}

std::string element_text(const Descriptor& d, const Region& region, std::uint64_t address) {
  const spec::OpcodeTraits& is = spec::traits(d.op());
  const std::uint64_t offset = address - region.first;
  const std::uint64_t element = offset / region.element_bytes;
  switch (is.result) {
    case spec::Result::losses_:
      if (d.has(spec::kFlagErrors))
        return fmt::format("error of example {}, class {}", element / d.in_c, element % d.in_c);
      return fmt::format("loss of example {}", element);
    case spec::Result::in_place_:
      return fmt::format("tensor {} [row {}][column {}]", d.w_tensor, offset / d.w_pitch,
                         offset % d.w_pitch / region.element_bytes);
    case spec::Result::none_:
    case spec::Result::elements_:
      break;
  }
  if (is.layout == spec::Layout::image_) {
    const std::uint64_t channels = npu::output_channels(d);
    const std::uint64_t image = npu::output_image_elements(d);
    const std::uint64_t position = element % image / channels;
    return fmt::format("output [image {}][row {}][column {}][channel {}]", element / image,
                       position / d.out_w, position % d.out_w, element % image % channels);
  }
  return fmt::format("output [row {}][{}]", element / d.in_c, element % d.in_c);
}

std::optional<MemoryDifference> compare_region(const Region& region, std::span<const std::byte> rtl,
                                               std::span<const std::byte> model) {
  for (std::uint64_t row = 0; row < region.rows; ++row) {
    const std::uint64_t at = region.first + row * region.pitch;
    if (std::memcmp(rtl.data() + at, model.data() + at, region.row_bytes) == 0) continue;
    std::uint64_t i = at;
    while (rtl[i] == model[i]) ++i;
    i -= (i - at) % region.element_bytes;
    return MemoryDifference{i, value(rtl, i, region.element_bytes),
                            value(model, i, region.element_bytes)};
  }
  return std::nullopt;
}

}  // namespace lastmile::sim
