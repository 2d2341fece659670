// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/perfetto.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <utility>
#include <vector>

namespace lastmile::profile {
namespace {

using nlohmann::json;
using U = std::uint64_t;

// Protocol buffer wire format: keys, varints, length-delimited fields, 64-bit fields.
class Message {
 public:
  Message& number(int field, U value) {
    key(field, 0);
    varint(value);
    return *this;
  }
  Message& fixed(int field, U value) {
    key(field, 1);
    for (int i = 0; i < 8; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
    return *this;
  }
  Message& real(int field, double value) { return fixed(field, std::bit_cast<U>(value)); }
  Message& text(int field, const std::string& value) {
    key(field, 2);
    varint(value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& m) { return text(field, m.bytes_); }
  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  void key(int field, U type) { varint(static_cast<U>(field) << 3 | type); }
  void varint(U v) {
    for (; v >= 0x80; v >>= 7) bytes_ += static_cast<char>((v & 0x7f) | 0x80);
    bytes_ += static_cast<char>(v);
  }
  std::string bytes_;
};

constexpr U kSliceBegin = 1, kSliceEnd = 2, kCounter = 4;
constexpr U kNpu = 1;  // uuid of the process track
// A track for commands, one per engine, one for the queue.
std::vector<std::string> track_names() {
  std::vector<std::string> names = {"COMMAND"};
  for (const spec::Engine e : spec::kAll<spec::Engine>)
    if (e != spec::Engine::none_) names.emplace_back(spec::to_string(e));
  names.emplace_back("QUEUE");
  return names;
}

const std::vector<std::string>& tracks() {
  static const std::vector<std::string> names = track_names();
  return names;
}
U track_of(const std::string& engine) {
  const auto at = std::find(tracks().begin(), tracks().end(), engine);
  return 10 + static_cast<U>(at - tracks().begin());
}
constexpr U kTiles = 101, kReadRate = 102, kWriteRate = 103, kEnergy = 104;

struct Event {
  U time = 0;
  int order = 0;  // at equal times: ends, then counters, then begins
  Message event;
};

class Trace {
 public:
  void descriptor(U uuid, const std::string& name, const Message* process, const Message* counter) {
    Message d;
    d.number(1, uuid);
    d.text(2, name);
    if (process != nullptr) d.message(3, *process);
    if (uuid != kNpu) d.number(5, kNpu);
    if (counter != nullptr) d.message(8, *counter);
    packet(0, 60, d);
  }
  void slice(U track, U start, U end, const std::string& name,
             const std::vector<std::pair<std::string, std::string>>& notes, U flow) {
    Message e;
    for (const auto& [key, value] : notes) e.message(4, Message().text(6, value).text(10, key));
    e.number(9, kSliceBegin).number(11, track).text(23, name);
    if (flow != 0) e.fixed(47, flow);
    events_.push_back({start, 2, e});
    events_.push_back({end, 0, Message().number(9, kSliceEnd).number(11, track)});
  }
  void counter(U track, U time, double value) {
    events_.push_back({time, 1, Message().number(9, kCounter).number(11, track).real(44, value)});
  }
  std::string finish() {
    std::stable_sort(events_.begin(), events_.end(), [](const Event& a, const Event& b) {
      return std::pair(a.time, a.order) < std::pair(b.time, b.order);
    });
    for (const Event& e : events_) packet(e.time, 11, e.event);
    return out_.bytes();
  }

 private:
  void packet(U time, int field, const Message& m) {
    Message p;
    p.number(8, time).number(10, 1);
    if (std::exchange(first_, false)) p.number(13, 1);  // nothing before it
    p.message(field, m);
    out_.message(1, p);
  }
  Message out_;
  std::vector<Event> events_;
  bool first_ = true;
};

}  // namespace

std::string perfetto_trace(const json& report, const CounterFile& file, const Program& program,
                           const EnergyTable& table) {
  Trace trace;
  const Message process = Message().number(1, 1).text(6, "NPU");
  trace.descriptor(kNpu, "NPU, 1 cycle = 1 ns", &process, nullptr);
  for (const std::string& track : tracks())
    trace.descriptor(track_of(track), track, nullptr, nullptr);
  const Message count = Message().number(3, 2), bytes = Message().number(3, 3);
  trace.descriptor(kTiles, "tiles in the scratchpad", nullptr, &count);
  trace.descriptor(kReadRate, "read, bytes per cycle", nullptr, &bytes);
  trace.descriptor(kWriteRate, "written, bytes per cycle", nullptr, &bytes);
  trace.descriptor(kEnergy, "energy, pJ", nullptr, &count);

  std::map<std::pair<std::string, U>, const CommandCounters*> counters;
  for (const CommandCounters& c : file.commands) counters[{c.phase, c.command}] = &c;
  std::map<U, U> track_end;  // no overlap inside a track
  std::vector<std::pair<U, int>> tiles;
  double energy = 0;
  U serial = 0;  // of commands: flows of different runs are different
  // In order of time, so that what would overlap is cut at the end of what came first.
  std::vector<const json*> spans;
  for (const json& s : report.at("spans")) spans.push_back(&s);
  std::stable_sort(spans.begin(), spans.end(), [](const json* a, const json* b) {
    return a->at("start").get<U>() < b->at("start").get<U>();
  });
  for (const json* span : spans) {
    const json& s = *span;
    const auto phase = s.at("phase").get<std::string>();
    const auto engine = s.at("engine").get<std::string>();
    const auto command = s.at("command").get<U>();
    const U track = track_of(engine);
    const U start = std::max(s.at("start").get<U>(), track_end[track]), end = s.at("end").get<U>();
    if (end <= start) continue;
    track_end[track] = end;
    const auto& names = phase == "update" ? program.update : program.forward;
    const std::string name = command < names.size() ? names[command].name : "?";
    const bool tiled = s.contains("tile");
    const U tile = tiled ? s.at("tile").get<U>() : 0;
    if (engine == "COMMAND") {
      ++serial;
      const auto at = counters.find({phase, command});
      if (at != counters.end()) {
        const CommandCounters& c = *at->second;
        const auto cycles = static_cast<double>(end - start), runs = static_cast<double>(c.runs);
        trace.counter(kReadRate, start,
                      static_cast<double>(c.counters.read_bytes()) / runs / cycles);
        trace.counter(kWriteRate, start,
                      static_cast<double>(c.counters.written_bytes()) / runs / cycles);
        trace.counter(kEnergy, start, energy);
        energy += energy_pj(cell_counts(c, file, table), table).value / runs;
        trace.counter(kEnergy, end, energy);
      }
    }
    // Engines of a command start after it did: `serial` is its own.
    const U flow = tiled ? serial << 32 | (tile + 1) : 0;
    trace.slice(track, start, end, tiled ? name + " tile " + std::to_string(tile) : name,
                {{"phase", phase}, {"busy cycles", std::to_string(s.at("busy").get<U>())}}, flow);
    if (tiled && engine == "LOAD") tiles.emplace_back(start, 1);
    if (tiled && (engine == "ARRAY" || engine == "POOL")) tiles.emplace_back(end, -1);
  }
  std::sort(tiles.begin(), tiles.end());
  int live = 0;
  for (const auto& [time, change] : tiles) trace.counter(kTiles, time, live += change);
  return trace.finish();
}

}  // namespace lastmile::profile
