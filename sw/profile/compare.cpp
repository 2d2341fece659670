// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/compare.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastmile::profile {
namespace {

using spec::Counter;

CounterFile blank(const CounterFile& like, const std::string& variant) {
  CounterFile f = like;
  f.host = f.batch_traffic = {};
  f.steps = 1;
  f.variant = variant;
  f.commands.clear();
  return f;
}

// The update's reads and time are gone: weights are written while the next step loads them.
void fuse_update(CounterFile& f) {
  for (CommandCounters& c : f.commands) {
    if (c.opcode != "UPDATE") continue;
    Counters& n = c.counters;
    n[Counter::bus_read_beats_] = 0;
    n[Counter::update_read_bytes_] = n[Counter::cmd_bytes_] = 0;
    n[Counter::cycles_] = n[Counter::element_cycles_] = 0;
  }
}

std::uint64_t tiles(const spec::Descriptor& d) {
  const auto cuts = [](std::uint32_t whole, std::uint32_t part) {
    return part == 0 ? 1 : (std::uint64_t{whole} + part - 1) / part;
  };
  return cuts(d.n, d.tile_n) * cuts(d.out_h, d.tile_h) * cuts(d.out_w, d.tile_w);
}

// A buffer holds a layer's weights, perturbed as they come in: read from memory, and random words
// drawn, once per pass; the array loads them from the buffer. once_a_pair: both halves use it. Its
// waits for weights are gone but for the first fetch.
void keep_weights(CounterFile& f, const Program& program, bool once_a_pair) {
  const auto bus = static_cast<std::uint64_t>(f.hardware.bus_bytes);
  const auto rows = static_cast<std::uint64_t>(f.hardware.rows);
  const std::uint64_t bytes = f.weight_bits == 8 ? 1 : 2;
  for (CommandCounters& c : f.commands) {
    if (c.opcode != "CONV2D" && c.opcode != "DEPTHWISE") continue;
    if (c.command >= program.forward.size()) continue;
    Counters& n = c.counters;
    const std::uint64_t times = tiles(program.forward[c.command].descriptor);
    const bool free = once_a_pair && c.phase == "forward-";
    const std::uint64_t fetched = free ? 0 : n[Counter::weight_read_bytes_] / times;
    n[Counter::bus_read_beats_] -= (n[Counter::weight_read_bytes_] - fetched) / bus;
    n[Counter::weight_read_bytes_] = fetched;
    n[Counter::random_words_] = free ? 0 : n[Counter::random_words_] / times;
    n[Counter::sram_reads_] += n[Counter::weight_loads_] * bytes / rows;
    n[Counter::sram_writes_] += fetched;
    const std::uint64_t saved =
        n[Counter::stall_weight_] - (free ? 0 : n[Counter::stall_weight_] / times);
    n[Counter::stall_weight_] -= saved;
    n[Counter::cycles_] -= saved;
  }
}

}  // namespace

Alternative as_published(const QuantizedNetwork& q, const Program& program, const CounterFile& like,
                         const DeviceOpener& count_only) {
  Alternative a;
  a.name = "forward gradient as published";
  std::vector<PlannedCommand> commands;
  const auto pass = [&](const std::string& phase) {
    for (const Command& c : program.update) commands.push_back({phase, c.name, {}, c.descriptor});
  };
  for (int j = 0; j < like.pairs; ++j) {
    for (const char* sign : {"plus", "minus"}) {
      pass(fmt::format("perturb {}", sign));
      append_forward(commands, program, q.network, fmt::format("forward {}", sign));
    }
  }
  pass("update");
  a.file = run_planned(commands, program, blank(like, a.name), count_only);
  a.scratch.activations = program.memory.activation_live_peak;
  a.scratch.copies = like.trained_bytes;  // the perturbed weights beside the weights
  return a;
}

Alternative physical_floor(const Program& program, const CounterFile& like) {
  Alternative a;
  a.name = "physical floor";
  a.file = blank(like, a.name);
  const spec::HardwareParams& hw = like.hardware;
  const auto bus = static_cast<std::uint64_t>(hw.bus_bytes);
  CommandCounters c;
  c.phase = "step";
  c.opcode = "CONV2D";
  c.name = "everything";
  c.runs = 1;
  Counters& n = c.counters;
  const auto steps = like.steps;
  n[Counter::macs_] = like.total()[Counter::macs_] / steps;
  const auto multipliers =
      static_cast<std::uint64_t>(hw.rows) * static_cast<std::uint64_t>(hw.cols);
  n[Counter::array_cycles_] = (n[Counter::macs_] + multipliers - 1) / multipliers;
  n[Counter::act_read_bytes_] = program.memory.batch_bytes;
  n[Counter::weight_read_bytes_] = like.weight_bytes;
  n[Counter::update_write_bytes_] = like.trained_bytes;
  n[Counter::weight_loads_] = like.trained_weights;
  n[Counter::sram_reads_] = n[Counter::array_cycles_];
  n[Counter::sram_writes_] = program.memory.batch_bytes;
  n[Counter::acc_writes_] = n[Counter::acc_reads_] = n[Counter::array_cycles_];
  n[Counter::bus_read_beats_] = (n.read_bytes() + bus - 1) / bus;
  n[Counter::bus_write_beats_] = (n.written_bytes() + bus - 1) / bus;
  n[Counter::cycles_] = std::max(
      {n[Counter::array_cycles_], n[Counter::bus_read_beats_], n[Counter::bus_write_beats_]});
  a.file.commands.push_back(c);
  return a;
}

double weight_movement(const CounterFile& file) {
  const Counters n = file.total();
  const auto moved =
      static_cast<double>(n[Counter::weight_read_bytes_] + n[Counter::update_read_bytes_] +
                          n[Counter::update_write_bytes_]) /
      static_cast<double>(file.steps);
  return file.trained_bytes == 0 ? 0 : moved / static_cast<double>(file.trained_bytes);
}

std::vector<Schedule> schedules(const QuantizedNetwork& q, Variant variant, const Program& program,
                                const CounterFile& like, const DeviceOpener& count_only) {
  std::vector<Schedule> all;
  all.push_back({"as built", "two passes fetch the weights, then the update reads and writes them",
                 like, program.memory.activation_live_peak, program.memory.on_chip_bytes});
  Schedule fused = all.front();
  fused.name = "update fused";
  fused.how = "step t's update is applied while step t + 1 loads its weights, and written back";
  fuse_update(fused.file);
  all.push_back(fused);

  std::uint64_t largest = 0;
  for (const TensorPlace& t : program.tensors)
    if (!t.bias)
      largest = std::max(largest, std::uint64_t{t.pitch} * static_cast<std::uint64_t>(t.rows));
  Schedule kept = all.front();
  kept.name = "layer on chip";
  kept.how = "a buffer keeps a layer's weights for all tiles of a pass";
  kept.on_chip_bytes += 2 * largest;  // the next layer's come in meanwhile
  keep_weights(kept.file, program, false);
  Schedule floor = kept;
  floor.name = "layer on chip, pair, fused";
  floor.how = "that, both halves of a pair while a layer is there, the update as it comes in";
  floor.file = like;
  floor.activation_bytes *= 2;
  keep_weights(floor.file, program, true);
  fuse_update(floor.file);
  all.push_back(kept);
  all.push_back(floor);

  // A pass of twice the batch over buffers twice as deep: each tile holds both halves of the pair,
  // so its weights are fetched, and its random words drawn, once for both.
  spec::HardwareParams hw = like.hardware;
  hw.act_bytes *= 2;
  hw.acc_depth *= 2;
  if (!spec::bad_parameter(hw).empty() || 2 * program.batch > 65535) return all;
  const Program paired =
      compile(q, hw, step_options(q, variant, 2 * program.batch, program.distribution));
  std::vector<PlannedCommand> commands;
  for (int j = 0; j < like.pairs; ++j) append_forward(commands, paired, q.network, "forward+");
  for (const Command& c : paired.update) commands.push_back({"update", c.name, {}, c.descriptor});
  CounterFile base = blank(like, like.variant);
  base.hardware = hw;
  Schedule pair{"pair on one fetch",
                "both halves of a pair run tile by tile on one fetch of the weights, in buffers of "
                "twice the depth",
                run_planned(commands, paired, base, count_only), paired.memory.activation_live_peak,
                paired.memory.on_chip_bytes};
  all.push_back(pair);
  pair.name = "both";
  pair.how = "both of these: one read and one write per tile";
  fuse_update(pair.file);
  all.push_back(pair);
  return all;
}

}  // namespace lastmile::profile
