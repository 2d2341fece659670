# SPDX-License-Identifier: Apache-2.0
"""Pieces of SystemVerilog text: lines of a bounded length, comments, packed structs."""
import textwrap

LIMIT = 100  # columns of a line
# Names of npu.toml that SystemVerilog keeps for itself get a trailing underscore.
KEYWORDS = {"bit", "byte", "case", "packed", "rand", "reg", "repeat", "signed", "static", "table", "type", "wait",
            "with"}


def comment(text, indent="  "):
    """`text` as comment lines."""
    return textwrap.wrap(text, LIMIT, initial_indent=f"{indent}// ", subsequent_indent=f"{indent}// ",
                         break_on_hyphens=False)


def line(code, doc=""):
    """A line of code with its comment behind it, or above it where that is too long."""
    if not doc:
        return [code]
    if len(code) + len(doc) + 5 <= LIMIT:
        return [f"{code}  // {doc}"]
    return [*comment(doc, code[:len(code) - len(code.lstrip())]), code]


def lines(items):
    """Of (code, doc) pairs."""
    return [text for code, doc in items for text in line(code, doc)]


def member(name):
    """The name of a field or flag as a member of a struct."""
    return f"{name.lower()}_" if name.lower() in KEYWORDS else name.lower()


def struct(name, width, members):
    """A packed struct; members are (name, lowest bit, width, type, doc). Gaps are named `reserved_<lowest bit>`."""
    text, at = [], 0
    for n, bit, bits, kind, doc in sorted(members, key=lambda m: m[1]):
        if at < bit:
            text.append([f"    logic [{bit - at - 1}:0] reserved_{at};"])
        text.append(line(f"    {kind} {member(n)};", doc))
        at = bit + bits
    if at < width:
        text.append([f"    logic [{width - at - 1}:0] reserved_{at};"])
    return ["  typedef struct packed {", *(t for part in reversed(text) for t in part), f"  }} {name};"]
