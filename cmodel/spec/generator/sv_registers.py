# SPDX-License-Identifier: Apache-2.0
"""The registers in npu_pkg.sv: offsets, resets, what is writable, the place of fields; traits of opcodes."""
import textwrap

from .sv_text import LIMIT, comment, line


def registers(spec):
    o = comment("Registers: byte offset, value after reset, bits that a write changes; arrays: count and stride.")
    for n, r in spec.registers.items():
        o += line(f"  localparam logic [11:0] REG_{n} = 12'h{r.offset:03x};", f"{r.access}: {r.doc}")
        if r.access == "rw":
            o.append(f"  localparam logic [31:0] RESET_{n} = 32'h{r.reset:08x}, WRITTEN_{n} = 32'h{r.written:08x};")
        if r.array:
            o.append(f"  localparam int unsigned COUNT_{n} = {r.count}, STRIDE_{n} = {r.stride};")
    return o + [""]


def fields(spec):
    o = comment("Fields of registers: lowest bit and width; the least and the largest value where not all are allowed.")
    for r in spec.registers.values():
        for f in r.fields:
            n = f"{r.name}_{f.name}"
            o += line(f"  localparam int unsigned {n}_LSB = {f.lsb}, {n}_WIDTH = {f.width};", f.doc)
            if f.limited and not f.signed:
                o.append(f"  localparam int unsigned {n}_LEAST = {f.limits[0]}, {n}_MOST = {f.limits[1]};")
    return o + [""]


def opcode_traits(spec):
    """What the RTL takes from an opcode instead of naming it."""
    count = len(spec.opcodes)
    o = ["  // Traits of opcodes, one bit per opcode.", f"  localparam int unsigned OPCODES = {count};"]
    traits = {"weights": lambda op: op.weights, "tiles": lambda op: op.tiles, "training": lambda op: op.training,
              "fused": lambda op: op.second == "FUSED"}
    for trait, has in traits.items():
        value = sum(1 << op.value for op in spec.opcodes.values() if has(op))
        o.append(f"  localparam logic [OPCODES-1:0] OPCODE_{trait.upper()} = {count}'h{value:x};")
    o += [*comment("Whom stalls of a command are blamed on, and its transfers at in_addr (load) and out_addr (store): "
                   "values of engine_t; see field_out_of_range about types inside functions.")]
    for trait in ("engine", "load", "store"):
        o += [f"  function automatic logic [7:0] opcode_{trait}(input logic [7:0] op);", "    case (op)"]
        o += [f"      npu_pkg::OPCODE_{op.name}: opcode_{trait} = npu_pkg::ENGINE_{getattr(op, trait)};"
              for op in spec.opcodes.values()]
        o += [f"      default: opcode_{trait} = npu_pkg::ENGINE_NONE;", "    endcase", "  endfunction"]
    return o + [""]


def flag_check(spec):
    o = ["  // Shape rule FLAGS: flags that the command may not carry, or that exclude each other.",
         "  function automatic logic flags_bad(input logic [7:0] op, input logic [23:0] flags);",
         "    flags_bad = (flags & ~KNOWN_FLAGS) != 24'd0;"]
    for f in spec.flags.values():
        bad = [f"flags[FLAG_{other}]" for other in f.without] + [f"!flags[FLAG_{other}]" for other in f.needs]
        if f.only:
            own = [f"op == npu_pkg::OPCODE_{o.name}" for o in spec.opcodes.values() if o.letter and o.letter in f.only]
            bad.insert(0, f"!({' || '.join(own)})")
        if bad:
            o += textwrap.wrap(f"if (flags[FLAG_{f.name}] && ({' || '.join(bad)}))", LIMIT, initial_indent=" " * 4,
                               subsequent_indent=" " * 8, break_long_words=False)
            o.append("      flags_bad = 1'b1;")
    return o + ["  endfunction", ""]


def emit(spec):
    return registers(spec) + fields(spec) + opcode_traits(spec) + flag_check(spec)
