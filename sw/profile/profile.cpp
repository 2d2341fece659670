// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/profile.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cmodel/spec/hardware.hpp"
#include "cmodel/spec/npu_identity.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/profile/compare.hpp"
#include "sw/profile/dram.hpp"
#include "sw/profile/memory.hpp"
#include "sw/profile/perfetto.hpp"
#include "sw/profile/ranks.hpp"
#include "sw/profile/tables.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;
using spec::Counter;

constexpr int kTraceBatch = 4;

std::string joined(const std::string& a, const std::string& b) {
  return a + (a.empty() || b.empty() ? "" : ",") + b;
}

json step_json(const CounterFile& f, const EnergyTable& table) {
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

json memory_json(const MemoryProfile& m) {
  json j = {{"peak_bytes", m.peak_bytes},           {"footprint_bytes", m.footprint_bytes},
            {"device_bytes", m.footprint_bytes},    {"fragmentation_bytes", m.fragmentation_bytes},
            {"on_chip_bytes", m.on_chip_bytes},     {"on_chip_peak_bytes", m.on_chip_peak},
            {"peak_phase", m.points[m.peak].phase}, {"peak_command", m.points[m.peak].command}};
  for (const LiveTensor& t : m.live_at_peak)
    j["live_at_peak"].push_back({{"layer", t.layer}, {"bytes", t.bytes}, {"address", t.address}});
  for (const MemoryPoint& p : m.points) {
    json point = {{"phase", p.phase},
                  {"command", p.command},
                  {"scratchpad", p.scratchpad},
                  {"accumulators", p.accumulators}};
    for (std::size_t c = 0; c < kCategories; ++c)
      point[std::string(name_of(static_cast<Category>(c)))] = p.live[c];
    j["timeline"].push_back(std::move(point));
  }
  return j;
}

// What the memory itself saw, where the backend has one.
json bus_json(const Measurement& m) {
  const json report = json::parse(m.report);
  if (!report.contains("highest_address")) return nullptr;
  return {{"highest_address", report.at("highest_address")},
          {"read_beats", report.at("bus_read_beats")},
          {"written_bytes", report.at("bus_written_bytes")},
          {"planner_bytes", m.program.memory.total_bytes},
          {"bus_bytes", m.file.hardware.bus_bytes}};
}

class Profiler {
 public:
  Profiler(const ProfileOptions& o, const OpenWith& open, const Say& say)
      : o_(o),
        open_(open),
        say_(say),
        table_(read_energy_table(find_energy_table(o.table))),
        dram_(find_dram(o.dram)),
        settings_(joined(backend_settings(dram_, table_.clock_mhz), o.backend_options)),
        count_only_(
            open(joined(o.measure.backend == "cmodel" ? settings_ : memory_settings(settings_),
                        "execute=0"),
                 true)) {
    use_dram(table_, dram_);
    how_.memory = joined("dram=" + (o.dram.empty() ? dram_.name : o.dram), settings_);
  }

  ProfileOutcome run(const ProgressOptions& progress) {
    make_folder(o_.reports / "profile");
    json old;
    if (!o_.against.empty()) {
      old = json::parse(read_text_file(o_.against), nullptr, false);
      if (!old.is_object() || old.value("schema", 0) != 1)
        throw Error(ErrorKind::input,
                    fmt::format("{}: is not a profile.json", o_.against.string()));
    }
    const std::vector<Workload> workloads = named_apart();
    json networks = json::array();
    for (const Workload& w : workloads) networks.push_back(network(w));
    ProfileOutcome out;
    json& r = out.report;
    r = {{"schema", 1},
         {"spec", fmt::format("{:08x}", spec::kSpecHash)},
         {"backend", o_.measure.backend},
         {"backend_options", o_.backend_options},
         {"hardware", o_.measure.hardware},
         {"technology", table_.technology},
         {"dram", table_.memory},
         {"memory", dram_json()},
         {"energy_table", table_json(table_)},
         {"distribution", o_.distribution == spec::Distribution::sign_ ? "sign" : "gaussian"},
         {"steps", o_.measure.steps},
         {"clock_mhz", table_.clock_mhz},
         {"networks", networks}};
    if (o_.sweep && !o_.networks.empty())
      r["sweep"] = sweep(workloads.front(), o_, table_, count_only_, progress);
    if (!o_.trace.empty() && !o_.networks.empty()) trace(workloads.front());
    if (old.is_object()) {
      r["comparison"] = profile_comparison(r, old);
      r["differences"] = profile_differences(r, old);
    }
    write_file_atomic(o_.reports / "profile.json", json_text(r, 1) + "\n", false);
    write_file_atomic(o_.reports / "profile-layers.csv", layers_csv_, false);
    write_file_atomic(o_.reports / "profile-ops.csv", commands_csv_, false);
    write_file_atomic(o_.reports / "profile-memory.csv", memory_csv(r), false);
    write_file_atomic(o_.reports / "profile.html", profile_page(r, old), false);
    out.summary = profile_summary(r);
    return out;
  }

 private:
  // Reports are files named after the network. Where two descriptions have one name, the names of
  // their files tell them apart.
  [[nodiscard]] std::vector<Workload> named_apart() const {
    std::vector<Workload> workloads;
    for (const std::string& name : o_.networks) workloads.push_back(find_workload(name));
    const auto shared = [&](std::size_t i) {
      return std::count_if(workloads.begin(), workloads.end(),
                           [&](const Workload& w) { return w.name == workloads[i].name; }) > 1;
    };
    std::vector<bool> rename;
    for (std::size_t i = 0; i < workloads.size(); ++i)
      rename.push_back(shared(i) && o_.networks[i].ends_with(".toml"));
    for (std::size_t i = 0; i < workloads.size(); ++i)
      if (rename[i])
        workloads[i].name = report_name(std::filesystem::path(o_.networks[i]).stem().string());
    for (std::size_t i = 0; i < workloads.size(); ++i)
      for (std::size_t k = 0; k < i; ++k)
        if (workloads[i].name == workloads[k].name)
          throw Error(
              ErrorKind::usage,
              fmt::format("--networks: \"{}\" and \"{}\" would write the same reports ({}-*.json), "
                          "expected networks or files of different names",
                          o_.networks[k], o_.networks[i], workloads[i].name));
    return workloads;
  }

  // The memory that cycles and energies are of.
  [[nodiscard]] json dram_json() const {
    const DramTiming t = timing_of_settings(settings_);
    const auto bus = static_cast<std::uint32_t>(o_.measure.hardware.bus_bytes);
    json j = {{"name", dram_.name},
              {"latency_cycles", t.latency},
              {"bytes_per_cycle", t.bytes_per_cycle == 0 ? bus : std::min(bus, t.bytes_per_cycle)},
              {"stall_percent", t.stall},
              {"energy", table_.memory},
              {"boundary",
               table_.cells[cell_index(fmt::format("dram.{}.read_bit", table_.dram))].boundary}};
    if (dram_.described())
      j.update({{"source", dram_.source},
                {"bandwidth_gbs", dram_.bandwidth_gbs},
                {"latency_ns", dram_.interface_ns + dram_.activate_ns + dram_.latency_ns},
                {"banks", dram_.banks},
                {"row_bytes", dram_.row_bytes}});
    return j;
  }

  json network(const Workload& w) {
    if (say_) say_(fmt::format("profiling {}", w.name));
    const int batch = o_.batch > 0 ? o_.batch : w.batch;
    const QuantizedNetwork q = make_network(w, o_.weight_type, o_.measure.seed, o_.measure.threads);
    const DeviceOpener open = predicted(w) ? count_only_ : open_(settings_, false);
    json j = {{"name", w.name},
              {"input", {q.network.input.h, q.network.input.w, q.network.input.c}},
              {"batch", batch},
              {"pairs", o_.measure.pairs},
              {"weight_type", lastmile::name_of(o_.weight_type)},
              {"weights", weight_count(q.network)},
              {"macs_per_example", macs(q.network)},
              {"fingerprint", fmt::format("{:016x}", fingerprint(q.network))}};
    if (!w.assumed.empty()) {
      j["assumed"] = w.assumed;
      if (say_) say_("note: " + w.assumed);
    }
    CompileOptions pass = inference_options(batch);
    if (o_.inference) pass.output_layer = static_cast<int>(q.network.layers.size()) - 1;
    const Measurement inference = measure(q, pass, "inference", open, how_);
    keep(w, inference);
    j["inference"] = step_json(inference.file, table_);
    j["inference"]["memory"] = memory_json(memory_profile(inference.program, q.network, 1));
    j["steps"] = json::object();
    if (o_.inference) return j;
    for (const Variant v : o_.variants) {
      const Measurement m =
          measure(q, step_options(q, v, batch, o_.distribution), name_of(v), open, how_);
      keep(w, m);
      json& s = j["steps"][name_of(v)];
      s = step_json(m.file, table_);
      s["trained_weights"] = m.file.trained_weights;
      s["weight_bytes"] = m.file.weight_bytes;
      s["trained_bytes"] = m.file.trained_bytes;
      s["memory"] = memory_json(memory_profile(m.program, q.network, o_.measure.pairs));
      if (m.program.input_layer != kNetworkInput) add_frozen(s["memory"], q, m.program);
      s["memory"]["training_minus_inference"] =
          s["memory"]["device_bytes"].get<std::int64_t>() -
          static_cast<std::int64_t>(inference.program.memory.total_bytes);
      s["memory"]["scratch_bytes"] = m.program.memory.activation_live_peak;
      s["weight_movement"] = weight_movement(m.file);
      if (const json bus = bus_json(m); !bus.is_null()) s["bus"] = bus;
      if (o_.compare) {
        s["against"] = comparisons(q, v, m, inference);
        for (const Schedule& c : schedules(q, v, m.program, m.file, count_only_))
          s["schedules"].push_back(schedule_json(c, m.file));
      }
    }
    if (o_.compare) j["scratch"] = scratch_json(q, batch);
    return j;
  }

  // What a step that begins at kept outputs needs besides: the program that makes them, before, and
  // a place for them on the host.
  void add_frozen(json& memory, const QuantizedNetwork& q, const Program& step) const {
    CompileOptions front = inference_options(step.batch);
    front.output_layer = step.input_layer;
    const std::uint64_t bytes = compile(q, o_.measure.hardware, front).memory.total_bytes;
    memory["frozen"] = {
        {"layer", q.network.layers[static_cast<std::size_t>(step.input_layer)].name},
        {"footprint_bytes", bytes},
        {"feature_bytes_per_example", q.network.shape_of(step.input_layer).elements()}};
    memory["device_bytes"] = std::max(memory["footprint_bytes"].get<std::uint64_t>(), bytes);
  }

  [[nodiscard]] bool predicted(const Workload& w) const {
    return o_.predict || (w.shapes_only && !o_.execute);
  }

  json entry(const std::string& name, const CounterFile& f, const CounterFile& step,
             std::uint64_t scratch, std::uint64_t own_scratch) {
    const double per = 1.0 / static_cast<double>(f.steps);
    const Counters n = f.total();
    const CellCounts cells = scaled(cell_counts(f, table_), per);
    const CellCounts base =
        scaled(cell_counts(step, table_), 1.0 / static_cast<double>(step.steps));
    const Interval ratio = energy_ratio(cells, base, table_);
    return {
        {"name", name},
        {"cycles", static_cast<double>(n[Counter::cycles_]) * per},
        {"macs", static_cast<double>(n[Counter::macs_]) * per},
        {"read_bytes", static_cast<double>(n.read_bytes()) * per},
        {"written_bytes", static_cast<double>(n.written_bytes()) * per},
        {"energy_uj", interval_json(energy_pj(cells, table_) * 1e-6)},
        {"energy_ratio", interval_json(ratio)},
        {"survives", ratio.low > 1    ? "always more energy than the forward gradient"
                     : ratio.high < 1 ? "always less energy than the forward gradient"
                                      : "undecided within the table's intervals"},
        {"scratch_bytes", scratch},
        {"scratch_ratio",
         own_scratch == 0 ? 0 : static_cast<double>(scratch) / static_cast<double>(own_scratch)}};
  }
  static CellCounts scaled(CellCounts c, double by) {
    for (double& v : c) v *= by;
    return c;
  }

  json comparisons(const QuantizedNetwork& q, Variant v, const Measurement& m,
                   const Measurement& inference) {
    const std::uint64_t own = m.program.memory.activation_live_peak;
    json all = json::array();
    all.push_back(entry("this step", m.file, m.file, own, own));
    const bool whole = m.program.input_layer == kNetworkInput;
    all.push_back(entry(whole ? "inference" : "inference, whole network", inference.file, m.file,
                        inference.program.memory.activation_live_peak, own));
    if (!whole) {
      CompileOptions same = inference_options(m.program.batch);
      same.input_layer = m.program.input_layer;
      const Measurement part = measure(q, same, "inference", count_only_, how_);
      all.push_back(entry("inference, layers of the step", part.file, m.file,
                          part.program.memory.activation_live_peak, own));
    }
    const auto add = [&](const Alternative& a) {
      all.push_back(entry(a.name, a.file, m.file, a.scratch.bytes(), own));
    };
    for (const BackpropOptions& o : {BackpropOptions{false, false}, BackpropOptions{true, false},
                                     BackpropOptions{false, true}})
      add(backprop(q, v, m.file, o, count_only_));
    add(as_published(q, m.program, m.file, count_only_));
    add(physical_floor(m.program, m.file));
    return all;
  }

  json schedule_json(const Schedule& s, const CounterFile& base) {
    const double per = 1.0 / static_cast<double>(s.file.steps);
    const CellCounts cells = scaled(cell_counts(s.file, table_), per);
    const CellCounts own = scaled(cell_counts(base, table_), 1.0 / static_cast<double>(base.steps));
    const Counters n = s.file.total();
    return {{"name", s.name},
            {"how", s.how},
            {"weight_movement", weight_movement(s.file)},
            {"cycles", static_cast<double>(n[Counter::cycles_]) * per},
            {"bytes", static_cast<double>(n.read_bytes() + n.written_bytes()) * per},
            {"energy_uj", interval_json(energy_pj(cells, table_) * 1e-6)},
            {"energy_ratio", interval_json(energy_ratio(cells, own, table_))},
            {"activation_bytes", s.activation_bytes},
            {"on_chip_bytes", s.on_chip_bytes}};
  }

  // The shape of the paper's memory result: from float backpropagation to sparse fixed point. The
  // published method stores perturbed weights (of a sparse mask, those alone); this NPU none. For
  // the batch, and for one example.
  json scratch_json(const QuantizedNetwork& q, int batch) {
    json rows = scratch_rows(q, batch);
    const json single = scratch_rows(q, 1);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      rows[i]["bytes_of_one_example"] = single[i].at("bytes");
      rows[i]["times_less_of_one_example"] = single[i].at("times_less");
    }
    return rows;
  }
  json scratch_rows(const QuantizedNetwork& q, int batch) {
    json rows = json::array();
    const Widths half{2, 2, 2, 2}, single{4, 4, 4, 4};
    const auto row = [&](const std::string& name, std::uint64_t bytes) {
      rows.push_back({{"name", name}, {"bytes", bytes}});
    };
    const auto stored = [&](const BackpropOptions& o, const Widths& w) {
      return backprop_scratch(q, Variant::full, batch, o, w).bytes();
    };
    row("backpropagation, float 32", stored({}, single));
    row("backpropagation, float 16", stored({}, half));
    row("backpropagation, fixed point", stored({}, {}));
    row("backpropagation, fixed point, momentum", stored({true, false}, {}));
    const auto live = [&](Variant v) {
      return compile(q, o_.measure.hardware, step_options(q, v, batch, o_.distribution))
          .memory.activation_live_peak;
    };
    const std::uint64_t own = live(Variant::full);
    const auto weights = static_cast<std::uint64_t>(weight_count(q.network));
    row("forward gradient as published, float 16", 2 * own + 2 * weights);
    row("forward gradient as published, fixed point", own + 2 * weights);
    row("forward gradient as published, fixed point, 90 % sparse", own + 2 * weights * 26 / 256);
    row("forward gradient here, fixed point", own);
    row("forward gradient here, fixed point, 90 % sparse", live(Variant::sparse));
    row("forward gradient here, fixed point, head only", live(Variant::head));
    const auto first = rows.front().at("bytes").get<double>();
    for (json& r : rows) {
      const auto bytes = r.at("bytes").get<double>();
      r["times_less"] = bytes > 0 ? first / bytes : 0;
    }
    return rows;
  }

  void trace(const Workload& w) {
    const QuantizedNetwork q = make_network(w, o_.weight_type, o_.measure.seed, o_.measure.threads);
    const bool model = predicted(w);
    const int batch = o_.batch > 0 ? o_.batch : std::min(kTraceBatch, w.batch);
    MeasureOptions one = how_;
    one.steps = 1;
    const Measurement m =
        measure(q, step_options(q, o_.variants.front(), batch, o_.distribution),
                name_of(o_.variants.front()),
                open_(joined(joined(settings_, model ? "execute=0" : ""), "spans=1"), model), one);
    const std::string bytes = perfetto_trace(json::parse(m.report), m.file, m.program, table_);
    write_file_atomic(o_.trace, bytes, false);
  }

  void keep(const Workload& w, const Measurement& m) {
    CounterFile file = m.file;
    file.network = w.name;
    write_file_atomic(o_.reports / "profile" / fmt::format("{}-{}.json", w.name, file.variant),
                      json_text(to_json(file), 1) + "\n", false);
    append(layers_csv_, layers_csv(file, table_));
    append(commands_csv_, commands_csv(file, table_));
  }
  static void append(std::string& all, const std::string& csv) {
    all += all.empty() ? csv : csv.substr(csv.find('\n') + 1);
  }

  static std::string memory_csv(const json& report) {
    std::string out = "network,variant,index,phase,command";
    for (std::size_t c = 0; c < kCategories; ++c)
      out += fmt::format(",{}", name_of(static_cast<Category>(c)));
    out += ",scratchpad,accumulators\n";
    for (const json& n : report.at("networks"))
      for (const auto& [variant, s] : n.at("steps").items()) {
        std::size_t i = 0;
        for (const json& p : s.at("memory").at("timeline")) {
          out += fmt::format("{},{},{},{},{}", n.at("name").get<std::string>(), variant, i++,
                             p.at("phase").get<std::string>(), p.at("command").get<std::string>());
          for (std::size_t c = 0; c < kCategories; ++c)
            out += fmt::format(
                ",{}", p.at(std::string(name_of(static_cast<Category>(c)))).get<std::uint64_t>());
          out += fmt::format(",{},{}\n", p.at("scratchpad").get<std::uint64_t>(),
                             p.at("accumulators").get<std::uint64_t>());
        }
      }
    return out;
  }

  const ProfileOptions& o_;
  const OpenWith& open_;
  const Say& say_;
  EnergyTable table_;
  Dram dram_;
  std::string settings_;  // of the backend: the memory's, then those given
  MeasureOptions how_ = o_.measure;
  DeviceOpener count_only_;
  std::string layers_csv_, commands_csv_;
};

}  // namespace

ProfileOutcome profile_networks(const ProfileOptions& o, const OpenWith& open, const Say& say,
                                const ProgressOptions& progress) {
  return Profiler(o, open, say).run(progress);
}

}  // namespace lastmile::profile
