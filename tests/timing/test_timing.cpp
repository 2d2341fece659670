// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "cmodel/device/model_device.hpp"
#include "cmodel/timing/timing.hpp"
#include "tests/cmodel/random_command.hpp"
#include "tests/timing/shapes.hpp"

namespace {

using namespace lastmile;
using spec::Counter;
using timing_shapes::Shape;

std::uint64_t counter(Device& d, Counter c) {
  return d.read_register(spec::reg::kCounter +
                         static_cast<std::uint32_t>(c) * spec::reg::kCounterStride);
}
std::unique_ptr<Device> model(const std::string& extra) {
  DeviceOptions o;
  o.memory_bytes = 16 << 20;
  o.extra = extra;
  return open_model(o);
}

}  // namespace

TEST_CASE("timing: the model's registers and report hold the prediction") {
  for (const Shape& s : timing_shapes::all()) {
    CAPTURE(s.name);
    const auto fast = model("latency=5"), usual = model(""),
               slow = model("latency=100,bandwidth=4"), stalled = model("stall=50");
    for (Device* d : {fast.get(), usual.get(), slow.get(), stalled.get()})
      timing_shapes::execute(*d, s, {});
    const std::uint64_t cycles = counter(*usual, Counter::cycles_);
    CHECK(counter(*fast, Counter::cycles_) < cycles);
    CHECK(cycles < counter(*slow, Counter::cycles_));
    CHECK(cycles <= counter(*stalled, Counter::cycles_));
    const auto op = static_cast<spec::Opcode>(s.d.opcode);
    const bool matrix = op == spec::Opcode::conv2d_ || op == spec::Opcode::depthwise_;
    if (matrix) {
      // one position per cycle and k-tile, and every idle cycle of the array has a reason
      const std::uint64_t array = counter(*usual, Counter::array_cycles_);
      CHECK(array == counter(*usual, Counter::sram_reads_));
      CHECK(array + counter(*usual, Counter::stall_load_) +
                counter(*usual, Counter::stall_weight_) + counter(*usual, Counter::stall_drain_) <
            cycles);
      CHECK(counter(*usual, Counter::drain_cycles_) > 0);
    }
    CHECK((counter(*usual, Counter::element_cycles_) > 0) == !matrix);

    const auto report = nlohmann::json::parse(usual->report());
    const auto& command = report.at("phases").at(s.name).at(0);
    // the END belongs to no command: taken up, writes waited for, end
    CHECK(command.at("cycles").get<std::uint64_t>() + 3 == cycles);
    CHECK(command.at("opcode") == std::string(spec::to_string(op)));
    for (const char* name : {"runs", "macs", "sat_high", "update_clipped", "bus_write_beats"})
      CHECK(command.contains(name));
    CHECK(command.size() == spec::kCounters + 4);
  }
}

TEST_CASE("timing: engines and tiles lie inside the command") {
  for (const Shape& s : timing_shapes::all()) {
    CAPTURE(s.name);
    spec::Descriptor d = s.d;
    d.w_pitch = 64;
    choose_tiles(d, {});
    const timing::CommandTiming t = timing::predict(d, {}, {}, {});
    for (const timing::EngineTime& e : t.engines) {
      CHECK(e.start <= e.end);
      CHECK(e.busy <= e.end - e.start);
      CHECK(e.end <= t.execution + 1);
    }
    std::uint64_t before = 0;
    for (const timing::TileTime& tile : t.tiles) {
      CHECK(tile.load.start >= before);
      CHECK(tile.load.end <= tile.array.start);
      CHECK(tile.array.end <= t.execution);
      before = tile.load.start;
    }
    const auto op = static_cast<spec::Opcode>(d.opcode);
    CHECK(t.tiles.empty() == (op == spec::Opcode::add_ || op == spec::Opcode::softmax_ ||
                              op == spec::Opcode::loss_ || op == spec::Opcode::update_));
  }
}

TEST_CASE("timing: options of the model") {
  for (const char* wrong :
       {"latency", "latency=", "latency=-1", "bandwidth=x", "stall=100", "reorder=1", "=4"})
    CHECK_THROWS_AS(model(wrong), std::invalid_argument);
}

TEST_CASE(
    "timing: what a prediction is remembered by decides it, and is less than the descriptor") {
  const timing::MemoryTiming memory;
  for (const spec::Opcode op :
       {spec::Opcode::conv2d_, spec::Opcode::depthwise_, spec::Opcode::pool_, spec::Opcode::add_,
        spec::Opcode::softmax_, spec::Opcode::loss_, spec::Opcode::update_}) {
    const std::uint64_t seed = random_command::seed_from_environment(77);
    random_command::Generator generator(seed + static_cast<std::uint64_t>(op), {});
    for (int i = 0; i < 60; ++i) {
      INFO("seed " << seed << " case " << i << " opcode " << static_cast<int>(op));
      const spec::Descriptor d = generator.command(op).d;
      const npu::TrafficMode mode{.weights_perturbed = i % 2 == 0, .pairs = 1 + i % 3U};
      const timing::CommandTiming a = timing::predict(d, mode, {}, memory);
      const timing::CommandTiming b =
          timing::predict(timing::timed_part(d), {.pairs = mode.pairs}, {}, memory);
      CHECK(a.counters == b.counters);
      CHECK(a.execution == b.execution);
      CHECK(a.fetch == b.fetch);
      spec::Descriptor same = d;  // another layer of the same shape
      same.tag += 1, same.w_tensor += 1, same.m1 += 1, same.bias_addr += 4096, same.in_addr += 64;
      CHECK(timing::timed_part(same) == timing::timed_part(d));
    }
  }
}

TEST_CASE("timing: machines that share their predictions count what one alone counts") {
  const ModelOpener opener;
  for (int round = 0; round < 2; ++round) {
    for (const Shape& s : timing_shapes::all()) {
      CAPTURE(s.name);
      for (const char* extra : {"", "latency=100,bandwidth=4"}) {
        DeviceOptions o;
        o.memory_bytes = 16 << 20;
        o.extra = extra;
        const auto shared = opener(o), alone = open_model(o);
        for (Device* d : {shared.get(), alone.get()}) timing_shapes::execute(*d, s, {});
        for (std::size_t c = 0; c < spec::kCounters; ++c)
          CHECK(counter(*shared, static_cast<Counter>(c)) ==
                counter(*alone, static_cast<Counter>(c)));
      }
    }
  }
}
