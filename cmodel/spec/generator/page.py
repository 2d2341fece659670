# SPDX-License-Identifier: Apache-2.0
"""REFERENCE.md: the reference page."""
from .source import HEAD


def emit(spec):
    o = ["# Registers, commands and hardware parameters", "", f"*{HEAD}*", "",
         f"Identity: `ID` = {spec.magic:#x}, `SPEC` = {spec.digest:#010x}, numeric contract {spec.contract}.", "",
         "## Hardware parameters", "", "| name | default | allowed | meaning |", "| --- | --- | --- | --- |"]
    for n, p in spec.parameters.items():
        o.append(f"| `{n}` | {p['value']} | {', '.join(map(str, p['allowed']))} | {p['doc']} |")
    o += ["", "## Constants", "", "| name | value | meaning |", "| --- | --- | --- |"]
    o += [f"| `{n}` | {c['value']} | {c['doc']} |" for n, c in spec.constants.items()]
    for e in spec.enums.values():
        o += ["", f"## {e.name.replace('_', ' ')}", "", f"{e.doc}", "", "| name | value | |", "| --- | --- | --- |"]
        o += [f"| `{k}` | {v} | {e.docs.get(k, '')} |" for k, v in e.values.items()]
    o += ["", "## Descriptor flags", "", "| name | bit | meaning |", "| --- | --- | --- |"]
    o += [f"| `{n}` | {f['bit']} | {f['doc']} |" for n, f in spec.flags.items()]
    o += ["", "## Descriptor fields", "",
          f"{spec.descriptor_bytes} bytes, little-endian 32-bit words; unused bits and words are zero and ignored.", "",
          "| id | name | word | bits | range | commands | meaning |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for f in spec.fields:
        allowed = f"{f.min} .. {f.max}" if f.min is not None else ("signed" if f.signed else "any")
        ops = " ".join(op.lower() for op in f.commands)
        o.append(f"| {f.id} | `{f.name}` | {f.word} | {f.lsb + f.width - 1}:{f.lsb} | {allowed} | {ops} | {f.doc} |")
    o += ["", "## Registers", "", "| offset | name | access | reset | meaning |", "| --- | --- | --- | --- | --- |"]
    for n, r in spec.registers.items():
        more = f" (x {r['count']}, every {r['stride']} bytes)" if "count" in r else ""
        o.append(f"| {r['offset']:#05x} | `{n}` | {r['access']} | {r.get('reset', 0):#x} | {r['doc']}{more} |")
    o += ["", "## Counters", "", "| index | name | kind | meaning |", "| --- | --- | --- | --- |"]
    o += [f"| {i} | `{n}` | {c['kind']} | {c['doc']} |" for i, (n, c) in enumerate(spec.counters.items())]
    return "\n".join(o) + "\n"
