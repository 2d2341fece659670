// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/energy.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <toml.hpp>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/shipped.hpp"
#include "sw/base/toml_text.hpp"
#include "sw/profile/toml_fields.hpp"

namespace lastmile::profile {
namespace {

using spec::Counter;
using spec::Opcode;

constexpr std::array<int, 5> kMacros = {8, 32, 64, 256, 1024};  // KB
constexpr std::array<const char*, 4> kDram = {"ddr", "lpddr4", "lpddr5", "hbm2"};

// An engine of elements costs by its own row; those of matrices add by that of ADD.
bool has_element_cell(Opcode op) {
  return spec::traits(op).layout != spec::Layout::none_ && !spec::traits(op).weights;
}
std::string element_cell(Opcode op) {
  std::string name(spec::to_string(has_element_cell(op) ? op : Opcode::add_));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return "element." + name;
}

std::vector<CellName> make_names() {
  std::vector<CellName> names = {
      {"array.mac_w16", "pJ", Component::array},    {"array.mac_w8", "pJ", Component::array},
      {"register.bit", "pJ", Component::registers}, {"random.word64", "pJ", Component::random},
      {"perturb.element", "pJ", Component::random}, {"requant.byte", "pJ", Component::requant},
  };
  for (const Opcode op : spec::kAll<Opcode>)
    if (has_element_cell(op)) names.push_back({element_cell(op), "pJ", Component::element});
  names.insert(names.end(), {{"wire.bit_mm", "pJ", Component::wire},
                             {"control.cycle", "pJ", Component::control},
                             {"leak.sram_kb", "uW", Component::leakage},
                             {"leak.multiplier", "uW", Component::leakage}});
  for (const char* kind : {"read64", "write64", "read256", "write256"})
    for (const int kb : kMacros)
      names.push_back({fmt::format("sram.{}_{}KB", kind, kb), "pJ", Component::scratchpad});
  for (const char* kind : kDram)
    for (const char* way : {"read", "write"})
      names.push_back({fmt::format("dram.{}.{}_bit", kind, way), "pJ", Component::memory});
  return names;
}

// The accumulators use the same macros as the scratchpad; what they cost is told apart by where the
// count comes from, so counts have a second row for them.
std::size_t accumulator_row(std::size_t cell) { return cell_names().size() + cell; }

// The smallest macro that holds `bytes`.
int macro_for(double bytes) {
  for (const int kb : kMacros)
    if (bytes <= 1024.0 * kb) return kb;
  return kMacros.back();
}

const Cell& cell_of_row(const EnergyTable& table, std::size_t row) {
  return table.cells[row % cell_names().size()];
}
Component component_of_row(std::size_t row) {
  return row >= cell_names().size() ? Component::accumulator : cell_names()[row].component;
}

}  // namespace

std::string_view name_of(Component component) {
  constexpr std::array<std::string_view, kComponents> kNames = {
      "array",   "registers", "scratchpad", "accumulator", "random", "requant",
      "element", "wire",      "control",    "leakage",     "memory"};
  return kNames.at(static_cast<std::size_t>(component));
}

const std::vector<CellName>& cell_names() {
  static const std::vector<CellName> names = make_names();
  return names;
}

std::size_t cell_index(std::string_view name) {
  const auto& names = cell_names();
  const auto at =
      std::find_if(names.begin(), names.end(), [&](const CellName& c) { return c.name == name; });
  if (at == names.end()) throw std::out_of_range("no energy cell " + std::string(name));
  return static_cast<std::size_t>(at - names.begin());
}

EnergyTable parse_energy_table(const std::string& text, const std::string& file) {
  const toml::value root = parse_toml(text, file);
  only_fields(root, {"schema", "technology", "voltage", "clock_mhz", "dram", "wire_mm", "cell"},
              file, "");
  if (number_of(root, "schema", file, "") != 1) bad_field(file, root, "schema: expected 1");
  EnergyTable t;
  t.file = file;
  t.technology = text_of(root, "technology", file, "");
  t.voltage = number_of(root, "voltage", file, "");
  t.clock_mhz = number_of(root, "clock_mhz", file, "");
  if (t.clock_mhz == 0) bad_field(file, root, "clock_mhz is 0, expected more");
  t.wire_mm = number_of(root, "wire_mm", file, "");
  t.dram = text_of(root, "dram", file, "");
  const toml::value& cells = field_of(root, "cell", file, "");
  if (!cells.is_table()) bad_field(file, cells, "cell: expected a table of cells");
  std::set<std::string> known;
  for (const CellName& name : cell_names()) {
    known.insert(name.name);
    const auto at = cells.as_table().find(name.name);
    if (at == cells.as_table().end())
      bad_field(file, cells, fmt::format("cell \"{}\" is missing", name.name));
    t.cells.push_back(parse_cell(at->second, name, file));
  }
  for (const auto& [key, v] : cells.as_table())
    if (!known.contains(key)) bad_field(file, v, fmt::format("unknown cell \"{}\"", key));
  t.hash = xxh64({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  choose_dram(t, t.dram);
  return t;
}

EnergyTable read_energy_table(const std::filesystem::path& path) {
  return parse_energy_table(read_text_file(path), path.string());
}

std::filesystem::path find_energy_table(const std::string& name) {
  return find_shipped("energy", name);
}

void choose_dram(EnergyTable& table, const std::string& kind) {
  if (std::none_of(kDram.begin(), kDram.end(), [&](const char* k) { return kind == k; }))
    throw Error(ErrorKind::usage,
                fmt::format("memory is \"{}\", expected ddr, lpddr4, lpddr5 or hbm2", kind));
  table.dram = table.memory = kind;
}

int node_of(const EnergyTable& table) {
  const std::string& t = table.technology;
  const auto digits = std::min(t.find_first_not_of("0123456789"), t.size());
  return digits != 0 && digits <= 4 && t.substr(digits) == "nm" ? std::stoi(t.substr(0, digits))
                                                                : 0;
}

Interval& Interval::operator+=(const Interval& o) {
  low += o.low;
  value += o.value;
  high += o.high;
  return *this;
}

CellCounts no_counts() { return CellCounts(2 * cell_names().size(), 0.0); }

CellCounts& operator+=(CellCounts& a, const CellCounts& b) {
  for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

CellCounts cell_counts(const CommandCounters& command, const CounterFile& file,
                       const EnergyTable& table) {
  const Counters& c = command.counters;
  const spec::HardwareParams& hw = file.hardware;
  const auto n = [&](Counter which) { return static_cast<double>(c[which]); };
  CellCounts out = no_counts();
  const auto add = [&](const std::string& cell, double count) { out[cell_index(cell)] += count; };
  const Opcode op = spec::from_string<Opcode>(command.opcode).value_or(Opcode::end_);
  const bool matrix = spec::traits(op).weights;

  add(file.weight_bits == 8 ? "array.mac_w8" : "array.mac_w16", n(Counter::macs_));
  add("register.bit",
      n(Counter::macs_) * (7 + 32.0 / hw.rows) + n(Counter::weight_loads_) * 2 * file.weight_bits);
  add("random.word64", n(Counter::random_words_));
  if (matrix && c[Counter::random_words_] != 0) add("perturb.element", n(Counter::weight_loads_));
  if (matrix) add("requant.byte", n(Counter::act_write_bytes_));
  add(element_cell(op), n(Counter::element_ops_));

  const int act = macro_for(hw.act_bytes);
  const double read_bits = n(Counter::sram_reads_) * 8 * hw.rows;
  if (8 * hw.rows >= 256) {
    add(fmt::format("sram.read256_{}KB", act), read_bits / 256);
  } else {
    add(fmt::format("sram.read64_{}KB", act), read_bits / 64);
  }
  add(fmt::format("sram.write64_{}KB", act), n(Counter::sram_writes_) / 8);
  const int acc = macro_for(hw.acc_depth * spec::kAccBits / 8.0);  // one memory per column
  const double acc_words = static_cast<double>(hw.cols) * spec::kAccBits / 64;
  out[accumulator_row(cell_index(fmt::format("sram.read64_{}KB", acc)))] +=
      n(Counter::acc_reads_) * acc_words;
  out[accumulator_row(cell_index(fmt::format("sram.write64_{}KB", acc)))] +=
      n(Counter::acc_writes_) * acc_words;

  add("wire.bit_mm", (n(Counter::bus_read_beats_) + n(Counter::bus_write_beats_)) * 8 *
                         hw.bus_bytes * table.wire_mm);
  add("control.cycle", n(Counter::cycles_));
  const double on_chip_kb =
      (2.0 * hw.act_bytes + 2.0 * hw.acc_depth * hw.cols * spec::kAccBits / 8) / 1024;
  const double microseconds = n(Counter::cycles_) / table.clock_mhz;
  add("leak.sram_kb", on_chip_kb * microseconds);
  add("leak.multiplier", static_cast<double>(hw.rows) * hw.cols * microseconds);
  add(fmt::format("dram.{}.read_bit", table.dram), 8 * static_cast<double>(c.read_bytes()));
  add(fmt::format("dram.{}.write_bit", table.dram), 8 * static_cast<double>(c.written_bytes()));
  return out;
}

CellCounts cell_counts(const CounterFile& file, const EnergyTable& table) {
  CellCounts sum = no_counts();
  for (const CommandCounters& c : file.commands) sum += cell_counts(c, file, table);
  return sum;
}

Interval energy_pj(const CellCounts& counts, const EnergyTable& table) {
  Interval sum;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const Cell& c = cell_of_row(table, i);
    sum += Interval{c.low, c.value, c.high} * counts[i];
  }
  return sum;
}

std::array<Interval, kComponents> energy_by_component(const CellCounts& counts,
                                                      const EnergyTable& table) {
  std::array<Interval, kComponents> out{};
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const Cell& c = cell_of_row(table, i);
    out[static_cast<std::size_t>(component_of_row(i))] +=
        Interval{c.low, c.value, c.high} * counts[i];
  }
  return out;
}

namespace {

// The largest a / b over the box of cell values: at the largest ratio r, a cell is high where it
// makes a - r b larger and low elsewhere (Dinkelbach's iteration, which only grows r).
double largest_ratio(const CellCounts& a, const CellCounts& b, const EnergyTable& table) {
  const std::size_t cells = cell_names().size();
  double r = 0;
  for (int i = 0; i < 100; ++i) {
    double top = 0, bottom = 0;
    for (std::size_t k = 0; k < cells; ++k) {
      const double x = a[k] + a[k + cells], y = b[k] + b[k + cells];
      const double v = x - r * y > 0 ? table.cells[k].high : table.cells[k].low;
      top += x * v;
      bottom += y * v;
    }
    const double next = bottom > 0 ? top / bottom : 0;
    if (!(next > r * (1 + 1e-12))) break;
    r = next;
  }
  return r;
}

}  // namespace

Interval energy_ratio(const CellCounts& a, const CellCounts& b, const EnergyTable& table) {
  const double inverse = largest_ratio(b, a, table);
  const double nominal = energy_pj(b, table).value;
  return {inverse > 0 ? 1 / inverse : 0, nominal > 0 ? energy_pj(a, table).value / nominal : 0,
          largest_ratio(a, b, table)};
}

}  // namespace lastmile::profile
