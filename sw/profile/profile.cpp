#include "sw/profile/profile.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/profile/tables.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;
using spec::Counter;

std::string joined(const std::string& a, const std::string& b) {
  return a + (a.empty() || b.empty() ? "" : ",") + b;
}

json step_json(const Measurement& m, const EnergyTable& table) {
  const CounterFile& f = m.file;
  json j = part_json(whole(f, table), f, table);
  j["energy"] = energy_json(f, table);
  for (const Part& p : by_phase(f, table)) j["phases"].push_back(part_json(p, f, table));
  for (const Part& p : by_layer(f, table)) j["layers"].push_back(part_json(p, f, table));
  for (const Part& p : by_command(f, table)) j["commands"].push_back(part_json(p, f, table));
  const auto steps = static_cast<double>(f.steps);
  j["host"] = {{"register_reads", static_cast<double>(f.host.register_reads) / steps},
               {"register_writes", static_cast<double>(f.host.register_writes) / steps},
               {"bytes", static_cast<double>(f.host.bytes()) / steps},
               {"batch_bytes", static_cast<double>(f.batch_traffic.bytes()) / steps}};
  return j;
}

class Profiler {
 public:
  Profiler(const ProfileOptions& o, const OpenWith& open, const Say& say)
      : o_(o), open_(open), say_(say) {
    table_ = read_energy_table(find_energy_table(o.table));
    if (!o.dram.empty()) choose_dram(table_, o.dram);
  }

  ProfileOutcome run() {
    namespace fs = std::filesystem;
    fs::create_directories(o_.reports / "profile");
    json networks = json::array();
    for (const std::string& name : o_.networks) networks.push_back(network(find_workload(name)));
    ProfileOutcome out;
    out.report = {{"schema", 1},
                  {"spec", fmt::format("{:08x}", spec::kSpecHash)},
                  {"backend", o_.measure.backend},
                  {"backend_options", o_.backend_options},
                  {"technology", table_.technology},
                  {"dram", table_.dram},
                  {"clock_mhz", table_.clock_mhz},
                  {"networks", networks}};
    write_file_atomic(o_.reports / "profile.json", out.report.dump(1) + "\n", false);
    write_file_atomic(o_.reports / "profile-layers.csv", layers_csv_, false);
    write_file_atomic(o_.reports / "profile-ops.csv", commands_csv_, false);
    out.summary = summary_;
    return out;
  }

 private:
  json network(const Workload& w) {
    if (say_) say_(fmt::format("profiling {}", w.name));
    const int batch = o_.batch > 0 ? o_.batch : w.batch;
    const QuantizedNetwork q = make_network(w, o_.weight_type, o_.measure.seed, o_.measure.threads);
    const DeviceOpener open = open_(joined(o_.backend_options, w.shapes_only ? "execute=0" : ""));
    json j = {{"name", w.name},
              {"input", {w.input.h, w.input.w, w.input.c}},
              {"batch", batch},
              {"pairs", o_.measure.pairs},
              {"weight_type", lastmile::name_of(o_.weight_type)},
              {"weights", weight_count(q.network)},
              {"macs_per_example", macs(q.network)}};
    const Measurement inference =
        measure(q, inference_options(batch), "inference", open, o_.measure);
    keep(w, inference);
    j["inference"] = step_json(inference, table_);
    for (const Variant v : o_.variants) {
      const Measurement m =
          measure(q, step_options(q, v, batch, o_.distribution), name_of(v), open, o_.measure);
      keep(w, m);
      j["steps"][name_of(v)] = step_json(m, table_);
      if (v == o_.variants.front()) summary_ += energy_text(m.file, table_);
    }
    return j;
  }

  void keep(const Workload& w, const Measurement& m) {
    CounterFile file = m.file;
    file.network = w.name;
    write_file_atomic(o_.reports / "profile" / fmt::format("{}-{}.json", w.name, file.variant),
                      to_json(file).dump(1) + "\n", false);
    append(layers_csv_, layers_csv(file, table_));
    append(commands_csv_, commands_csv(file, table_));
  }
  static void append(std::string& all, const std::string& csv) {
    all += all.empty() ? csv : csv.substr(csv.find('\n') + 1);
  }

  const ProfileOptions& o_;
  const OpenWith& open_;
  const Say& say_;
  EnergyTable table_;
  std::string layers_csv_, commands_csv_, summary_;
};

}  // namespace

ProfileOutcome profile_networks(const ProfileOptions& o, const OpenWith& open, const Say& say) {
  return Profiler(o, open, say).run();
}

}  // namespace lastmile::profile
