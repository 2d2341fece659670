// SPDX-License-Identifier: Apache-2.0
// Every example of the numeric contract, computed: lines `function(arguments) = result` in the
// page's
// ```example blocks. Also the page's form: each section has its rule, its example and its reason.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cctype>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "cmodel/command/validate.hpp"
#include "cmodel/npu/npu.hpp"
#include "cmodel/numeric/fixed.hpp"
#include "cmodel/numeric/host_rule.hpp"
#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "cmodel/numeric/softmax.hpp"
#include "sw/base/io.hpp"
#include "tests/cmodel/bench.hpp"

using namespace lastmile;
using lastmile::npu::Npu;
using lastmile::spec::Counter;
using lastmile::spec::Descriptor;
using lastmile::spec::Opcode;

namespace {

const std::string kPage = "cmodel/numeric/CONTRACT.md";
using Numbers = std::vector<std::int64_t>;

// One example: its words in order, and its settings by name.
struct Call {
  std::string function;
  std::vector<std::string> words;
  std::map<std::string, std::string> named;
  std::string result;

  [[nodiscard]] static std::int64_t number(const std::string& s) {
    std::size_t used = 0;
    const std::int64_t v = std::stoll(s, &used, 0);
    if (used != s.size()) throw std::invalid_argument("not a number: " + s);
    return v;
  }
  [[nodiscard]] std::int64_t at(std::size_t i) const { return number(words.at(i)); }
  [[nodiscard]] int small(std::size_t i) const { return static_cast<int>(at(i)); }
  [[nodiscard]] std::uint32_t natural(std::size_t i) const {
    return static_cast<std::uint32_t>(at(i));
  }
  [[nodiscard]] std::int64_t get(const std::string& name, std::int64_t otherwise) const {
    const auto it = named.find(name);
    return it == named.end() ? otherwise : number(it->second);
  }
  [[nodiscard]] Numbers list(std::size_t i) const {
    const std::string& s = words.at(i);
    if (s.size() < 2 || s.front() != '[' || s.back() != ']')
      throw std::invalid_argument("not a list: " + s);
    std::istringstream in(s.substr(1, s.size() - 2));
    Numbers out;
    for (std::string item; std::getline(in, item, ',');) {
      const std::size_t first = item.find_first_not_of(' ');
      out.push_back(number(item.substr(first)));
    }
    return out;
  }
};

std::string trimmed(const std::string& s) {
  const std::size_t first = s.find_first_not_of(' ');
  return first == std::string::npos ? "" : s.substr(first, s.find_last_not_of(' ') - first + 1);
}

Call parse(const std::string& line) {
  const std::size_t open = line.find('('), close = line.rfind(") = ");
  if (open == std::string::npos || close == std::string::npos)
    throw std::invalid_argument("expected function(arguments) = result: " + line);
  Call c;
  c.function = line.substr(0, open);
  c.result = trimmed(line.substr(close + 4));
  const std::string arguments = line.substr(open + 1, close - open - 1) + ",";
  int depth = 0;
  std::string word;
  for (const char k : arguments) {
    depth += k == '[' ? 1 : k == ']' ? -1 : 0;
    if (k != ',' || depth != 0) {
      word += k;
      continue;
    }
    word = trimmed(word);
    const std::size_t equals = word.find('=');
    if (equals != std::string::npos) {
      c.named[word.substr(0, equals)] = word.substr(equals + 1);
    } else if (!word.empty()) {
      c.words.push_back(word);
    }
    word.clear();
  }
  return c;
}

// ---------------------------------------------------------------- descriptors by the names of
// npu.toml

using Setter = void (*)(Descriptor&, std::int64_t);
#define LASTMILE_FIELD(f)                                                           \
  {                                                                                 \
#f, [](Descriptor & d, std::int64_t v) { d.f = static_cast<decltype(d.f)>(v); } \
  }
const std::map<std::string, Setter>& fields() {
  static const std::map<std::string, Setter> all = {
      LASTMILE_FIELD(opcode),    LASTMILE_FIELD(n),         LASTMILE_FIELD(in_addr),
      LASTMILE_FIELD(in2_addr),  LASTMILE_FIELD(out_addr),  LASTMILE_FIELD(bias_addr),
      LASTMILE_FIELD(groups),    LASTMILE_FIELD(in_c),      LASTMILE_FIELD(out_c),
      LASTMILE_FIELD(stride_h),  LASTMILE_FIELD(w_pitch),   LASTMILE_FIELD(act_min),
      LASTMILE_FIELD(act_max),   LASTMILE_FIELD(tile_h),    LASTMILE_FIELD(tile_w),
      LASTMILE_FIELD(tile_c),    LASTMILE_FIELD(w_keep),    LASTMILE_FIELD(row_pitch),
      LASTMILE_FIELD(cin_group), LASTMILE_FIELD(cout_group)};
  return all;
}
#undef LASTMILE_FIELD

const std::map<std::string, std::uint32_t> kFlags = {{"W_TRAIN", spec::kFlagWTrain},
                                                     {"OUT16", spec::kFlagOut16},
                                                     {"RES_ADD", spec::kFlagResAdd},
                                                     {"PACKED", spec::kFlagPacked}};
const std::map<std::string, std::uint32_t> kRegisters = {
    {"POLARITY", spec::reg::kPolarity},      {"DISTRIBUTION", spec::reg::kDistribution},
    {"QUEUE_COUNT", spec::reg::kQueueCount}, {"STATUS", spec::reg::kStatus},
    {"ERROR_CODE", spec::reg::kErrorCode},   {"IRQ_STATUS", spec::reg::kIrqStatus}};

// Settings and flags of an example, `skip` words in, onto a descriptor and an NPU's registers.
void apply(const Call& c, std::size_t skip, Descriptor& d, Npu* npu = nullptr) {
  for (const auto& [name, value] : c.named) {
    if (const auto field = fields().find(name); field != fields().end()) {
      field->second(d, Call::number(value));
    } else if (npu != nullptr) {
      npu->write_register(kRegisters.at(name), static_cast<std::uint32_t>(Call::number(value)));
    } else {
      throw std::invalid_argument("unknown field " + name);
    }
  }
  for (std::size_t i = skip; i < c.words.size(); ++i) d.flags |= kFlags.at(c.words[i]);
}

// "The convolution" of the page.
Descriptor convolution() {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::conv2d_);
  d.flags = spec::kFlagHasBias;
  d.n = d.tile_n = d.groups = 1;
  d.in_h = d.in_w = d.out_h = d.out_w = d.tile_h = d.tile_w = 8;
  d.in_c = d.tile_c = d.cin_group = 16;
  d.out_c = d.cout_group = 32;
  d.kernel_h = d.kernel_w = 3;
  d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
  d.pad_top = d.pad_left = 1;
  d.in2_addr = 2048, d.out_addr = 4096, d.w_addr = 8192, d.bias_addr = 20480, d.rq_addr = 20608;
  d.w_pitch = 320;
  d.row_pitch = 160;
  d.act_min = -128, d.act_max = 127;
  d.w_keep = d.b_keep = 256;
  d.add_act_min = -128, d.add_act_max = 127;
  return d;
}

constexpr std::uint32_t kQueue = 1 << 16;

// Counters of one command on a default NPU that only counts.
std::string counted(const Call& c, Descriptor d, std::size_t counter_word) {
  std::vector<std::byte> memory(kQueue + spec::kDescBytes);
  Npu npu(spec::HardwareParams{}, memory);
  npu.count_only(true);
  apply(c, counter_word + 1, d, &npu);
  npu.write_register(spec::reg::kPairs, 1);
  bench::queue(npu, memory, kQueue, std::array{d});
  if (bench::run(npu).code != spec::Error::none_)
    throw std::invalid_argument("the command is refused");
  std::string name = c.words.at(counter_word);
  for (char& k : name) k = static_cast<char>(std::tolower(static_cast<unsigned char>(k)));
  for (std::size_t k = 0; k < spec::kCounters; ++k) {
    if (spec::kCounterName[k] == name) return std::to_string(npu.counters().value[k]);
  }
  throw std::invalid_argument("unknown counter " + c.words.at(counter_word));
}

std::string counter(const Call& c) { return counted(c, convolution(), 0); }

std::string stream(const Call& c) {
  Descriptor d = convolution();
  d.flags = 0;
  for (const Opcode op : {Opcode::add_, Opcode::softmax_, Opcode::loss_, Opcode::update_}) {
    if (spec::to_string(op) == c.words.at(0)) d.opcode = static_cast<std::uint32_t>(op);
  }
  return counted(c, d, 1);
}

std::string validated(const Call& c) {
  Descriptor d = convolution(), resolved;
  apply(c, 0, d);
  const spec::HardwareParams hw;
  const npu::Fault f = npu::validate_command(d, npu::RegisterFile(hw), hw, resolved);
  std::string info = std::to_string(f.info);
  if (f.code == spec::Error::shape_) info = spec::to_string(static_cast<spec::ShapeRule>(f.info));
  if (f.code == spec::Error::field_ || f.code == spec::Error::address_)
    info = spec::to_string(static_cast<spec::Field>(f.info));
  return std::string(spec::to_string(f.code)) + " " + info;
}

// ---------------------------------------------------------------- one row through the machine

// A row of pixels, weights and outputs with a channel each (DEPTHWISE: one pixel, its channels);
// the factor is 1, so that outputs are accumulators.
Numbers machine(Descriptor d, const Numbers& in, const Numbers& weights, std::int64_t bias) {
  std::vector<std::byte> memory(4096);
  const auto put = [&](std::size_t at, auto v) { std::memcpy(memory.data() + at, &v, sizeof v); };
  for (std::size_t i = 0; i < in.size(); ++i) put(i, static_cast<std::int8_t>(in[i]));
  const std::size_t row =
      d.opcode == static_cast<std::uint32_t>(Opcode::depthwise_) ? d.out_c : weights.size();
  for (std::size_t i = 0; i < weights.size(); ++i)
    put(512 + i / row * 64 + i % row * 2, static_cast<std::int16_t>(weights[i]));
  for (std::size_t o = 0; o < d.out_c; ++o) {
    put(1024 + 4 * o, static_cast<std::int32_t>(bias));
    put(2048 + 8 * o, std::int32_t{1} << 30);
    put(2052 + 8 * o, std::int32_t{1});
  }
  d.n = d.tile_n = d.groups = d.in_h = d.out_h = d.tile_h = d.kernel_h = 1;
  d.stride_h = d.dilation_h = d.dilation_w = 1;
  d.w_addr = 512, d.bias_addr = 1024, d.rq_addr = 2048, d.out_addr = 3072;
  d.w_pitch = 64;
  d.tile_w = d.out_w;
  d.tile_c = d.in_c;
  d.row_pitch = ((d.out_w - 1) * d.stride_w + d.kernel_w) * d.in_c;
  d.w_keep = d.b_keep = 256;
  const bool pool = d.opcode == static_cast<std::uint32_t>(Opcode::pool_);
  if (!pool) d.flags |= spec::kFlagOut16 | spec::kFlagHasBias;
  d.act_min = pool ? -128 : -32768, d.act_max = pool ? 127 : 32767;
  Npu npu(spec::HardwareParams{}, memory);
  bench::queue(npu, memory, 3072 + 512, std::array{d});
  if (bench::run(npu).code != spec::Error::none_)
    throw std::invalid_argument("the command is refused");
  Numbers out(d.out_w * d.out_c);
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::int16_t wide = 0;
    std::memcpy(&wide, memory.data() + 3072 + i * (pool ? 1 : 2), pool ? 1 : 2);
    out[i] = pool ? static_cast<std::int8_t>(wide) : wide;
  }
  return out;
}

Descriptor row_of(const Call& c, Opcode op, std::size_t pixels, std::int64_t kernel) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(op);
  d.in_zp = static_cast<std::int32_t>(c.get("zero_point", 0));
  d.in_w = static_cast<std::uint32_t>(pixels);
  d.in_c = d.out_c = d.cin_group = d.cout_group = 1;
  d.kernel_w = static_cast<std::uint32_t>(kernel);
  d.stride_w = static_cast<std::uint32_t>(c.get("stride_w", 1));
  d.pad_left = static_cast<std::uint32_t>(c.get("pad_left", 0));
  d.out_w = (d.in_w + d.pad_left - d.kernel_w) / d.stride_w + 1;
  return d;
}

std::string show(const Numbers& v) { return fmt::format("[{}]", fmt::join(v, ", ")); }

std::string conv2d(const Call& c) {
  const Numbers in = c.list(0), weights = c.list(1);
  const Descriptor d =
      row_of(c, Opcode::conv2d_, in.size(), static_cast<std::int64_t>(weights.size()));
  return show(machine(d, in, weights, 0));
}

std::string accumulate(const Call& c) {
  const Numbers weights = c.list(0), in = c.list(1);
  Descriptor d = row_of(c, Opcode::conv2d_, 1, 1);
  d.in_c = d.cin_group = static_cast<std::uint32_t>(in.size());
  return std::to_string(machine(d, in, weights, c.get("bias", 0)).at(0));
}

std::string depthwise(const Call& c) {
  const Numbers in = c.list(0), weights = c.list(1);
  Descriptor d = row_of(c, Opcode::depthwise_, 1, 1);
  d.in_c = static_cast<std::uint32_t>(in.size());
  d.cout_group = static_cast<std::uint32_t>(c.get("cout_group", 1));
  d.out_c = d.in_c * d.cout_group;
  return show(machine(d, in, weights, 0));
}

std::string pool(const Call& c) {
  const Numbers in = c.list(1);
  Descriptor d = row_of(c, Opcode::pool_, in.size(), c.get("kernel_w", 1));
  if (c.words.at(0) == "MAX") d.flags |= spec::kFlagMax;
  return show(machine(d, in, {}, 0));
}

// A command on little tensors: what it leaves at kOut.
constexpr std::uint32_t kOut = 3072;
std::vector<std::byte> executed(Descriptor d,
                                std::span<const std::pair<std::uint32_t, Numbers>> bytes) {
  std::vector<std::byte> memory(4096);
  for (const auto& [at, values] : bytes) {
    for (std::size_t i = 0; i < values.size(); ++i)
      memory[at + i] = static_cast<std::byte>(values[i]);
  }
  Npu npu(spec::HardwareParams{}, memory);
  d.out_addr = kOut;
  bench::queue(npu, memory, kOut + 512, std::array{d});
  if (bench::run(npu).code != spec::Error::none_)
    throw std::invalid_argument("the command is refused");
  return {memory.begin() + kOut, memory.end()};
}
std::int32_t word_at(const std::vector<std::byte>& memory, std::size_t i) {
  std::int32_t v = 0;
  std::memcpy(&v, memory.data() + 4 * i, sizeof v);
  return v;
}

// A column of pixels under a kernel of its height: all of them are one sum.
Descriptor column_of(std::size_t rows) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::conv2d_);
  d.flags = spec::kFlagOut32;
  d.n = d.tile_n = d.groups = d.in_w = d.in_c = d.tile_c = d.cin_group = d.out_c = d.cout_group = 1;
  d.out_h = d.out_w = d.tile_h = d.tile_w = d.kernel_w = d.row_pitch = 1;
  d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
  d.in_h = d.kernel_h = static_cast<std::uint32_t>(rows);
  d.w_addr = 512, d.w_pitch = 64;
  return d;
}

std::string depthwise_raw(const Call& c) {
  const Numbers in = c.list(0), weights = c.list(1);
  Descriptor d = column_of(in.size());
  d.opcode = static_cast<std::uint32_t>(Opcode::depthwise_);
  d.flags |= spec::kFlagW8;
  Numbers rows;  // one weight to a row of 64 bytes
  for (const std::int64_t w : weights) {
    rows.push_back(w);
    rows.resize((rows.size() + 63) / 64 * 64);
  }
  return std::to_string(
      word_at(executed(d, std::array{std::pair{0u, in}, std::pair{512u, rows}}), 0));
}

std::string conv_raw(const Call& c) {
  const Numbers in = c.list(0), weights = c.list(1);
  Descriptor d = column_of(in.size());
  d.in_zp = static_cast<std::int32_t>(c.get("zero_point", 0));
  Numbers bytes;  // int16
  for (const std::int64_t w : weights) bytes.insert(bytes.end(), {w & 255, w >> 8});
  return std::to_string(
      word_at(executed(d, std::array{std::pair{0u, in}, std::pair{512u, bytes}}), 0));
}

std::string conv_transposed(const Call& c) {
  const Numbers in = c.list(0), rows = c.list(1);
  Descriptor d = column_of(in.size());
  d.flags |= spec::kFlagWTransposed | spec::kFlagW8;
  d.w_zp = static_cast<std::int32_t>(c.get("w_zp", 0));
  const std::size_t outputs = rows.size() / in.size();
  d.out_c = d.cout_group = static_cast<std::uint32_t>(outputs);
  std::vector<std::pair<std::uint32_t, Numbers>> bytes{{0, in}};
  for (std::size_t k = 0; k < in.size(); ++k) {
    const auto from = rows.begin() + static_cast<std::ptrdiff_t>(k * outputs);
    bytes.emplace_back(512 + 64 * k, Numbers(from, from + static_cast<std::ptrdiff_t>(outputs)));
  }
  const std::vector<std::byte> out = executed(d, bytes);
  Numbers sums(outputs);
  for (std::size_t o = 0; o < outputs; ++o) sums[o] = word_at(out, o);
  return show(sums);
}

std::string pool_apart(const Call& c) {
  const Numbers in = c.list(0);
  Descriptor d = column_of(1);
  d.opcode = static_cast<std::uint32_t>(Opcode::pool_);
  d.flags = spec::kFlagMax;
  d.n = d.tile_n = 2;
  d.in_w = d.out_w = d.tile_w = d.row_pitch = static_cast<std::uint32_t>(in.size() / 2);
  d.act_min = -128, d.act_max = 127;
  d.out_pitch = static_cast<std::uint32_t>(c.get("out_pitch", 0));
  const std::vector<std::byte> out = executed(d, std::array{std::pair{0u, in}});
  Numbers shown;
  for (std::size_t i = 0; i < d.out_pitch + d.out_w; ++i)
    shown.push_back(static_cast<std::int8_t>(out[i]));
  return show(shown);
}

std::string output_error(const Call& c) {
  return std::to_string(numeric::output_error(c.natural(0), c.natural(1), c.get("label", 0) != 0,
                                              static_cast<std::uint32_t>(c.get("r", 0))));
}

std::string add_in_place(const Call& c) {
  const Numbers a = c.list(0), b = c.list(1);
  std::vector<std::byte> memory(1024);
  for (std::size_t i = 0; i < a.size(); ++i) {
    memory[i] = static_cast<std::byte>(a[i]);
    memory[256 + i] = static_cast<std::byte>(b[i]);
  }
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::add_);
  d.n = 1;
  d.in_c = static_cast<std::uint32_t>(a.size());
  d.in2_addr = 256;
  d.m1 = d.m2 = d.mo = 1 << 30;
  d.e1 = d.e2 = 1, d.eo = 1 - 20, d.add_shift = 20;
  d.add_act_min = -128, d.add_act_max = 127;
  Npu npu(spec::HardwareParams{}, memory);
  bench::queue(npu, memory, 512, std::array{d});
  if (bench::run(npu).code != spec::Error::none_)
    throw std::invalid_argument("the command is refused");
  Numbers out;
  for (std::size_t i = 0; i < a.size(); ++i) out.push_back(static_cast<std::int8_t>(memory[i]));
  return show(out);
}

std::string after_start(const Call& c) {
  std::vector<std::byte> memory(1024);  // zeros: END
  Npu npu(spec::HardwareParams{}, memory);
  Descriptor none;
  apply(c, 1, none, &npu);
  npu.write_register(spec::reg::kCtrl, 1);
  return std::to_string(npu.read_register(kRegisters.at(c.words.at(0))));
}

// ---------------------------------------------------------------- primitives

std::string add(const Call& c) {
  numeric::AddParams p;
  const auto get = [&](const char* name, std::int64_t otherwise) {
    return static_cast<std::int32_t>(c.get(name, otherwise));
  };
  p.zp1 = get("zp1", 0), p.zp2 = get("zp2", 0), p.zp_out = get("zp_out", 0);
  p.m1 = get("m1", 1 << 30), p.m2 = get("m2", 1 << 30), p.mo = get("mo", 1 << 30);
  p.e1 = get("e1", 1), p.e2 = get("e2", 1), p.eo = get("eo", 1 - 20);
  p.left_shift = 20;
  return std::to_string(std::clamp<std::int64_t>(numeric::add_unclamped(c.small(0), c.small(1), p),
                                                 p.act_min, p.act_max));
}

std::string requantize(const Call& c) {
  const std::int64_t y = numeric::rescale(c.at(0), c.small(1), c.small(2));
  return std::to_string(
      std::clamp(y + c.get("zero_point", 0), c.get("act_min", -128), c.get("act_max", 127)));
}

std::string softmax(const Call& c) {
  std::vector<std::int8_t> in, out;
  for (const std::int64_t v : c.list(0)) in.push_back(static_cast<std::int8_t>(v));
  out.resize(in.size());
  numeric::softmax::row(in, out, static_cast<std::int32_t>(c.get("m", 0)),
                        static_cast<int>(c.get("shift", 0)),
                        static_cast<std::int32_t>(c.get("diff_min", 0)));
  return show({out.begin(), out.end()});
}

std::string cross_entropy(const Call& c) {
  std::vector<std::int16_t> logits;
  for (const std::int64_t v : c.list(0)) logits.push_back(static_cast<std::int16_t>(v));
  const auto r = numeric::cross_entropy(logits, static_cast<std::uint32_t>(c.get("label", 0)),
                                        static_cast<std::uint32_t>(c.get("m1", 0)),
                                        -static_cast<int>(c.get("e1", 0)));
  return std::to_string(r.loss);
}

numeric::Domain domain(const std::string& name) {
  for (const auto d : {numeric::Domain::sign_, numeric::Domain::gaussian_, numeric::Domain::mask_,
                       numeric::Domain::round_}) {
    if (spec::to_string(d) == name) return d;
  }
  throw std::invalid_argument("unknown domain " + name);
}

std::string drawn(const Call& c) {
  const auto seed = static_cast<std::uint64_t>(c.at(0));
  if (c.function == "word64") {
    return fmt::format("{:#018x}", numeric::hash_word(seed, domain(c.words.at(1)), c.natural(2),
                                                      c.natural(3), c.natural(4)));
  }
  if (c.function == "element") {
    return std::to_string(numeric::hash_element(seed, domain(c.words.at(1)), c.natural(2),
                                                c.natural(3), c.natural(4)));
  }
  const auto distribution =
      c.words.at(1) == "GAUSSIAN" ? numeric::Distribution::gaussian_ : numeric::Distribution::sign_;
  return std::to_string(
      numeric::draw_z(seed, distribution, c.natural(2), c.natural(3), c.natural(4)));
}

std::string update(const Call& c) {
  const numeric::Step step{c.natural(2), static_cast<int>(c.get("shift", 0))};
  return std::to_string(numeric::update(c.small(0), c.small(1), step,
                                        static_cast<std::uint32_t>(c.get("r", 0)),
                                        static_cast<std::int32_t>(c.get("limit", 32767)))
                            .value);
}

const std::map<std::string, std::function<std::string(const Call&)>>& functions() {
  using std::to_string;
  static const std::map<std::string, std::function<std::string(const Call&)>> all = {
      {"factor",
       [](const Call& c) {
         return fmt::format("{:.6f}", std::ldexp(static_cast<double>(c.at(0)), c.small(1) - 31));
       }},
      {"bits_of_loss",
       [](const Call& c) {
         return fmt::format("{:.6f}",
                            std::ldexp(static_cast<double>(c.at(0)), -spec::kLossFraction));
       }},
      {"accumulate", accumulate},
      {"conv_raw", conv_raw},
      {"depthwise_raw", depthwise_raw},
      {"conv_transposed", conv_transposed},
      {"pool_apart", pool_apart},
      {"output_error", output_error},
      {"host_scale", [](const Call& c) { return to_string(numeric::scale_of(c.list(0))); }},
      {"pair_seed",
       [](const Call& c) {
         return to_string(
             numeric::pair_seed(static_cast<std::uint64_t>(c.at(0)), c.natural(1), c.small(2)));
       }},
      {"host_coefficient",
       [](const Call& c) {
         return to_string(c.get("sign", 0) != 0
                              ? numeric::sign_coefficient(c.at(0))
                              : numeric::scaled_coefficient(
                                    c.at(0), static_cast<std::uint64_t>(c.get("scale", 0))));
       }},
      {"lowest_sum",
       [](const Call&) {
         const std::int64_t sum =
             std::int64_t{spec::kMaxK} * -32768 * 255 + std::numeric_limits<std::int32_t>::min();
         return sum == numeric::kAccMin ? to_string(sum) : "not the end of 40 bits";
       }},
      {"shift_left_sat40",
       [](const Call& c) { return to_string(numeric::shift_left_sat40(c.at(0), c.small(1))); }},
      {"high_mul", [](const Call& c) { return to_string(numeric::high_mul(c.at(0), c.small(1))); }},
      {"round_shift",
       [](const Call& c) { return to_string(numeric::round_shift(c.at(0), c.small(1))); }},
      {"rescale",
       [](const Call& c) { return to_string(numeric::rescale(c.at(0), c.small(1), c.small(2))); }},
      {"requantize", requantize},
      {"conv2d", conv2d},
      {"depthwise", depthwise},
      {"pool", pool},
      {"pool_average",
       [](const Call& c) { return to_string(numeric::pool_average(c.small(0), c.small(1))); }},
      {"add", add},
      {"add_in_place", add_in_place},
      {"softmax", softmax},
      {"word64", drawn},
      {"element", drawn},
      {"z", drawn},
      {"gaussian_z", [](const Call& c) { return to_string(numeric::gaussian_z(c.natural(0))); }},
      {"takes_part",
       [](const Call& c) {
         return to_string(static_cast<int>(
             numeric::kept(static_cast<std::uint64_t>(c.at(0)), c.natural(1), c.natural(2),
                           c.natural(3), static_cast<std::uint32_t>(c.get("keep", 256)))));
       }},
      {"perturb_magnitude",
       [](const Call& c) {
         return to_string(numeric::perturb_magnitude(c.natural(0), c.small(1), c.small(2)));
       }},
      {"perturb",
       [](const Call& c) {
         return to_string(numeric::perturb(c.small(0), c.at(1), c.small(2)).value);
       }},
      {"logit_distance",
       [](const Call& c) {
         return to_string(numeric::logit_distance(c.natural(0), c.natural(1), c.small(2)));
       }},
      {"exp2_neg", [](const Call& c) { return to_string(numeric::exp2_neg(c.natural(0))); }},
      {"log2_sum",
       [](const Call& c) {
         return to_string(numeric::log2_sum(static_cast<std::uint64_t>(c.at(0))));
       }},
      {"cross_entropy", cross_entropy},
      {"step_mantissa",
       [](const Call& c) {
         return to_string(numeric::combine_step(c.natural(0), 0, c.natural(1), 0).mantissa);
       }},
      {"update", update},
      {"region",
       [](const Call& c) {
         const auto u = [&](const char* name) {
           return static_cast<std::uint64_t>(c.get(name, 1));
         };
         return to_string(npu::region_extent(static_cast<std::uint64_t>(c.at(0)), u("stride"),
                                             u("kernel"), u("dilation")));
       }},
      {"counter", counter},
      {"stream", stream},
      {"validate", validated},
      {"after_start", after_start},
  };
  return all;
}

// ---------------------------------------------------------------- the page

struct Section {
  std::string title;
  std::vector<std::string> lines, examples;
};

std::vector<Section> sections() {
  std::vector<Section> all;
  std::istringstream page(read_text_file(kPage));
  bool example = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## ")) all.push_back({line.substr(3), {}, {}});
    if (all.empty()) continue;
    all.back().lines.push_back(line);
    if (line.starts_with("```")) {
      example = line == "```example";
    } else if (example) {
      all.back().examples.push_back(line);
    }
  }
  return all;
}

}  // namespace

TEST_CASE("numeric: the examples of the contract are what the C++ computes") {
  std::size_t computed = 0;
  for (const Section& s : sections()) {
    for (const std::string& line : s.examples) {
      INFO(kPage << ", section " << s.title << ": " << line);
      std::string found;
      try {
        const Call c = parse(line);
        REQUIRE(functions().contains(c.function));
        found = functions().at(c.function)(c);
        CHECK(found == c.result);
      } catch (const std::exception& e) {
        FAIL_CHECK(e.what());
      }
      ++computed;
    }
  }
  CHECK(computed >= 90);
}

TEST_CASE(
    "numeric: every section of the contract has its rule, example and reason, on one screen") {
  for (const Section& s : sections()) {
    if (s.title == "How to read it" || s.title == "Versions") continue;
    INFO(kPage << ", section " << s.title);
    std::vector<std::string> parts;
    for (const std::string& line : s.lines) {
      for (const char* part : {"**Rule.**", "**Example.**", "**Why.**"}) {
        if (line.starts_with(part)) parts.emplace_back(part);
      }
    }
    CHECK(parts == std::vector<std::string>{"**Rule.**", "**Example.**", "**Why.**"});
    CHECK(!s.examples.empty());
    CHECK(s.lines.size() <= 50);
  }
}
