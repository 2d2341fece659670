// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/counters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "cmodel/spec/hardware.hpp"
#include "cmodel/spec/npu_identity.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

[[noreturn]] void bad(const std::string& origin, const std::string& text) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", origin, text));
}

template <class T>
T get(const json& j, const std::string& key, const std::string& origin) {
  const auto at = j.find(key);
  if (at == j.end()) bad(origin, fmt::format("{} is missing", key));
  try {
    if constexpr (std::is_integral_v<T>) {
      if (!at->is_number_integer() ||
          (std::is_unsigned_v<T> && !at->is_number_unsigned() && at->get<std::int64_t>() < 0))
        bad(origin, fmt::format("{} is {}, expected {}integer", key, at->dump(),
                                std::is_unsigned_v<T> ? "a non-negative " : "an "));
    }
    return at->get<T>();
  } catch (const json::exception&) {
    bad(origin, fmt::format("{} is {}, expected another type", key, at->dump()));
  }
}

json traffic_json(const HostTraffic& t) {
  return {{"register_reads", t.register_reads},
          {"register_writes", t.register_writes},
          {"bytes_read", t.bytes_read},
          {"bytes_written", t.bytes_written}};
}
HostTraffic traffic_from(const json& j, const std::string& origin) {
  return {get<std::uint64_t>(j, "register_reads", origin),
          get<std::uint64_t>(j, "register_writes", origin),
          get<std::uint64_t>(j, "bytes_read", origin),
          get<std::uint64_t>(j, "bytes_written", origin)};
}

// The counters of one entry; every counter must be there.
Counters counters_of(const json& j, const std::string& origin) {
  Counters c;
  for (std::size_t i = 0; i < c.value.size(); ++i)
    c.value[i] = get<std::uint64_t>(j, counter_key(i), origin);
  return c;
}

bool known_opcode(const std::string& name) {
  return spec::from_string<spec::Opcode>(name).has_value();
}

}  // namespace

std::string counter_key(std::size_t index) {
  std::string key(spec::kCounterName.at(index));
  std::transform(key.begin(), key.end(), key.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return key;
}

Counters CounterFile::total() const {
  Counters sum;
  for (const CommandCounters& c : commands) sum += c.counters;
  return sum;
}
Counters CounterFile::total(const std::string& phase) const {
  Counters sum;
  for (const CommandCounters& c : commands)
    if (c.phase == phase) sum += c.counters;
  return sum;
}

json to_json(const CounterFile& f) {
  json j = {{"schema", kCountersSchema},
            {"kind", "lastmile counters"},
            {"network", f.network},
            {"variant", f.variant},
            {"backend", f.backend},
            {"memory", f.memory},
            {"spec", fmt::format("{:08x}", spec::kSpecHash)},
            {"hardware", f.hardware},
            {"weight_bits", f.weight_bits},
            {"batch", f.batch},
            {"pairs", f.pairs},
            {"steps", f.steps},
            {"seed", f.seed},
            {"weight_bytes", f.weight_bytes},
            {"trained_bytes", f.trained_bytes},
            {"trained_weights", f.trained_weights},
            {"host", traffic_json(f.host)},
            {"batch_traffic", traffic_json(f.batch_traffic)}};
  json commands = json::array();
  for (const CommandCounters& c : f.commands) {
    json e = {{"phase", c.phase}, {"command", c.command}, {"opcode", c.opcode},
              {"name", c.name},   {"layer", c.layer},     {"runs", c.runs}};
    for (std::size_t i = 0; i < c.counters.value.size(); ++i)
      e[counter_key(i)] = c.counters.value[i];
    commands.push_back(std::move(e));
  }
  j["commands"] = std::move(commands);
  return j;
}

CounterFile counters_from_json(const json& j, const std::string& origin) {
  if (!j.is_object()) bad(origin, "expected a JSON object of counters");
  if (const int schema = get<int>(j, "schema", origin); schema != kCountersSchema)
    bad(origin, fmt::format("schema is {}, expected {}", schema, kCountersSchema));
  CounterFile f;
  f.network = get<std::string>(j, "network", origin);
  f.variant = get<std::string>(j, "variant", origin);
  f.backend = get<std::string>(j, "backend", origin);
  f.memory = get<std::string>(j, "memory", origin);
  const json hardware = get<json>(j, "hardware", origin);
  const std::string at = origin + ", hardware";
  spec::each_parameter(f.hardware, [&](std::string_view name, int& value) {
    value = get<int>(hardware, std::string(name), at);
  });
  if (const auto wrong = spec::bad_parameter(f.hardware); !wrong.empty())
    bad(at, fmt::format("{} is not one of its values", wrong));
  f.weight_bits = get<int>(j, "weight_bits", origin);
  if (f.weight_bits != 8 && f.weight_bits != 16)
    bad(origin, fmt::format("weight_bits is {}, expected 8 or 16", f.weight_bits));
  f.batch = get<int>(j, "batch", origin);
  f.pairs = get<int>(j, "pairs", origin);
  f.steps = get<std::uint64_t>(j, "steps", origin);
  if (f.steps == 0) bad(origin, "steps is 0, expected at least 1");
  f.seed = get<std::uint64_t>(j, "seed", origin);
  f.weight_bytes = get<std::uint64_t>(j, "weight_bytes", origin);
  f.trained_bytes = get<std::uint64_t>(j, "trained_bytes", origin);
  f.trained_weights = get<std::uint64_t>(j, "trained_weights", origin);
  f.host = traffic_from(get<json>(j, "host", origin), origin + ", host");
  f.batch_traffic = traffic_from(get<json>(j, "batch_traffic", origin), origin + ", batch_traffic");
  const json commands = get<json>(j, "commands", origin);
  if (!commands.is_array()) bad(origin, "commands is not an array");
  for (const json& e : commands) {
    const std::string where = fmt::format("{}, commands[{}]", origin, f.commands.size());
    if (!e.is_object()) bad(where, "expected an object");
    CommandCounters c;
    c.phase = get<std::string>(e, "phase", where);
    c.command = get<std::uint32_t>(e, "command", where);
    c.opcode = get<std::string>(e, "opcode", where);
    if (!known_opcode(c.opcode)) bad(where, fmt::format("opcode \"{}\" is unknown", c.opcode));
    c.name = get<std::string>(e, "name", where);
    c.layer = get<std::string>(e, "layer", where);
    c.runs = get<std::uint64_t>(e, "runs", where);
    c.counters = counters_of(e, where);
    f.commands.push_back(std::move(c));
  }
  return f;
}

CounterFile read_counters(const std::filesystem::path& path) {
  const json j = json::parse(read_text_file(path), nullptr, false);
  if (j.is_discarded()) bad(path.string(), "is not JSON");
  return counters_from_json(j, path.string());
}

std::vector<CommandCounters> commands_of_report(const std::string& report) {
  const json j = json::parse(report, nullptr, false);
  if (!j.is_object() || !j.contains("phases"))
    throw Error(ErrorKind::device, "the backend reports no counters by phase and command");
  std::vector<CommandCounters> out;
  for (const auto& [phase, commands] : j.at("phases").items()) {
    const std::string origin = fmt::format("report of the backend, phase {}", phase);
    for (const json& e : commands) {
      CommandCounters c;
      c.phase = phase;
      c.command = get<std::uint32_t>(e, "command", origin);
      c.opcode = get<std::string>(e, "opcode", origin);
      c.runs = get<std::uint64_t>(e, "runs", origin);
      c.counters = counters_of(e, origin);
      out.push_back(std::move(c));
    }
  }
  return out;
}

void name_commands(std::vector<CommandCounters>& commands, const Program& program,
                   const Network& network) {
  for (CommandCounters& c : commands) {
    const std::vector<Command>& names = c.phase == "update" ? program.update : program.forward;
    if (c.command >= names.size()) continue;
    c.name = names[c.command].name;
    const int layer = names[c.command].layer;
    if (layer != kNetworkInput) c.layer = network.layers[static_cast<std::size_t>(layer)].name;
  }
}

}  // namespace lastmile::profile
