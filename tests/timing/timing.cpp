// SPDX-License-Identifier: Apache-2.0
// Cycles predicted and measured: networks, golden vectors and single commands on the Verilated NPU
// with memories of several speeds. Prints one JSON object: cases, each with its commands.
//   timing-check ARRAY NETWORKS VECTORS [quick]      ARRAY: rows=8,cols=16,...
//   [only=TEXT]
// NETWORKS: folder of network files; VECTORS: folder of golden vectors (may be absent).
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/compiler/tiling.hpp"
#include "sw/driver/driver.hpp"
#include "sw/golden/golden.hpp"
#include "sw/golden/params.hpp"
#include "sw/graph/reader.hpp"
#include "sw/quantizer/quantize.hpp"
#include "sw/vectors/vectors.hpp"
#include "tests/sim/array.hpp"
#include "tests/timing/shapes.hpp"

extern "C" lastmile::Device* lastmile_open_device(const lastmile::DeviceOptions& options);

namespace {

using namespace lastmile;
using nlohmann::json;

struct Memory {
  std::uint32_t latency, bandwidth;
  [[nodiscard]] std::string text() const {
    return fmt::format("latency={},bandwidth={}", latency, bandwidth);
  }
};
constexpr Memory kUsual{20, 0};
const std::vector<Memory> kMemories = {{5, 0}, {20, 0}, {100, 0}, {20, 8}, {20, 4}, {100, 4}};

constexpr std::uint64_t kEnd = 3;  // cycles of an END that waits for nothing

class Suite {
 public:
  Suite(const spec::HardwareParams& hw, std::string only) : hw_(hw), only_(std::move(only)) {}

  // kind: "network", "vector", "command"
  void run(const std::string& kind, const std::string& name, const Memory& memory,
           const std::function<void(Device&)>& body) {
    const std::string full = fmt::format("{} {}", name, memory.text());
    if (full.find(only_) == std::string::npos) return;
    DeviceOptions options;
    options.hardware = hw_;
    options.memory_bytes = std::uint64_t{16} << 20;
    options.extra = memory.text();
    const std::unique_ptr<Device> device(lastmile_open_device(options));
    try {
      body(*device);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::input) throw;
      fmt::print(stderr, "SKIPPED: {}: {}\n", full, e.what());  // too large for this hardware
      return;
    }
    const json r = json::parse(device->report());
    // what follows the last commit: the END of a single command
    const std::uint64_t cycles = device->read_register(
        spec::reg::kCounter +
        static_cast<std::uint32_t>(spec::Counter::cycles_) * spec::reg::kCounterStride);
    if (kind == "command" && cycles != r.at("cycles").get<std::uint64_t>() + kEnd)
      throw std::runtime_error(fmt::format("{}: CYCLES is {}, {} at the last commit", full, cycles,
                                           r.at("cycles").get<std::uint64_t>()));
    json commands = json::array();
    for (const auto& [phase, list] : r.at("phases").items()) {
      for (json c : list) {
        c["phase"] = phase;
        commands.push_back(c);
      }
    }
    cases_.push_back({{"kind", kind},
                      {"name", name},
                      {"latency", memory.latency},
                      {"bandwidth", memory.bandwidth},
                      {"cycles", r.at("cycles")},
                      {"predicted", r.at("predicted_cycles")},
                      {"error", r.at("prediction_error")},
                      {"commands", commands}});
  }
  [[nodiscard]] const json& cases() const { return cases_; }
  [[nodiscard]] const spec::HardwareParams& hardware() const { return hw_; }

 private:
  spec::HardwareParams hw_;
  std::string only_;
  json cases_ = json::array();
};

// An unperturbed and a perturbed forward pass and an update of a network with random weights: time
// does not depend on them.
struct Subject {
  std::string file;
  TaskShape shape;
  WeightType weights = WeightType::w16;
};
void network(Suite& suite, const std::string& folder, const Subject& s, int batch,
             const Memory& memory, spec::Distribution distribution, int pairs, int keep) {
  const std::string name = fmt::format(
      "{} {} batch {} pairs {}{}{}", s.file, name_of(s.weights), batch, pairs,
      distribution == spec::Distribution::sign_ ? "" : " gaussian", keep == 256 ? "" : " masked");
  suite.run("network", name, memory, [&](Device& device) {
    const Network n = read_network(folder + "/" + s.file + ".toml", s.shape);
    const auto params = init_params<float>(n, 1);
    Rng rng(2);
    const auto elements = static_cast<std::size_t>(s.shape.input.elements());
    std::vector<float> x(4 * elements);
    for (float& v : x) v = static_cast<float>(rng.uniform());
    QuantizeOptions q;
    q.weight_type = s.weights;
    const QuantizedNetwork net = quantize(n, params, calibrate(Golden<float>(n), params, x), q);
    TrainingRule rule;
    rule.keep = keep;
    CompileOptions o;
    o.batch = batch;
    o.training = training_plan(net, rule);
    o.distribution = distribution;
    o.memory_bytes = device.memory_size();
    Driver driver(device, compile(net, suite.hardware(), o));
    std::vector<std::int8_t> examples(static_cast<std::size_t>(batch) * elements);
    for (auto& v : examples) v = static_cast<std::int8_t>(rng.below(256));
    const std::vector<int> labels(static_cast<std::size_t>(batch), 1);
    driver.load_batch(examples, labels);
    driver.forward(spec::Polarity::none_, 3);
    driver.forward(spec::Polarity::plus_, 3);
    std::vector<std::uint64_t> seeds;
    for (int j = 0; j < pairs; ++j) seeds.push_back(rng.next());
    driver.update(seeds, std::vector<std::int8_t>(seeds.size(), 1), 0x8000);
  });
}

void networks(Suite& suite, const std::string& folder, bool quick) {
  const Subject small{"small-cnn", {{28, 28, 1}, 10}}, resnet{"resnet8", {{32, 32, 3}, 10}},
      ds{"ds-cnn", {{49, 10, 1}, 12}};
  const auto sign = spec::Distribution::sign_, gaussian = spec::Distribution::gaussian_;
  for (const Memory& m : kMemories) {
    network(suite, folder, small, 1, m, sign, 2, 256);
    network(suite, folder, small, 16, m, sign, 2, 256);
    network(suite, folder, ds, 1, m, sign, 2, 256);
    if (m.latency == 20 || !quick) network(suite, folder, resnet, 1, m, sign, 2, 256);
  }
  Subject narrow = small;
  narrow.weights = WeightType::w8;
  network(suite, folder, narrow, 16, kUsual, gaussian, 8, 128);
  network(suite, folder, ds, quick ? 4 : 16, kUsual, sign, 2, 256);
  if (!quick) network(suite, folder, resnet, 16, kUsual, sign, 2, 256);
  for (const Subject& s : {small, ds, resnet}) network(suite, folder, s, 16, kUsual, sign, 1, 256);
}

void vectors(Suite& suite, const std::string& folder) {
  namespace fs = std::filesystem;
  if (!fs::is_directory(folder)) {
    fmt::print(stderr, "SKIPPED: no golden vectors in {}\n", folder);
    return;
  }
  std::vector<fs::path> files;
  for (const auto& f : fs::directory_iterator(folder))
    if (f.path().extension() == ".json") files.push_back(f.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& f : files) {
    suite.run("vector", f.stem().string(), kUsual, [&](Device& device) {
      if (!run_vector_file(device, f).passed) throw std::runtime_error(f.string() + " differs");
    });
  }
}

void commands(Suite& suite) {
  for (const timing_shapes::Shape& s : timing_shapes::all()) {
    for (const Memory& m : kMemories) {
      suite.run("command", s.name, m,
                [&](Device& device) { timing_shapes::execute(device, s, suite.hardware()); });
    }
  }
  const timing_shapes::Shape product = timing_shapes::product(512);
  suite.run("command", product.name, kUsual,
            [&](Device& device) { timing_shapes::execute(device, product, suite.hardware()); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    fmt::print(stderr, "usage: timing-check ARRAY NETWORKS VECTORS [quick] [only=TEXT]\n");
    return 2;
  }
  bool quick = false;
  std::string only;
  for (int i = 4; i < argc; ++i) {
    const std::string a = argv[i];
    if (a == "quick") quick = true;
    if (a.starts_with("only=")) only = a.substr(5);
  }
  try {
    const spec::HardwareParams hw = checks::parse_array(argv[1]);
    Suite suite(hw, only);
    commands(suite);
    vectors(suite, argv[3]);
    networks(suite, argv[2], quick);
    fmt::print("{}\n", json{{"rows", hw.rows}, {"cols", hw.cols}, {"cases", suite.cases()}}.dump());
  } catch (const std::exception& e) {
    fmt::print(stderr, "timing-check: {}\n", e.what());
    return 1;
  }
  return 0;
}
