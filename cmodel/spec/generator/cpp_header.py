# SPDX-License-Identifier: Apache-2.0
"""npu_spec.hpp: what model, host and tests in C++ read. One function per section, in the order of the file."""
from . import cpp_registers
from .source import HEAD, SPDX, camel


def identity(spec):
    return ["// Version of the numeric contract.", f"inline constexpr int kContract = {spec.contract};", ""]


def parameters(spec):
    o = ["// Hardware parameters of one build of the NPU; the defaults are those of npu.toml.",
         "struct HardwareParams {"]
    o += [f"  int {n.lower()} = {p.value};  // {p.doc}" for n, p in spec.parameters.items()]
    o += ["  bool operator==(const HardwareParams&) const = default;", "};",
          "// Name of the first parameter outside its allowed values, empty if all are inside.",
          "[[nodiscard]] constexpr std::string_view bad_parameter(const HardwareParams& p) {"]
    for n, p in spec.parameters.items():
        cond = " && ".join(f"p.{n.lower()} != {v}" for v in p.allowed)
        o.append(f"  if ({cond}) return \"{n}\";")
    o += ["  return {};", "}",
          "// use(name, value) of every parameter, in the order of npu.toml. Params: HardwareParams, or const.",
          "template <class Params, class Use>", "constexpr void each_parameter(Params& p, const Use& use) {"]
    o += [f"  use(std::string_view(\"{n.lower()}\"), p.{n.lower()});" for n in spec.parameters]
    return o + ["}", ""]


def constants(spec):
    return [f"inline constexpr {'int' if c.integer else 'double'} k{camel(n)} = {c.value};  // {c.doc}"
            for n, c in spec.constants.items()] + [""]


def enums(spec):
    o = ["// The values of an enum, in the order of npu.toml.", "template <class E>",
         "inline constexpr std::array<E, 0> kAll{};", ""]
    for e in spec.enums.values():
        name = camel(e.name)
        o += [f"// {e.doc}", f"enum class {name} : std::uint32_t {{"]
        o += [f"  {k.lower()}_ = {v}," + (f"  // {e.docs[k]}" if k in e.docs else "") for k, v in e.values.items()]
        o += ["};", f"[[nodiscard]] constexpr std::string_view to_string({name} v) {{", "  switch (v) {"]
        o += [f"    case {name}::{k.lower()}_: return \"{k}\";" for k in e.values]
        o += ["  }", "  return \"?\";", "}", "template <>", f"inline constexpr std::array kAll<{name}> = {{"]
        o += [f"    {name}::{k.lower()}_," for k in e.values]
        o += ["};", ""]
    o += ["// The value of that name, or nothing.", "template <class E>",
          "[[nodiscard]] constexpr std::optional<E> from_string(std::string_view name) {",
          "  for (const E v : kAll<E>)",
          "    if (to_string(v) == name) return v;", "  return std::nullopt;", "}", ""]
    return o


def opcode_traits(spec):
    last = max(spec.opcodes.values(), key=lambda o: o.value)
    o = ["// What an opcode is made of: model, compiler, profiler and tests ask here instead of naming opcodes.",
         "struct OpcodeTraits {",
         "  char letter = 0;                  // in tables of npu.toml",
         "  Engine engine = Engine::none_;    // whom stalls are blamed on, and transfers that nobody else owns",
         "  Engine load = Engine::none_;      // whose the transfers at in_addr are",
         "  Engine store = Engine::none_;     // whose the transfers at out_addr are",
         "  Layout layout = Layout::none_;    // of the elements at in_addr",
         "  Second second = Second::none_;    // what is at in2_addr",
         "  Result result = Result::none_;    // what is written",
         "  std::uint32_t in_bytes = 0, out_bytes = 0;  // of an element, but for flags",
         "  bool weights = false;             // reads weights, biases and requantization tables",
         "  bool tiles = false;               // walks its output in tiles through the scratchpad",
         "  bool training = false;            // absent from builds with TRAINING = 0", "};",
         f"inline constexpr std::size_t kOpcodes = {len(spec.opcodes)};",
         "inline constexpr std::array<OpcodeTraits, kOpcodes> kOpcodeTraits = {{"]
    for op in spec.opcodes.values():
        flag = lambda v: "true" if v else "false"
        letter = f"'{op.letter}'" if op.letter else "0"
        engines = ", ".join(f"Engine::{e.lower()}_" for e in (op.engine, op.load, op.store))
        o.append(f"    {{{letter}, {engines}, Layout::{op.layout.lower()}_, Second::{op.second.lower()}_, "
                 f"Result::{op.result.lower()}_, {op.in_bytes}, "
                 f"{op.out_bytes}, {flag(op.weights)}, {flag(op.tiles)}, {flag(op.training)}}},  // {op.name}")
    o += ["}};",
          f"[[nodiscard]] constexpr bool known_opcode(std::uint32_t v) {{ return v <= {last.value}; }}",
          "// A value that is no opcode has none of them, as END.",
          "[[nodiscard]] constexpr const OpcodeTraits& traits(Opcode op) {",
          "  const auto v = static_cast<std::size_t>(op);",
          "  return kOpcodeTraits[v < kOpcodes ? v : 0];", "}", ""]
    return o


def error_info(spec):
    kinds = list(dict.fromkeys(["none", *spec.error_info.values()]))
    o = ["// What register ERROR_INFO holds with an error.", "enum class ErrorInfo : std::uint32_t {"]
    o += [f"  {k}_," for k in kinds]
    o += ["};", "[[nodiscard]] constexpr ErrorInfo info_of(Error e) {", "  switch (e) {"]
    for kind in kinds:
        o += [f"    case Error::{n.lower()}_:" for n, k in spec.error_info.items() if k == kind]
        o += [f"      return ErrorInfo::{kind}_;"]
    return o + ["  }", "  return ErrorInfo::none_;", "}", ""]


def flags(spec):
    o = ["enum Flag : std::uint32_t {"]
    o += [f"  kFlag{camel(n)} = 1u << {f.bit},  // {f.doc}" for n, f in spec.flags.items()]
    o += ["};", f"inline constexpr std::uint32_t kKnownFlags = {spec.known_flags:#x};",
          "// Shape rule FLAGS: flags that the command may not carry, or that exclude each other.",
          "[[nodiscard]] constexpr bool flags_bad(std::uint32_t flags, Opcode op) {",
          "  const auto has = [flags](Flag f) { return (flags & f) != 0; };",
          "  if ((flags & ~kKnownFlags) != 0) return true;"]
    for n, f in spec.flags.items():
        bad = [f"has(kFlag{camel(other)})" for other in f.without] + [f"!has(kFlag{camel(x)})" for x in f.needs]
        if f.only:
            own = [f"op == Opcode::{o.name.lower()}_" for o in spec.opcodes.values() if o.letter and o.letter in f.only]
            bad.insert(0, f"!({' || '.join(own)})" if len(own) > 1 else own[0].replace("==", "!="))
        if bad:
            o.append(f"  if (has(kFlag{camel(n)}) && ({' || '.join(bad)})) return true;")
    return o + ["  return false;", "}", ""]


def field_enum(spec):
    o = ["enum class Field : std::uint32_t {", "  none_ = 0,"]
    o += [f"  {f.name} = {f.id}," for f in spec.fields]
    o += ["};", "[[nodiscard]] constexpr std::string_view to_string(Field v) {", "  switch (v) {",
          "    case Field::none_: return \"none\";"]
    o += [f"    case Field::{f.name}: return \"{f.name}\";" for f in spec.fields]
    return o + ["  }", "  return \"?\";", "}", ""]


def descriptor(spec):
    o = ["// A command, unpacked. encode/decode give the descriptor's words.", "struct Descriptor {"]
    for f in spec.fields:
        # 24-bit and 8-bit fields are held in the next type up, so that arithmetic on them needs no casts.
        kind = "std::int32_t" if f.signed else "std::uint32_t"
        o.append(f"  {kind} {f.name} = 0;" + (f"  // {f.doc}" if f.doc else ""))
    o += ["  bool operator==(const Descriptor&) const = default;",
          "  [[nodiscard]] constexpr bool has(Flag f) const { return (flags & f) != 0; }",
          "  [[nodiscard]] constexpr Opcode op() const { return static_cast<Opcode>(opcode); }", "};", "",
          f"using DescriptorWords = std::array<std::uint32_t, {spec.descriptor_words}>;", "",
          "[[nodiscard]] constexpr DescriptorWords encode(const Descriptor& d) {", "  DescriptorWords w{};"]
    for f in spec.fields:
        value = f"static_cast<std::uint32_t>(d.{f.name})" if f.signed else f"d.{f.name}"
        o.append(f"  w[{f.word}] |= ({value} & {(1 << f.width) - 1:#x}u) << {f.lsb};")
    o += ["  return w;", "}", "[[nodiscard]] constexpr Descriptor decode(const DescriptorWords& w) {",
          "  Descriptor d;"]
    for f in spec.fields:
        if f.signed:
            up = 32 - f.lsb - f.width
            o.append(f"  d.{f.name} = static_cast<std::int32_t>(w[{f.word}] << {up}) >> {32 - f.width};")
        else:
            o.append(f"  d.{f.name} = (w[{f.word}] >> {f.lsb}) & {(1 << f.width) - 1:#x}u;")
    return o + ["  return d;", "}", ""]


def literal(f, value):
    if value == -(1 << 31):
        return "INT32_MIN"
    return f"{value}" if f.signed else f"{value}u"


def field_check(spec):
    o = ["// First field (in order of id) outside its range for this command; `with_add` adds the fields of a fused "
         "addition.",
         "[[nodiscard]] constexpr Field field_out_of_range(const Descriptor& d, bool with_add) {",
         "  const auto op = static_cast<Opcode>(d.opcode);"]
    for f in spec.fields:
        if not f.checked:
            continue
        conds = [f"op == Opcode::{op.lower()}_" for op in f.commands] + (["with_add"] if f.in_fused_add else [])
        bad = [f"d.{f.name} {relation} {literal(f, bound)}"
               for bound, relation in ((f.low_bound, "<"), (f.high_bound, ">")) if bound is not None]
        o.append(f"  if (({' || '.join(conds)}) && ({' || '.join(bad)})) return Field::{f.name};")
    return o + ["  return Field::none_;", "}", ""]


def counters(spec):
    names, kinds = list(spec.counters), [c["kind"] for c in spec.counters.values()]
    o = ["// Counters, in the order of their registers.", "enum class Counter : std::uint32_t {"]
    o += [f"  {n.lower()}_ = {i},  // {c['kind']}: {c['doc']}" for i, (n, c) in enumerate(spec.counters.items())]
    o += ["};", f"inline constexpr std::size_t kCounters = {len(names)};",
          f"inline constexpr std::array<std::string_view, {len(names)}> kCounterName = {{"]
    o += [f"    \"{n.lower()}\"," for n in names]
    o += ["};", f"inline constexpr std::array<bool, {len(names)}> kCounterIsEvent = {{"]
    o += [f"    {'true' if kind == 'event' else 'false'},  // {n}" for n, kind in zip(names, kinds)]
    return o + ["};", ""]


def tables(spec):
    o = ["// Constant tables of the numeric contract."]
    for n, (t, _, doc) in spec.tables.items():
        o += [f"// {doc}", f"inline constexpr std::array<std::uint32_t, {len(t)}> k{camel(n)}Table = {{"]
        o += ["    " + ", ".join(str(v) for v in t[i:i + 10]) + "," for i in range(0, len(t), 10)]
        o.append("};")
    return o


SECTIONS = (identity, parameters, constants, enums, opcode_traits, error_info, flags, field_enum, descriptor,
            field_check, cpp_registers.emit, counters, tables)


def emit(spec):
    o = [f"// {SPDX}", f"// {HEAD}", "#pragma once", "", "#include <array>", "#include <bit>",
         "#include <cstddef>", "#include <cstdint>", "#include <optional>", "#include <span>",
         "#include <string_view>", "",
         "namespace lastmile::spec {", ""]
    for section in SECTIONS:
        o += section(spec)
    return "\n".join(o + ["", "}  // namespace lastmile::spec", ""])
