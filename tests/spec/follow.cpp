// SPDX-License-Identifier: Apache-2.0
// The register file of the model beside npu_regs in Verilator: every register after reset, after
// ones were written, after events; the two must agree, and what they show is printed for
// check_spec.py, which knows what the npu.toml of this build says.
#include <verilated.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "Vregs_follow.h"
#include "cmodel/command/control.hpp"
#include "cmodel/command/validate.hpp"
#include "cmodel/spec/registers.hpp"

double sc_time_stamp() { return 0; }

namespace {

namespace spec = lastmile::spec;
namespace npu = lastmile::npu;
namespace reg = lastmile::spec::reg;

class Pair {
 public:
  Pair() : model_(spec::HardwareParams{}) { reset(); }

  void reset() {
    top_.rst_ni = 0;
    tick();
    top_.rst_ni = 1;
    tick();
    model_.reset();
  }
  void write(std::uint32_t offset, std::uint32_t value) {
    top_.write_i = 1, top_.address_i = static_cast<std::uint16_t>(offset), top_.data_i = value;
    top_.eval();
    started = top_.start_o != 0, stopped = top_.soft_reset_o != 0;
    tick();
    top_.write_i = 0;
    model_.write(offset, value);
  }
  void finish() {
    top_.finish_i = 1;
    tick();
    top_.finish_i = 0;
    model_.end_queue();
  }
  void fail(spec::Error code, std::uint32_t info) {
    top_.fail_i = 1, top_.fail_code_i = static_cast<std::uint8_t>(code), top_.fail_info_i = info;
    tick();
    top_.fail_i = 0;
    model_.fail(0, {code, info});
  }
  std::uint32_t read(const std::string& name, std::uint32_t offset) {
    top_.read_i = 1, top_.address_i = static_cast<std::uint16_t>(offset);
    tick();
    top_.read_i = 0;
    const std::uint32_t rtl = top_.data_o, expected = model_.read(offset);
    if (rtl != expected) {
      std::printf("%s at 0x%03x: RTL 0x%08x, model 0x%08x\n", name.c_str(), offset, rtl, expected);
      std::exit(1);
    }
    return rtl;
  }
  // Every word of the window: what is no register reads 0 in both.
  void show(const char* when) {
    for (std::uint32_t offset = 0; offset < static_cast<std::uint32_t>(spec::kRegisterBytes);
         offset += 4) {
      const std::string name(spec::register_name(offset));
      const std::uint32_t value = read(name, offset);
      if (name != "?" && value != 0)
        std::printf("%s %s 0x%03x 0x%08x\n", when, name.c_str(), offset, value);
    }
    if ((top_.irq_o != 0) != model_.interrupt()) {
      std::printf("%s: interrupt of RTL %d, of model %d\n", when, top_.irq_o, model_.interrupt());
      std::exit(1);
    }
    std::printf("%s interrupt %d\n", when, top_.irq_o);
  }
  // The field that both find out of range.
  std::string out_of_range(const spec::Descriptor& d) {
    const spec::DescriptorWords words = spec::encode(d);
    std::memcpy(&top_.desc_i, words.data(), sizeof words);
    top_.eval();
    const spec::Field expected = spec::field_out_of_range(d, false);
    if (top_.field_out_of_range_o != static_cast<std::uint32_t>(expected)) {
      std::printf("field out of range: RTL %d, model %s\n", top_.field_out_of_range_o,
                  std::string(spec::to_string(expected)).c_str());
      std::exit(1);
    }
    return std::string(spec::to_string(expected));
  }
  [[nodiscard]] const npu::RegisterFile& model() const { return model_; }

  bool started = false, stopped = false;

 private:
  void tick() {
    top_.clk_i = 0;
    top_.eval();
    top_.clk_i = 1;
    top_.eval();
    top_.clk_i = 0;
    top_.eval();
  }

  Vregs_follow top_;
  npu::RegisterFile model_;
};

spec::Descriptor addition(int exponent) {
  spec::Descriptor d;
  d.opcode = static_cast<std::uint32_t>(spec::Opcode::add_);
  d.n = d.in_c = 1;
  d.e1 = exponent;
  return d;
}

}  // namespace

int main() {
  Pair both;
  both.show("reset");
  for (const spec::Register& r : spec::kRegisters) {
    if (r.written == 0) continue;
    for (std::uint32_t i = 0; i < r.count; ++i) both.write(r.offset + i * r.stride, 0xffffffff);
  }
  both.show("ones");
  both.reset();
  both.write(reg::kCtrl, spec::kStart);
  std::printf("start %d %d\n", both.started, both.stopped);
  both.write(reg::kCtrl, spec::kSoftReset);
  std::printf("soft_reset %d %d\n", both.started, both.stopped);
  both.write(reg::kStep, reg::kStepMantissa.set(0x1234) | reg::kStepShift.set(5));
  std::printf("step 0x%04x %u\n", both.model().step_mantissa(), both.model().step_shift());
  both.write(reg::kIrqEnable, reg::kIrqEnableError.mask());
  both.finish();
  both.show("finished");
  both.fail(spec::Error::watchdog_, 3);
  both.show("failed");
  both.write(reg::kIrqStatus, reg::kIrqStatusError.mask());
  both.show("cleared");
  for (const int e : {spec::kExponentMax, spec::kExponentMax + 1})
    std::printf("exponent %d %s\n", e, both.out_of_range(addition(e)).c_str());
  npu::RegisterFile regs(spec::HardwareParams{});
  spec::Descriptor d, resolved;
  d.opcode = static_cast<std::uint32_t>(spec::Opcode::update_);
  d.in_c = d.out_c = 1;
  d.w_pitch = spec::kAlign;
  regs.write(reg::kPairs, reg::kPairsValue.set(1));
  for (const int shift : {spec::kStepShiftMax, spec::kStepShiftMax + 1}) {
    regs.write(reg::kStep, reg::kStepShift.set(static_cast<std::uint32_t>(shift)));
    const npu::Fault fault = npu::validate_command(d, regs, spec::HardwareParams{}, resolved);
    std::printf("shift %d %s 0x%x\n", shift, std::string(spec::to_string(fault.code)).c_str(),
                fault.info);
  }
}
