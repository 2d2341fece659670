// SPDX-License-Identifier: Apache-2.0
// `lastmile energy`: counters of a profile times a table, without simulating again.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/profile/tables.hpp"

namespace lastmile {

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
                  "ddr, lpddr4, lpddr5 or hbm2 instead of the table's kind of memory");
  sub->add_flag("--json", s->json, "one JSON document on stdout");
  return {sub, [s] {
            profile::EnergyTable table =
                profile::read_energy_table(profile::find_energy_table(s->table));
            if (!s->dram.empty()) profile::choose_dram(table, s->dram);
            const profile::CounterFile file = profile::read_counters(s->counters);
            if (s->json) {
              print_json(profile::energy_json(file, table), 1);
            } else {
              print_out("{}", profile::energy_text(file, table));
            }
            return 0;
          }};
}

}  // namespace lastmile
