// SPDX-License-Identifier: Apache-2.0
// Shared by the unit benches: a clocked Verilated top, seeded random numbers, failure reporting
// with the seed.
#pragma once

#include <verilated.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>

#include "Vtop.h"
#if VM_COVERAGE
#include <verilated_cov.h>
#endif

namespace bench {

#ifndef P_BUS_BYTES
#define P_BUS_BYTES 16
#endif

inline std::uint64_t seed() {
  const char* text = std::getenv("LASTMILE_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 0) : 1;
}

class Random {
 public:
  explicit Random(std::uint64_t stream = 0) : engine_(seed() * 0x9e3779b97f4a7c15ULL + stream) {}
  std::uint64_t bits() { return engine_(); }
  std::uint64_t below(std::uint64_t n) { return engine_() % n; }
  std::int64_t between(std::int64_t lo, std::int64_t hi) {
    return lo + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(hi - lo) + 1));
  }
  bool chance(int percent) { return below(100) < static_cast<std::uint64_t>(percent); }

 private:
  std::mt19937_64 engine_;
};

// Bit fields of a Verilated signal of any width.
template <typename T>
std::uint32_t* words(T& signal) {
  return reinterpret_cast<std::uint32_t*>(&signal);
}
inline std::uint64_t get(const std::uint32_t* w, int lsb, int bits) {
  std::uint64_t v = 0;
  for (int i = 0; i < bits; ++i)
    v |= static_cast<std::uint64_t>((w[(lsb + i) / 32] >> ((lsb + i) % 32)) & 1) << i;
  return v;
}
inline void put(std::uint32_t* w, int lsb, int bits, std::uint64_t v) {
  for (int i = 0; i < bits; ++i) {
    const std::uint32_t mask = 1u << ((lsb + i) % 32);
    w[(lsb + i) / 32] =
        ((v >> i) & 1) != 0 ? (w[(lsb + i) / 32] | mask) : (w[(lsb + i) / 32] & ~mask);
  }
}

// A member of a packed struct (rtl/pkg/npu_types.sv) of at most 64 bits.
struct Member {
  int lsb, bits;
};
[[nodiscard]] constexpr std::uint64_t mask(Member m) {
  return ((std::uint64_t{1} << m.bits) - 1) << m.lsb;
}
template <typename T>
void set(T& port, Member m, std::uint64_t value) {
  port = static_cast<T>((std::uint64_t{port} & ~mask(m)) | ((value << m.lsb) & mask(m)));
}
template <typename T>
[[nodiscard]] std::uint64_t get(const T& port, Member m) {
  return (std::uint64_t{port} & mask(m)) >> m.lsb;
}
namespace axil_write {
inline constexpr Member kBready{0, 1}, kWstrb{1, 4}, kWdata{5, 32}, kWvalid{37, 1}, kAwaddr{38, 12},
    kAwvalid{50, 1};
}
namespace axil_written {
inline constexpr Member kBvalid{2, 1}, kWready{3, 1}, kAwready{4, 1};
}
namespace axil_read {
inline constexpr Member kRready{0, 1}, kAraddr{1, 12}, kArvalid{13, 1};
}
namespace axil_data {
inline constexpr Member kRdata{2, 32}, kRvalid{34, 1}, kArready{35, 1};
}
namespace read_request {
inline constexpr Member kBytes{0, 24}, kAddr{24, 32}, kValid{56, 1};
}
namespace read_status {
inline constexpr Member kWaiting{0, 6}, kClient{6, 3}, kError{9, 1}, kStray{10, 1}, kQuiet{11, 1};
}

template <typename Top>
class BenchOf {
 public:
  BenchOf()
      : context(std::make_unique<VerilatedContext>()), top(std::make_unique<Top>(context.get())) {}
  ~BenchOf() {
    top->final();
#if VM_COVERAGE
    if (const char* folder = std::getenv("LASTMILE_COVERAGE"))
      context->coveragep()->write((folder + std::string("/bench.dat")).c_str());
#endif
  }
  void edge() {  // inputs set before; outputs after are those of the next cycle
    top->clk_i = 1;
    top->eval();
    top->clk_i = 0;
    top->eval();
    ++cycle;
  }
  void reset() {
    top->rst_ni = 0;
    top->clk_i = 0;
    top->eval();
    for (int i = 0; i < 3; ++i) edge();
    top->rst_ni = 1;
    top->eval();
    cycle = 0;
  }

  std::unique_ptr<VerilatedContext> context;
  std::unique_ptr<Top> top;
  std::uint64_t cycle = 0;
};
using Bench = BenchOf<Vtop>;

inline std::uint64_t compared = 0;

inline void fail(const std::string& what, std::uint64_t cycle) {
  std::printf("FAILED: %s (cycle %llu, LASTMILE_SEED=%llu)\n", what.c_str(),
              static_cast<unsigned long long>(cycle), static_cast<unsigned long long>(seed()));
  std::exit(1);
}
inline void equal(const std::string& what, std::int64_t rtl, std::int64_t model,
                  std::uint64_t cycle) {
  ++compared;
  if (rtl != model)
    fail(what + ": rtl " + std::to_string(rtl) + ", contract " + std::to_string(model), cycle);
}
inline int done(const char* name) {
  std::printf("%s: %llu values equal\n", name, static_cast<unsigned long long>(compared));
  return 0;
}

}  // namespace bench
