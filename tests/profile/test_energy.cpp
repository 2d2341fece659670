// SPDX-License-Identifier: Apache-2.0
// Energy tables and what is computed from them: no simulation here.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/profile/energy.hpp"
#include "sw/profile/tables.hpp"

namespace {

using namespace lastmile;
using namespace lastmile::profile;

// One command of every opcode with every counter at some prime-like number.
CounterFile every_command(spec::HardwareParams hw, int weight_bits) {
  CounterFile f;
  f.network = "made";
  f.variant = "full";
  f.hardware = hw;
  f.weight_bits = weight_bits;
  f.batch = 4;
  f.pairs = 1;
  std::uint64_t n = 101;
  for (const char* op : {"CONV2D", "DEPTHWISE", "POOL", "ADD", "SOFTMAX", "LOSS", "UPDATE"}) {
    CommandCounters c;
    c.phase = std::string(op) == "UPDATE" ? "update" : "forward+";
    c.opcode = op;
    c.name = c.layer = op;
    c.runs = 1;
    for (std::uint64_t& v : c.counters.value) v = (n = n * 7 % 10007);
    f.commands.push_back(c);
  }
  return f;
}

std::string message(const std::string& text) {
  try {
    static_cast<void>(parse_energy_table(text, "made.toml"));
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::input);
    return e.what();
  }
  return "no error";
}
void replace(std::string& text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
}

TEST_CASE("profile: a cell changed by delta changes the energy by its count times delta") {
  spec::HardwareParams wide;
  wide.rows = 32;
  wide.act_bytes = 262144;
  int used = 0;
  for (const char* name : {"45nm", "22nm", "7nm"}) {
    EnergyTable table = read_energy_table(find_energy_table(name));
    for (const char* dram : {"ddr", "lpddr4", "lpddr5", "hbm2"}) {
      choose_dram(table, dram);
      for (const CounterFile& f : {every_command({}, 16), every_command(wide, 8)}) {
        const CellCounts counts = cell_counts(f, table);
        const std::size_t cells = cell_names().size();
        const double before = energy_pj(counts, table).value;
        for (std::size_t i = 0; i < cells; ++i) {
          EnergyTable changed = table;
          const double delta = 0.125;
          changed.cells[i].value += delta;
          const double count = counts[i] + counts[i + cells];
          CAPTURE(cell_names()[i].name);
          CHECK(energy_pj(cell_counts(f, changed), changed).value - before ==
                doctest::Approx(count * delta).epsilon(1e-9));
          used += count > 0 ? 1 : 0;
        }
      }
    }
  }
  CHECK(used > 12 * 15);
}

TEST_CASE("profile: every cell of a table that hardware can reach is reached") {
  const EnergyTable table = read_energy_table(find_energy_table("22nm"));
  CellCounts sum = no_counts();
  for (const int rows : {16, 32})
    for (const int act : {4096, 32768, 65536, 262144}) {
      spec::HardwareParams hw;
      hw.rows = rows;
      hw.act_bytes = act;
      for (const int bits : {8, 16}) sum += cell_counts(every_command(hw, bits), table);
    }
  for (const char* cell :
       {"array.mac_w16", "array.mac_w8", "sram.read64_8KB", "sram.read256_256KB",
        "sram.write64_64KB", "random.word64", "leak.multiplier", "dram.lpddr4.write_bit"})
    CHECK(sum[cell_index(cell)] > 0);
  CHECK(sum[cell_index("dram.ddr.read_bit")] == 0);
}

TEST_CASE("profile: components, phases and commands sum to the total") {
  const EnergyTable table = read_energy_table(find_energy_table("7nm"));
  const CounterFile f = every_command({}, 16);
  const CellCounts all = cell_counts(f, table);
  const Interval total = energy_pj(all, table);
  CHECK(total.low < total.value);
  CHECK(total.value < total.high);
  double components = 0, phases = 0, commands = 0;
  for (const Interval& i : energy_by_component(all, table)) components += i.high;
  for (const Part& p : by_phase(f, table)) phases += energy_pj(p.cells, table).value;
  for (const Part& p : by_command(f, table)) commands += energy_pj(p.cells, table).low;
  CHECK(components == doctest::Approx(total.high));
  CHECK(phases == doctest::Approx(total.value));
  CHECK(commands == doctest::Approx(total.low));
}

TEST_CASE("profile: a ratio's interval holds every table inside the intervals, and is reached") {
  const EnergyTable table = read_energy_table(find_energy_table("22nm"));
  CounterFile f = every_command({}, 16);
  const CellCounts a = cell_counts(f, table);
  f.commands.erase(f.commands.begin(), f.commands.begin() + 2);
  const CellCounts b = cell_counts(f, table);
  const Interval r = energy_ratio(a, b, table);
  CHECK(r.low < r.value);
  CHECK(r.value < r.high);
  Rng rng(7);
  double lowest = 1e300, highest = 0;
  for (int i = 0; i < 2000; ++i) {
    EnergyTable random = table;
    for (Cell& c : random.cells) c.value = rng.below(2) == 0 ? c.low : c.high;
    const double x = energy_pj(a, random).value / energy_pj(b, random).value;
    lowest = std::min(lowest, x);
    highest = std::max(highest, x);
  }
  CHECK(r.low <= lowest * (1 + 1e-12));
  CHECK(r.high >= highest * (1 - 1e-12));
  CHECK(highest > r.value);
  // of something with itself
  const Interval one = energy_ratio(a, a, table);
  CHECK(one.low == doctest::Approx(1));
  CHECK(one.high == doctest::Approx(1));
}

TEST_CASE("profile: tables that are incomplete or wrong are refused by name") {
  const std::string good = read_text_file(find_energy_table("22nm"));
  CHECK(message(good) == "no error");
  std::string t = good;
  replace(t, "[cell.\"random.word64\"]", "[cell.\"random.word65\"]");
  CHECK(message(t).find("cell \"random.word64\" is missing") != std::string::npos);
  t = good + "\n[cell.\"array.mac_w4\"]\nvalue = 1\n";
  CHECK(message(t).find("unknown cell \"array.mac_w4\"") != std::string::npos);
  t = good;
  replace(t, "low = 0.19", "low = 0.36");
  CHECK(message(t).find("cell \"array.mac_w16\": low 0.36, value 0.35") != std::string::npos);
  t = good;
  replace(t, "unit = \"pJ\"", "unit = \"nJ\"");
  CHECK(message(t).find("unit is nJ, expected pJ") != std::string::npos);
  t = good;
  replace(t, "confidence = \"low\"", "confidence = \"sure\"");
  CHECK(message(t).find("confidence is sure") != std::string::npos);
  t = good;
  replace(t, "source =", "sauce =");
  CHECK(message(t).find("unknown key 'sauce'") != std::string::npos);
  t = good;
  replace(t, "value = 0.35", "value = -0.35");
  CHECK(message(t).find("expected a number of at least 0") != std::string::npos);
  t = good;
  replace(t, "dram = \"lpddr4\"", "dram = \"sdram\"");
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_energy_table(t, "x")),
                       doctest::Contains("expected ddr, lpddr4, lpddr5 or hbm2"), Error);
  CHECK_THROWS_AS(static_cast<void>(find_energy_table("14nm")), Error);
}

TEST_CASE("profile: counters survive the file, and files that lack something are refused") {
  const CounterFile f = every_command({}, 8);
  const nlohmann::json j = to_json(f);
  const CounterFile back = counters_from_json(nlohmann::json::parse(j.dump()), "x");
  CHECK(to_json(back) == j);
  CHECK(back.total() == f.total());
  const auto refused = [&](const char* pointer, const nlohmann::json& value) {
    nlohmann::json k = j;
    k[nlohmann::json::json_pointer(pointer)] = value;
    try {
      static_cast<void>(counters_from_json(k, "x.json"));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(refused("/schema", 2) == "x.json: schema is 2, expected 1");
  CHECK(refused("/steps", 0) == "x.json: steps is 0, expected at least 1");
  CHECK(refused("/commands/1/opcode", "CONV3D").find("CONV3D") != std::string::npos);
  CHECK(refused("/commands/0/macs", -1).find("commands[0]: macs is -1") != std::string::npos);
  CHECK(refused("/hardware/rows", 7).find("ROWS") != std::string::npos);
  nlohmann::json k = j;
  k["commands"][2].erase("sram_reads");
  CHECK_THROWS_WITH_AS(static_cast<void>(counters_from_json(k, "x")),
                       doctest::Contains("sram_reads is missing"), Error);
}

TEST_CASE("profile: the waterfall sums to the cycles whatever the counters say") {
  Part p;
  const auto sum = [&] {
    const Waterfall w = waterfall(p);
    return w.compute + w.stall_load + w.stall_weight + w.stall_drain + w.drain + w.element +
           w.other;
  };
  Rng rng(3);
  for (int i = 0; i < 100; ++i) {
    for (std::uint64_t& v : p.counters.value) v = rng.below(1000);
    CHECK(sum() == p.counters[spec::Counter::cycles_]);
  }
}

}  // namespace
