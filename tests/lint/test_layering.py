#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests of layering.py: a tree that keeps its rules is clean, and every way to break one is found with its place.

usage: test_layering.py            ends with `N passed, N failed`
"""
import pathlib
import sys
import tempfile

import layering

HEAD = "| folder | what | may use |\n| --- | --- | --- |\n"
TEXTS = {
    "sw": "# sw\n\n" + HEAD + "| `base` | x | nothing |\n| `device` | x | cmodel/spec |\n| `data` | x | base |\n"
          "| `host` | x | cmodel/spec |\n| `host/native` | x | host, data |\n"
          "| `main` | x | host/native, cmodel/npu |\n",
    "cmodel": "# cmodel\n\n" + HEAD + "| `spec` | x | nothing |\n| `npu` | x | spec, sw/device |\n",
    "sim": "# sim\n\n" + HEAD + "| `bus` | x | cmodel |\n",
    "tests": "# tests\n\n| folder | may use |\n| --- | --- |\n| `random` | sw/base |\n| others | everything |\n",
}
FILES = {
    "sw/base/a.hpp": "", "sw/device/d.hpp": '#include "cmodel/spec/s.hpp"\n',
    "sw/data/b.hpp": '// data\n#include "sw/base/a.hpp"\n', "sw/host/c.h": '#include "cmodel/spec/s.hpp"\n',
    "sw/host/native.cpp": '#include "sw/data/b.hpp"\n#include "sw/base/a.hpp"\n#include "sw/host/c.h"\n',
    "sw/main.cpp": '#include "cmodel/npu/n.hpp"\n#include "sw/host/native.hpp"\n', "sw/host/native.hpp": "",
    "cmodel/spec/s.hpp": "", "cmodel/npu/n.hpp": '#include "cmodel/spec/s.hpp"\n#include "sw/device/d.hpp"\n',
    "sim/bus/m.hpp": '#include "cmodel/npu/n.hpp"\n#include "Vtop.h"\n',
    "tests/random/t.cpp": '#include "sw/base/a.hpp"\n',
    "tests/other/t.cpp": '#include "sim/bus/m.hpp"\n#include "sw/main.cpp"\n',
}


def found(files=None, texts=None):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in {**FILES, **(files or {})}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return layering.violations(root, sorted({**FILES, **(files or {})}), {**TEXTS, **(texts or {})})


def edited(part, old, new):
    assert old in TEXTS[part]
    return {part: TEXTS[part].replace(old, new)}


CASES = {
    "a tree that keeps its rules": ((), []),
    "upward in sw": (({"sw/base/a.hpp": '\n#include "sw/data/b.hpp"\n'},),
                     ["sw/base/a.hpp:2: sw/base must not include sw/data/b.hpp: sw/README.md:5 says it may use n"]),
    "sideways in sw": (({"sw/data/b.hpp": '#include "sw/device/d.hpp"\n'},),
                       ["sw/data/b.hpp:1: sw/data must not include"]),
    "the machine from sw": (({"sw/data/b.hpp": '#include "cmodel/npu/n.hpp"\n'},),
                            ["must not include cmodel/npu/n.hpp"]),
    "a part of a folder with a row of its own": (({"sw/host/c.h": '#include "sw/host/native.hpp"\n'},),
                                                 ["sw/host/c.h:1: sw/host must not include sw/host/native.hpp"]),
    "a simulation from the model": (({"cmodel/npu/n.hpp": '#include "sim/bus/m.hpp"\n'},),
                                    ["cmodel/npu must not include sim/bus/m.hpp"]),
    "a test from sw": (({"sw/data/b.hpp": '#include "tests/other/t.cpp"\n'},),
                       ["must not include tests/other/t.cpp"]),
    "a test with a rule of its own": (({"tests/random/t.cpp": '#include "sw/data/b.hpp"\n'},),
                                      ["tests/README.md:5 says"]),
    "no such file": (({"sw/data/b.hpp": '#include "sw/base/gone.hpp"\n'},),
                     ["sw/data/b.hpp:1: no file sw/base/gone.hpp"]),
    "relative to its folder": (({"sw/data/b.hpp": '#include "b2.hpp"\n'},), ["relative to the root"]),
    "a folder without a row": (({"sw/new/x.hpp": ""},), ["sw/new/x.hpp:1: sw/new has no row in sw/README.md"]),
    "a row without files": (({}, edited("sw", "| `data`", "| `gone` | x | base |\n| `data`")),
                            ["sw/README.md:7: sw/gone has a row but no"]),
    "a row below": (({}, edited("sw", "| `base` | x | nothing |", "| `base` | x | data |")),
                    ["sw/README.md:5: sw/base may use data, whose row is not above"]),
    "an unknown word": (({}, edited("sw", "| `data` | x | base |", "| `data` | x | bsae |")),
                        ['sw/README.md:7: sw/data may use "bsae"']),
    "a circle between parts": (({}, edited("cmodel", "| `spec` | x | nothing |", "| `spec` | x | sw/device |")),
                               ["a circle: "]),
    "two rows": (({}, edited("sw", "| `data`", "| `base` | x | nothing |\n| `data`")),
                 ["sw/base has a row already (sw/README.md:5)"]),
    "no table": (({}, {"sim": "# sim\n"}), ["sim/README.md:1: no table"]),
}


def main():
    passed = failed = 0
    for name, (arguments, wanted) in CASES.items():
        lines = found(*arguments)
        good = not lines if not wanted else all(any(w in line for line in lines) for w in wanted)
        passed, failed = passed + good, failed + (not good)
        if not good:
            print(f"FAIL {name}: found {lines}, expected {wanted or 'nothing'}")
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
