// SPDX-License-Identifier: Apache-2.0
// Speed of the multipliers alone (rtl/array/npu_dot.sv) in Verilator: what the whole NPU's speed is
// held against. Every cycle multiplies; weights change every 64 cycles. Prints one JSON object.
#include <verilated.h>

#include <cstdint>
#include <cstdio>
#include <ctime>

#include "Vdot.h"

int main() {
  constexpr std::uint64_t kCycles = 4'000'000;
  VerilatedContext context;
  Vdot top(&context);
  std::uint32_t random = 1;
  const auto next = [&random] {
    random ^= random << 13, random ^= random >> 17, random ^= random << 5;
    return random;
  };
  top.shadow_we_i = top.mul_i = top.sum_i = 1;
  std::uint32_t sum = 0;
  const std::clock_t begin = std::clock();
  for (std::uint64_t i = 0; i < kCycles; ++i) {
    top.shadow_col_i = i % P_COLS;
    top.swap_i = i % 64 == 0;
    top.shadow_i[i % (P_ROWS / 2)] = next();
    for (int w = 0; w < P_ROWS; ++w) top.act_i[w] = next();
    top.clk_i = 0;
    top.eval();
    top.clk_i = 1;
    top.eval();
    sum += top.dot_o[0];
  }
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  std::printf("{\"cycles\": %llu, \"cpu_seconds\": %.6f, \"sum\": %u}\n",
              static_cast<unsigned long long>(kCycles), seconds, sum);
}
