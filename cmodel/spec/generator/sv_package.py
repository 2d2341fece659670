# SPDX-License-Identifier: Apache-2.0
"""rtl/pkg/npu_pkg.sv: the package that every module reads. One function per section, in the order of the file."""
from .source import HEAD, SPDX


def identity(spec):
    return [f"  localparam logic [31:0] MAGIC = 32'h{spec.magic:08x};",
            f"  localparam logic [31:0] SPEC_HASH = 32'h{spec.digest:08x};", ""]


def parameters(spec):
    o = ["  // Defaults of the hardware parameters; modules take parameters of the same name."]
    o += [f"  localparam int unsigned {n}_DEFAULT = {p['value']};  // {p['doc']}" for n, p in spec.parameters.items()]
    return o + [""]


def constants(spec):
    return [f"  localparam int unsigned {n} = {c['value']};  // {c['doc']}" for n, c in spec.constants.items()] + [""]


def enums(spec):
    o = []
    for e in spec.enums.values():
        o.append(f"  // {e.doc}")
        for k, v in e.values.items():
            comment = f"  // {e.docs[k]}" if k in e.docs else ""
            o.append(f"  localparam logic [7:0] {e.name.upper()}_{k} = 8'd{v};{comment}")
        o.append("")
    return o


def flags(spec):
    o = ["  // Bit of field `flags`."]
    o += [f"  localparam int unsigned FLAG_{n} = {f['bit']};  // {f['doc']}" for n, f in spec.flags.items()]
    return o + [f"  localparam logic [23:0] KNOWN_FLAGS = 24'h{spec.known_flags:06x};", ""]


def descriptor(spec):
    o = ["  // Position of a field in the descriptor (bit 0 = bit 0 of word 0) and its width.",
         f"  localparam int unsigned DESC_BITS = {spec.descriptor_bits};"]
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
    o = ["  // First field (in order of id) outside its range for this command, 0 if none; a fused addition adds its fields.",
         f"  function automatic logic [7:0] field_out_of_range(input logic [{spec.descriptor_bits - 1}:0] d, "
         "input logic with_add);",
         "    logic [7:0] op;", "    op = d[7:0];", "    field_out_of_range = 8'd0;"]
    # Backwards, so that the field with the lowest id has the last word.
    for f in reversed(spec.fields):
        if not f.checked:
            continue
        conds = [f"op == OPCODE_{op}" for op in f.commands] + (["with_add"] if f.in_fused_add else [])
        value = f"d[{f.bit + f.width - 1}:{f.bit}]"
        value = f"$signed({value})" if f.signed else value
        bad = [f"{value} {relation} {literal(f, bound)}"
               for bound, relation in ((f.low_bound, "<"), (f.high_bound, ">")) if bound is not None]
        o.append(f"    if (({' || '.join(conds)}) && ({' || '.join(bad)})) field_out_of_range = 8'd{f.id};")
    return o + ["  endfunction", ""]


def registers(spec):
    o = ["  // Register byte offsets."]
    o += [f"  localparam logic [11:0] REG_{n} = 12'h{r['offset']:03x};  // {r['access']}: {r['doc']}"
          for n, r in spec.registers.items()]
    return o + [""]


def counters(spec):
    o = [f"  localparam int unsigned COUNTERS = {len(spec.counters)};"]
    o += [f"  localparam int unsigned CNT_{n} = {i};  // {c['kind']}: {c['doc']}"
          for i, (n, c) in enumerate(spec.counters.items())]
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


SECTIONS = (identity, parameters, constants, enums, flags, descriptor, field_check, registers, counters, tables)


def emit(spec):
    o = [f"// {SPDX}", f"// {HEAD}", "package npu_pkg;", ""]
    for section in SECTIONS:
        o += section(spec)
    return "\n".join(o + ["", "endpackage", ""])
