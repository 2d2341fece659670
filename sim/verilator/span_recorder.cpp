// SPDX-License-Identifier: Apache-2.0
#include "sim/verilator/span_recorder.hpp"

#include <algorithm>

#include "cmodel/command/validate.hpp"
#include "cmodel/timing/tiles.hpp"

namespace lastmile::sim {
namespace {

using spec::Counter;
using spec::Opcode;

std::uint64_t at(const Simulation::Counters& c, Counter which) {
  return c[static_cast<std::size_t>(which)];
}

}  // namespace

std::array<SpanRecorder::Track, SpanRecorder::kTracks> SpanRecorder::tracks() const {
  const spec::OpcodeTraits& is = spec::traits(opcode_);
  const std::string_view element = spec::to_string(is.engine);
  return {{{"LOAD", Counter::sram_writes_, &load_, Counter::sram_writes_},
           {"WEIGHT", Counter::weight_loads_, nullptr, Counter::weight_loads_},
           {"PARAM", Counter::param_read_bytes_, nullptr, Counter::param_read_bytes_},
           {"ARRAY", Counter::array_cycles_, &macs_, Counter::macs_},
           {"DRAIN", Counter::drain_cycles_, &output_, Counter::act_write_bytes_},
           {"STORE", Counter::bus_write_beats_, nullptr, Counter::bus_write_beats_},
           {element, Counter::element_cycles_, is.tiles ? &output_ : nullptr,
            Counter::act_write_bytes_},
           {"FETCH", Counter::cmd_bytes_, nullptr, Counter::cmd_bytes_}}};
}

void SpanRecorder::begin_queue(std::uint64_t now) {
  past_ += command_from_ > origin_ ? command_from_ - origin_ : 0;
  origin_ = command_from_ = now;
  before_ = command_start_ = {};
  open_ = {};
}

void SpanRecorder::begin_command(const spec::Descriptor& d, std::uint32_t index) {
  command_ = index;
  opcode_ = d.op();
  command_start_ = before_;
  load_.clear();
  macs_.clear();
  output_.clear();
  const spec::OpcodeTraits& is = spec::traits(opcode_);
  if (!is.tiles) return;
  const std::uint64_t taps = std::uint64_t{d.kernel_h} * d.kernel_w;
  const std::uint64_t channels = is.weights ? d.out_c : d.in_c;
  const std::uint64_t k = opcode_ == Opcode::conv2d_ ? taps * d.cin_group : taps;
  std::uint64_t loaded = 0, macs = 0, output = 0;
  for (const timing::Tile& t : timing::tiles_of(d)) {
    loaded += t.images.count *
              npu::region_extent(t.rows.count, d.stride_h, d.kernel_h, d.dilation_h) *
              npu::region_extent(t.columns.count, d.stride_w, d.kernel_w, d.dilation_w) * d.in_c;
    macs += t.positions() * channels * k;
    output += t.positions() * channels * npu::output_bytes(d);
    load_.push_back(loaded);
    macs_.push_back(macs);
    output_.push_back(output);
  }
  if (d.tile_c < d.in_c) load_.clear();  // several regions for a tile
}

void SpanRecorder::close(const std::string& phase, const Track& track, Open& open) {
  if (open.busy != 0)
    spans_.add(phase, command_, track.engine, open.tile, past_ + open.start - origin_,
               past_ + open.last - origin_, open.busy);
  open = {};
}

void SpanRecorder::cycle(const std::string& phase, std::uint64_t now,
                         const Simulation::Counters& counters) {
  const auto all = tracks();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Track& t = all[i];
    Open& open = open_[i];
    if (at(counters, t.counter) != at(before_, t.counter)) {
      int tile = -1;
      if (t.tiles != nullptr && !t.tiles->empty()) {
        const std::uint64_t done = at(before_, t.progress) - at(command_start_, t.progress);
        tile = static_cast<int>(std::upper_bound(t.tiles->begin(), t.tiles->end(), done) -
                                t.tiles->begin());
        tile = std::min(tile, static_cast<int>(t.tiles->size()) - 1);
      }
      if (open.busy != 0 && (tile != open.tile || now - open.last > kGap)) close(phase, t, open);
      if (open.busy == 0) {
        open.start = now - 1;
        open.tile = tile;
      }
      open.last = now;
      ++open.busy;
    }
  }
  before_ = counters;
}

void SpanRecorder::commit(const std::string& phase, std::uint64_t now) {
  const auto all = tracks();
  for (std::size_t i = 0; i < all.size(); ++i) close(phase, all[i], open_[i]);
  spans_.add(phase, command_, "COMMAND", -1, past_ + command_from_ - origin_, past_ + now - origin_,
             now - command_from_);
  command_from_ = now;
}

}  // namespace lastmile::sim
