// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <mutex>

#include "sw/base/error.hpp"
#include "sw/base/parallel.hpp"
#include "sw/profile/profile.hpp"
#include "sw/profile/tables.hpp"

namespace lastmile::profile {

using nlohmann::json;
using spec::Counter;

json sweep(const Workload& w, const ProfileOptions& o, const EnergyTable& table,
           const DeviceOpener& count_only, const ProgressOptions& progress) {
  struct Point {
    spec::HardwareParams hw;
    int batch = 0, pairs = 0;
    json result;
  };
  std::vector<Point> points;
  for (const int size : {8, 16, 32})
    for (const int act : {16384, 65536, 262144})
      for (const int bus : {8, 16, 32})
        for (const int batch : {16, 64})
          for (const int pairs : {1, 4}) {
            Point p;
            p.hw = o.measure.hardware;
            p.hw.rows = p.hw.cols = size;
            p.hw.rq_lanes = std::min(p.hw.rq_lanes, size);
            p.hw.act_bytes = act;
            p.hw.bus_bytes = bus;
            p.batch = batch;
            p.pairs = pairs;
            points.push_back(p);
          }
  const QuantizedNetwork q = make_network(w, o.weight_type, o.measure.seed, o.measure.threads);
  Progress bar("sweep", static_cast<std::int64_t>(points.size()), progress);
  std::mutex mutex;
  parallel_for(
      o.measure.threads, static_cast<std::int64_t>(points.size()),
      [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) {
          Point& p = points[static_cast<std::size_t>(i)];
          MeasureOptions one = o.measure;
          one.hardware = p.hw;
          one.pairs = p.pairs;
          one.steps = 1;
          one.threads = 1;
          p.result = {
              {"rows", p.hw.rows},           {"cols", p.hw.cols}, {"act_bytes", p.hw.act_bytes},
              {"bus_bytes", p.hw.bus_bytes}, {"batch", p.batch},  {"pairs", p.pairs}};
          try {
            const Measurement m =
                measure(q, step_options(q, Variant::full, p.batch, o.distribution), "full",
                        count_only, one);
            // Per example and pair: what a step of any batch and m can be compared by.
            const double passes = static_cast<double>(p.batch) * p.pairs;
            const Part all = whole(m.file, table);
            p.result["cycles"] = static_cast<double>(all.counters[Counter::cycles_]) / passes;
            p.result["energy_uj"] = interval_json(energy_pj(all.cells, table) * (1e-6 / passes));
            p.result["utilisation"] = utilisation(all, p.hw);
            p.result["memory_bytes"] =
                m.program.memory.total_bytes + m.program.memory.on_chip_bytes;
          } catch (const Error& e) {
            p.result["error"] = e.what();  // a layer does not fit this build
          }
          const std::lock_guard lock(mutex);
          bar.add();
        }
      });
  bar.finish();
  const auto number = [](const json& r, const char* key) {
    return std::string(key) == "energy_uj" ? r.at(key).at("value").get<double>()
                                           : r.at(key).get<double>();
  };
  for (Point& p : points) {
    if (p.result.contains("error")) continue;
    const bool dominated = std::any_of(points.begin(), points.end(), [&](const Point& other) {
      if (other.result.contains("error")) return false;
      bool better = false;
      for (const char* key : {"cycles", "energy_uj", "memory_bytes"}) {
        const double a = number(other.result, key), b = number(p.result, key);
        if (a > b) return false;
        better = better || a < b;
      }
      return better;
    });
    p.result["pareto"] = !dominated;
  }
  json out = {{"network", w.name}, {"points", json::array()}};
  for (Point& p : points) out["points"].push_back(std::move(p.result));
  return out;
}

}  // namespace lastmile::profile
