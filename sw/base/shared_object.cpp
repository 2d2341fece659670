// SPDX-License-Identifier: Apache-2.0
#include "sw/base/shared_object.hpp"

#include <dlfcn.h>
#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {
namespace {

// Bytes that a 64-bit ELF file needs at least; 0 for what is none (dlopen says what it thinks).
std::uint64_t needed_bytes(const std::filesystem::path& path) {
  Elf64_Ehdr head{};
  const std::vector<std::uint8_t> first = read_beginning(path, sizeof head);
  if (first.size() < sizeof head) return sizeof head;
  std::memcpy(&head, first.data(), sizeof head);
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64)
    return 0;
  std::uint64_t end = head.e_shoff + std::uint64_t{head.e_shentsize} * head.e_shnum;
  const std::uint64_t table = head.e_phoff + std::uint64_t{head.e_phentsize} * head.e_phnum;
  end = std::max(end, table);
  constexpr std::uint64_t kMostHeaders = 1 << 20;
  if (head.e_phentsize != sizeof(Elf64_Phdr) || table > kMostHeaders) return end;
  const std::vector<std::uint8_t> bytes = read_beginning(path, table);
  for (std::size_t i = 0; i < head.e_phnum && bytes.size() == table; ++i) {
    Elf64_Phdr part{};
    std::memcpy(&part, bytes.data() + head.e_phoff + i * sizeof part, sizeof part);
    end = std::max<std::uint64_t>(end, part.p_offset + part.p_filesz);
  }
  return end;
}

}  // namespace

void* load_shared_object(const std::filesystem::path& path, const std::string& advice) {
  std::error_code none;
  const std::uint64_t size = std::filesystem::file_size(path, none), needed = needed_bytes(path);
  if (!none && size < needed)
    throw Error(ErrorKind::device,
                fmt::format("{}: it has {} bytes, expected at least {}: it was cut short; {}",
                            path.string(), size, needed, advice));
  void* handle = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    throw Error(ErrorKind::device,
                fmt::format("{} cannot be loaded ({}); {}", path.string(), ::dlerror(), advice));
  return handle;
}

}  // namespace lastmile
