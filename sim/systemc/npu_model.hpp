// SPDX-License-Identifier: Apache-2.0
// The C++ model as a loosely timed NPU. Commands run one by one in a thread with temporal
// decoupling. Each fetches its descriptor and operands over the initiator socket into the model's
// own memory, computes, and writes its results back; bytes and directions are those of the event
// counters, addresses run through the operands in order, as often as the counters say. A command
// takes the cycles that the cycle model predicts, or longer when the bus does: no command ends
// before its last transaction. Reads start with the command at the full rate of the bus, writes end
// with it.
#pragma once

#include <vector>

#include "cmodel/npu/npu.hpp"
#include "sim/systemc/npu_target.hpp"

namespace lastmile::sim {

class NpuModel : public NpuTarget {
 public:
  NpuModel(sc_core::sc_module_name name, const Clock& clock, const PlatformOptions& options);

  [[nodiscard]] Counters counters() const override { return npu_.counters(); }

 private:
  struct Operand {
    std::uint64_t address = 0, bytes = 0;
    spec::Engine engine = spec::Engine::none_;
  };

  std::uint32_t read_register(std::uint32_t offset, sc_time& delay) override;
  void write_register(std::uint32_t offset, std::uint32_t value, sc_time& delay) override;
  bool peek_register(std::uint32_t offset, std::uint32_t& value) const override;

  void run();
  void run_queue();
  bool run_command();
  void reset_changed();
  void drive_interrupt();

  // One transaction at cycle `at` of the thread's own time. False: the command has failed.
  bool transfer(bool write, std::uint64_t address, std::uint64_t bytes, std::uint64_t at,
                spec::Engine engine);
  // `bytes` over the operands, round and round; what the bytes do not reach is copied silently.
  bool stream(bool write, const std::vector<Operand>& operands, std::uint64_t bytes);
  void silent_read(std::uint64_t address, std::uint64_t bytes);
  bool fail(spec::Error code, spec::Engine engine, std::uint64_t at);
  [[nodiscard]] std::uint64_t patience() const;

  PlatformOptions options_;
  std::vector<std::byte> bytes_;  // the model's copy of what it has touched
  npu::Npu npu_;
  sc_core::sc_event start_, line_;
  tlm_utils::tlm_quantumkeeper local_;
  std::uint64_t generation_ = 0;  // of the queue: a reset gives up what is under way
  bool running_ = false;          // as seen from outside: until the time of the last command's end
  std::uint64_t begin_ = 0;       // cycle at which the running command began
  std::uint64_t bus_end_ = 0;     // ... and at which its last transaction ends
  std::uint64_t issued_ = 0;      // bytes of the running command so far, one direction
};

}  // namespace lastmile::sim
