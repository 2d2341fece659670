// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/dram.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>

#include "cmodel/spec/settings.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/number.hpp"
#include "sw/base/shipped.hpp"
#include "sw/base/toml_text.hpp"
#include "sw/profile/toml_fields.hpp"

namespace lastmile::profile {
namespace {

constexpr std::array<const char*, 4> kShipped = {"ddr3", "lpddr4", "lpddr5", "hbm2"};
constexpr double kBurstBytes = 256;
constexpr double kMostNs = 1e6;

double nanoseconds(const toml::value& root, const std::string& key, const std::string& file) {
  const double v = number_of(root, key, file, "");
  if (v > kMostNs)
    bad_field(file, field_of(root, key, file, ""),
              fmt::format("{} is {}, expected at most {} ns", key, v, kMostNs));
  return v;
}
int whole_number(const toml::value& root, const std::string& key, const std::string& file) {
  const double v = number_of(root, key, file, "");
  if (v != std::floor(v) || v < 1 || v > 1 << 20)
    bad_field(file, field_of(root, key, file, ""),
              fmt::format("{} is {}, expected a whole number of 1 to {}", key, v, 1 << 20));
  return static_cast<int>(v);
}

}  // namespace

Dram parse_dram(const std::string& text, const std::string& file) {
  const toml::value root = parse_toml(text, file);
  only_fields(root,
              {"schema", "name", "source", "energy", "read_bit", "write_bit", "bandwidth_gbs",
               "latency_ns", "interface_ns", "activate_ns", "precharge_ns", "refresh_interval_ns",
               "refresh_ns", "banks", "row_bytes"},
              file, "");
  if (number_of(root, "schema", file, "") != 1) bad_field(file, root, "schema: expected 1");
  Dram d;
  d.file = file;
  d.name = text_of(root, "name", file, "");
  d.source = text_of(root, "source", file, "");
  d.bandwidth_gbs = number_of(root, "bandwidth_gbs", file, "");
  if (d.bandwidth_gbs == 0 || d.bandwidth_gbs > 1e4)
    bad_field(
        file, field_of(root, "bandwidth_gbs", file, ""),
        fmt::format("bandwidth_gbs is {}, expected more than 0, at most 10000", d.bandwidth_gbs));
  d.latency_ns = nanoseconds(root, "latency_ns", file);
  d.interface_ns = nanoseconds(root, "interface_ns", file);
  d.activate_ns = nanoseconds(root, "activate_ns", file);
  d.precharge_ns = nanoseconds(root, "precharge_ns", file);
  d.refresh_interval_ns = nanoseconds(root, "refresh_interval_ns", file);
  d.refresh_ns = nanoseconds(root, "refresh_ns", file);
  if (d.refresh_interval_ns != 0 && d.refresh_ns >= d.refresh_interval_ns)
    bad_field(file, field_of(root, "refresh_ns", file, ""),
              fmt::format("refresh_ns is {}, expected less than refresh_interval_ns ({})",
                          d.refresh_ns, d.refresh_interval_ns));
  d.banks = whole_number(root, "banks", file);
  d.row_bytes = whole_number(root, "row_bytes", file);
  const bool kind = has_field(root, "energy"), own = has_field(root, "read_bit");
  if (kind == own || own != has_field(root, "write_bit"))
    bad_field(file, root,
              "expected either energy = a kind of the energy table, or the tables read_bit and "
              "write_bit");
  if (kind) {
    d.energy = text_of(root, "energy", file, "");
    EnergyTable asked;
    try {
      choose_dram(asked, d.energy);
    } catch (const Error& e) {
      bad_field(file, field_of(root, "energy", file, ""), fmt::format("energy: {}", e.what()));
    }
  } else {
    const auto cell = [&](const char* key) {
      return parse_cell(field_of(root, key, file, ""), {key, "pJ", Component::memory}, file);
    };
    d.read_bit = cell("read_bit");
    d.write_bit = cell("write_bit");
  }
  return d;
}

Dram find_dram(const std::string& name) {
  if (name.empty() || name == "flat") return {};
  const std::string called = name == "ddr" ? "ddr3" : name;
  if (!called.ends_with(".toml") &&
      std::none_of(kShipped.begin(), kShipped.end(), [&](const char* k) { return called == k; }))
    throw Error(ErrorKind::usage,
                fmt::format("--dram: memory is \"{}\", expected flat, {}, or a .toml file", name,
                            fmt::join(kShipped, ", ")));
  const std::filesystem::path file = find_shipped("memory", called);
  return parse_dram(read_text_file(file), file.string());
}

DramTiming timing_of(const Dram& d, double clock_mhz) {
  if (!d.described()) return {};
  DramTiming t;
  const double cycles_per_ns = clock_mhz * 1e-3;
  t.latency = static_cast<std::uint32_t>(
      std::ceil((d.interface_ns + d.activate_ns + d.latency_ns) * cycles_per_ns - 1e-9));
  double bytes_per_ns = d.bandwidth_gbs;
  const double busy = d.activate_ns + kBurstBytes / d.bandwidth_gbs + d.precharge_ns;
  bytes_per_ns = std::min(bytes_per_ns, d.banks * kBurstBytes / busy);
  if (d.refresh_interval_ns > 0) bytes_per_ns *= 1 - d.refresh_ns / d.refresh_interval_ns;
  t.bytes_per_cycle =
      static_cast<std::uint32_t>(std::clamp(std::round(bytes_per_ns / cycles_per_ns), 1.0, 1024.0));
  return t;
}

std::string backend_settings(const Dram& d, double clock_mhz) {
  if (!d.described()) return {};
  const DramTiming t = timing_of(d, clock_mhz);
  return fmt::format("latency={},bandwidth={}", t.latency, t.bytes_per_cycle);
}

DramTiming timing_of_settings(const std::string& backend_options) {
  DramTiming t;
  for (const spec::Setting& s : spec::split_settings(backend_options)) {
    const auto value = parse_integer<std::uint32_t>(s.value);
    if (!value) continue;  // the backend says so
    if (s.name == "latency") t.latency = *value;
    if (s.name == "bandwidth") t.bytes_per_cycle = *value;
    if (s.name == "stall") t.stall = *value;
  }
  return t;
}

std::string memory_settings(const std::string& backend_options) {
  std::string out;
  for (const spec::Setting& s : spec::split_settings(backend_options))
    if (s.name == "latency" || s.name == "bandwidth" || s.name == "stall")
      out += (out.empty() ? "" : ",") + s.text;
  return out;
}

void use_dram(EnergyTable& table, const Dram& d) {
  if (!d.described()) return;
  if (d.read_bit) {
    // Any kind's cells will do: this copy of the table is for this memory alone.
    choose_dram(table, "ddr");
    table.cells[cell_index("dram.ddr.read_bit")] = *d.read_bit;
    table.cells[cell_index("dram.ddr.write_bit")] = *d.write_bit;
  } else {
    choose_dram(table, d.energy);
  }
  table.memory = d.name;
}

}  // namespace lastmile::profile
