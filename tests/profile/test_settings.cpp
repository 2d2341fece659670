// SPDX-License-Identifier: Apache-2.0
// What a profile is made with: the memory off chip, the order of the tables' figures; and numbers
// as people read them.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/profile/dram.hpp"
#include "sw/profile/figures.hpp"
#include "sw/profile/profile.hpp"
#include "sw/profile/ranks.hpp"
#include "sw/profile/tables.hpp"

namespace {

using namespace lastmile;
using namespace lastmile::profile;
using nlohmann::json;

const char* const kMemory = R"(schema = 1
name = "made"
source = "this test"
energy = "hbm2"
bandwidth_gbs = 4
latency_ns = 10
interface_ns = 20
activate_ns = 15
precharge_ns = 15
refresh_interval_ns = 1000
refresh_ns = 250
banks = 8
row_bytes = 1024
)";

std::string with(const std::string& from, const std::string& to) {
  std::string t = kMemory;
  const auto at = t.find(from);
  REQUIRE(at != std::string::npos);
  return t.replace(at, from.size(), to);
}
std::string message(const std::string& text) {
  try {
    static_cast<void>(parse_dram(text, "made.toml"));
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::input);
    return e.what();
  }
  return "no error";
}

TEST_CASE("profile: a memory's times become cycles of the NPU's clock") {
  const Dram d = parse_dram(kMemory, "made.toml");
  DramTiming t = timing_of(d, 1000);
  CHECK(t.latency == 45);         // interface, activate, latency
  CHECK(t.bytes_per_cycle == 3);  // 4 GB/s, a quarter of the time lost to refresh
  t = timing_of(d, 500);
  CHECK(t.latency == 23);  // 22.5
  CHECK(t.bytes_per_cycle == 6);
  CHECK(backend_settings(d, 500) == "latency=23,bandwidth=6");
  // one bank: a row of 256 bytes in 15 + 64 + 15 ns
  CHECK(timing_of(parse_dram(with("banks = 8", "banks = 1"), "x"), 1000).bytes_per_cycle == 2);
  // the flat one is the backends' default, whatever the clock
  CHECK(backend_settings(find_dram(""), 800).empty());
  CHECK(timing_of_settings("").latency == 20);
  const DramTiming given = timing_of_settings("latency=23,bandwidth=6,spans=1,latency=7,stall=5");
  CHECK(given.latency == 7);  // what was given comes last
  CHECK(given.bytes_per_cycle == 6);
  CHECK(given.stall == 5);
  CHECK(memory_settings("seed=3,latency=7,trace=x,stall=5") == "latency=7,stall=5");
}

TEST_CASE("profile: every memory that ships can be read, and brings its energy") {
  for (const char* name : {"ddr", "ddr3", "lpddr4", "lpddr5", "hbm2"}) {
    CAPTURE(name);
    const Dram d = find_dram(name);
    CHECK(d.described());
    CHECK(d.name == (std::string(name) == "ddr" ? "ddr3" : name));
    EnergyTable table = read_energy_table(find_energy_table("22nm"));
    use_dram(table, d);
    CHECK(table.memory == d.name);
    CHECK(table.dram == d.energy);
    const DramTiming t = timing_of(d, table.clock_mhz);
    CHECK(t.latency > 20);
    CHECK(t.bytes_per_cycle > 0);
  }
  CHECK_THROWS_WITH_AS(static_cast<void>(find_dram("ddr9")),
                       doctest::Contains("expected flat, ddr3, lpddr4, lpddr5, hbm2, or a .toml"),
                       Error);
  EnergyTable table = read_energy_table(find_energy_table("7nm"));
  const std::string own = table.dram;
  use_dram(table, find_dram("flat"));
  CHECK(table.dram == own);
}

TEST_CASE("profile: a memory with figures of its own") {
  std::string text = with("energy = \"hbm2\"\n", "");
  const char* const cell =
      "value = 2\nlow = 1\nhigh = 3\nunit = \"pJ\"\nsource = \"s\"\nboundary = \"b\"\n"
      "confidence = \"low\"\n";
  text += std::string("[read_bit]\n") + cell + "[write_bit]\n" + cell;
  EnergyTable table = read_energy_table(find_energy_table("22nm"));
  use_dram(table, parse_dram(text, "made.toml"));
  CHECK(table.memory == "made");
  CHECK(table.cells[cell_index("dram." + table.dram + ".read_bit")].value == 2);
}

TEST_CASE("profile: memories that are incomplete or wrong are refused by name") {
  CHECK(message(kMemory) == "no error");
  CHECK(message(with("banks = 8", "bank = 8")).find("unknown key 'bank'") != std::string::npos);
  CHECK(message(with("banks = 8\n", "")).find("banks is missing") != std::string::npos);
  CHECK(message(with("banks = 8", "banks = 0")).find("banks is 0") != std::string::npos);
  CHECK(message(with("= 4\n", "= 0\n")).find("bandwidth_gbs is 0") != std::string::npos);
  CHECK(message(with("= 10\n", "= -1\n")).find("latency_ns") != std::string::npos);
  CHECK(message(with("= 250", "= 1000")).find("less than refresh_interval_ns") !=
        std::string::npos);
  CHECK(message(with("\"hbm2\"", "\"sram\"")).find("expected ddr, lpddr4") != std::string::npos);
  CHECK(message(with("energy = \"hbm2\"\n", "")).find("either energy") != std::string::npos);
}

TEST_CASE("profile: figures that do not rank nodes or sizes are found") {
  const EnergyTable t45 = read_energy_table(find_energy_table("45nm")),
                    t22 = read_energy_table(find_energy_table("22nm")),
                    t7 = read_energy_table(find_energy_table("7nm"));
  for (const EnergyTable* t : {&t45, &t22, &t7}) {
    CAPTURE(t->technology);
    CHECK(size_faults(*t).empty());
  }
  CHECK(node_of(t22) == 22);
  CHECK(node_faults(t45, t22).empty());
  const auto faults = node_faults(t22, t7);
  const auto read8 = std::find_if(faults.begin(), faults.end(),
                                  [](const RankFault& f) { return f.cell == "sram.read64_8KB"; });
  REQUIRE(read8 != faults.end());
  CHECK(read8->value == 1.59);
  CHECK(read8->expected_at_least == 7.5);
  CHECK(read8->why.find("CACTI 7, 22 nm") != std::string::npos);
  CHECK(read8->why.find("Jouppi") != std::string::npos);
  CHECK(node_faults(t7, t22).size() == faults.size());
  for (const RankFault& f : faults) CHECK(f.cell.find("leak") == std::string::npos);
  EnergyTable broken = t22;
  broken.cells[cell_index("sram.write64_32KB")].value = 1;
  REQUIRE(size_faults(broken).size() == 1);
  CHECK(size_faults(broken)[0].than == "sram.write64_8KB");

  const json a = table_json(t45), b = table_json(t22), c = table_json(t7);
  CHECK(why_not_ranked(a, b).empty());
  CHECK(why_not_ranked(b, c).find("cost more at 7nm than at 22nm") != std::string::npos);
  CHECK(why_not_ranked(c, b) == why_not_ranked(b, c));
  CHECK_FALSE(why_not_ranked(b, json::object()).empty());
  CHECK(rank_notes(a).size() == 1);  // 7 nm
  CHECK(rank_notes(c).size() == 2);
}

TEST_CASE("profile: numbers for people have no exponents") {
  CHECK(plain(0) == "0");
  CHECK(plain(69.52) == "69.5");
  CHECK(plain(0.012345) == "0.0123");
  CHECK(plain(5880) == "5,880");
  CHECK(plain(1234567.8, 4) == "1,234,568");
  CHECK(plain(100) == "100");
  CHECK(plain(-12.0) == "-12");
  CHECK(counted(6466396) == "6,466,396");
  CHECK(counted(999) == "999");
  CHECK(change(3840) == "+3,840");
  CHECK(change(-1234) == "-1,234");
  CHECK(change(0) == "0");
  CHECK(energy_of_pj(6.952e10) == "69.5 mJ");
  CHECK(energy_of_pj(2.02) == "2.02 pJ");
  CHECK(energy_of_pj(999.9) == "1 nJ");
  CHECK(energy_interval({{"value", 3235.0}, {"low", 2780.0}, {"high", 5880.0}}, 1e6) ==
        "3.235 mJ (2.78 to 5.88)");
  CHECK(bytes_text(120) == "120 B");
  CHECK(bytes_text(196700) == "196.7 kB");
  CHECK(bytes_text(2.46e6) == "2.46 MB");
}

}  // namespace
