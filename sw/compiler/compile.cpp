// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/compile.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "sw/compiler/lower.hpp"
#include "sw/compiler/planner.hpp"

namespace lastmile {
namespace {

using lowering::align_up;
using lowering::is_constants;
using lowering::kBatch;
using lowering::kBatchCopy;
using lowering::kDifference;
using lowering::kErrors;
using lowering::kGradient;
using lowering::kMoments;
using lowering::kNone;
using lowering::kOnes;
using lowering::kPadded;
using lowering::kRecords;
using lowering::kSquares;
using lowering::Step;
using spec::Descriptor;
using spec::Opcode;

// Second half of the compiler: what is where in memory.
class Layout {
 public:
  Layout(const QuantizedNetwork& net, const CompileOptions& o, lowering::Lowered lowered)
      : net_(net),
        o_(o),
        p_(std::move(lowered.program)),
        steps_(std::move(lowered.steps)),
        extract_(std::move(lowered.extract)),
        score_(std::move(lowered.score)),
        learn_(std::move(lowered.learn)) {}

  Program run() {
    place_parameters();
    place_activations();
    place_rest();
    finish();
    return std::move(p_);
  }

 private:
  struct Tensor {
    std::uint64_t bytes = 0;
    int bits = 8;
    int first = 0, last = 0;
    int same_as = kNone;  // computed in place of this tensor
  };

  [[nodiscard]] const Layer& layer(int i) const {
    return net_.network.layers[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] const QuantizedLayer& quantized(int i) const {
    return net_.layers[static_cast<std::size_t>(i)];
  }

  // Commands come first, then weights, biases and requantization tables: what the image holds.
  void place_parameters() {
    const std::uint64_t updates = p_.update.size();
    std::uint64_t at = 0;
    p_.forward_address = 0;
    at = align_up(steps_.size() * spec::kDescBytes);
    p_.update_address = address(at);
    at += align_up(updates * spec::kDescBytes);
    if (p_.readout) {
      for (const auto& [queue, from] : {std::pair{&extract_, &p_.readout->extract_address},
                                        {&score_, &p_.readout->score_address},
                                        {&learn_, &p_.readout->learn_address}}) {
        *from = address(at);
        at += align_up(queue->size() * spec::kDescBytes);
      }
    }
    p_.memory.command_bytes = at;
    const std::uint64_t weights_at = at;
    for (TensorPlace& t : p_.tensors) {
      if (t.bias) continue;
      t.address = address(at);
      at += std::uint64_t{t.pitch} * static_cast<std::uint64_t>(t.rows);
    }
    p_.memory.weight_bytes = at - weights_at;
    const std::uint64_t parameters_at = at;
    for (TensorPlace& t : p_.tensors) {
      if (!t.bias) continue;
      t.address = address(at);
      at += t.pitch;
    }
    for (const TensorPlace& t : p_.tensors) {
      if (t.bias) continue;
      requant_address_[t.layer] = address(at);
      at += align_up(static_cast<std::uint64_t>(layer(t.layer).filters) * 8);
    }
    p_.memory.parameter_bytes = at - parameters_at;
    const std::uint64_t constants_at = at;
    for (const Step& step : steps_) {
      if (!is_constants(step.in)) continue;
      constant_address_[lowering::concat_of(step.in)] = address(at);
      at += align_up(std::uint64_t{step.command.descriptor.in_c} *
                     static_cast<std::uint64_t>(o_.batch));
    }
    if (p_.moments) {
      ones_address_ = address(at);
      at += align_up(std::uint64_t{p_.moments->rows} * p_.moments->columns);
    }
    p_.memory.constant_bytes = at - constants_at;
    if (p_.squared_error && p_.squared_error->pitch != static_cast<std::uint32_t>(p_.label_bytes)) {
      padded_address_ = address(at);
      p_.memory.loss_bytes =
          std::uint64_t{p_.squared_error->pitch} * static_cast<std::uint64_t>(o_.batch);
      at += p_.memory.loss_bytes;
    }
    image_bytes_ = at;
  }

  // An address; where the sum of all exceeds the memory is found out at the end, with the whole
  // report.
  static std::uint32_t address(std::uint64_t at) { return static_cast<std::uint32_t>(at); }

  void place_activations() {
    collect_tensors();
    if (o_.reuse_memory) share_adds();
    place_buffers();
    for (const auto& [id, t] : tensors_) {
      if (id >= 0) p_.activations.push_back(describe(id, t));
    }
  }

  // Not in the arena, and always the same.
  [[nodiscard]] static bool has_own_place(int tensor) {
    return tensor == kRecords || tensor == kMoments || tensor == kPadded || tensor == kSquares ||
           is_constants(tensor);
  }
  // Tensors that live in the arena.
  [[nodiscard]] bool in_arena(int tensor) const {
    return tensor != kNone && tensor != kBatch && !has_own_place(tensor) &&
           (p_.has_loss || p_.moments || tensor != p_.output_layer);
  }

  void collect_tensors() {
    const int end = static_cast<int>(steps_.size());
    for (int s = 0; s < end; ++s) {
      const Step& step = steps_[static_cast<std::size_t>(s)];
      for (const int in : {step.in, step.in2})
        if (in != kNone && in != kBatch && !has_own_place(in)) tensors_.at(in).last = s;
      if (step.out == kNone || has_own_place(step.out)) continue;
      if (const auto known = tensors_.find(step.out); known != tensors_.end()) {
        known->second.last = s;  // another part of a concat
        continue;
      }
      Tensor t;
      t.bits = step.command.descriptor.has(spec::kFlagOut16) ? 16 : 8;
      const Shape& shape = step.out == kBatchCopy    ? p_.input
                           : step.out == kDifference ? p_.output
                                                     : layer(step.out).out;
      t.bytes = static_cast<std::uint64_t>(shape.elements()) *
                static_cast<std::uint64_t>(o_.batch) * static_cast<std::uint64_t>(t.bits / 8);
      t.first = t.last = s;
      tensors_[step.out] = t;
    }
    for (auto& [id, t] : tensors_) {
      if (!o_.reuse_memory) t.last = end;
    }
    // What the host reads after a pass stays to its end.
    if (p_.has_loss) tensors_.at(p_.squared_error ? kDifference : p_.output_layer).last = end;
    if (!p_.readout) return;
    // The learning queue runs by itself: of the tensors of a pass it has the logits alone.
    const auto classes = static_cast<std::uint64_t>(p_.classes);
    tensors_[kErrors] = {classes * static_cast<std::uint64_t>(o_.batch), 8, end, end, kNone};
    tensors_[kGradient] = {4 * classes * p_.readout->pitch, 32, end, end, kNone};
  }

  // An add may overwrite an addend that dies there. Fused, the convolution must not read that
  // addend as its input: it still needs the neighbours of what it has written.
  void share_adds() {
    for (int s = 0; s < static_cast<int>(steps_.size()); ++s) {
      const Step& step = steps_[static_cast<std::size_t>(s)];
      const bool plain = step.command.descriptor.op() == Opcode::add_;
      if (step.in2 == kNone || !in_arena(step.out)) continue;
      const auto dies = [&](int t) { return in_arena(t) && tensors_.at(t).last == s; };
      if (dies(step.in2) && (plain || step.in2 != step.in)) {
        tensors_.at(step.out).same_as = step.in2;
      } else if (plain && dies(step.in)) {
        tensors_.at(step.out).same_as = step.in;
      }
    }
  }

  void place_buffers() {
    std::map<int, std::size_t> buffer_of;
    std::vector<BufferLife> buffers;
    // In order of time, so that a tensor's predecessor in place already has its buffer.
    for (const Step& step : steps_) {
      if (!in_arena(step.out)) continue;
      const Tensor& t = tensors_.at(step.out);
      if (t.same_as != kNone) {
        const std::size_t b = buffer_of.at(t.same_as);
        buffers[b].last = std::max(buffers[b].last, t.last);
        buffer_of[step.out] = b;
      } else {
        buffer_of[step.out] = buffers.size();
        buffers.push_back({t.bytes, t.first, t.last});
      }
    }
    for (const int id : {kErrors, kGradient}) {
      const auto at = tensors_.find(id);
      if (at == tensors_.end()) continue;
      buffer_of[id] = buffers.size();
      buffers.push_back({at->second.bytes, at->second.first, at->second.last});
    }
    const ArenaPlan plan = plan_arena(buffers, spec::kAlign);
    arena_at_ = align_up(image_bytes_);
    p_.memory.activation_bytes = align_up(plan.bytes);
    p_.memory.activation_live_peak = plan.live_peak;
    p_.memory.peak_command = plan.peak_at;
    std::map<std::size_t, int> live;  // of each buffer the tensor that is in it at the peak
    for (const auto& [id, t] : tensors_) {
      if (!in_arena(id)) continue;
      const std::size_t b = buffer_of.at(id);
      tensor_address_[id] = address(arena_at_ + plan.offsets[b]);
      if (t.first > plan.peak_at || buffers[b].last < plan.peak_at) continue;
      const auto [at, fresh] = live.emplace(b, id);
      if (!fresh && tensors_.at(at->second).first < t.first) at->second = id;
    }
    for (const auto& [b, id] : live)
      p_.memory.peak_layers.push_back(id == kDifference ? p_.output_layer
                                      : id < 0          ? kNetworkInput
                                                        : id);
    std::sort(p_.memory.peak_layers.begin(), p_.memory.peak_layers.end());
  }

  [[nodiscard]] ActivationPlace describe(int id, const Tensor& t) const {
    ActivationPlace a;
    a.layer = id;
    a.shape = layer(id).out;
    a.bits = t.bits;
    a.quant = t.bits == 16 ? TensorQuant{net_.logits.scale, 0} : net_.quant_of(id);
    a.at_output = !in_arena(id);
    a.bytes = t.bytes;
    a.first = t.first;
    a.last = t.last;
    if (!a.at_output) {
      a.address = tensor_address_.at(id);
      for (const auto& [other, u] : tensors_) {
        if (!in_arena(other) || u.first <= t.first || other == kErrors || other == kGradient)
          continue;
        const std::uint64_t from = tensor_address_.at(other);
        const bool overlaps = from < a.address + a.bytes && a.address < from + u.bytes;
        if (overlaps && (a.overwritten_by < 0 || u.first < a.overwritten_by))
          a.overwritten_by = u.first;
      }
    }
    return a;
  }

  void place_rest() {
    MemoryMap& m = p_.memory;
    std::uint64_t at = arena_at_ + m.activation_bytes;
    const auto slots = static_cast<std::uint64_t>(o_.slots);
    const auto batch = static_cast<std::uint64_t>(o_.batch);
    // The bytes that commands touch end with the last label or output: a device needs not one byte
    // more.
    std::uint64_t end = at;
    const auto place = [&](std::uint64_t bytes, std::uint64_t count, std::uint32_t& from,
                           std::uint32_t& stride) {
      from = address(at);
      stride = address(align_up(bytes));
      end = at + (count - 1) * align_up(bytes) + bytes;
      at += count * align_up(bytes);
    };
    std::uint32_t unused = 0;
    if (p_.example_losses) {
      const std::uint64_t losses = 4 * batch * (p_.squared_error ? p_.squared_error->block : 1);
      m.loss_bytes += losses;
      place(losses, 1, p_.loss_address, unused);
    }
    const std::uint64_t inputs = static_cast<std::uint64_t>(p_.input.elements()) * batch;
    place(inputs, slots, p_.batch_address, p_.batch_stride);
    m.batch_bytes = inputs;
    if (p_.has_loss) {
      const std::uint64_t labels = batch * static_cast<std::uint64_t>(p_.label_bytes);
      place(labels, slots, p_.label_address, p_.label_stride);
      m.batch_bytes += labels;
    } else {
      m.output_bytes = p_.moments ? std::uint64_t{8} * p_.moments->chunks * p_.moments->columns
                                  : static_cast<std::uint64_t>(p_.output.elements()) * batch;
      place(m.output_bytes, slots, p_.output_address, p_.output_stride);
    }
    if (p_.readout) {
      ReadoutQueues& r = *p_.readout;
      const std::uint64_t records = static_cast<std::uint64_t>(r.kept) + batch;
      const std::uint64_t labels = records * static_cast<std::uint64_t>(p_.label_bytes);
      place(records * r.pitch, 1, r.record_address, unused);
      place(labels, 1, r.label_address, unused);
      m.record_bytes = records * r.pitch + labels;
    }
    m.total_bytes = end;
    m.on_chip_bytes = 2 * static_cast<std::uint64_t>(p_.hardware.act_bytes) +
                      2 * static_cast<std::uint64_t>(p_.hardware.acc_depth) *
                          static_cast<std::uint64_t>(p_.hardware.cols) * (spec::kAccBits / 8);
    if (m.total_bytes > o_.memory_bytes) {
      lowering::fail(
          net_.network,
          fmt::format(
              "memory is {} bytes, expected at least {} (commands {}, weights {}, biases and "
              "requantization {}, "
              "activations {}, {} slots of batch and output {}{})",
              o_.memory_bytes, m.total_bytes, m.command_bytes, m.weight_bytes, m.parameter_bytes,
              m.activation_bytes, slots, m.batch_bytes + m.output_bytes,
              p_.readout ? fmt::format(", records {}", m.record_bytes) : std::string()));
    }
  }

  [[nodiscard]] std::uint32_t address_of(int tensor) const {
    // Relative to a register: the batch, and the program's output.
    if (tensor == kNone || tensor == kBatch || tensor == kRecords || tensor == kMoments ||
        (!p_.has_loss && !p_.moments && tensor == p_.output_layer))
      return 0;
    if (tensor == kOnes) return ones_address_;
    if (tensor == kPadded) return padded_address_;
    if (tensor == kSquares) return p_.loss_address;
    if (is_constants(tensor)) return constant_address_.at(lowering::concat_of(tensor));
    return tensor_address_.at(tensor);
  }

  void finish(std::vector<Step>& steps, std::vector<Command>& to) const {
    for (Step& step : steps) {
      Descriptor& d = step.command.descriptor;
      d.in_addr = address_of(step.in) + step.in_offset;
      d.in2_addr = address_of(step.in2);
      d.out_addr = address_of(step.out) + step.out_offset;
      const spec::OpcodeTraits& is = spec::traits(d.op());
      if (d.has(spec::kFlagLosses)) d.out_addr = p_.loss_address;
      if (is.result == spec::Result::in_place_) d.w_addr = p_.find_tensor(d.w_tensor)->address;
      if (step.weights != kNone) {
        d.w_addr = address_of(step.weights) + step.weights_offset;
      } else if (is.weights && !d.has(spec::kFlagWTransposed)) {
        d.w_addr = p_.find_tensor(d.w_tensor)->address;
        if (d.has(spec::kFlagHasBias)) d.bias_addr = p_.find_tensor(d.b_tensor)->address;
        d.rq_addr = requant_address_.at(step.command.layer);
      }
      to.push_back(step.command);
    }
  }

  void finish() {
    finish(steps_, p_.forward);
    if (p_.squared_error) p_.squared_error->address = address_of(kDifference);
    std::vector<const std::vector<Command>*> streams{&p_.forward, &p_.update};
    if (p_.readout) {
      finish(extract_, p_.readout->extract);
      finish(score_, p_.readout->score);
      finish(learn_, p_.readout->learn);
      streams.insert(streams.end(), {&p_.readout->extract, &p_.readout->score, &p_.readout->learn});
    }
    for (Command& c : p_.update)
      c.descriptor.w_addr = p_.find_tensor(c.descriptor.w_tensor)->address;
    for (const std::vector<Command>* stream : streams) {
      for (const Command& c : *stream) {
        const spec::Field bad =
            spec::field_out_of_range(c.descriptor, c.descriptor.has(spec::kFlagResAdd));
        if (bad != spec::Field::none_)
          lowering::fail(net_.network, fmt::format("command '{}': field {} is outside its range",
                                                   c.name, spec::to_string(bad)));
      }
    }
    write_image();
  }

  template <class T>
  void put(std::uint64_t at, const T& value) {
    std::memcpy(p_.image.data() + at, &value, sizeof value);
  }

  void put_queue(const std::vector<Command>& queue, std::uint32_t at) {
    for (std::size_t i = 0; i < queue.size(); ++i)
      put(at + i * spec::kDescBytes, spec::encode(queue[i].descriptor));
  }

  void write_image() {
    p_.image.assign(image_bytes_, std::byte{0});
    put_queue(p_.forward, p_.forward_address);
    put_queue(p_.update, p_.update_address);
    if (p_.readout) {
      put_queue(p_.readout->extract, p_.readout->extract_address);
      put_queue(p_.readout->score, p_.readout->score_address);
      put_queue(p_.readout->learn, p_.readout->learn_address);
    }
    for (const auto& [layer, at] : constant_address_) {
      const std::vector<std::int8_t>& constants = quantized(layer).constants;
      for (std::size_t b = 0; b < static_cast<std::size_t>(o_.batch); ++b)
        std::memcpy(p_.image.data() + at + b * constants.size(), constants.data(),
                    constants.size());
    }
    if (p_.moments)
      std::fill_n(p_.image.begin() + ones_address_,
                  std::size_t{p_.moments->rows} * p_.moments->columns, std::byte{1});
    for (const TensorPlace& t : p_.tensors) {
      const QuantizedLayer& q = quantized(t.layer);
      if (t.bias) {
        for (std::size_t i = 0; i < q.bias.size(); ++i) put(t.address + 4 * i, q.bias[i]);
        continue;
      }
      std::size_t k = 0;
      for (int r = 0; r < t.rows; ++r) {
        const std::uint64_t row =
            t.address + std::uint64_t{t.pitch} * static_cast<std::uint64_t>(r);
        for (std::uint64_t c = 0; c < static_cast<std::uint64_t>(t.columns); ++c, ++k) {
          if (t.bits == 8)
            put(row + c, static_cast<std::int8_t>(q.weights[k]));
          else
            put(row + 2 * c, q.weights[k]);
        }
      }
      const bool logits = p_.has_loss && !p_.squared_error && t.layer == p_.output_layer;
      const std::vector<Requant>& table = logits ? net_.logits.requant : q.requant;
      for (std::size_t i = 0; i < table.size(); ++i) {
        put(requant_address_.at(t.layer) + 8 * i, table[i].multiplier);
        put(requant_address_.at(t.layer) + 8 * i + 4, table[i].exponent);
      }
    }
  }

  const QuantizedNetwork& net_;
  const CompileOptions& o_;
  Program p_;
  std::vector<Step> steps_, extract_, score_, learn_;
  std::map<int, std::uint32_t> constant_address_;  // by concat
  std::map<int, Tensor> tensors_;                  // by name
  std::map<int, std::uint32_t> requant_address_;   // by layer
  std::map<int, std::uint32_t> tensor_address_;
  std::uint32_t ones_address_ = 0, padded_address_ = 0;
  std::uint64_t image_bytes_ = 0, arena_at_ = 0;
};

}  // namespace

Program compile(const QuantizedNetwork& network, const spec::HardwareParams& hardware,
                const CompileOptions& options) {
  return Layout(network, options, lowering::lower(network, hardware, options)).run();
}

}  // namespace lastmile
