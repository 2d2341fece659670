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
  pair.how = "one read and one write of the weights in a step, as far as tiles allow";
  fuse_update(pair.file);
  all.push_back(pair);
  return all;
}

}  // namespace lastmile::profile
