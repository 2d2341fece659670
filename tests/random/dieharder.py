#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of `dieharder -a` on the perturbation generator, in several orders of its words.

usage: dieharder.py --stream PROGRAM --out FOLDER [--fast] [--jobs N] [--minutes M] [ORDER...]

Each test of -a is a process of its own with -a's parameters, reading a section of the stream that no other test
reads, so that a campaign that was interrupted goes on where it was (FOLDER/results.jsonl) and cheap tests of all
orders come first. A result that is WEAK is repeated on another section with five times the samples, and once more on
a third one if need be; all are reported, and the last one counts. FOLDER/dieharder.json and .md are written after
every test. --fast: a subset of tests on three orders, in well under a minute. --minutes: start no further test after
that time. Prints `N passed, N failed` last (a failed test: not PASSED after its repetitions, or FAILED at first).
"""
import argparse
import concurrent.futures
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ORDERS = [
    "seeds/sign/word",  # consecutive seeds
    "elements/sign/word",  # consecutive elements of a tensor, signs
    "robin/sign/word",  # neighbouring seeds, tensors and rows in turn
    "seeds/sign/bit-0",  # the sign of one weight over the steps of a run
    "network/gaussian/word",  # a training run with Gaussian perturbations
    "tensors/sign/word",
    "rows/sign/word",
    "elements/gaussian/word",
    "elements/round/word",
    "seeds/round/word",
    "elements/sign/bit-31",
    "elements/sign/bit-63",
    "seeds/sign/bit-32",
    "seeds/sign/reversed",
    "elements/sign/high",
    "elements/sign/low",
]
FAST_ORDERS = ["seeds/sign/word", "elements/gaussian/word", "robin/sign/bit-0"]

# Test number, -n, cost (random numbers in units of 10^8, roughly; orders the campaign). The list and values of n are
# those of -a.
TESTS = [(0, 0, 0.1), (1, 0, 1), (2, 0, 1.3), (3, 0, 0.6), (4, 0, 2), (5, 0, 2), (6, 0, 2), (7, 0, 2), (8, 0, 0.6),
         (9, 0, 1.3),
         (10, 0, 0.1), (11, 2, 0.2), (12, 3, 0.1), (13, 0, 0.5), (14, 0, 0.1), (15, 0, 0.1), (16, 0, 0.5), (17, 0, 20),
         (100, 1, 0.1), (101, 2, 0.1), (102, 16, 0.1)]
TESTS += [(200, n, 0.2 * n) for n in range(1, 13)]
TESTS += [(201, n, 0.1 * n) for n in range(2, 6)]
TESTS += [(202, n, 0.1 * n) for n in range(2, 6)]
TESTS += [(203, n, n + 1.0) for n in range(33)]
# 208 runs both of its variants
TESTS += [(204, 0, 0.1), (205, 0, 1.5), (206, 256, 0.5), (207, 32, 2), (208, 0, 2), (209, 12, 0.7)]
FAST_TESTS = {(0, 0), (8, 0), (15, 0), (16, 0), (100, 1), (200, 3), (202, 4), (204, 0), (206, 256)}
SECTION = 1 << 34  # words between sections; the longest test reads 2^31

LINE = re.compile(r"^\s*(\w+)\|\s*(\d+)\|\s*(\d+)\|\s*(\d+)\|([\d.]+)\|\s*(PASSED|WEAK|FAILED)")
lock = threading.Lock()


def dieharder(stream, order, number, n, section, samples=None):
    """Result lines of one test: (name, n, t samples, p samples, p value, assessment)."""
    source = subprocess.Popen([stream, order, "--skip", str(section * SECTION)], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    command = ["dieharder", "-g", "200", "-d", str(number), "-n", str(n)] + (["-p", str(samples)] if samples else [])
    try:
        out = subprocess.run(command, stdin=source.stdout, capture_output=True, text=True, errors="replace").stdout
    finally:
        source.stdout.close()
        source.kill()
        source.wait()
    lines = [m.groups() for m in map(LINE.match, out.splitlines()) if m]
    if not lines:
        raise RuntimeError(f"dieharder -d {number} gave no result on {order}: {out[-300:]}")
    return [dict(test=a, n=int(b), tsamples=int(c), psamples=int(d), p=float(e), assessment=f) for a, b, c, d, e,
            f in lines]


def job(stream, order, index, number, n):
    begin = time.monotonic()
    results = dieharder(stream, order, number, n, index)
    for attempt in (1, 2):
        open_ones = [r for r in results if (r.get("repeats") or [r])[-1]["assessment"] == "WEAK"]
        if not open_ones:
            break
        again = dieharder(stream, order, number, n, index + 512 * attempt, 5 * open_ones[0]["psamples"])
        # A test that prints several lines is told apart by name, n and rank among equals.
        for r in open_ones:
            same = [q for q in results if (q["test"], q["n"]) == (r["test"], r["n"])]
            match = [q for q in again if (q["test"], q["n"]) == (r["test"], r["n"])][same.index(r)]
            r.setdefault("repeats", []).append({k: match[k] for k in ("psamples", "p", "assessment")})
    return dict(order=order, number=number, n=n, seconds=round(time.monotonic() - begin, 1), results=results)


def final(r):
    return r["assessment"] if r["assessment"] == "FAILED" else (r.get("repeats") or [r])[-1]["assessment"]


def report(out, done, orders, tests):
    rows = [(d["order"], r) for d in done for r in d["results"]]
    # Identical lines of one test (runs, craps and the like) are one entry with the number of the test behind it.
    table = ["| order | tests run | results | PASSED | WEAK at first | FAILED | after repetition |",
             "| --- | --- | --- | --- | --- | --- | --- |"]
    for o in orders:
        mine = [r for order, r in rows if order == o]
        ran = sum(d["order"] == o for d in done)
        if not ran:
            continue
        weak = [r for r in mine if r["assessment"] == "WEAK"]
        bad = [r for r in mine if final(r) != "PASSED"]
        table.append(f"| `{o}` | {ran} of {len(tests)} | {len(mine)} | "
                     f"{sum(r['assessment'] == 'PASSED' for r in mine)} | {len(weak)} | "
                     f"{sum(r['assessment'] == 'FAILED' for r in mine)} | "
                     f"{'all passed' if not bad else f'{len(bad)} not passed'} |")
    odd = [(o, r) for o, r in rows if r["assessment"] != "PASSED"]
    total = len(rows)
    text = ["# dieharder on the perturbation generator", "",
            "Tests of `dieharder -a` (3.31.1) with its parameters; WEAK is p below 0.005 or above 0.995 (1 % of "
            "results from a perfect",
            "generator), FAILED below 0.000001. Every WEAK was repeated on another section of the stream with 5 "
            "times the samples.", "",
            *table, ""]
    if total:
        weak = sum(r["assessment"] == "WEAK" for _, r in rows)
        text += [f"{total} results, {weak} WEAK at first ({100 * weak / total:.1f} %; expected 1 %).", ""]
    if odd:
        text += ["| order | test | n | p | | repeated: samples, p, result |", "| --- | --- | --- | --- | --- | --- |"]
        for o, r in odd:
            again = "; ".join(f"{q['psamples']}, {q['p']:.4f}, {q['assessment']}" for q in r.get("repeats", []))
            text.append(f"| `{o}` | {r['test']} | {r['n']} | {r['p']:.6f} | {r['assessment']} | {again} |")
        text.append("")
    write(out / "dieharder.md", "\n".join(text))
    write(out / "dieharder.json", json.dumps({"tests": len(tests), "done": done}, indent=1) + "\n")


def write(path, text):
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--stream", required=True)
    p.add_argument("--out", required=True, type=pathlib.Path)
    p.add_argument("--fast", action="store_true")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--minutes", type=float, default=float("inf"))
    p.add_argument("orders", nargs="*")
    args = p.parse_args()
    if shutil.which("dieharder") is None:
        print("SKIPPED: dieharder is not installed")
        return 0
    orders = args.orders or (FAST_ORDERS if args.fast else ORDERS)
    tests = [(k, t) for k, t in enumerate(TESTS) if not args.fast or t[:2] in FAST_TESTS]
    args.out.mkdir(parents=True, exist_ok=True)
    state = args.out / "results.jsonl"
    if args.fast:
        state.unlink(missing_ok=True)
    done = [json.loads(line) for line in state.read_text().splitlines()] if state.exists() else []
    known = {(d["order"], d["number"], d["n"]) for d in done}
    todo = [(o, k, t[0], t[1]) for k, t in sorted(tests, key=lambda kt: kt[1][2]) for o in orders
            if (o, t[0], t[1]) not in known]
    start = time.monotonic()

    def one(work):
        if time.monotonic() - start > args.minutes * 60:
            return
        d = job(args.stream, *work)
        with lock:
            done.append(d)
            with state.open("a") as f:
                f.write(json.dumps(d) + "\n")
            report(args.out, done, orders, TESTS if not args.fast else tests)
            if not args.fast:
                verdict = ", ".join(sorted({final(r) for r in d["results"]}))
                print(f"[{time.monotonic() - start:6.0f} s] {len(done)}/{len(tests) * len(orders)} {d['order']} "
                      f"{d['results'][0]['test']} {d['n']}: {verdict} ({d['seconds']} s)", flush=True)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for f in [pool.submit(one, w) for w in todo]:
            f.result()
    results = [(d["order"], r) for d in done if d["order"] in orders for r in d["results"]]
    bad = [(o, r) for o, r in results if final(r) != "PASSED"]
    for o, r in bad:
        print(f"{o}: {r['test']} {r['n']}: p = {r['p']}, {r['assessment']}, repeats {r.get('repeats')}")
    print(f"{len(results) - len(bad)} passed, {len(bad)} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
