// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/tables.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "sw/profile/figures.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;
using spec::Counter;

std::vector<Part> grouped(const CounterFile& file, const EnergyTable& table,
                          const std::function<Part(const CommandCounters&)>& key) {
  std::vector<Part> parts;
  for (const CommandCounters& c : file.commands) {
    const Part k = key(c);
    auto at = std::find_if(parts.begin(), parts.end(), [&](const Part& p) {
      return p.phase == k.phase && p.layer == k.layer && p.name == k.name;
    });
    if (at == parts.end()) {
      parts.push_back(k);
      at = parts.end() - 1;
      at->cells = no_counts();
    }
    at->counters += c.counters;
    at->cells += cell_counts(c, file, table);
  }
  return parts;
}

double per_step(std::uint64_t n, const CounterFile& file) {
  return static_cast<double>(n) / static_cast<double>(file.steps);
}

constexpr std::array<Counter, 8> kTraffic = {
    Counter::cmd_bytes_,          Counter::act_read_bytes_,    Counter::weight_read_bytes_,
    Counter::param_read_bytes_,   Counter::update_read_bytes_, Counter::act_write_bytes_,
    Counter::update_write_bytes_, Counter::random_words_};

std::string csv(const std::vector<Part>& parts, const CounterFile& file, const EnergyTable& table) {
  std::string out =
      "network,variant,phase,layer,command,opcode,cycles,utilisation,time_compute,"
      "time_stall_load,time_stall_weight,time_stall_drain,time_drain,time_element,time_other";
  for (std::size_t i = 0; i < spec::kCounters; ++i)
    if (counter_key(i) != "cycles") out += "," + counter_key(i);
  out += ",energy_pj,energy_low_pj,energy_high_pj\n";
  for (const Part& p : parts) {
    const Waterfall w = waterfall(p);
    out += fmt::format("{},{},{},{},{},{},{},{:.4f}", file.network, file.variant, p.phase, p.layer,
                       p.name, p.opcode, per_step(p.counters[Counter::cycles_], file),
                       utilisation(p, file.hardware));
    for (const std::uint64_t n :
         {w.compute, w.stall_load, w.stall_weight, w.stall_drain, w.drain, w.element, w.other})
      out += fmt::format(",{}", per_step(n, file));
    for (std::size_t i = 0; i < spec::kCounters; ++i)
      if (counter_key(i) != "cycles")
        out += fmt::format(",{}", per_step(p.counters.value[i], file));
    const Interval e = energy_pj(p.cells, table) * (1.0 / static_cast<double>(file.steps));
    out += fmt::format(",{:.6g},{:.6g},{:.6g}\n", e.value, e.low, e.high);
  }
  return out;
}

}  // namespace

Part whole(const CounterFile& file, const EnergyTable& table) {
  Part all;
  all.counters = file.total();
  all.cells = cell_counts(file, table);
  return all;
}
std::vector<Part> by_phase(const CounterFile& file, const EnergyTable& table) {
  return grouped(file, table, [](const CommandCounters& c) {
    Part p;
    p.phase = c.phase;
    return p;
  });
}
std::vector<Part> by_layer(const CounterFile& file, const EnergyTable& table) {
  return grouped(file, table, [](const CommandCounters& c) {
    Part p;
    p.phase = c.phase;
    p.layer = c.layer.empty() ? c.name : c.layer;
    return p;
  });
}
std::vector<Part> by_command(const CounterFile& file, const EnergyTable& table) {
  return grouped(file, table, [](const CommandCounters& c) {
    Part p;
    p.phase = c.phase;
    p.layer = c.layer;
    p.name = fmt::format("{}:{}", c.command, c.name);
    p.opcode = c.opcode;
    return p;
  });
}

Waterfall waterfall(const Part& part) {
  const Counters& c = part.counters;
  Waterfall w;
  std::uint64_t left = c[Counter::cycles_];
  const auto take = [&](std::uint64_t n) {
    n = std::min(n, left);
    left -= n;
    return n;
  };
  w.compute = take(c[Counter::array_cycles_]);
  w.stall_load = take(c[Counter::stall_load_]);
  w.stall_weight = take(c[Counter::stall_weight_]);
  w.stall_drain = take(c[Counter::stall_drain_]);
  w.element = take(c[Counter::element_cycles_]);
  // Requantization runs beside the array; what is left can only be its tail.
  w.drain = take(c[Counter::drain_cycles_]);
  w.other = left;
  return w;
}

double utilisation(const Part& part, const spec::HardwareParams& hw) {
  const double cycles = static_cast<double>(part.counters[Counter::cycles_]);
  return cycles == 0 ? 0
                     : static_cast<double>(part.counters[Counter::macs_]) /
                           (cycles * static_cast<double>(hw.rows) * hw.cols);
}

json interval_json(const Interval& i) {
  return {{"value", i.value}, {"low", i.low}, {"high", i.high}};
}

json energy_json(const CounterFile& file, const EnergyTable& table) {
  const double steps = static_cast<double>(file.steps);
  const CellCounts all = cell_counts(file, table);
  const Interval pj = energy_pj(all, table) * (1 / steps);
  const Counters total = file.total();
  const double seconds =
      static_cast<double>(total[Counter::cycles_]) / steps / (table.clock_mhz * 1e6);
  json components = json::object();
  const auto by = energy_by_component(all, table);
  for (std::size_t i = 0; i < kComponents; ++i)
    components[std::string(name_of(static_cast<Component>(i)))] =
        interval_json(by[i] * (1e-6 / steps));
  json phases = json::object();
  for (const Part& p : by_phase(file, table))
    phases[p.phase] = interval_json(energy_pj(p.cells, table) * (1e-6 / steps));
  const double macs = static_cast<double>(total[Counter::macs_]) / steps;
  json j = {{"table", table.file},
            {"technology", table.technology},
            {"table_hash", fmt::format("{:016x}", table.hash)},
            {"dram", table.memory},
            {"counted_memory", file.memory},
            {"clock_mhz", table.clock_mhz},
            {"seconds_per_step", seconds},
            {"uj_per_step", interval_json(pj * 1e-6)},
            {"nj_per_sample", interval_json(pj * (1e-3 / std::max(1, file.batch)))},
            {"components_uj", components},
            {"phases_uj", phases}};
  if (macs > 0) j["pj_per_mac"] = interval_json(pj * (1 / macs));
  if (seconds > 0) {
    j["average_mw"] = interval_json(pj * (1e-9 / seconds));
    j["edp_pj_s"] = interval_json(pj * seconds);
  }
  return j;
}

std::string energy_text(const CounterFile& file, const EnergyTable& table) {
  const double steps = static_cast<double>(file.steps);
  const CellCounts all = cell_counts(file, table);
  const Interval total = energy_pj(all, table) * (1 / steps);
  const Counters counted_all = file.total();
  std::string out =
      fmt::format("{}, {}, batch {}, {} pairs; {} with {} at {} MHz; a step, value (low to high)\n",
                  file.network, file.variant, file.batch, file.pairs, table.technology,
                  table.memory, table.clock_mhz);
  out += fmt::format("  {:<12} {} cycles, counted with memory {}\n", "step",
                     counted(static_cast<double>(counted_all[Counter::cycles_]) / steps),
                     file.memory.empty() ? "flat" : file.memory);
  const auto line = [&](std::string_view name, const Interval& i) {
    out += fmt::format("  {:<12} {:>6.1f} %  {}\n", name,
                       total.value > 0 ? 100 * i.value / total.value : 0,
                       energy_interval(interval_json(i), 1));
  };
  const auto by = energy_by_component(all, table);
  for (std::size_t i = 0; i < kComponents; ++i)
    line(name_of(static_cast<Component>(i)), by[i] * (1 / steps));
  for (const Part& p : by_phase(file, table))
    line(p.phase, energy_pj(p.cells, table) * (1 / steps));
  out += fmt::format("  {:<12}           {}\n", "total", energy_interval(interval_json(total), 1));
  const double macs = static_cast<double>(counted_all[Counter::macs_]) / steps;
  if (macs > 0)
    out += fmt::format("  per MAC                {}\n",
                       energy_interval(interval_json(total * (1 / macs)), 1));
  return out;
}

json part_json(const Part& part, const CounterFile& file, const EnergyTable& table) {
  const double steps = static_cast<double>(file.steps);
  const Waterfall w = waterfall(part);
  json j = json::object();
  if (!part.phase.empty()) j["phase"] = part.phase;
  if (!part.layer.empty()) j["layer"] = part.layer;
  if (!part.name.empty()) j["command"] = part.name;
  if (!part.opcode.empty()) j["opcode"] = part.opcode;
  j["cycles"] = per_step(part.counters[Counter::cycles_], file);
  j["utilisation"] = utilisation(part, file.hardware);
  j["macs"] = per_step(part.counters[Counter::macs_], file);
  j["element_ops"] = per_step(part.counters[Counter::element_ops_], file);
  j["time"] = {{"compute", per_step(w.compute, file)},
               {"stall_load", per_step(w.stall_load, file)},
               {"stall_weight", per_step(w.stall_weight, file)},
               {"stall_drain", per_step(w.stall_drain, file)},
               {"drain", per_step(w.drain, file)},
               {"element", per_step(w.element, file)},
               {"other", per_step(w.other, file)}};
  j["engines"] = {{"array", per_step(part.counters[Counter::array_cycles_], file)},
                  {"drain", per_step(part.counters[Counter::drain_cycles_], file)},
                  {"element", per_step(part.counters[Counter::element_cycles_], file)},
                  {"bus_read", per_step(part.counters[Counter::bus_read_beats_], file)},
                  {"bus_write", per_step(part.counters[Counter::bus_write_beats_], file)},
                  {"random", per_step(part.counters[Counter::random_words_], file)}};
  json traffic = json::object();
  for (const Counter c : kTraffic)
    if (c != Counter::random_words_)
      traffic[counter_key(static_cast<std::size_t>(c))] = per_step(part.counters[c], file);
  const double rows = file.hardware.rows;
  const double acc = static_cast<double>(file.hardware.cols) * spec::kAccBits / 8;
  traffic["scratchpad_read_bytes"] = per_step(part.counters[Counter::sram_reads_], file) * rows;
  traffic["scratchpad_write_bytes"] = per_step(part.counters[Counter::sram_writes_], file);
  traffic["accumulator_read_bytes"] = per_step(part.counters[Counter::acc_reads_], file) * acc;
  traffic["accumulator_write_bytes"] = per_step(part.counters[Counter::acc_writes_], file) * acc;
  j["traffic"] = traffic;
  j["numerics"] = {{"perturbed", per_step(part.counters[Counter::perturbed_], file)},
                   {"clipped", per_step(part.counters[Counter::clipped_], file)},
                   {"sat_low", per_step(part.counters[Counter::sat_low_], file)},
                   {"sat_high", per_step(part.counters[Counter::sat_high_], file)},
                   {"updated", per_step(part.counters[Counter::updated_], file)},
                   {"update_zero", per_step(part.counters[Counter::update_zero_], file)},
                   {"update_clipped", per_step(part.counters[Counter::update_clipped_], file)}};
  j["energy_uj"] = interval_json(energy_pj(part.cells, table) * (1e-6 / steps));
  json components = json::object();
  const auto by = energy_by_component(part.cells, table);
  for (std::size_t i = 0; i < kComponents; ++i)
    components[std::string(name_of(static_cast<Component>(i)))] = by[i].value * 1e-6 / steps;
  j["energy_components_uj"] = components;
  return j;
}

std::string layers_csv(const CounterFile& file, const EnergyTable& table) {
  return csv(by_layer(file, table), file, table);
}
std::string commands_csv(const CounterFile& file, const EnergyTable& table) {
  return csv(by_command(file, table), file, table);
}

}  // namespace lastmile::profile
