// SPDX-License-Identifier: Apache-2.0
#include "sw/driver/driver.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cmodel/numeric/loss_units.hpp"
#include "cmodel/spec/npu_identity.hpp"
#include "cmodel/spec/registers.hpp"
#include "sw/base/error.hpp"

namespace lastmile {
namespace {

namespace reg = spec::reg;

static_assert(std::endian::native == std::endian::little, "memory images are little-endian");

[[noreturn]] void device_error(const std::string& text) {
  throw Error(ErrorKind::device, "device: " + text);
}
[[noreturn]] void usage(const std::string& text) {
  throw Error(ErrorKind::usage, "driver: " + text);
}
[[noreturn]] void bad_input(const std::string& text) {
  throw Error(ErrorKind::input, "driver: " + text);
}

// The first parameter in which two builds of the NPU differ, as text; empty if they are alike.
std::string difference(const spec::HardwareParams& found, const spec::HardwareParams& expected) {
  std::vector<int> values;
  spec::each_parameter(expected, [&](std::string_view, int value) { values.push_back(value); });
  std::string text;
  std::size_t k = 0;
  spec::each_parameter(found, [&](std::string_view name, int value) {
    if (text.empty() && value != values[k]) {
      for (const char c : name) text += static_cast<char>(std::toupper(c));
      text += fmt::format(" is {}, the program expects {}", value, values[k]);
    }
    ++k;
  });
  return text;
}

template <class T>
std::vector<T> as(const std::vector<std::byte>& bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

}  // namespace

double ForwardResult::mean_nats() const { return numeric::mean_nats(loss_sum, examples); }

HostTraffic& HostTraffic::operator+=(const HostTraffic& o) {
  register_reads += o.register_reads;
  register_writes += o.register_writes;
  bytes_read += o.bytes_read;
  bytes_written += o.bytes_written;
  return *this;
}

HostTraffic operator-(const HostTraffic& a, const HostTraffic& b) {
  return {a.register_reads - b.register_reads, a.register_writes - b.register_writes,
          a.bytes_read - b.bytes_read, a.bytes_written - b.bytes_written};
}

Driver::Driver(Device& device, Program program) : device_(device), program_(std::move(program)) {
  loaded_.resize(static_cast<std::size_t>(program_.slots));
  check_device();
  write(reg::kCtrl, spec::kSoftReset, Traffic::load);
  wait_for_bus();
  write_memory(0, program_.image, Traffic::load);
  set(reg::kMemLimit,
      static_cast<std::uint32_t>(std::min<std::uint64_t>(device_.memory_size(), UINT32_MAX)),
      Traffic::load);
  set(reg::kIrqEnable, reg::kIrqEnableDone.mask() | reg::kIrqEnableError.mask(), Traffic::load);
  set(reg::kDistribution, static_cast<std::uint32_t>(program_.distribution), Traffic::load);
  set(reg::kPolarity, static_cast<std::uint32_t>(spec::Polarity::none_), Traffic::load);
  set_mask_seed(0);
  select_batch(0);
}

// Until the bus is done with what a queue before had asked for, memory may still be written.
void Driver::wait_for_bus() {
  constexpr int kPatience = 100000;  // reads of a register
  for (int i = 0; i < kPatience; ++i)
    if (!reg::kStatusDraining.is_set(read(reg::kStatus, Traffic::load))) return;
  device_error(
      "the bus still owes answers to a queue that was given up (STATUS.DRAINING); NPU and bus need "
      "a reset together");
}

void Driver::check_device() {
  const std::uint32_t id = read(reg::kId, Traffic::load);
  if (id != spec::kMagic)
    device_error(fmt::format("register ID is 0x{:08x}, expected 0x{:08x}", id, spec::kMagic));
  const std::uint32_t hash = read(reg::kSpec, Traffic::load);
  if (hash != spec::kSpecHash) {
    device_error(
        fmt::format("register SPEC is 0x{:08x}, expected 0x{:08x}: device and host are built from "
                    "different specifications",
                    hash, spec::kSpecHash));
  }
  const spec::HardwareWords expected = spec::hardware_words(program_.hardware);
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const std::uint32_t offset = spec::kHardwareRegisters[i];
    spec::HardwareWords words = expected;
    words[i] = read(offset, Traffic::load);
    if (words[i] == expected[i]) continue;
    const std::string what = difference(spec::hardware_of(words), program_.hardware);
    device_error(fmt::format(
        "register {}: {}", spec::register_name(offset),
        !what.empty() ? what
                      : fmt::format("it is 0x{:08x}, expected 0x{:08x}", words[i], expected[i])));
  }
  if (device_.memory_size() < program_.memory.total_bytes) {
    device_error(fmt::format("memory has {} bytes, the program expects at least {}",
                             device_.memory_size(), program_.memory.total_bytes));
  }
}

std::uint32_t Driver::read(std::uint32_t offset, Traffic kind) {
  ++traffic_[static_cast<std::size_t>(kind)].register_reads;
  return device_.read_register(offset);
}

void Driver::write(std::uint32_t offset, std::uint32_t value, Traffic kind) {
  ++traffic_[static_cast<std::size_t>(kind)].register_writes;
  device_.write_register(offset, value);
}

void Driver::set(std::uint32_t offset, std::uint32_t value, Traffic kind) {
  const auto [at, fresh] = shadow_.emplace(offset, value);
  if (!fresh && at->second == value) return;
  at->second = value;
  write(offset, value, kind);
}

std::uint64_t Driver::read64(spec::WideRegister r, Traffic kind) {
  const std::uint64_t low = read(r.low, kind);
  return std::uint64_t{read(r.high, kind)} << 32 | low;
}

void Driver::set64(spec::WideRegister r, std::uint64_t value, Traffic kind) {
  set(r.low, static_cast<std::uint32_t>(value), kind);
  set(r.high, static_cast<std::uint32_t>(value >> 32), kind);
}

void Driver::read_memory(std::uint32_t address, std::span<std::byte> to, Traffic kind) {
  traffic_[static_cast<std::size_t>(kind)].bytes_read += to.size();
  if (!to.empty()) device_.read_memory(address, to);
}

void Driver::write_memory(std::uint32_t address, std::span<const std::byte> from, Traffic kind) {
  traffic_[static_cast<std::size_t>(kind)].bytes_written += from.size();
  if (!from.empty()) device_.write_memory(address, from);
}

int Driver::checked_slot(int slot) const {
  if (slot < 0 || slot >= program_.slots)
    usage(fmt::format("slot is {}, expected 0 to {}", slot, program_.slots - 1));
  return slot;
}

// `count` labels as the NPU reads them; those that are not given are ignored by the loss.
std::vector<std::byte> Driver::label_bytes(std::span<const int> labels, std::size_t count) const {
  const auto width = static_cast<std::size_t>(program_.label_bytes);
  std::vector<std::byte> bytes(count * width, std::byte{0xff});
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < -1 || labels[i] >= program_.classes)
      bad_input(fmt::format("label of example {} is {}, expected 0 to {}, or -1 to ignore it", i,
                            labels[i], program_.classes - 1));
    const auto label = static_cast<std::uint16_t>(labels[i]);  // -1: all ones
    std::memcpy(bytes.data() + i * width, &label, width);
  }
  return bytes;
}

// Their number.
std::size_t Driver::checked_examples(std::span<const std::int8_t> examples) const {
  const auto each = static_cast<std::size_t>(program_.input.elements());
  const std::size_t count = examples.size() / each;
  if (examples.size() % each != 0 || count > static_cast<std::size_t>(program_.batch)) {
    bad_input(fmt::format("batch has {} values, expected a multiple of {}, at most {}",
                          examples.size(), each, each * static_cast<std::size_t>(program_.batch)));
  }
  return count;
}

void Driver::write_examples(std::span<const std::int8_t> examples, std::size_t count, int slot) {
  const auto s = static_cast<std::uint32_t>(slot);
  write_memory(program_.batch_address + s * program_.batch_stride, std::as_bytes(examples),
               Traffic::batch);
  loaded_[s] = count;
}

void Driver::load_batch(std::span<const std::int8_t> examples, std::span<const int> labels,
                        int slot) {
  const std::size_t count = checked_examples(examples);
  const auto s = static_cast<std::uint32_t>(checked_slot(slot));
  const std::size_t wanted = program_.classes != 0 ? count : 0;
  if (labels.size() != wanted)
    bad_input(fmt::format("{} labels, expected {}", labels.size(), wanted));
  if (program_.squared_error) {
    if (program_.input_layer != kNetworkInput)
      usage("a batch without targets for a program that begins behind a layer");
    return load_targets(examples, examples, slot);
  }
  const std::vector<std::byte> bytes =
      label_bytes(labels, static_cast<std::size_t>(program_.batch));
  write_examples(examples, count, slot);
  if (program_.has_loss)
    write_memory(program_.label_address + s * program_.label_stride, bytes, Traffic::batch);
}

void Driver::load_targets(std::span<const std::int8_t> examples,
                          std::span<const std::int8_t> targets, int slot) {
  if (!program_.squared_error) usage("targets for a program without squared errors");
  const std::size_t count = checked_examples(examples);
  const auto s = static_cast<std::uint32_t>(checked_slot(slot));
  const std::size_t wanted = count * static_cast<std::size_t>(program_.label_bytes);
  if (targets.size() != wanted)
    bad_input(fmt::format("targets have {} values, expected {}", targets.size(), wanted));
  write_examples(examples, count, slot);
  std::vector<std::int8_t> negated(targets.size());
  std::transform(targets.begin(), targets.end(), negated.begin(), negated_target);
  write_memory(program_.label_address + s * program_.label_stride,
               std::as_bytes(std::span(negated)), Traffic::batch);
}

void Driver::select_batch(int slot) {
  const auto s = static_cast<std::uint32_t>(checked_slot(slot));
  slot_ = slot;
  set(reg::kBatchAddr, program_.batch_address + s * program_.batch_stride, Traffic::step);
  set(reg::kLabelAddr, program_.label_address + s * program_.label_stride, Traffic::step);
  set(reg::kOutAddr, program_.output_address + s * program_.output_stride, Traffic::step);
}

void Driver::set_mask_seed(std::uint64_t seed) { set64(reg::kMaskSeedWide, seed, Traffic::step); }

void Driver::run(std::uint32_t queue, const std::vector<Command>& commands,
                 const std::string& phase) {
  device_.annotate(phase);
  set(reg::kQueueAddr, queue, Traffic::step);
  set(reg::kQueueCount, static_cast<std::uint32_t>(commands.size()), Traffic::step);
  write(reg::kCtrl, spec::kStart, Traffic::step);
  if (!device_.wait_interrupt())
    device_error(fmt::format("{}: the device stopped without an interrupt (command {})", phase,
                             read(reg::kCommand, Traffic::step)));
  const std::uint32_t cause = read(reg::kIrqStatus, Traffic::step);
  write(reg::kIrqStatus, cause, Traffic::step);
  if (reg::kIrqStatusError.is_set(cause)) fail(commands, phase);
  if (!reg::kIrqStatusDone.is_set(cause))
    device_error(fmt::format("{}: interrupt without a cause, IRQ_STATUS is 0x{:x}", phase, cause));
}

void Driver::fail(const std::vector<Command>& commands, const std::string& phase) {
  const auto code = static_cast<spec::Error>(read(reg::kErrorCode, Traffic::step));
  const std::uint32_t index = read(reg::kErrorCommand, Traffic::step);
  const std::uint32_t info = read(reg::kErrorInfo, Traffic::step);
  write(reg::kCtrl, spec::kSoftReset, Traffic::step);  // the next queue starts clean
  device_error(fmt::format("{}: error {} in command {} ({}), {}", phase, spec::to_string(code),
                           index, index < commands.size() ? commands[index].name : "?",
                           spec::info_text(code, info)));
}

void Driver::set_polarity(spec::Polarity polarity, std::uint64_t seed) {
  set(reg::kPolarity, static_cast<std::uint32_t>(polarity), Traffic::step);
  if (polarity != spec::Polarity::none_) set64(reg::kSeedWide, seed, Traffic::step);
}

ForwardResult Driver::result() {
  ForwardResult r;
  r.loss_sum = static_cast<std::int64_t>(read64(reg::kLossWide, Traffic::step));
  r.correct = read(reg::kCorrect, Traffic::step);
  r.examples = read(reg::kExamples, Traffic::step);
  return r;
}

std::vector<std::int32_t> Driver::read_squares(std::size_t count, Traffic kind) {
  const auto batch = static_cast<std::uint32_t>(program_.batch);
  const std::uint32_t block = program_.squared_error->block;
  std::vector<std::int32_t> sums(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t first = i / block * block, width = std::min(block, batch - first);
    const std::uint32_t word = first * block + (i - first) * (width + 1);  // of the diagonal
    read_memory(program_.loss_address + 4 * word, std::as_writable_bytes(std::span(&sums[i], 1)),
                kind);
  }
  return sums;
}

ForwardResult Driver::squares() {
  ForwardResult r;
  const std::size_t count = loaded_[static_cast<std::size_t>(slot_)];
  for (const std::int32_t sum : read_squares(count, Traffic::step)) r.loss_sum += sum;
  r.examples = static_cast<std::uint32_t>(count);
  return r;
}

ForwardResult Driver::forward(spec::Polarity polarity, std::uint64_t seed) {
  set_polarity(polarity, seed);
  const char* sign = polarity == spec::Polarity::plus_    ? "+"
                     : polarity == spec::Polarity::minus_ ? "-"
                                                          : "";
  run(program_.forward_address, program_.forward, fmt::format("forward{}", sign));
  if (program_.squared_error) return squares();
  return program_.has_loss ? result() : ForwardResult{};
}

const ReadoutQueues& Driver::readout() const {
  if (!program_.readout) usage("the program has no readouts");
  return *program_.readout;
}

void Driver::select_records(int first) {
  const ReadoutQueues& r = readout();
  if (first < 0 || first > r.kept)
    usage(fmt::format("first record is {}, expected 0 to {}", first, r.kept));
  const auto at = static_cast<std::uint32_t>(first);
  set(reg::kBatchAddr, r.record_address + at * r.pitch, Traffic::step);
  set(reg::kLabelAddr, r.label_address + at * static_cast<std::uint32_t>(program_.label_bytes),
      Traffic::step);
}

void Driver::extract(int first, spec::Polarity polarity, std::uint64_t seed) {
  const ReadoutQueues& r = readout();
  if (first < 0 || first > r.kept)
    usage(fmt::format("first record is {}, expected 0 to {}", first, r.kept));
  set_polarity(polarity, seed);
  select_batch(0);
  set(reg::kOutAddr, r.record_address + static_cast<std::uint32_t>(first) * r.pitch, Traffic::step);
  run(r.extract_address, r.extract, "extract");
}

void Driver::set_labels(std::span<const int> labels, int first) {
  const ReadoutQueues& r = readout();
  const auto room = static_cast<std::size_t>(r.kept) + static_cast<std::size_t>(program_.batch);
  if (first < 0 || static_cast<std::size_t>(first) + labels.size() > room)
    usage(fmt::format("labels of records {} to {}, expected at most {} records", first,
                      static_cast<std::size_t>(first) + labels.size(), room));
  write_memory(r.label_address + static_cast<std::uint32_t>(first) *
                                     static_cast<std::uint32_t>(program_.label_bytes),
               label_bytes(labels, labels.size()), Traffic::batch);
}

ForwardResult Driver::score(int first) {
  set_polarity(spec::Polarity::none_, 0);
  select_records(first);
  run(readout().score_address, readout().score, "score");
  return result();
}

ForwardResult Driver::learn(std::uint32_t step_register, std::uint64_t seed, int first) {
  static_cast<void>(readout());
  set_step(step_register);
  set_polarity(spec::Polarity::none_, 0);
  select_records(first);
  set64(reg::kSeedWide, seed, Traffic::step);
  set64(reg::kPairSeedWide, seed, Traffic::step);
  run(readout().learn_address, readout().learn, "learn");
  return result();
}

void Driver::set_step(std::uint32_t step_register) {
  if (!reg::kStepShift.allows(step_register) || reg::kStepUnused.is_set(step_register))
    usage(fmt::format(
        "step register is 0x{:x}, expected a {}-bit mantissa and a shift of {} to {} above it",
        step_register, reg::kStepMantissa.width, reg::kStepShift.least, reg::kStepShift.most));
  set(reg::kStep, step_register, Traffic::step);
}

void Driver::update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
                    std::uint32_t step_register) {
  if (program_.update.empty()) usage("update of a program that trains nothing");
  if (seeds.empty() || seeds.size() > static_cast<std::size_t>(spec::kMaxPairs))
    usage(fmt::format("{} pairs, expected 1 to {}", seeds.size(), spec::kMaxPairs));
  if (coefficients.size() != seeds.size())
    usage(fmt::format("{} coefficients for {} seeds, expected as many", coefficients.size(),
                      seeds.size()));
  for (std::size_t j = 0; j < seeds.size(); ++j) {
    if (std::abs(int{coefficients[j]}) > spec::kCoefMax)
      usage(fmt::format("coefficient {} is {}, expected -{} to {}", j, coefficients[j],
                        spec::kCoefMax, spec::kCoefMax));
  }
  set_step(step_register);
  for (std::size_t j = 0; j < seeds.size(); ++j) {
    const auto at = static_cast<std::uint32_t>(j);
    const std::uint32_t seed_at = at * reg::kPairSeedLoStride;
    set64({reg::kPairSeedWide.low + seed_at, reg::kPairSeedWide.high + seed_at}, seeds[j],
          Traffic::step);
    set(reg::kPairCoef + at * reg::kPairCoefStride,
        reg::kPairCoefValue.set(static_cast<std::uint32_t>(int{coefficients[j]})), Traffic::step);
  }
  set(reg::kPairs, static_cast<std::uint32_t>(seeds.size()), Traffic::step);
  run(program_.update_address, program_.update, "update");
}

std::vector<std::int32_t> Driver::example_losses() {
  if (!program_.example_losses) usage("the program was compiled without per-example losses");
  if (program_.squared_error)
    return read_squares(static_cast<std::size_t>(program_.batch), Traffic::result);
  std::vector<std::byte> bytes(4 * static_cast<std::size_t>(program_.batch));
  read_memory(program_.loss_address, bytes, Traffic::result);
  return as<std::int32_t>(bytes);
}

std::vector<std::int16_t> Driver::logits() {
  if (!program_.has_loss || program_.squared_error) usage("the program has no logits");
  const ActivationPlace& a = *program_.find_activation(program_.output_layer);
  std::vector<std::byte> bytes(a.bytes);
  read_memory(a.address, bytes, Traffic::result);
  return as<std::int16_t>(bytes);
}

std::vector<std::int8_t> Driver::differences() {
  if (!program_.squared_error) usage("the program has no squared errors");
  std::vector<std::byte> bytes(static_cast<std::size_t>(program_.output.elements()) *
                               static_cast<std::size_t>(program_.batch));
  read_memory(program_.squared_error->address, bytes, Traffic::result);
  return as<std::int8_t>(bytes);
}

std::vector<std::int8_t> Driver::output(int slot) {
  if (program_.has_loss) usage("the program ends in a loss, not in an output");
  std::vector<std::byte> bytes(program_.memory.output_bytes);
  read_memory(program_.output_address +
                  static_cast<std::uint32_t>(checked_slot(slot)) * program_.output_stride,
              bytes, Traffic::result);
  return as<std::int8_t>(bytes);
}

Driver::Moments Driver::moments() {
  if (!program_.moments) usage("the program was compiled without moments");
  const MomentSums& m = *program_.moments;
  std::vector<std::byte> bytes(program_.memory.output_bytes);
  read_memory(program_.output_address, bytes, Traffic::result);
  const std::vector<std::int32_t> words = as<std::int32_t>(bytes);
  const auto channels = static_cast<std::size_t>(m.channels);
  Moments out;
  out.count = program_.output.elements() * program_.batch / m.channels;
  out.sums.resize(channels);
  out.squares.resize(channels);
  for (std::size_t k = 0; k < words.size(); ++k) {
    const bool squares = k / m.columns % 2 != 0;
    (squares ? out.squares : out.sums)[k % m.columns % channels] += words[k];
  }
  return out;
}

std::vector<std::int8_t> Driver::activation(int layer) {
  const ActivationPlace* a = program_.find_activation(layer);
  if (a == nullptr || a->bits != 8)
    usage(fmt::format(
        "layer {} has no int8 activation in this program (fused, outside it, or logits)", layer));
  if (a->overwritten_by >= 0) {
    usage(
        fmt::format("the activation of layer {} is overwritten by command {} ('{}'); compile "
                    "without reuse of memory to read it",
                    layer, a->overwritten_by,
                    program_.forward[static_cast<std::size_t>(a->overwritten_by)].name));
  }
  std::vector<std::byte> bytes(a->bytes);
  read_memory(a->at_output ? shadow_.at(reg::kOutAddr) : a->address, bytes, Traffic::debug);
  return as<std::int8_t>(bytes);
}

std::array<std::uint64_t, spec::kCounters> Driver::counters() {
  std::array<std::uint64_t, spec::kCounters> out{};
  for (std::uint32_t i = 0; i < out.size(); ++i) {
    const std::uint32_t at = reg::kCounter + i * reg::kCounterStride;
    out[i] = read64({at, at + 4}, Traffic::debug);
  }
  return out;
}

const TensorPlace& Driver::place(std::uint32_t tensor) const {
  const TensorPlace* t = program_.find_tensor(tensor);
  if (t == nullptr) usage(fmt::format("tensor {} is not in this program", tensor));
  return *t;
}

std::vector<std::int32_t> Driver::read_tensor(std::uint32_t tensor) {
  const TensorPlace& t = place(tensor);
  const auto rows = static_cast<std::size_t>(t.rows), columns = static_cast<std::size_t>(t.columns);
  const auto width = static_cast<std::size_t>(t.bits / 8);
  std::vector<std::int32_t> out(rows * columns);
  std::vector<std::byte> row(columns * width);
  for (std::size_t r = 0, k = 0; r < rows; ++r) {
    read_memory(t.address + static_cast<std::uint32_t>(r) * t.pitch, row, Traffic::debug);
    for (std::size_t c = 0; c < columns; ++c, ++k) {
      std::int16_t middle = 0;
      if (t.bits == 8) out[k] = (std::to_integer<std::int32_t>(row[c]) ^ 0x80) - 0x80;
      if (t.bits == 16) std::memcpy(&middle, row.data() + 2 * c, 2), out[k] = middle;
      if (t.bits == 32) std::memcpy(&out[k], row.data() + 4 * c, 4);
    }
  }
  return out;
}

void Driver::write_tensor(std::uint32_t tensor, std::span<const std::int32_t> values) {
  const TensorPlace& t = place(tensor);
  if (values.size() != t.elements())
    usage(
        fmt::format("tensor {} gets {} values, expected {}", tensor, values.size(), t.elements()));
  const std::int64_t limit = std::int64_t{1} << (t.bits - 1);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (values[i] < -limit || values[i] >= limit)
      bad_input(fmt::format("element {} of tensor {} is {}, expected {} bits", i, tensor, values[i],
                            t.bits));
  }
  const auto rows = static_cast<std::size_t>(t.rows), columns = static_cast<std::size_t>(t.columns);
  const auto width = static_cast<std::size_t>(t.bits / 8);
  std::vector<std::byte> row(columns * width);
  for (std::size_t r = 0, k = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < columns; ++c, ++k)
      std::memcpy(row.data() + c * width, &values[k], width);
    write_memory(t.address + static_cast<std::uint32_t>(r) * t.pitch, row, Traffic::debug);
  }
}

void Driver::read_weights(QuantizedNetwork& into) {
  for (const TensorPlace& t : program_.tensors) {
    const std::vector<std::int32_t> values = read_tensor(t.tensor);
    QuantizedLayer& q = into.layers.at(static_cast<std::size_t>(t.layer));
    if (values.size() != (t.bias ? q.bias.size() : q.weights.size()))
      usage(fmt::format("tensor {} has {} values here, another number in the network to read into",
                        t.tensor, values.size()));
    if (t.bias)
      q.bias.assign(values.begin(), values.end());
    else
      for (std::size_t i = 0; i < values.size(); ++i)
        q.weights[i] = static_cast<std::int16_t>(values[i]);
  }
}

void Driver::write_weights(const QuantizedNetwork& from) {
  for (const TensorPlace& t : program_.tensors) {
    const QuantizedLayer& q = from.layers.at(static_cast<std::size_t>(t.layer));
    if (t.bias)
      write_tensor(t.tensor, q.bias);
    else
      write_tensor(t.tensor, std::vector<std::int32_t>(q.weights.begin(), q.weights.end()));
  }
}

}  // namespace lastmile
