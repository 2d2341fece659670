// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/memory.hpp"

#include <algorithm>
#include <numeric>

namespace lastmile::profile {
namespace {

using spec::Descriptor;

std::uint64_t region(std::uint32_t outputs, std::uint32_t stride, std::uint32_t kernel,
                     std::uint32_t dilation) {
  return std::uint64_t{outputs - 1} * stride + std::uint64_t{kernel - 1} * dilation + 1;
}

// Bytes of input and positions of output that a command's tiles hold at once: two, if it has more
// than one.
void on_chip(const Descriptor& d, const spec::HardwareParams& hw, MemoryPoint& p) {
  const spec::OpcodeTraits& is = spec::traits(d.op());
  if (!is.tiles) return;
  const auto cuts = [](std::uint32_t whole, std::uint32_t part) {
    return (whole + part - 1) / part;
  };
  const bool several = std::uint64_t{cuts(d.n, d.tile_n)} * cuts(d.out_h, d.tile_h) *
                           cuts(d.out_w, d.tile_w) * cuts(d.in_c, d.tile_c) >
                       1;
  const std::uint64_t halves = several ? 2 : 1;
  p.scratchpad =
      halves * d.tile_n * region(d.tile_h, d.stride_h, d.kernel_h, d.dilation_h) * d.row_pitch;
  if (is.weights)
    p.accumulators = 2 * std::uint64_t{d.tile_n} * d.tile_h * d.tile_w *
                     static_cast<std::uint64_t>(hw.cols) * (spec::kAccBits / 8);
}

// Bytes of the union of the tensors' address ranges: an addition in place shares its addend's.
std::uint64_t covered(std::vector<LiveTensor> tensors) {
  std::sort(tensors.begin(), tensors.end(),
            [](const LiveTensor& a, const LiveTensor& b) { return a.address < b.address; });
  std::uint64_t sum = 0, end = 0;
  for (const LiveTensor& t : tensors) {
    const std::uint64_t from = std::max(end, t.address), to = t.address + t.bytes;
    if (to > from) sum += to - from;
    end = std::max(end, to);
  }
  return sum;
}

}  // namespace

std::string_view name_of(Category category) {
  constexpr std::array<std::string_view, kCategories> kNames = {
      "weights", "parameters", "commands", "batch", "losses", "activations"};
  return kNames.at(static_cast<std::size_t>(category));
}

std::uint64_t MemoryPoint::total() const {
  return std::accumulate(live.begin(), live.end(), std::uint64_t{0});
}

MemoryProfile memory_profile(const Program& program, const Network& network, int pairs) {
  MemoryProfile m;
  const MemoryMap& map = program.memory;
  MemoryPoint resident;
  const auto set = [&](Category c, std::uint64_t bytes) {
    resident.live[static_cast<std::size_t>(c)] = bytes;
  };
  set(Category::weights, map.weight_bytes);
  set(Category::parameters, map.parameter_bytes);
  set(Category::commands, map.command_bytes);
  set(Category::batch,
      (map.batch_bytes + map.output_bytes) * static_cast<std::uint64_t>(program.slots));
  set(Category::losses, map.loss_bytes);

  const auto live_at = [&](int command) {
    std::vector<LiveTensor> live;
    for (const ActivationPlace& a : program.activations)
      if (!a.at_output && a.first <= command && command <= a.last)
        live.push_back(
            {network.layers[static_cast<std::size_t>(a.layer)].name, a.bytes, a.address});
    return live;
  };
  std::uint64_t before = 0;
  const auto change_to = [&](std::uint64_t bytes) {
    m.changes.push_back(static_cast<std::int64_t>(bytes) - static_cast<std::int64_t>(before));
    before = bytes;
  };
  const auto pass = [&](const std::string& phase) {
    for (std::size_t i = 0; i < program.forward.size(); ++i) {
      const auto live = live_at(static_cast<int>(i));
      MemoryPoint p = resident;
      p.phase = phase;
      p.command = program.forward[i].name;
      p.live[static_cast<std::size_t>(Category::activations)] = covered(live);
      on_chip(program.forward[i].descriptor, program.hardware, p);
      change_to(covered(live));
      if (m.points.empty() || p.total() > m.points[m.peak].total()) {
        m.peak = m.points.size();
        m.live_at_peak = live;
      }
      m.on_chip_peak = std::max(m.on_chip_peak, p.scratchpad + p.accumulators);
      m.points.push_back(std::move(p));
    }
    change_to(0);  // the host has read the loss: nothing of the pass is needed any more
  };
  if (program.update.empty()) {
    pass("forward");
  } else {
    for (int j = 0; j < pairs; ++j) {
      pass("forward+");
      pass("forward-");
    }
    for (const Command& c : program.update) {
      MemoryPoint p = resident;
      p.phase = "update";
      p.command = c.name;
      m.points.push_back(std::move(p));
    }
  }
  MemoryPoint end = resident;
  end.phase = "end";
  m.points.push_back(end);
  m.peak_bytes = m.points[m.peak].total();
  m.footprint_bytes = map.total_bytes;
  m.fragmentation_bytes = map.activation_bytes - map.activation_live_peak;
  m.on_chip_bytes = map.on_chip_bytes;
  return m;
}

}  // namespace lastmile::profile
