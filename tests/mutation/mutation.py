#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants the bugs of mutants.py, one at a time, each in a copy of the tree, and runs the lockstep checks on it.

usage: mutation.py check                                     every mutant still fits its file
       mutation.py run [--jobs N] [--make MAKE] [NAME...]    all of them, or some (`unit`: those of blocks with a unit
                                                             bench): build/reports/mutation.json and mutation.md
       mutation.py table                                     the Markdown of build/reports/mutation.json

A mutant is killed when a check fails that passes without it: the unit bench of its block if there is one, then the
random campaign (fixed seed, model and RTL in lockstep) and lockstep-test (random queues, malformed commands, faults
of the memory) on the smallest parameter set.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import time

from mutants import MUTANTS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import arrays

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "mutation" / str(os.getpid())
REPORTS = ROOT / "build" / "reports"
VALUES = arrays.parse("4x4")
ARRAY = arrays.hardware(VALUES)
LIBRARY = f"build/rtl/{arrays.folder(VALUES)}/npu.so"
PROGRAMS = ["build/release-g++/cosim-campaign", "build/release-g++/lockstep-test"]
CHECKS = [
    ("random campaign", [PROGRAMS[0], ARRAY, "1", "600", "0", "4"]),
    ("lockstep-test", [PROGRAMS[1], "6", ARRAY]),
]
# Unit benches of a file (tests/rtl/peri.mk); a folder stands for its files.
BENCHES = {
    "rtl/random/": ["perturb_8"],
    "rtl/requant/npu_rescale.sv": ["rescale"],
    "rtl/requant/npu_requant.sv": ["requant"],
    "rtl/drain/npu_add_lane.sv": ["add_8"],
    "rtl/bus/npu_axi_read": ["axi_read_16"],
    "rtl/bus/npu_axi_write": ["axi_write_8"],
    "rtl/control/npu_validate.sv": ["validate", "validate_4"],
    "cmodel/command/validate.cpp": ["validate"],  # compared with the limits of the contract as well
    "rtl/control/": ["control_16"],
    "rtl/elementwise/npu_softmax.sv": ["softmax_8"],
    "rtl/elementwise/npu_loss.sv": ["loss_8"],
    "rtl/pkg/": ["loss_8", "validate"],
    "rtl/update/": ["update_8"],
}
SECONDS = 300  # of one check


def problems():
    found, names = [], set()
    for name, file, old, new, _ in MUTANTS:
        text = (ROOT / file).read_text()
        if text.count(old) != 1:
            found.append(f"{name}: {file} contains {text.count(old)} times {old!r}, expected once")
        if old == new or name in names:
            found.append(f"{name}: changes nothing, or its name is taken")
        names.add(name)
    return found


def copy_tree(worker):
    """Sources and finished objects; with the times of the originals, so that nothing is built twice."""
    tree = OUT / f"worker{worker}"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for folder in ("rtl", "sim", "cmodel", "sw", "tests"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Makefile", tree / "Makefile")
    for folder in ("build/release-g++", os.path.dirname(LIBRARY)):
        if (ROOT / folder).exists():
            shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("obj", "lastmile-tests"))
    return tree


def make_targets(tree, make, targets):
    """The log if it fails."""
    settings = arrays.settings(VALUES)
    env = {**os.environ, "CCACHE_BASEDIR": str(tree), "CCACHE_NOHASHDIR": "1"}
    env.pop("MAKEFLAGS", None)
    run = subprocess.run([*make.split(), "--no-print-directory", "-j1", *settings, "SIM_OPT=-O1", *targets], cwd=tree,
                         env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return run.stdout if run.returncode else None


def failure(tree, name, command):
    """(check, what it said) if it does."""
    try:
        run = subprocess.run([str(tree / command[0]), *command[1:]], cwd=tree, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return name, f"no end after {SECONDS} s"
    if run.returncode == 0:
        return None
    if run.returncode in (-2, -9, -15):  # somebody stopped it: that says nothing about the mutant
        return "build", f"{command[0]} was stopped from outside"
    said = re.search(r'"difference":"(.*?)"[,}]|^FAIL (.*)$', run.stdout, re.M)
    return name, (said[1] or said[2]) if said else f"exit status {run.returncode}: {run.stdout.strip()[-200:]}"


def benches(file):
    return next((b for prefix, b in BENCHES.items() if file.startswith(prefix)), [])


def verdict(tree, make, units):
    """The first check that fails: (name, what it said), or None; ("build", log) if something does not compile."""
    for unit in units:
        run = tree / f"build/rtl-unit/peri/{unit}/run"
        run.unlink(missing_ok=True)
        log = make_targets(tree, make, [str(run.relative_to(tree))])
        if log is not None:
            return "build", log
        found = failure(tree, f"unit bench {unit}", [str(run)])
        if found:
            return found
    log = make_targets(tree, make, [LIBRARY, *PROGRAMS])
    if log is not None:
        return "build", log
    for name, command in CHECKS:
        found = failure(tree, name, command)
        if found:
            return found
    return None


def trial(mutant, trees, make):
    name, file, old, new, what = mutant
    tree = trees.get()
    started = time.monotonic()
    path = tree / file
    original = path.read_text()
    try:
        path.write_text(original.replace(old, new))
        caught = verdict(tree, make, benches(file))
        if caught and caught[0] == "build":
            (OUT / f"{name}.log").write_text(caught[1])
            result = {"verdict": "broken", "check": "build", "said": caught[1].strip()[-300:]}
        else:
            result = {"verdict": "killed", "check": caught[0],
                      "said": caught[1][:400]} if caught else {"verdict": "survived"}
    finally:
        path.write_text(original)  # with a new time: built again by whoever comes next
        trees.put(tree)
    return {"name": name, "file": file, "what": what, **result, "seconds": round(time.monotonic() - started, 1)}


def markdown(data):
    """Table of the README."""
    lines = ["| planted in | bug | caught by |", "| --- | --- | --- |"]
    for r in data["mutants"]:
        lines.append(f"| `{os.path.basename(r['file'])}` | {r['what']} | "
                     f"{r['check'] if r['verdict'] == 'killed' else '**' + r['verdict'] + '**'} |")
    return "\n".join(lines) + (f"\n\n{data['killed']} of {len(data['mutants'])} planted bugs caught; "
                               f"{data['survived']} survived.")


def report(results, partial):
    path = REPORTS / "mutation.json"
    if partial and path.exists():  # some were run again: the others stay
        known = {r["name"]: r for r in json.loads(path.read_text())["mutants"]}
        known.update({r["name"]: r for r in results})
        results = [known[m[0]] for m in MUTANTS if m[0] in known]
    count = {v: sum(r["verdict"] == v for r in results) for v in ("killed", "survived", "broken")}
    data = {**count, "parameters": VALUES, "checks": ["unit benches", *(n for n, _ in CHECKS)], "mutants": results}
    REPORTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1) + "\n")
    (REPORTS / "mutation.md").write_text(markdown(data) + "\n")
    return data


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--make", default="make")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("what", choices=["check", "run", "table"])
    p.add_argument("names", nargs="*")
    args = p.parse_intermixed_args()
    if args.what == "table":
        print(markdown(json.loads((REPORTS / "mutation.json").read_text())))
        return 0
    found = problems()
    if args.what == "check" or found:
        print("\n".join(found), end="\n" if found else "")
        print(f"{len(MUTANTS) - len(found)} passed, {len(found)} failed")
        return 1 if found else 0
    if shutil.which("verilator") is None:
        print("SKIPPED: verilator is not installed")
        return 0
    chosen = [m for m in MUTANTS if not args.names or m[0] in args.names or ("unit" in args.names and benches(m[1]))]
    if args.names and "unit" not in args.names and len(chosen) != len(set(args.names)):
        sys.exit(f"mutation.py: unknown mutant among {args.names}")
    jobs = min(args.jobs, len(chosen))
    trees = queue.Queue()
    for worker in range(jobs):
        trees.put(copy_tree(worker))
    print(f"{len(chosen)} mutants, {jobs} at a time", flush=True)
    # Without a bug every check passes, or the verdicts mean nothing.
    tree = trees.get()
    caught = verdict(tree, args.make, sorted({b for m in chosen for b in benches(m[1])}))
    trees.put(tree)
    if caught:
        sys.exit(f"mutation.py: {caught[0]} fails without a planted bug: {caught[1][-2000:]}")
    results = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(trial, m, trees, args.make) for m in chosen]):
            r = future.result()
            results.append(r)
            report(results, True)
            print(f"{r['verdict']:9}{r['name']}: {r['what']} ({r['seconds']} s)"
                  + (f"\n         {r['check']}: {r['said']}" if "check" in r else ""), flush=True)
    order = {m[0]: n for n, m in enumerate(MUTANTS)}
    data = report(sorted(results, key=lambda r: order[r["name"]]), bool(args.names))
    shutil.rmtree(OUT, ignore_errors=True)
    print(f"{data['killed']} killed, {data['survived']} survived, {data['broken']} did not build; report: "
          f"{(REPORTS / 'mutation.json').relative_to(ROOT)}")
    bad = [r for r in results if r["verdict"] != "killed"]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
