#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Registers and memories of the RTL, read from its sources: what an always_ff assigns.

usage: rtl_registers.py > FILE.vlt     each of them writable from outside, for Verilator (fault injection)
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ASSIGNED = re.compile(r"(?:^|;|\bbegin|\belse|\)|:)\s*(\w+)(?:\s*\[[^;\n]*?\])*(?:\.\w+)*\s*<=[^;]*;", re.M)
NESTED = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
INSTANCE = re.compile(r"\b(npu\w*)\s*(?:#\s*" + NESTED + r"\s*)?(u_\w+)\s*\(")


def modules():
    """{module: (names of registers, {instance: module})}, simulation-only code left out."""
    found = {}
    for path in sorted(ROOT.glob("rtl/*/*.sv")):
        text = re.sub(r"//[^\n]*", "", path.read_text())
        text = re.sub(r"`(ifndef SYNTHESIS|ifdef NPU_CLOCK_GATED).*?(`else|`endif)", "", text, flags=re.S)
        match = re.search(r"^module (\w+)", text, re.M)
        if not match:
            continue
        names = set(ASSIGNED.findall(text))
        for many in re.findall(r"\{([^{}]*)\}\s*<=", text):
            names |= set(re.findall(r"(?:^|,)\s*(\w+)", many))
        found[match[1]] = (names, {instance: module for module, instance in INSTANCE.findall(text)})
    return found


if __name__ == "__main__":
    print("`verilator_config")
    for module, (names, _) in modules().items():
        for name in sorted(names):
            print(f'public_flat_rw -module "{module}" -var "{name}"')
