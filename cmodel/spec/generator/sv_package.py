# SPDX-License-Identifier: Apache-2.0
"""rtl/pkg/npu_pkg.sv: the package that every module reads. One function per section, in the order of the file."""
import textwrap

from . import sv_registers
from .source import HEAD, SPDX
from .sv_text import LIMIT, comment, line, lines, struct


def identity(spec):
    return [f"  localparam logic [31:0] MAGIC = 32'h{spec.magic:08x};",
            f"  localparam logic [31:0] SPEC_HASH = 32'h{spec.digest:08x};", ""]


def parameters(spec):
    o = ["  // Defaults of the hardware parameters; modules take parameters of the same name."]
    o += lines((f"  localparam int unsigned {n}_DEFAULT = {p.value};", p.doc) for n, p in spec.parameters.items())
    return o + [""]


def constants(spec):
    return lines((f"  localparam int{'' if c.value < 0 else ' unsigned'} {n} = {c.value};", c.doc)
                 for n, c in spec.constants.items() if c.integer) + [""]


def enums(spec):
    o = []
    for e in spec.enums.values():
        if not e.rtl:
            continue
        if e.rtl == "index":
            o += [*comment(e.doc), f"  localparam int unsigned {e.name.upper()}S = {len(e.values)};"]
            o += lines((f"  localparam int unsigned {e.name.upper()}_{k} = {v};", e.docs.get(k, ""))
                       for k, v in e.values.items())
            o.append("")
            continue
        o += [*comment(e.doc), "  typedef enum logic [7:0] {"]
        for i, (k, v) in enumerate(e.values.items(), 1):
            o += line(f"    {e.name.upper()}_{k} = 8'd{v}{',' if i < len(e.values) else ''}", e.docs.get(k, ""))
        o += [f"  }} {e.name}_t;", ""]
    return o


def flags(spec):
    o = ["  // Bit of field `flags`."]
    o += lines((f"  localparam int unsigned FLAG_{n} = {f.bit};", f.doc) for n, f in spec.flags.items())
    o += [f"  localparam logic [23:0] KNOWN_FLAGS = 24'h{spec.known_flags:06x};", "",
          "  // Field `flags`, highest bit first."]
    return o + struct("flags_t", 24, [(n, f.bit, 1, "logic", f.doc) for n, f in spec.flags.items()]) + [""]


def descriptor(spec):
    o = [f"  localparam int unsigned DESC_BITS = {spec.descriptor_bits};", "",
         "  // A command: its words as one vector, the last word's highest bits first."]
    typed = {"opcode": "opcode_t", "flags": "flags_t"}
    o += struct("desc_t", spec.descriptor_bits,
                [(f.name, f.bit, f.width,
                  typed.get(f.name, f"logic {'signed ' if f.signed else ''}[{f.width - 1}:0]"), f.doc)
                 for f in spec.fields])
    o += ["", "  // Lowest bit of a field in the descriptor, its width, and its id in ERROR_INFO."]
    for f in spec.fields:
        n = f.name.upper()
        o.append(f"  localparam int unsigned F_{n} = {f.bit}, W_{n} = {f.width}, ID_{n} = {f.id};")
    return o + [""]


def literal(f, value):
    """`value` as a literal of the field's width and sign."""
    if f.signed:
        return f"-{f.width}'sd{-value}" if value < 0 else f"{f.width}'sd{value}"
    return f"{f.width}'d{value}"


def field_check(spec):
    o = [*comment("First field (in order of id) outside its range for this command, 0 if none; a fused addition adds "
                  "its fields. "
                  "`d` is a desc_t: Yosys 0.23 reads no struct inside a function, and an enum's names there only "
                  "with their package."),
         "  function automatic logic [7:0] field_out_of_range(input logic [DESC_BITS-1:0] d,",
         "                                                    input logic with_add);",
         "    logic [7:0] op;", "    op = d[F_OPCODE +: W_OPCODE];", "    field_out_of_range = 8'd0;"]
    # Backwards, so that the field with the lowest id has the last word.
    for f in reversed(spec.fields):
        if not f.checked:
            continue
        n = f.name.upper()
        conds = [f"op == npu_pkg::OPCODE_{op}" for op in f.commands] + (["with_add"] if f.in_fused_add else [])
        value = f"d[F_{n} +: W_{n}]"
        value = f"$signed({value})" if f.signed else value
        bad = [f"{value} {relation} {literal(f, bound)}"
               for bound, relation in ((f.low_bound, "<"), (f.high_bound, ">")) if bound is not None]
        o += textwrap.wrap(f"if (({' || '.join(conds)}) && ({' || '.join(bad)}))", LIMIT, initial_indent=" " * 4,
                           subsequent_indent=" " * 8)
        o.append(f"      field_out_of_range = 8'(ID_{n});")
    return o + ["  endfunction", ""]


def counters(spec):
    o = [f"  localparam int unsigned COUNTERS = {len(spec.counters)};"]
    o += lines((f"  localparam int unsigned CNT_{n} = {i};", f"{c['kind']}: {c['doc']}")
               for i, (n, c) in enumerate(spec.counters.items()))
    return o


def tables(spec):
    o = []
    for n, (t, w, doc) in spec.tables.items():
        iw = max(1, (len(t) - 1).bit_length())
        o += ["", f"  // {doc}", f"  function automatic logic [{w - 1}:0] {n}_table(input logic [{iw - 1}:0] k);",
              "    case (k)"]
        o += [f"      {iw}'d{i}: {n}_table = {w}'d{v};" for i, v in enumerate(t)]
        o += [f"      default: {n}_table = {w}'d0;", "    endcase", "  endfunction"]
    return o


SECTIONS = (identity, parameters, constants, enums, flags, descriptor, field_check, sv_registers.emit, counters, tables)


def emit(spec):
    o = [f"// {SPDX}", f"// {HEAD}", "package npu_pkg;", ""]
    for section in SECTIONS:
        o += section(spec)
    return "\n".join(o + ["", "endpackage", ""])
