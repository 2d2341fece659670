#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Code size and worst-case stack of the C host on a microcontroller, as JSON.

usage: measure.py PREFIX FOLDER OUTPUT
PREFIX: of the cross tools ("riscv64-unknown-elf-"); FOLDER: with host.elf, *.o, *.ci

Stack: frames of -fcallgraph-info=su along the deepest path from `main`. Recursion, a frame whose size is not fixed, a
call through a pointer and a function without a frame are errors: then there is no bound.
"""
import json
import pathlib
import re
import subprocess
import sys


def graph(folder):
    frames, calls = {}, {}
    for ci in sorted(folder.glob("*.ci")):
        text = ci.read_text()
        short = {}
        for title, label in re.findall(r'node: \{ title: "([^"]+)" label: "([^"]*)"', text):
            name = label.split("\\n")[0]
            short[title] = name
            size = re.search(r"(\d+) bytes \((\w+)\)", label)
            if size:
                if size[2] != "static":
                    sys.exit(f"measure: frame of {name} is {size[2]}")
                frames[name] = max(frames.get(name, 0), int(size[1]))
        for source, target in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
            calls.setdefault(short.get(source, source.split(":")[-1]),
                             set()).add(short.get(target, target.split(":")[-1]))
    return frames, calls


def deepest(name, frames, calls, path=()):
    if name in path:
        sys.exit(f"measure: recursion {' -> '.join((*path, name))}")
    if name not in frames:
        sys.exit(f"measure: no frame known of {name}, called from {path[-1] if path else '-'}")
    best = (0, ())
    for callee in sorted(calls.get(name, ())):
        best = max(best, deepest(callee, frames, calls, (*path, name)))
    return frames[name] + best[0], (name, *best[1])


def main():
    prefix, folder, output = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
    size = lambda f: [int(x) for x in subprocess.run([prefix + "size", f], check=True, capture_output=True,
                                                     text=True).stdout.split("\n")[1].split()[:3]]
    frames, calls = graph(folder)
    stack, path = deepest("main", frames, calls)
    text, data, bss = size(folder / "host.elf")
    version = subprocess.run([prefix + "gcc", "-dumpfullversion"], check=True, capture_output=True,
                             text=True).stdout.strip()
    report = {"target": "rv32imc/ilp32", "compiler": "gcc " + version, "code_bytes": text, "data_bytes": data,
              "bss_bytes": bss,
              "stack_bytes": stack, "stack_path": list(path),
              "objects": {o.stem: size(o)[0] for o in sorted(folder.glob("*.o"))}}
    pathlib.Path(output).write_text(json.dumps(report, indent=1) + "\n")
    print(f"C host on {report['target']}: {text} bytes of code and constants, {data + bss} of variables, "
          f"{stack} of stack at most ({' -> '.join(path)})")


if __name__ == "__main__":
    main()
