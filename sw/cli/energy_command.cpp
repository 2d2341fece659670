// SPDX-License-Identifier: Apache-2.0
// `lastmile energy`: counters of a profile times a table, without simulating again.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "cmodel/spec/settings.hpp"
#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/profile/dram.hpp"
#include "sw/profile/ranks.hpp"
#include "sw/profile/tables.hpp"

namespace lastmile {
namespace {

// The memory that counters were counted with, as --dram named it.
std::string counted_with(const profile::CounterFile& file) {
  for (const spec::Setting& s : spec::split_settings(file.memory))
    if (s.name == "dram") return s.value;
  return "flat";
}

}  // namespace

Subcommand energy_command(CLI::App& app) {
  struct State {
    std::filesystem::path counters;
    std::string table = "22nm", dram;
    bool json = false;
  };
  auto* sub =
      app.add_subcommand("energy", "energy of a saved profile with any table, as intervals");
  auto s = std::make_shared<State>();
  sub->add_option("--counters", s->counters, "counters file (build/reports/profile/*.json)")
      ->required();
  sub->add_option("--table", s->table, "45nm, 22nm, 7nm or a .toml file")->capture_default_str();
  sub->add_option("--dram", s->dram,
                  "energy of another memory off chip: flat, ddr3, lpddr4, lpddr5, hbm2 or a .toml "
                  "file (default: that of the counters; cycles stay as they were counted)");
  sub->add_flag("--json", s->json, "one JSON document on stdout");
  return {sub, [s] {
            profile::EnergyTable table =
                profile::read_energy_table(profile::find_energy_table(s->table));
            const profile::CounterFile file = profile::read_counters(s->counters);
            const std::string counted = counted_with(file);
            profile::use_dram(table, profile::find_dram(s->dram.empty() ? counted : s->dram));
            nlohmann::json notes = profile::rank_notes(profile::table_json(table));
            if (!s->dram.empty() && s->dram != counted)
              notes.push_back(
                  fmt::format("cycles were counted with memory {}: only the energy off "
                              "chip is that of {}, `lastmile profile --dram {}` counts "
                              "again",
                              counted, s->dram, s->dram));
            if (s->json) {
              nlohmann::json j = profile::energy_json(file, table);
              j["notes"] = notes;
              print_json(j, 1);
            } else {
              print_out("{}", profile::energy_text(file, table));
              for (const auto& note : notes) print_out("note: {}\n", note.get<std::string>());
            }
            return 0;
          }};
}

}  // namespace lastmile
