// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/program.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "sw/compiler/listing.hpp"

namespace lastmile {
namespace {

using spec::Descriptor;
using spec::Opcode;

std::string layer_name(const Network& network, int layer) {
  if (layer < 0 || static_cast<std::size_t>(layer) >= network.layers.size()) return "input";
  return network.layers[static_cast<std::size_t>(layer)].name;
}

std::string shape_text(const Shape& s) { return fmt::format("{}x{}x{}", s.h, s.w, s.c); }

std::string flags_text(const Descriptor& d) {
  static constexpr std::pair<spec::Flag, const char*> kNames[] = {
      {spec::kFlagW8, "w8"},
      {spec::kFlagW32, "w32"},
      {spec::kFlagOut16, "out16"},
      {spec::kFlagInBatch, "in=batch"},
      {spec::kFlagIn2Label, "labels"},
      {spec::kFlagHasBias, "bias"},
      {spec::kFlagWTrain, "train-w"},
      {spec::kFlagBTrain, "train-b"},
      {spec::kFlagResAdd, "res-add"},
      {spec::kFlagPacked, "packed"},
      {spec::kFlagMax, "max"},
      {spec::kFlagLosses, "losses"},
      {spec::kFlagOutBatch, "out=output"},
      {spec::kFlagWTransposed, "w-transposed"},
      {spec::kFlagOut32, "out32"},
      {spec::kFlagErrors, "errors"},
      {spec::kFlagGradient, "gradient"},
      {spec::kFlagWBatch, "w=batch"}};
  std::string out;
  for (const auto& [flag, name] : kNames)
    if (d.has(flag)) out += fmt::format(" {}", name);
  return out;
}

std::string add_text(const Descriptor& d, bool fused) {
  return fmt::format(
      "      add: in2 0x{:06x} zp {} {}zp out {} shift {} factors {}*2^{} {}*2^{} {}*2^{} clamp "
      "{}..{}\n",
      d.in2_addr, d.in2_zp, fused ? "" : fmt::format("zp in {} ", d.in_zp), d.add_zp, d.add_shift,
      d.m1, d.e1 - 31, d.m2, d.e2 - 31, d.mo, d.eo - 31, d.add_act_min, d.add_act_max);
}

std::string update_text(const Descriptor& d, bool amplitudes) {
  const std::string gradient =
      d.has(spec::kFlagGradient) ? fmt::format("      gradient 0x{:06x}\n", d.in_addr) : "";
  return gradient +
         fmt::format("      tensor {} at 0x{:06x}: {} x {}, pitch {}{}, keep {}\n", d.w_tensor,
                     d.w_addr, d.out_c, d.in_c, d.w_pitch,
                     amplitudes ? fmt::format(", step {}*2^{}", d.step,
                                              spec::kStepPreshift - static_cast<int>(d.step_shift))
                                : std::string(),
                     d.w_keep);
}

std::string eps_text(std::uint32_t tensor, std::uint32_t eps, std::uint32_t shift,
                     std::uint32_t keep, bool amplitudes) {
  return amplitudes
             ? fmt::format("      tensor {}: eps {}*2^-{}, keep {}\n", tensor, eps, shift, keep)
             : fmt::format("      tensor {}: keep {}\n", tensor, keep);
}

std::string command_text(std::size_t index, const Command& c, bool amplitudes) {
  const Descriptor& d = c.descriptor;
  const Opcode op = d.op();
  std::string out =
      fmt::format("{:4} {:<9} {}{}\n", index, spec::to_string(op), c.name, flags_text(d));
  // the operands of commands that do not walk tiles
  const auto rows = [&] {
    return out + fmt::format("      n {} in 0x{:06x} out 0x{:06x}", d.n, d.in_addr, d.out_addr);
  };
  switch (op) {
    case Opcode::end_:
      return out;
    case Opcode::update_:
      return out + update_text(d, amplitudes);
    case Opcode::loss_:
      return rows() + fmt::format(" classes {} factor {}*2^{}\n", d.in_c, d.m1, d.e1);
    case Opcode::softmax_:
      return rows() + fmt::format(" classes {} factor {} shift {} diff_min {}\n", d.in_c, d.m1,
                                  d.e1, d.diff_min);
    case Opcode::add_:
      return rows() + fmt::format(" elements {}\n", d.in_c) + add_text(d, false);
    case Opcode::conv2d_:
    case Opcode::depthwise_:
    case Opcode::pool_:
      break;
  }
  out = rows();
  out += fmt::format(" {}x{}x{} -> {}x{}x{}", d.in_h, d.in_w, d.in_c, d.out_h, d.out_w, d.out_c);
  out += fmt::format(" kernel {}x{} stride {}x{} dilation {}x{} pad {},{}", d.kernel_h, d.kernel_w,
                     d.stride_h, d.stride_w, d.dilation_h, d.dilation_w, d.pad_top, d.pad_left);
  if (d.groups > 1) out += fmt::format(" groups {}", d.groups);
  if (d.out_pitch != 0) out += fmt::format(" out pitch {}", d.out_pitch);
  out += fmt::format(" clamp {}..{}\n      tile n {} h {} w {} c {} row pitch {}\n", d.act_min,
                     d.act_max, d.tile_n, d.tile_h, d.tile_w, d.tile_c, d.row_pitch);
  if (op == Opcode::pool_) return out;
  out += fmt::format("      weights 0x{:06x} pitch {} bias 0x{:06x} requant 0x{:06x} zp {} -> {}\n",
                     d.w_addr, d.w_pitch, d.bias_addr, d.rq_addr, d.in_zp, d.out_zp);
  if (d.has(spec::kFlagWTrain))
    out += eps_text(d.w_tensor, d.w_eps, d.w_eps_shift, d.w_keep, amplitudes);
  if (d.has(spec::kFlagBTrain))
    out += eps_text(d.b_tensor, d.b_eps, d.b_eps_shift, d.b_keep, amplitudes);
  if (d.has(spec::kFlagResAdd)) out += add_text(d, true);
  return out;
}

}  // namespace

const TensorPlace* Program::find_tensor(std::uint32_t tensor) const {
  const auto at = std::find_if(tensors.begin(), tensors.end(),
                               [&](const TensorPlace& t) { return t.tensor == tensor; });
  return at == tensors.end() ? nullptr : &*at;
}

const ActivationPlace* Program::find_activation(int layer) const {
  const auto at = std::find_if(activations.begin(), activations.end(),
                               [&](const ActivationPlace& a) { return a.layer == layer; });
  return at == activations.end() ? nullptr : &*at;
}

std::string memory_report(const Program& p, const Network& network) {
  const MemoryMap& m = p.memory;
  std::string out;
  const auto line = [&](const char* what, std::uint64_t bytes, const std::string& note) {
    out += fmt::format("  {:<28}{:>10}  {}\n", what, bytes, note);
  };
  const auto slots = static_cast<std::uint64_t>(p.slots);
  out += fmt::format("memory in bytes, batch {}:\n", p.batch);
  line("commands", m.command_bytes,
       fmt::format("{} forward, {} update", p.forward.size(), p.update.size()));
  line("weights", m.weight_bytes, "rows padded to 64");
  line("biases and requantization", m.parameter_bytes, "");
  if (m.constant_bytes != 0) line("constants of records", m.constant_bytes, "");
  line("activations", m.activation_bytes,
       fmt::format("{} live at once at command {} ({})", m.activation_live_peak, m.peak_command,
                   static_cast<std::size_t>(m.peak_command) < p.forward.size()
                       ? p.forward[static_cast<std::size_t>(m.peak_command)].name
                       : "learn"));
  for (const int layer : m.peak_layers) {
    const ActivationPlace* a = p.find_activation(layer);
    if (a == nullptr) continue;
    out += fmt::format("    {:<26}{:>10}  {} x {}, int{}\n", layer_name(network, layer), a->bytes,
                       p.batch, shape_text(a->shape), a->bits);
  }
  if (m.loss_bytes != 0) line("losses of examples", m.loss_bytes, "");
  line("batch and labels", m.batch_bytes * slots, fmt::format("{} slots", p.slots));
  if (m.output_bytes != 0)
    line("outputs", m.output_bytes * slots, fmt::format("{} slots", p.slots));
  if (p.readout)
    line(
        "kept records", m.record_bytes,
        fmt::format("{} of {} bytes kept, {} passing", p.readout->kept, p.readout->pitch, p.batch));
  line("total", m.total_bytes, "with alignment");
  line("on chip", m.on_chip_bytes, "activation and accumulator memories, both halves");
  return out;
}

std::string to_text(const Program& p, const Network& network) { return listing(p, network, true); }

std::string listing(const Program& p, const Network& network, bool amplitudes) {
  // Descriptors hold what a unit of z as the NPU draws it is multiplied by; journals hold LSBs.
  const double z_unit = p.distribution == spec::Distribution::gaussian_ ? 3.5 / spec::kZStepDen : 1;
  std::string out = fmt::format(
      "network {}: {} -> {}, {}, array {}x{}, bus {} bytes, scratchpad {}, accumulators {}\n",
      p.network, layer_name(network, p.input_layer) + " " + shape_text(p.input),
      layer_name(network, p.output_layer) + " " + shape_text(p.output),
      p.has_loss ? "with loss" : "without loss", p.hardware.rows, p.hardware.cols,
      p.hardware.bus_bytes, p.hardware.act_bytes, p.hardware.acc_depth);
  out += memory_report(p, network);
  out += "tensors:\n";
  for (const TensorPlace& t : p.tensors) {
    out +=
        fmt::format("  {:>4} {:<24} int{:<2} {:>5} x {:<6} at 0x{:06x} pitch {}", t.tensor,
                    tensor_name(network, t.tensor), t.bits, t.rows, t.columns, t.address, t.pitch);
    if (t.trainable && amplitudes)
      out += fmt::format(", eps {:.1f} LSB, step {:.3f} LSB, keep {}/256", t.eps.value() / z_unit,
                         t.step.value() / z_unit, t.keep);
    if (t.trainable && !amplitudes) out += fmt::format(", trains, keep {}/256", t.keep);
    out += "\n";
  }
  out += "activations:\n";
  for (const ActivationPlace& a : p.activations) {
    out += fmt::format("  {:<24} {:>10} bytes at {}0x{:06x}, commands {}..{}{}\n",
                       layer_name(network, a.layer), a.bytes, a.at_output ? "output+" : "",
                       a.address, a.first, a.last,
                       a.overwritten_by < 0 ? std::string()
                                            : fmt::format(", overwritten by {}", a.overwritten_by));
  }
  out += fmt::format("forward at 0x{:06x}:\n", p.forward_address);
  for (std::size_t i = 0; i < p.forward.size(); ++i)
    out += command_text(i, p.forward[i], amplitudes);
  if (!p.update.empty()) out += fmt::format("update at 0x{:06x}:\n", p.update_address);
  for (std::size_t i = 0; i < p.update.size(); ++i) out += command_text(i, p.update[i], amplitudes);
  if (p.readout) {
    const ReadoutQueues& r = *p.readout;
    for (const auto& [name, queue, at] : {std::tuple{"extract", &r.extract, r.extract_address},
                                          {"score", &r.score, r.score_address},
                                          {"learn", &r.learn, r.learn_address}}) {
      out += fmt::format("{} at 0x{:06x}:\n", name, at);
      for (std::size_t i = 0; i < queue->size(); ++i)
        out += command_text(i, (*queue)[i], amplitudes);
    }
  }
  for (const std::string& note : p.notes) out += "note: " + note + "\n";
  return out;
}

}  // namespace lastmile
