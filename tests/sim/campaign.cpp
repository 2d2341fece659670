// SPDX-License-Identifier: Apache-2.0
// Campaign of one parameter set: random commands of every operator, random memory behaviour, model
// and RTL in lockstep. Prints one JSON object: queues, commands, cycles, compared, differences,
// seed, and for a difference what reproduces it.
//   cosim-campaign ARRAY SEED SECONDS [FIRST [BLOCKS]]      ARRAY: rows=8,cols=16,...
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cmodel/spec/hardware.hpp"
#include "sw/base/rng.hpp"
#include "tests/sim/array.hpp"
#include "tests/sim/functional_bins.hpp"
#include "tests/sim/random_queue.hpp"

extern "C" lastmile::Device* lastmile_open_device(const lastmile::DeviceOptions& options);

namespace {

using namespace lastmile;

constexpr std::uint64_t kMemory = 8 << 20;
constexpr int kQueuesPerDevice = 12;  // then another reset, other random values, other memory

// One byte per cycle makes queues of 40 million cycles.
std::string behaviour(Rng& rng, functional::Bins& bins) {
  const std::uint64_t stall = rng.below(3) == 0 ? 0 : rng.below(70);
  const std::uint64_t bandwidth = rng.below(4) == 0 ? 1 + rng.below(8) : 0;
  const std::uint64_t seed = rng.next(), reset = 1 + rng.below(1000000);
  const std::uint64_t latency = rng.below(6) == 0 ? 1 : 1 + rng.below(80), reorder = rng.below(3);
  bins.memory(latency, stall, reorder, bandwidth);
  const std::uint64_t writes = rng.below(2) == 0 ? 0 : 1 + rng.below(1000000);
  return fmt::format(
      "latency={},stall={},reorder={},bandwidth={},seed={},rand_reset={},busy_writes={},"
      "max_cycles=300000000",
      latency, stall, reorder, bandwidth, seed, reset, writes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: cosim-campaign ARRAY SEED SECONDS [FIRST [BLOCKS]]\n");
    return 2;
  }
  DeviceOptions options;
  options.hardware = checks::parse_array(argv[1]);
  options.memory_bytes = kMemory;
  const std::uint64_t seed = std::strtoull(argv[2], nullptr, 0);
  const double seconds = std::atof(argv[3]);
  std::uint64_t block = argc > 4 ? std::strtoull(argv[4], nullptr, 0) : 0;
  const std::uint64_t end = argc > 5 ? block + std::strtoull(argv[5], nullptr, 0) : UINT64_MAX;
  nlohmann::json out = options.hardware;
  out["seed"] = seed;
  out["first"] = block;
  std::uint64_t queues = 0, commands = 0, cycles = 0, compared = 0;
  const auto begin = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::string difference;
  functional::Bins bins(options.hardware);
  for (; block < end && elapsed() < seconds && difference.empty(); ++block) {
    Rng rng(seed, block);
    options.extra = behaviour(rng, bins);
    const std::unique_ptr<Device> device(lastmile_open_device(options));
    try {
      for (int i = 0; i < kQueuesPerDevice; ++i) {
        const auto q =
            random_queue::make_queue(rng.next(), options.hardware, random_command::kEveryOpcode, 8);
        if (q.memory.size() > kMemory) continue;
        device->annotate(fmt::format("block {} queue {}", block, i));
        random_queue::load(*device, q);
        const random_queue::Outcome o = random_queue::run(*device);
        if (!o.interrupt || o.code != spec::Error::none_)
          throw std::runtime_error(
              fmt::format("error {} in command {}", spec::to_string(o.code), o.command));
        ++queues;
        bins.queue(q.commands.size());
        bins.outcome(o.code, o.info);
        for (const spec::Descriptor& d : q.commands) {
          bins.command(d, q.regs);
          if (d.opcode == 0) break;
        }
      }
    } catch (const std::exception& e) {
      difference = fmt::format("block {} ({}): {}", block, options.extra, e.what());
    }
    const auto r = nlohmann::json::parse(device->report());
    commands += r.at("commands").get<std::uint64_t>();
    cycles += r.at("simulated_cycles").get<std::uint64_t>();
    compared += r.at("compared").get<std::uint64_t>();
  }
  bins.write_if_asked();
  out["blocks"] = block;
  out["queues"] = queues;
  out["commands"] = commands;
  out["cycles"] = cycles;
  out["compared"] = compared;
  out["differences"] = difference.empty() ? 0 : 1;
  out["seconds"] = elapsed();
  if (!difference.empty()) out["difference"] = difference;
  fmt::print("{}\n", out.dump());
  return difference.empty() ? 0 : 1;
}
