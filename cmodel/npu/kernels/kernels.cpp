// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/kernels/kernels.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmodel/npu/kernels/tables.hpp"

#if defined(__aarch64__)
#include <sys/auxv.h>
#if !defined(HWCAP_ASIMDDP)
#define HWCAP_ASIMDDP (1 << 20)
#endif
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

namespace lastmile::npu {
namespace {

#if defined(__x86_64__)
// __builtin_cpu_supports does not know AVX-VNNI in g++ 12. Whether the system saves AVX registers
// it does say, by its answer for AVX2.
bool has_avx_vnni() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 4 & 1) != 0;
}
#endif

std::vector<const Kernels*> here() {
  std::vector<const Kernels*> list = {&kPortableKernels};
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 &&
                    __builtin_cpu_supports("bmi") != 0 && __builtin_cpu_supports("bmi2") != 0;
  const bool avx512 =
      avx2 && __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
      __builtin_cpu_supports("avx512cd") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
      __builtin_cpu_supports("avx512vl") != 0;
  if (avx2) list.push_back(&kAvx2Kernels);
  if (avx2 && has_avx_vnni()) list.push_back(&kAvxVnniKernels);
  if (avx512) list.push_back(&kAvx512Kernels);
  if (avx512 && __builtin_cpu_supports("avx512vnni") != 0) list.push_back(&kAvx512VnniKernels);
#elif defined(__aarch64__)
  if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) list.push_back(&kNeonDotKernels);
#endif
  return list;
}

}  // namespace

std::span<const Kernels* const> all_kernels() {
  static const std::vector<const Kernels*> list = here();
  return list;
}

const Kernels* find_kernels(std::string_view name) {
  for (const Kernels* k : all_kernels()) {
    if (k->name == name) return k;
  }
  return nullptr;
}

const Kernels& chosen_kernels() {
  const char* const name = std::getenv("LASTMILE_KERNELS");
  if (name == nullptr || *name == 0) return *all_kernels().back();
  if (const Kernels* const k = find_kernels(name)) return *k;
  std::string known;
  for (const Kernels* k : all_kernels())
    known += (known.empty() ? "" : ", ") + std::string(k->name);
  throw std::invalid_argument("LASTMILE_KERNELS is '" + std::string(name) +
                              "', expected one that this CPU can run: " + known);
}

}  // namespace lastmile::npu
