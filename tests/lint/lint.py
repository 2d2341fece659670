#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks on the sources: `make lint` runs all of them, `make test` the cheap ones (format, layering, text, pages,
python).

usage: lint.py [--fix] [--make MAKE] [--jobs N] [CHECK...]      --fix: let `format` rewrite the files
A check whose tool is absent says SKIPPED. Exit status 1 if any check finds something.
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

import layering
import pages

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
GENERATED = {"cmodel/spec/npu_spec.hpp", "cmodel/spec/npu_identity.hpp", "rtl/pkg/npu_pkg.sv"}
OWN = ("sw", "cmodel", "sim", "tests", "rtl")


def sources(*endings):
    """Own files, relative to the root: what git knows or would add; the folders themselves outside a checkout."""
    git = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    if git.returncode == 0:
        files = git.stdout.splitlines()
    else:
        files = [str(p.relative_to(ROOT)) for d in OWN for p in (ROOT / d).rglob("*")]
    return sorted({f for f in files if f.endswith(endings) and (ROOT / f).is_file()})


def tool(name):
    if shutil.which(name) is None:
        print(f"SKIPPED: {name} is not installed")
        return False
    return True


def run(command):
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL).returncode == 0


def check_format(args):
    """clang-format with the style of .clang-format."""
    files = [f for f in sources(".cpp", ".hpp") if f not in GENERATED]
    return not tool("clang-format") or run(["clang-format"] + (["-i"] if args.fix else ["--dry-run", "-Werror"])
                                           + files)


def check_layering(_):
    """Who may include what: the tables of the READMEs, read by layering.py."""
    return report(layering.violations(ROOT, sources(".cpp", ".hpp", ".c", ".h")))


# Files that people write. The limits do not hold for what is generated or copied word by word.
TEXT = (".cpp", ".hpp", ".c", ".h", ".S", ".ld", ".sv", ".svh", ".vlt", ".py", ".mk", ".md", ".toml", ".sh", ".proto",
        ".json", "Makefile", "run", "setup")
COLUMNS = 120
WIDE = {"cmodel/spec/npu_spec.hpp", "cmodel/spec/npu_spec.h", "rtl/pkg/npu_pkg.sv", "cmodel/spec/REFERENCE.md",
        "cmodel/spec/npu.toml",  # one register or field a line, and what is made of it
        "tests/mutation/mutants.py"}  # quotes sources word by word
LICENCE = "SPDX-License-Identifier: Apache-2.0"
# A file whose digest is a register: it changes with its meaning only.
WITHOUT_LICENCE = {"cmodel/spec/npu.toml"}


def too_wide(f, text):
    """Lines over COLUMNS. Rows of Markdown tables and strings of TOML cannot be broken; RTL has its own limit."""
    if f in WIDE or f.endswith((".json", ".sv", ".svh")):
        return []
    if f.endswith(".md"):  # tables that programs write
        text = re.sub(r"<!-- table .*?<!-- end", lambda m: "\n" * m[0].count("\n"), text, flags=re.S)
    lines = enumerate(text.splitlines(), 1)
    return [f"{f}:{n}: {len(line)} columns, at most {COLUMNS}" for n, line in lines
            if len(line) > COLUMNS and not (f.endswith(".md") and line.startswith("|"))
            and not (f.endswith(".toml") and '"' in line)]


def without_licence(f, text):
    """Every source says its licence in its first lines."""
    if f.endswith((".md", ".json")) or f in WITHOUT_LICENCE or LICENCE in "".join(text.splitlines()[:3]):
        return []
    return [f"{f}:1: the line '{LICENCE}' is missing"]


def check_text(_):
    """No path of somebody's machine, no marks of unfinished work, no tabs in C++; at most 120 columns; licences."""
    # Put together from pieces, so that this file passes its own check.
    machine = ["/" + d for d in ("work/", "root/", "home/", "Users/", "tmp/lm")]
    marks = ["TO" + "DO", "FIX" + "ME", "XX" + "X"]
    found = []
    for f in sources(*TEXT):
        text = (ROOT / f).read_text(errors="replace")
        for n, line in enumerate(text.splitlines(), 1):
            hits = [w for w in machine if w in line] + [w for w in marks if w in line.replace("X" * 4, "")]
            if f.endswith((".cpp", ".hpp", ".sv")) and "\t" in line:
                hits.append("tab")
            found += [f"{f}:{n}: {h!r} does not belong here" for h in hits]
        found += too_wide(f, text) + without_licence(f, text)
    return report(found)


def check_pages(_):
    """Links between the pages lead somewhere, and what the pages name in backquotes exists: pages.py."""
    return report(pages.problems(ROOT, sources(".md"), sources(".cpp", ".hpp", ".sv", ".toml")))


def check_python(_):
    """Every Python file compiles."""
    found = []
    for f in sources(".py"):
        try:
            compile((ROOT / f).read_text(), f, "exec")
        except SyntaxError as e:
            found.append(f"{f}:{e.lineno}: {e.msg}")
    return report(found)


def check_spec(_):
    """Generated files are those of npu.toml."""
    return run([sys.executable, "cmodel/spec/generate.py", "--check"])


def check_tidy(args):
    """clang-tidy on every translation unit; unchanged ones are remembered (build/tidy)."""
    if not tool("clang-tidy") or not tool("clang++"):
        return True
    return run(args.make.split() + ["--no-print-directory", "-k", f"-j{args.jobs}", "CXX=clang++", "tidy"])


def check_rtl(_):
    """Verilator's lint of each module with the modules it instantiates."""
    modules = [f for f in sources(".sv") if not f.startswith(("tests/", "sim/"))]
    if not modules or not tool("verilator"):
        return True
    packages = [f for f in modules if f.startswith("rtl/pkg/")]
    folders = sorted({os.path.dirname(f) for f in modules})
    ok = True
    for f in modules:
        if f not in packages:
            stem = pathlib.Path(f).stem
            ok &= run(["verilator", "--lint-only", "-Wall", *[f"-I{d}" for d in folders],
                       "--top-module", stem, *sources("rtl/lint.vlt"), *packages, f])
    return ok


CHECKS = {"format": check_format, "layering": check_layering, "text": check_text, "pages": check_pages,
          "python": check_python,
          "spec": check_spec,
          "rtl": check_rtl, "tidy": check_tidy}


def report(found):
    print("\n".join(found), end="\n" if found else "")
    return not found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--fix", action="store_true")
    p.add_argument("--make", default="make")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("checks", nargs="*", metavar="CHECK", choices=[[], *CHECKS], help=", ".join(CHECKS))
    args = p.parse_args()
    os.environ.pop("MAKEFLAGS", None)
    bad = []
    for name in args.checks or CHECKS:
        print(f"lint: {name}", flush=True)
        if not CHECKS[name](args):
            bad.append(name)
    print("lint: " + (f"failed: {', '.join(bad)}" if bad else "clean"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
