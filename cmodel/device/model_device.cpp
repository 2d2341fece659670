// SPDX-License-Identifier: Apache-2.0
#include "cmodel/device/model_device.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <stdexcept>
#include <tuple>
#include <utility>
#include <vector>

#include "cmodel/device/profile.hpp"
#include "cmodel/device/spans.hpp"
#include "cmodel/device/zeroed_memory.hpp"
#include "cmodel/npu/npu.hpp"
#include "cmodel/spec/registers.hpp"
#include "cmodel/spec/settings.hpp"

namespace lastmile {
namespace {

ZeroedMemory make_memory(const DeviceOptions& options) {
  if (options.memory_bytes == 0 || options.memory_bytes > (std::uint64_t{1} << 32)) {
    throw std::invalid_argument("model: memory_bytes is " + std::to_string(options.memory_bytes) +
                                ", expected 1..2^32");
  }
  return ZeroedMemory(options.memory_bytes);
}

struct ModelOptions {
  timing::MemoryTiming memory;
  std::uint32_t execute = 1, spans = 0;
};

ModelOptions parse_options(const std::string& extra) {
  ModelOptions o;
  const std::array<std::tuple<const char*, std::uint32_t, std::uint32_t*>, 5> known = {
      {{"latency", 1000000, &o.memory.latency},
       {"bandwidth", 1024, &o.memory.bytes_per_cycle},
       {"stall", 99, &o.memory.stall},
       {"execute", 1, &o.execute},
       {"spans", 1, &o.spans}}};
  for (const spec::Setting& s : spec::split_settings(extra)) {
    const auto option = std::find_if(known.begin(), known.end(),
                                     [&](const auto& k) { return s.name == std::get<0>(k); });
    if (option == known.end())
      throw std::invalid_argument("model: unknown option '" + s.text +
                                  "', expected latency=, bandwidth=, stall=, execute= or spans=");
    const auto& [name, most, to] = *option;
    std::uint32_t value = 0;
    const char* const end = s.value.data() + s.value.size();
    const auto [stop, error] = std::from_chars(s.value.data(), end, value);
    const bool octal = s.value.size() > 1 && s.value[0] == '0';  // or meant as such
    if (error != std::errc{} || stop != end || value > most || octal)
      throw std::invalid_argument("model: option '" + s.text + "', expected 0 to " +
                                  std::to_string(most));
    *to = value;
  }
  return o;
}

class ModelDevice final : public Device {
 public:
  explicit ModelDevice(const DeviceOptions& options,
                       std::shared_ptr<timing::Predictions> predictions = nullptr)
      : memory_(make_memory(options)),
        options_(parse_options(options.extra)),
        npu_(options.hardware, memory_.bytes(), options.threads, options_.memory,
             npu::chosen_kernels(), std::move(predictions)) {
    npu_.count_only(options_.execute == 0);
  }

  std::uint32_t read_register(std::uint32_t offset) override { return npu_.read_register(offset); }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (offset == spec::reg::kCtrl && spec::starts(value)) {
      run_queue();
    } else {
      npu_.write_register(offset, value);
    }
  }

  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    check(address, to.size());
    if (!to.empty()) std::memcpy(to.data(), memory_.data() + address, to.size());
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    check(address, from.size());
    if (!from.empty()) std::memcpy(memory_.data() + address, from.data(), from.size());
  }
  std::uint64_t memory_size() const override { return memory_.size(); }
  bool wait_interrupt() override { return npu_.interrupt(); }

  void annotate(const std::string& what) override { position_.annotate(what); }
  std::string report() const override {
    nlohmann::json j = {{"cycles", profile_.total(spec::Counter::cycles_)},
                        {"phases", profile_.json(npu_.hardware())}};
    if (options_.spans != 0) j["spans"] = spans_.json();
    return j.dump();
  }

 private:
  void run_queue() {
    position_.begin_queue();
    profile_.begin_queue();
    npu_.start();
    std::uint64_t commands = 0;
    for (bool more = true; more;) {
      const npu::Counters before = npu_.counters();
      more = npu_.step();
      const npu::Counters& now = npu_.counters();
      if (now[spec::Counter::commands_] == commands) break;  // END, or an error
      npu::Counters committed = now;
      // the end of the queue belongs to no command
      committed[spec::Counter::cycles_] = before[spec::Counter::cycles_] + npu_.last_cycles();
      profile_.commit(position_.phase(), static_cast<std::uint32_t>(commands),
                      npu_.last_command().opcode, committed.value);
      if (options_.spans != 0) {
        const auto index = static_cast<std::uint32_t>(commands);
        spans_.command(position_.phase(), index, queue_start_ + npu_.last_start(),
                       npu_.last_timing());
      }
      ++commands;
    }
    queue_start_ += npu_.counters()[spec::Counter::cycles_];
  }
  void check(std::uint32_t address, std::size_t bytes) const {
    if (bytes > memory_.size() || address > memory_.size() - bytes) {
      throw std::out_of_range("model memory: " + std::to_string(bytes) + " bytes at " +
                              std::to_string(address) + ", size " + std::to_string(memory_.size()));
    }
  }

  ZeroedMemory memory_;
  ModelOptions options_;
  npu::Npu npu_;
  Position position_;
  Profile profile_;
  Spans spans_;
  std::uint64_t queue_start_ = 0;  // cycles of all queues before
};

}  // namespace

std::unique_ptr<Device> open_model(const DeviceOptions& options) {
  return std::make_unique<ModelDevice>(options);
}

ModelOpener::ModelOpener() : predictions_(std::make_shared<timing::Predictions>()) {}
std::unique_ptr<Device> ModelOpener::operator()(const DeviceOptions& options) const {
  return std::make_unique<ModelDevice>(options, predictions_);
}

}  // namespace lastmile
