# SPDX-License-Identifier: Apache-2.0
"""The registers in npu_spec.hpp: offsets, fields, and the table that the model's register file executes."""
from .source import camel

FIELD = """\
// Bits of a register.
struct RegisterField {
  std::string_view name;
  std::uint32_t lsb = 0, width = 32;
  bool is_signed = false;
  std::int64_t least = 0, most = 0xffffffff;  // allowed values

  [[nodiscard]] constexpr std::uint32_t mask() const {
    return static_cast<std::uint32_t>(((std::uint64_t{1} << width) - 1) << lsb);
  }
  // The field of a register's word.
  [[nodiscard]] constexpr std::uint32_t get(std::uint32_t word) const { return (word & mask()) >> lsb; }
  [[nodiscard]] constexpr std::int32_t get_signed(std::uint32_t word) const {
    return static_cast<std::int32_t>(word << (32 - lsb - width)) >> (32 - width);
  }
  [[nodiscard]] constexpr bool is_set(std::uint32_t word) const { return (word & mask()) != 0; }
  // The value in its place, all other bits zero: fields are joined by |.
  [[nodiscard]] constexpr std::uint32_t set(std::uint32_t value) const { return value << lsb & mask(); }
  // Does the word hold one of the allowed values?
  [[nodiscard]] constexpr bool allows(std::uint32_t word) const {
    const std::int64_t v = is_signed ? std::int64_t{get_signed(word)} : std::int64_t{get(word)};
    return v >= least && v <= most;
  }
};
// The offsets of the halves of a value of 64 bits.
struct WideRegister {
  std::uint32_t low, high;
};
"""

TABLE = """\
// Registers as a register file executes them.
struct Register {
  std::string_view name;
  std::uint32_t offset, count, stride;
  std::uint32_t reset;
  std::uint32_t readable;  // bits that a read shows
  std::uint32_t written;   // bits that take what the host writes
  std::uint32_t cleared;   // bits in which a written one clears
  std::span<const RegisterField> fields;
};
"""

LOOKUP = """\
// The register at an offset, or null.
[[nodiscard]] constexpr const Register* register_at(std::uint32_t offset) {
  for (const Register& r : kRegisters) {
    const std::uint32_t at = offset - r.offset;
    if (offset >= r.offset && at % r.stride == 0 && at / r.stride < r.count) return &r;
  }
  return nullptr;
}
[[nodiscard]] constexpr std::string_view register_name(std::uint32_t offset) {
  const Register* const r = register_at(offset);
  return r == nullptr ? "?" : r->name;
}
"""


def name(r, f):
    return f"k{camel(r.name)}{camel(f.name)}"


def offsets(spec):
    o = ["// Register byte offsets, and fields.", "namespace reg {"]
    for n, r in spec.registers.items():
        o.append(f"inline constexpr std::uint32_t k{camel(n)} = {r.offset:#05x};  // {r.access}: {r.doc}")
        if r.array:
            o.append(f"inline constexpr std::uint32_t k{camel(n)}Count = {r.count}, k{camel(n)}Stride = {r.stride};")
    for n in spec.wide_registers:
        o.append(f"inline constexpr WideRegister k{camel(n)}Wide = {{k{camel(n)}Lo, k{camel(n)}Hi}};")
    for r in spec.registers.values():
        for f in r.fields:
            low, high = f.limits
            signed = "true" if f.signed else "false"
            o.append(f"inline constexpr RegisterField {name(r, f)} = {{\"{f.name}\", {f.lsb}, {f.width}, {signed}, "
                     f"{low}, {high}}};" + (f"  // {f.doc}" if f.doc else ""))
    return o + ["}  // namespace reg", ""]


def table(spec):
    o = []
    for r in spec.registers.values():
        if r.fields:
            o += [f"inline constexpr std::array<RegisterField, {len(r.fields)}> kFieldsOf{camel(r.name)} = {{",
                  "    " + ", ".join(f"reg::{name(r, f)}" for f in r.fields) + "};"]
    o += TABLE.splitlines()
    o.append(f"inline constexpr std::array<Register, {len(spec.registers)}> kRegisters = {{{{")
    for n, r in spec.registers.items():
        readable = 0 if r.access == "wo" else r.bits
        fields = f"kFieldsOf{camel(n)}" if r.fields else "{}"
        o.append(f"    {{\"{n}\", reg::k{camel(n)}, {r.count}, {r.stride}, {r.reset:#x}, {readable:#x}, "
                 f"{r.written:#x}, {r.cleared:#x}, {fields}}},")
    return o + ["}};", *LOOKUP.splitlines(), ""]


def hardware(spec):
    """Registers whose fields are hardware parameters: the words of a build, and the build of the words."""
    words = [r for r in spec.registers.values() if any(f.parameter for f in r.fields)]
    o = ["// The registers that tell the hardware parameters.",
         f"inline constexpr std::array<std::uint32_t, {len(words)}> kHardwareRegisters = {{",
         "    " + ", ".join(f"reg::k{camel(r.name)}" for r in words) + "};",
         "using HardwareWords = std::array<std::uint32_t, kHardwareRegisters.size()>;",
         "[[nodiscard]] constexpr HardwareWords hardware_words(const HardwareParams& p) {", "  HardwareWords w{};"]
    for i, r in enumerate(words):
        for f in r.fields:
            if f.parameter:
                value = f"static_cast<std::uint32_t>(p.{f.parameter.lower()})"
                value = f"static_cast<std::uint32_t>(std::countr_zero({value}))" if f.log2 else value
                o.append(f"  w[{i}] |= reg::{name(r, f)}.set({value});")
    o += ["  return w;", "}", "[[nodiscard]] constexpr HardwareParams hardware_of(const HardwareWords& w) {",
          "  HardwareParams p;"]
    for i, r in enumerate(words):
        for f in r.fields:
            if f.parameter:
                value = f"reg::{name(r, f)}.get(w[{i}])"
                value = f"1U << ({value} & 31)" if f.log2 else value
                o.append(f"  p.{f.parameter.lower()} = static_cast<int>({value});")
    return o + ["  return p;", "}", ""]


def emit(spec):
    return FIELD.splitlines() + [""] + offsets(spec) + table(spec) + hardware(spec)
