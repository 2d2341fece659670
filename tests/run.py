#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every check of the repository and ends with the line `N passed, N failed` (and `, N skipped`).

usage: run.py [--make MAKE] [--jobs N] [--cxx CXX] [--only WORD] [TARGET...]

In order: source checks, release build, its doctest suites, the same suites built with sanitizers, then each make
TARGET. A suite is the set of test cases whose names start with "<suite>: "; suites run side by side, so that a crash
costs one suite. A check without counts of its own is one case: passed if it exits with 0. A line `SKIPPED: reason`
turns a passed case into a skipped one. New checks: add a make target to TEST_TARGETS in a fragment, or a (name,
command) pair to SOURCE_CHECKS below. --only WORD runs the checks and suites whose name contains WORD. Reports:
build/reports/test.json, logs: build/reports/test/.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPORTS = ROOT / "build" / "reports"
PY = sys.executable
LINT = [PY, "tests/lint/lint.py"]
SOURCE_CHECKS = [
    ("spec drift", [PY, "cmodel/spec/generate.py", "--check"]),
    ("layering", LINT + ["layering"]),
    ("source text", LINT + ["text"]),
    ("pages", LINT + ["pages"]),
    ("python syntax", LINT + ["python"]),
    ("format", LINT + ["format"]),
]
TIMEOUT = 3600  # seconds for one check: only a hang reaches it
HEARTBEAT = 20  # seconds between "still running" lines
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$", re.M)
DOCTEST = re.compile(r"^\[doctest\] test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed", re.M)

Result = collections.namedtuple("Result", "name passed failed skipped seconds output")
start = time.monotonic()
running, lock, finished = {}, threading.Lock(), threading.Event()


def say(text):
    with lock:
        print(f"[{time.monotonic() - start:5.0f} s] {text}", flush=True)


def heartbeat():
    while not finished.wait(HEARTBEAT):
        if running:
            say("still running: " + ", ".join(f"{n} ({time.monotonic() - t:.0f} s)" for n, t in list(running.items())))


def command_output(command, env, stream):
    """Exit status and text of a command that never waits for input; stream: show the text as it comes."""
    child = subprocess.Popen(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    timer = threading.Timer(TIMEOUT, lambda: os.killpg(child.pid, 9))
    timer.start()
    lines = []
    try:
        for line in child.stdout:
            lines.append(line)
            if stream:
                print(line, end="", flush=True)
        status = child.wait()
    finally:
        if timer.is_alive():
            timer.cancel()
        else:
            lines.append(f"stopped after {TIMEOUT} s\n")
    return status, "".join(lines)


def check(name, command, env=None, stream=False):
    """Runs one check; a failure shows its output."""
    begin = time.monotonic()
    running[name] = begin
    try:
        status, out = command_output(command, {**os.environ, **(env or {})}, stream)
    except OSError as e:
        status, out = 127, f"{command[0]}: {e.strerror}\n"
    seconds = time.monotonic() - begin
    running.pop(name, None)
    reasons = list(dict.fromkeys(re.findall(r"^SKIPPED: .*$", out, re.M)))
    doctest, counted = DOCTEST.search(out), COUNTS.findall(out)
    if doctest:
        passed, failed = int(doctest[2]), int(doctest[3])
        skipped = min(len(reasons), passed)
        passed -= skipped
    elif counted:
        passed, failed, skipped = (int(n or 0) for n in counted[-1])
    else:
        passed, failed, skipped = (0, 0, 1) if status == 0 and reasons else (1, 0, 0) if status == 0 else (0, 1, 0)
    if status != 0 and failed == 0:  # a crash, or a leak found at exit: the counts alone would hide it
        failed = 1
    (REPORTS / "test").mkdir(parents=True, exist_ok=True)
    (REPORTS / "test" / (re.sub(r"\W+", "-", name) + ".log")).write_text(out)
    verdict = f"{passed} passed" + (f", {failed} FAILED" if failed else "") + (f", {skipped} skipped" if skipped
        else "")
    say(f"{name}: {verdict} ({seconds:.1f} s)")
    with lock:
        for r in reasons:
            print(f"         {r}", flush=True)
        if failed and not stream:
            print(f"----- {name}: `{' '.join(command)}` (exit status {status})\n{out[-20000:].rstrip()}\n-----",
                  flush=True)
    return Result(name, passed, failed, skipped, seconds, out)


def without_aslr():
    """Sanitizers of older compilers crash at random under wide address randomisation; where allowed, run without it."""
    wrap = ["setarch", platform.machine(), "-R"]
    try:
        return wrap if subprocess.run(wrap + ["true"], stderr=subprocess.DEVNULL).returncode == 0 else []
    except OSError:
        return []


def suites(variant, args):
    """Builds the runner of one variant and runs its suites."""
    say(f"building the {variant} tests")
    done = [check(f"build {variant}", args.make.split() + ["--no-print-directory", f"-j{args.jobs}",
                                                           f"VARIANT={variant}",
                                                            f"CXX={args.cxx}", "build", "tests"], stream=True)]
    if done[0].failed:
        return done
    prefix = without_aslr() if variant == "debug" else []
    runner = prefix + [f"build/{variant}-{os.path.basename(args.cxx)}/lastmile-tests"]
    status, listing = command_output(runner + ["--list-test-cases", "--no-colors"], dict(os.environ), False)
    if status != 0:
        print(listing)
        return done + [Result(f"{variant}: list of test cases", 0, 1, 0, 0, listing)]
    names = [line for line in listing.splitlines() if line and not line.startswith(("[doctest]", "==="))]
    subjects = dict.fromkeys(n.split(": ")[0] for n in names if re.match(r"[\w-]+: ", n))
    jobs = [(s, ["--test-case=" + s + ": *"]) for s in subjects]
    if any(not re.match(r"[\w-]+: ", n) for n in names):
        jobs.append(("other", ["--test-case-exclude=" + ",".join(s + ": *" for s in subjects)]))
    env = {"UBSAN_OPTIONS": "print_stacktrace=1"}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(check, f"{variant}: {s}", runner + ["--no-colors"] + pick, env)
                   for s, pick in jobs if wanted(args, f"{variant}: {s}")]
        return done + [f.result() for f in futures]


def wanted(args, name):
    return not args.only or args.only in name


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--make", default="make")
    p.add_argument("--jobs", type=int, default=os.cpu_count())
    p.add_argument("--cxx", default="g++")
    p.add_argument("--only")
    p.add_argument("targets", nargs="*")
    args = p.parse_args()
    os.environ.pop("MAKEFLAGS", None)  # the job server of the calling make is not ours to pass on
    threading.Thread(target=heartbeat, daemon=True).start()
    results = [check(name, command) for name, command in SOURCE_CHECKS if wanted(args, name)]
    results += suites("release", args)
    results += suites("debug", args)
    for target in args.targets:
        if wanted(args, target):
            results.append(check(f"make {target}", args.make.split() + ["--no-print-directory", f"-j{args.jobs}",
                target]))
    finished.set()

    total = {k: sum(getattr(r, k) for r in results) for k in ("passed", "failed", "skipped")}
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "test.json").write_text(json.dumps(
        {**total, "seconds": round(time.monotonic() - start, 1),
         "checks": [{**r._asdict(), "seconds": round(r.seconds, 2), "output": None} for r in results]}, indent=1)
                                       + "\n")
    bad = [r.name for r in results if r.failed]
    if bad:
        print("failed: " + ", ".join(bad))
    print(f"{total['passed']} passed, {total['failed']} failed" + (f", {total['skipped']} skipped" if total["skipped"]
        else ""),
          flush=True)
    return 1 if total["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
