# SPDX-License-Identifier: Apache-2.0
"""REFERENCE.md: the reference page."""
from .source import HEAD


def commands(spec, letters):
    names = {o.letter: o.name.lower() for o in spec.opcodes.values()}
    return " ".join(names[letter] for letter in letters)


def opcode_traits(spec):
    o = ["", "## Traits of opcodes", "",
         "What model, compiler, profiler and RTL take from an opcode instead of naming it.", "",
         "| name | letter | engine | load | store | layout | second | result | bytes in, out | weights | tiles | "
         "training |",
         "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for op in spec.opcodes.values():
        yes = " | ".join("yes" if v else "" for v in (op.weights, op.tiles, op.training))
        o.append(f"| `{op.name}` | {op.letter} | {op.engine} | {op.load} | {op.store} | {op.layout} | {op.second} | "
                 f"{op.result} | "
                 f"{op.in_bytes}, {op.out_bytes} | {yes} |")
    return o


def error_info(spec):
    o = ["", "## ERROR_INFO", "", "| error | register ERROR_INFO holds |", "| --- | --- |"]
    text = {"none": "0", "field": "id of a descriptor field", "register": "offset of a register"}
    return o + [f"| `{n}` | {text.get(kind, f'enum {kind}')} |" for n, kind in spec.error_info.items()]


def registers(spec):
    o = ["", "## Registers", "",
         "`ro` read only, `rw` read and write, `w1c` write one to clear, `wo` reads 0. "
         "Bits without a field read 0.", "",
         "| offset | name | access | reset | meaning |", "| --- | --- | --- | --- | --- |"]
    for n, r in spec.registers.items():
        more = f" (x {r.count}, every {r.stride} bytes)" if r.array else ""
        o.append(f"| {r.offset:#05x} | `{n}` | {r.access} | {r.reset:#x} | {r.doc}{more} |")
    o += ["", "### Fields of registers", "",
          "| register | field | bits | values | meaning |", "| --- | --- | --- | --- | --- |"]
    for r in spec.registers.values():
        for f in r.fields:
            values = "signed" if f.signed else ""
            if f.limited:
                values = f"enum {f.enum}" if f.enum else f"{f.limits[0]} .. {f.limits[1]}"
            meaning = f"{'log2 of ' if f.log2 else ''}parameter `{f.parameter}`" if f.parameter else f.doc
            o.append(f"| `{r.name}` | `{f.name}` | {f.msb}:{f.lsb} | {values} | {meaning} |")
    return o


def emit(spec):
    o = ["# Registers, commands and hardware parameters", "", f"*{HEAD}*", "",
         f"Identity: `ID` = {spec.magic:#x}, `SPEC` = {spec.digest:#010x}, numeric contract {spec.contract}.", "",
         "## Hardware parameters", "", "| name | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for n, p in spec.parameters.items():
        o.append(f"| `{n}` | {p.value} | {', '.join(map(str, p.allowed))} | {p.doc} |")
    o += ["", "## Constants", "", "| name | value | meaning |", "| --- | --- | --- |"]
    o += [f"| `{n}` | {c.value} | {c.doc} |" for n, c in spec.constants.items()]
    for e in spec.enums.values():
        o += ["", f"## {e.name.replace('_', ' ')}", "", f"{e.doc}", "", "| name | value | |", "| --- | --- | --- |"]
        o += [f"| `{k}` | {v} | {e.docs.get(k, '')} |" for k, v in e.values.items()]
    o += opcode_traits(spec) + error_info(spec)
    o += ["", "## Descriptor flags", "", "| name | bit | only with | meaning |", "| --- | --- | --- | --- |"]
    o += [f"| `{n}` | {f.bit} | {commands(spec, f.only)} | {f.doc} |" for n, f in spec.flags.items()]
    o += ["", "## Descriptor fields", "",
          f"{spec.descriptor_bytes} bytes, little-endian 32-bit words; unused bits and words are zero and ignored.", "",
          "| id | name | word | bits | range | commands | meaning |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for f in spec.fields:
        allowed = f"{f.min} .. {f.max}" if f.min is not None else ("signed" if f.signed else "any")
        o.append(f"| {f.id} | `{f.name}` | {f.word} | {f.lsb + f.width - 1}:{f.lsb} | {allowed} | "
                 f"{commands(spec, f.ops)} | {f.doc} |")
    o += registers(spec)
    o += ["", "## Counters", "", "| index | name | kind | meaning |", "| --- | --- | --- | --- |"]
    o += [f"| {i} | `{n}` | {c['kind']} | {c['doc']} |" for i, (n, c) in enumerate(spec.counters.items())]
    return "\n".join(o) + "\n"
