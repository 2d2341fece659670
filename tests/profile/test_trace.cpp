// SPDX-License-Identifier: Apache-2.0
// The Perfetto trace: its bytes are decoded again here; tests/profile/check.py does the same with
// protoc and the published field numbers.
#include <doctest/doctest.h>

#include <bit>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sw/profile/measure.hpp"
#include "sw/profile/perfetto.hpp"

namespace {

using namespace lastmile;
using namespace lastmile::profile;

struct Field {
  int number = 0;
  std::uint64_t value = 0;  // varint or 64 bits
  std::string bytes;
};
std::vector<Field> decode(const std::string& data) {
  std::vector<Field> out;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t v = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at < data.size());
      const auto b = static_cast<unsigned char>(data[at++]);
      v |= std::uint64_t{b & 0x7fU} << shift;
      if ((b & 0x80) == 0) return v;
    }
  };
  while (at < data.size()) {
    const std::uint64_t key = varint();
    Field f{static_cast<int>(key >> 3), 0, {}};
    switch (key & 7) {
      case 0:
        f.value = varint();
        break;
      case 1:
        REQUIRE(at + 8 <= data.size());
        for (int i = 0; i < 8; ++i)
          f.value |= std::uint64_t{static_cast<unsigned char>(data[at++])} << (8 * i);
        break;
      case 2: {
        const std::uint64_t n = varint();
        REQUIRE(at + n <= data.size());
        f.bytes = data.substr(at, n);
        at += n;
        break;
      }
      default:
        FAIL("wire type");
    }
    out.push_back(f);
  }
  return out;
}
std::uint64_t value(const std::vector<Field>& fields, int number) {
  for (const Field& f : fields)
    if (f.number == number) return f.value;
  return 0;
}

TEST_CASE("profile: a trace has a track per engine, slices that do not overlap, flows by tile") {
  const QuantizedNetwork q = make_network(find_workload("small-cnn"), WeightType::w16, 1, 1);
  const DeviceOpener open = [](const DeviceOptions& options) {
    DeviceOptions with = options;
    with.extra = "execute=0,spans=1";
    return open_model(with);
  };
  const Measurement m =
      measure(q, step_options(q, Variant::full, 16, spec::Distribution::sign_), "full", open, {});
  const EnergyTable table = read_energy_table(find_energy_table("22nm"));
  const std::string trace =
      perfetto_trace(nlohmann::json::parse(m.report), m.file, m.program, table);

  std::map<std::uint64_t, std::string> tracks;
  std::map<std::uint64_t, int> depth, slices;
  std::map<std::uint64_t, std::vector<std::uint64_t>> flows;
  std::uint64_t time = 0;
  double energy = 0;
  for (const Field& packet : decode(trace)) {
    REQUIRE(packet.number == 1);
    const auto p = decode(packet.bytes);
    for (const Field& f : p) {
      if (f.number == 60) {
        const auto d = decode(f.bytes);
        for (const Field& name : d)
          if (name.number == 2) tracks[value(d, 1)] = name.bytes;
      }
      if (f.number != 11) continue;
      CHECK(value(p, 8) >= time);  // packets in order of time
      time = value(p, 8);
      const auto e = decode(f.bytes);
      const std::uint64_t track = value(e, 11), type = value(e, 9);
      REQUIRE(tracks.contains(track));
      if (type == 1) {
        CHECK(++depth[track] == 1);
        ++slices[track];
        for (const Field& flow : e)
          if (flow.number == 47) flows[flow.value].push_back(track);
      } else if (type == 2) {
        CHECK(--depth[track] == 0);
      } else {
        REQUIRE(type == 4);
        if (tracks[track] == "energy, pJ") energy = std::bit_cast<double>(value(e, 44));
      }
    }
  }
  for (const auto& [track, open_slices] : depth) CHECK(open_slices == 0);
  std::map<std::string, int> named;
  for (const auto& [track, n] : slices) named[tracks[track]] = n;
  for (const char* engine : {"COMMAND", "LOAD", "ARRAY", "DRAIN", "WEIGHT", "POOL", "UPDATE"})
    CHECK(named[engine] > 0);
  CHECK(named["COMMAND"] ==
        static_cast<int>(2 * m.program.forward.size() + m.program.update.size()));
  // every tile of a convolution is loaded, multiplied and drained
  std::size_t joined = 0;
  for (const auto& [id, on] : flows) joined += on.size() >= 2 ? 1 : 0;
  CHECK(joined == flows.size());
  CHECK(flows.size() > 10);
  CHECK(energy == doctest::Approx(energy_pj(cell_counts(m.file, table), table).value));
  // the step's last cycle is that of its counters
  CHECK(time <= m.file.total()[spec::Counter::cycles_] + 3 * 20);
  CHECK(time + 400 > m.file.total()[spec::Counter::cycles_]);
}

}  // namespace
