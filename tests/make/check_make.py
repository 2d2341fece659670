#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Makefile on a copy of the tree; ends with `N passed, N failed`.

- Without any one of its fragments make stops and names it: no check can go missing in silence.
- `make -n` of every target executes nothing but make itself and questions (which compiler, which files).
- DATA= reaches each target that takes data, and is refused by the others.
- sim/arrays.mk means the same to make and to tests/arrays.py, and nobody else spells an array.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import arrays  # noqa: E402

TRACER = """#!/bin/bash
printf '%s\\0' "${@: -1}" >> "$MAKE_TEST_TRACE"
exec /bin/bash "$@"
"""
# What make may ask while it reads the files.
QUESTIONS = [
    r"nproc", r"uname -m", r"[\w+-]+ -dumpmachine", r"command -v [\w+.-]+( 2>/dev/null)?", r"cat rtl/npu\.f",
    r"find [^;&`$]*", r"cat( [\w./]+)+ \| sha256sum \| cut -c1-16",
    r"verilator --getenv VERILATOR_ROOT 2>/dev/null", r"sed -n \dp build/[\w./+-]+",
    r"git rev-parse --short HEAD 2>/dev/null",
]
MAKE_ALONE = re.compile(r"\S*make( +[\w./=,+-]+)*")
ARRAY_BY_NUMBERS = re.compile(r"\b\d+[:|]\d+[:|]\d+[:|]\d+[:|]\d+")


class Checks:
    def __init__(self):
        self.passed = self.failed = 0

    def expect(self, name, good, said=""):
        self.passed, self.failed = (self.passed + 1, self.failed) if good else (self.passed, self.failed + 1)
        if not good:
            print(f"FAIL {name}" + (f"\n{said.strip()[-1500:]}" if said else ""), flush=True)


def make(tree, *arguments, env=None):
    clean = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "DATA", "ARRAY")}
    return subprocess.run(["make", *arguments], cwd=tree, env={**clean, **(env or {})}, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")


def copy_tree(folder):
    tree = pathlib.Path(folder, "tree")
    keep_out = shutil.ignore_patterns("build", ".git", "__pycache__")
    return pathlib.Path(shutil.copytree(ROOT, tree, ignore=keep_out, symlinks=True))


def fragments(checks, tree):
    every = sorted(p.relative_to(tree) for p in tree.rglob("*.mk"))
    checks.expect("fragments found", len(every) > 10)
    for f in every:
        (tree / f).rename(tree / "away")
        run = make(tree, "-n", "help")
        checks.expect(f"make goes on without {f}", run.returncode != 0 and str(f) in run.stdout, run.stdout)
        (tree / "away").rename(tree / f)


def dry_run(checks, tree):
    text = "\n".join(p.read_text() for p in [tree / "Makefile", *tree.rglob("*.mk")])
    targets = sorted(set(re.findall(r"^([a-z][a-z-]*):.*## ", text, re.M)))
    checks.expect("targets found", len(targets) > 40)
    before = {p: p.stat().st_mtime_ns for p in tree.rglob("*")}
    tracer, trace = tree.parent / "shell", tree.parent / "trace"
    tracer.write_text(TRACER)
    tracer.chmod(0o755)
    run = make(tree, "-n", "-k", f"SHELL={tracer}", *targets, env={"MAKE_TEST_TRACE": str(trace)})
    checks.expect("make -n of every target", run.returncode == 0, run.stdout)
    checks.expect("the tests are named by make -n", "tests/run.py" in run.stdout)
    executed = set(trace.read_text().split("\0")) - {""}
    allowed = re.compile("|".join(f"(?:{q})" for q in QUESTIONS))
    for command in sorted(executed):
        checks.expect(f"make -n executed: {command}", MAKE_ALONE.fullmatch(command)
                      or allowed.fullmatch(command.strip()))
    after = {p: p.stat().st_mtime_ns for p in tree.rglob("*")}
    changed = sorted(str(p) for p in before.keys() | after.keys() if before.get(p) != after.get(p))
    checks.expect("make -n changed files", not changed, "\n".join(changed))


def data(checks, tree):
    takers = re.search(r"^DATA_TARGETS := (.*)$", (tree / "Makefile").read_text(), re.M)[1].split()
    for target in takers:
        run = make(tree, "-n", "DATA=some/folder", target)
        checks.expect(f"make {target} DATA=", run.returncode == 0 and "some/folder" in run.stdout, run.stdout)
    for target in ("build", "profile", "timing"):
        run = make(tree, "-n", "DATA=some/folder", target)
        checks.expect(f"make {target} refuses DATA=", run.returncode != 0 and f"not for {target}" in run.stdout,
                      run.stdout)


def variables(checks, tree):
    """Fragments share one make: a variable that two of them set has the value of the last one."""
    setters = {}
    for f in [tree / "Makefile", *sorted(tree.rglob("*.mk"))]:
        for name in set(re.findall(r"^([A-Za-z_]+) *[?:]?=", f.read_text(), re.M)):
            setters.setdefault(name, []).append(str(f.relative_to(tree)))
    checks.expect("variables found", len(setters) > 50)
    for name, files in setters.items():
        if len(files) > 1:
            checks.expect(f"{name} is set by {' and '.join(files)}", False)


def array_list(checks, tree):
    names = [n + s for n in arrays.named() for s in ("", "-inference")]
    show = "".join(f"$(info array {n} $(call array_settings,{n}))" for n in names)
    run = make(tree, "-n", f"--eval=show-arrays:;{show}", "show-arrays")
    said = dict(re.findall(r"^array (\S+) (.*)$", run.stdout, re.M))
    for n in names:
        checks.expect(f"array {n}", said.get(n, "").split() == arrays.settings(arrays.parse(n)), run.stdout)
    run = make(tree, "-n", "rtl", "ARRAY=8x16-inference", "VERILATOR=verilator")
    checks.expect("make rtl ARRAY=", arrays.folder(arrays.parse("8x16-inference")) in run.stdout, run.stdout)
    run = make(tree, "-n", "rtl", "ARRAY=7x7")
    checks.expect("an unknown array", run.returncode != 0 and "no array '7x7'" in run.stdout, run.stdout)
    try:
        arrays.parse("7x7")
        checks.expect("arrays.py refuses unknown names", False)
    except ValueError as e:
        checks.expect("arrays.py says what is known", "16x16" in str(e), str(e))
    for f in [tree / "Makefile", *tree.rglob("*.mk"), *tree.rglob("*.py")]:
        for number, line in enumerate(f.read_text().splitlines(), 1):
            where = f"{f.relative_to(tree)}:{number} spells an array by numbers: use a name of sim/arrays.mk"
            if ARRAY_BY_NUMBERS.search(line):
                checks.expect(where, False, line)


def main():
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(folder)
        for check in (fragments, dry_run, data, variables, array_list):
            check(checks, tree)
    print(f"{checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
