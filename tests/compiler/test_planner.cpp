// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "sw/compiler/planner.hpp"
#include "tests/compiler/run.hpp"

using namespace lastmile;

namespace {

// Bytes that any plan needs, counted the slow way.
std::uint64_t live_peak(const std::vector<BufferLife>& buffers) {
  std::uint64_t peak = 0;
  for (int t = 0; t < 100; ++t) {
    std::uint64_t live = 0;
    for (const BufferLife& b : buffers) live += b.first <= t && t <= b.last ? b.bytes : 0;
    peak = std::max(peak, live);
  }
  return peak;
}

// A chain with random skips: convolutions, pools and adds over tensors that still live.
Network random_graph(Rng& rng) {
  std::string text = "name = \"graph\"\ninput = [4, 4, 4]\nclasses = 3\n";
  std::vector<std::string> names = {"input"};
  std::vector<bool> read = {true};
  const auto pick = [&] { return rng.below(names.size()); };
  const int count = 3 + static_cast<int>(rng.below(14));
  for (int i = 0; i < count; ++i) {
    const std::string name = fmt::format("l{}", i);
    const std::uint64_t kind = rng.below(5);
    std::size_t a = pick();
    for (std::size_t k = 0; k < read.size(); ++k)
      if (!read[k] && rng.below(2) == 0) a = k;
    const std::size_t b = pick();
    if (kind < 2) {
      text += layer_text(
          name, "conv2d",
          "inputs = [\"" + names[a] + "\"]\nfilters = 4\nkernel = 3\npadding = \"same\"");
    } else if (kind == 2) {
      text +=
          layer_text(name, "max_pool2d",
                     "inputs = [\"" + names[a] + "\"]\nkernel = 3\nstride = 1\npadding = \"same\"");
    } else {
      text += layer_text(
          name, "add",
          "inputs = [\"" + names[a] + "\", \"" + names[b] + "\"]\nactivation = \"relu\"");
      read[b] = true;
    }
    read[a] = true;
    names.push_back(name);
    read.push_back(false);
  }
  // Whatever nobody reads is added up, so that the graph is whole.
  std::string last;
  for (std::size_t k = 1; k < names.size(); ++k) {
    if (read[k]) continue;
    if (last.empty()) {
      last = names[k];
      continue;
    }
    const std::string name = fmt::format("s{}", k);
    text += layer_text(name, "add", "inputs = [\"" + last + "\", \"" + names[k] + "\"]");
    last = name;
  }
  text += layer_text("fc", "fully_connected", "inputs = [\"" + last + "\"]\nunits = 3");
  return parse_network(text, "graph");
}

// No command writes bytes that it may still have to read, whatever its tiles: an add may stand
// exactly in the place of an addend, everything else is apart.
void check_hazards(const Program& p) {
  for (const Command& c : p.forward) {
    const spec::Descriptor& d = c.descriptor;
    const ActivationPlace* out = nullptr;
    for (const ActivationPlace& a : p.activations)
      if (&c - p.forward.data() == a.first) out = &a;
    if (out == nullptr) continue;
    const bool add = d.opcode == static_cast<std::uint32_t>(spec::Opcode::add_);
    const auto apart = [&](std::uint32_t address) {
      for (const ActivationPlace& a : p.activations) {
        if (a.address != address || a.first >= out->first || a.last < out->first) continue;
        if (a.address < out->address + out->bytes && out->address < a.address + a.bytes)
          return false;
      }
      return true;
    };
    CAPTURE(c.name);
    if (!d.has(spec::kFlagInBatch)) CHECK((apart(d.in_addr) || (add && d.in_addr == d.out_addr)));
    if (add || d.has(spec::kFlagResAdd)) CHECK((apart(d.in2_addr) || d.in2_addr == d.out_addr));
  }
}

}  // namespace

TEST_CASE("compiler: the planner never lets live buffers overlap, and stays near the least") {
  Rng rng(test_seed());
  double needed = 0, least = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<BufferLife> buffers(1 + rng.below(40));
    for (BufferLife& b : buffers) {
      b.bytes = 1 + rng.below(5000);
      b.first = static_cast<int>(rng.below(60));
      b.last = b.first + static_cast<int>(rng.below(12));
    }
    const ArenaPlan plan = plan_arena(buffers, 64);
    CHECK(plan.live_peak == live_peak(buffers));
    CHECK(plan.bytes >= plan.live_peak);
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      CHECK(plan.offsets[i] % 64 == 0);
      CHECK(plan.offsets[i] + buffers[i].bytes <= plan.bytes);
      for (std::size_t j = 0; j < i; ++j) {
        if (buffers[i].last < buffers[j].first || buffers[j].last < buffers[i].first) continue;
        const bool apart = plan.offsets[i] + buffers[i].bytes <= plan.offsets[j] ||
                           plan.offsets[j] + buffers[j].bytes <= plan.offsets[i];
        CHECK(apart);
      }
    }
    needed += static_cast<double>(plan.bytes);
    least += static_cast<double>(plan.live_peak);
  }
  CHECK(needed < 1.15 * least);
}

TEST_CASE("compiler: random graphs give the reference's bits in shared memory, fused and not") {
  const std::uint64_t seed = test_seed();
  Rng rng(seed);
  std::uint64_t shared = 0, separate = 0, fused = 0;
  for (int round = 0; round < 60; ++round) {
    const QuantizedNetwork q =
        quantize_random(random_graph(rng), seed + static_cast<std::uint64_t>(round));
    CAPTURE(to_toml(q.network));
    const auto x = quantized_input(q, 2, seed);
    const reference::Result expected = reference::run(q, x);
    for (const bool fuse : {true, false}) {
      CompileOptions o;
      o.batch = 2;
      o.fuse_adds = fuse;
      const Program p = compile(q, {}, o);
      for (const Command& c : p.forward) fused += c.descriptor.has(spec::kFlagResAdd) ? 1 : 0;
      shared += p.memory.activation_bytes;
      check_hazards(p);
      const Session s = open(p);
      s->load_batch(x, random_labels(q, 2, seed));
      (void)s->forward();
      CHECK(s->logits() == expected.logits);
      // What the program says is still readable is.
      for (const ActivationPlace& a : p.activations) {
        if (a.overwritten_by >= 0 || a.bits != 8) continue;
        CHECK(s->activation(a.layer) == expected.layers[static_cast<std::size_t>(a.layer)]);
      }
      o.reuse_memory = false;
      separate += compile(q, {}, o).memory.activation_bytes;
    }
  }
  CHECK(fused > 20);
  CHECK(shared * 2 < separate);
}

TEST_CASE("compiler: the peak is the sum of the tensors it names") {
  for (const std::string& name : shipped_names()) {
    CAPTURE(name);
    const QuantizedNetwork q = quantize_random(shipped_network(name), 3);
    CompileOptions o;
    o.batch = 7;
    const Program p = compile(q, {}, o);
    std::uint64_t sum = 0;
    for (const int layer : p.memory.peak_layers) sum += p.find_activation(layer)->bytes;
    CHECK(sum == p.memory.activation_live_peak);
    CHECK(p.memory.activation_bytes >= sum);
    CHECK(p.memory.activation_bytes < sum + 64 * p.memory.peak_layers.size());
    const std::string report = memory_report(p, q.network);
    for (const int layer : p.memory.peak_layers)
      CHECK(mentions(report, {q.network.layers[static_cast<std::size_t>(layer)].name}));
  }
}

TEST_CASE("compiler: a residual add runs in place of the shortcut") {
  const QuantizedNetwork q = quantize_random(shipped_network("resnet8"), 4);
  CompileOptions o;
  o.batch = 1;
  for (const bool fuse : {true, false}) {
    o.fuse_adds = fuse;
    const Program p = compile(q, {}, o);
    int in_place = 0;
    for (const Command& c : p.forward) {
      const spec::Descriptor& d = c.descriptor;
      const bool add =
          d.has(spec::kFlagResAdd) || d.opcode == static_cast<std::uint32_t>(spec::Opcode::add_);
      if (add && (d.out_addr == d.in2_addr || (!fuse && d.out_addr == d.in_addr))) ++in_place;
    }
    CHECK(in_place == 3);
  }
}
