# SPDX-License-Identifier: Apache-2.0
"""Which layer may include which: sw -> (sw/device interface) <- cmodel, sim; sim -> everything but tests."""
import re

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
TOP = ("sw/", "cmodel/", "sim/", "rtl/", "tests/")


def allowed(source, included):
    if source.startswith("sw/"):
        if included.startswith("cmodel/"):
            # main.cpp opens the devices; everything else knows the contract and the generated constants only
            return source == "sw/main.cpp" or included.startswith(("cmodel/numeric/", "cmodel/spec/"))
        return included.startswith("sw/")
    if source.startswith("cmodel/"):
        return included.startswith(("cmodel/", "sw/device/"))
    if source.startswith("sim/"):
        return not included.startswith("tests/")
    return True  # tests


def violations(root, files):
    found = []
    for f in files:
        for n, line in enumerate((root / f).read_text(errors="replace").splitlines(), 1):
            m = INCLUDE.match(line)
            if not m or (included := m[1]).startswith("V"):  # V*.h: made by Verilator
                continue
            if not included.startswith(TOP):
                if f.startswith(("sw/", "cmodel/")):
                    found.append(f"{f}:{n}: include \"{included}\" relative to the root of the repository")
            elif not allowed(f, included):
                found.append(f"{f}:{n}: {f.split('/')[0]} must not include {included}")
            elif not (root / included).exists():
                found.append(f"{f}:{n}: no file {included}")
    return found
