#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Single bit flips in the registers and memories of the RTL during a training step: what becomes of the step.

usage: injection.py INJECTOR ARRAY --samples N [--seed S] [--jobs J] [--report FILE] [--check]

A stratum is the registers, or the memories, of a block. A sample is a bit of it and a cycle of the step, both drawn
uniformly; with 9,604 samples a share is known within 1 point (95 %). --samples: per stratum; with --check in all, at
least 4 per stratum, and some flips whose outcome is known are made as well.
"""
import argparse
import collections
import concurrent.futures
import json
import math
import pathlib
import random
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "sim" / "verilator")]
import arrays  # noqa: E402
import rtl_registers  # noqa: E402

OUTCOMES = ("masked", "detected", "hang", "activations", "weights")
# Instances to blocks: the first that the path of an instance begins with.
BLOCKS = (("u_control.u_regs", "registers"), ("u_control.u_counters", "counters"), ("u_control", "control"),
          ("u_read", "bus read"), ("u_write", "bus write"), ("u_core.u_load", "load"),
          ("u_core.u_scratchpad", "scratchpad"), ("u_core.u_weight", "weight"), ("u_core.u_array", "array"),
          ("u_core.u_params", "parameters"), ("u_core.u_pool", "pool"), ("u_core", "drain and store"),
          ("u_add", "addition"), ("u_softmax", "softmax"), ("u_loss", "loss"), ("u_update", "update"), ("", "top"))
PREFIX = "TOP.npu_sim.u_npu"


def path_of(scope):
    """Instances below the NPU, generate blocks left out, or None outside."""
    if scope != PREFIX and not scope.startswith(PREFIX + "."):
        return None
    return ".".join(part for part in scope[len(PREFIX) + 1:].split(".") if part.startswith("u_"))


def module_of(path, modules):
    module = "npu"
    for part in filter(None, path.split(".")):
        module = modules[module][1][part]
    return module


def strata(state, modules):
    """{(block, kind): [(variable, elements, bits)]}."""
    found = collections.defaultdict(list)
    for index, v in enumerate(state):
        path = path_of(v["scope"])
        if path is None or v["name"] not in modules[module_of(path, modules)][0]:
            continue
        block = next(name for start, name in BLOCKS if path.startswith(start))
        found[block, "memories" if v["elements"] > 1 else "registers"].append((index, v["elements"], v["bits"]))
    return dict(found)


def bits_of(variables):
    return sum(e * b for _, e, b in variables)


def draw(rng, variables, first, last):
    at = rng.randrange(bits_of(variables))
    for index, elements, bits in variables:
        if at < elements * bits:
            return index, at // bits, at % bits, rng.randrange(first, last)
        at -= elements * bits
    raise AssertionError


class Injector:
    def __init__(self, program, array):
        values = arrays.parse(array)
        self.command = [program, str(ROOT / "build" / "rtl" / (arrays.folder(values) + "-inject") / "npu.so"),
                        arrays.hardware(values)]

    def state(self):
        lines = subprocess.run([*self.command, "list"], check=True, capture_output=True, text=True).stdout.splitlines()
        return json.loads(lines[0]), [json.loads(line) for line in lines[1:]]

    def run(self, flips):
        text = "".join(" ".join(map(str, f)) + "\n" for f in flips)
        done = subprocess.run([*self.command, "run"], input=text, capture_output=True, text=True)
        results = [json.loads(line) for line in done.stdout.splitlines()]
        if done.returncode != 0 or len(results) != len(flips):
            raise SystemExit(f"injection: {flips[len(results)]}: exit code {done.returncode}\n{done.stderr}")
        return results


def interval(count, n):
    """Wilson's, 95 %, per cent."""
    z = 1.96
    p = count / n
    centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return [100 * (centre - half) / (1 + z * z / n), 100 * (centre + half) / (1 + z * z / n)]


def campaign(injector, state, window, parts, samples, seed, jobs):
    """Rows by stratum, largest block first."""
    chunk = 100
    work = []
    for key, variables in parts.items():
        rng = random.Random(f"{seed} {key}")
        flips = [draw(rng, variables, window["first"], window["last"]) for _ in range(samples[key])]
        work += [(key, flips[i:i + chunk]) for i in range(0, len(flips), chunk)]
    results = collections.defaultdict(list)
    done, total, begin = 0, sum(samples.values()), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for (key, flips), outcomes in zip(work, pool.map(lambda w: injector.run(w[1]), work)):
            results[key] += outcomes
            done += len(flips)
            left = (time.monotonic() - begin) * (total - done) / done
            print(f"\r  {done} of {total} flips, {left:.0f} s left  ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = []
    for (block, kind), variables in parts.items():
        r = results[block, kind]
        counts = collections.Counter(x["outcome"] for x in r)
        silent = counts["activations"] + counts["weights"]
        rows.append({"block": block, "kind": kind, "bits": bits_of(variables), "samples": len(r),
                     **{o: counts[o] for o in OUTCOMES}, "silent_interval": interval(silent, len(r)),
                     "by": dict(collections.Counter(x["by"] for x in r if x["outcome"] == "detected"))})
    return rows


def protections(rows):
    """Silent and hanging flips of the whole NPU, by stratum weighted with its bits, and what each protection finds."""
    total = sum(r["bits"] for r in rows)

    def share(kinds, outcomes):
        return 100 * sum(r["bits"] / total * sum(r[o] for o in outcomes) / r["samples"] for r in rows
                         if r["kind"] in kinds)

    every = ("registers", "memories")
    silent = ("activations", "weights")
    watched = 100 * sum(r["bits"] / total * (r["by"].get("WATCHDOG", 0) + r["by"].get("bus protocol", 0)) / r["samples"]
                        for r in rows)
    return {"masked": share(every, ["masked"]), "detected": share(every, ["detected"]), "hang": share(every, ["hang"]),
            "silent": share(every, silent), "silent_memories": share(["memories"], silent),
            "silent_registers": share(["registers"], silent), "silent_weights": share(every, ["weights"]),
            "watchdog": watched}


def known(injector, state, window):
    """Flips that must be seen: (what, flip, outcomes allowed)."""
    def index(scope, name):
        return next(i for i, v in enumerate(state) if v["scope"].endswith(scope) and v["name"] == name)

    middle = (window["first"] + window["last"]) // 2
    flips = [("a register that is latched already", (index("u_regs", "written_q"), 0, 40, window["first"] + 50),
              {"masked"}),
             ("the state of the sequencer", (index("u_sequencer", "state_q"), 0, 2, middle), {"detected", "hang"}),
             ("the seed of the pass", (index("u_regs", "settings_o"), 0, 64 + 64 + 5, window["first"] + 50),
              {"weights", "activations"})]
    passed = 0
    for (what, flip, allowed), result in zip(flips, injector.run([f for _, f, _ in flips])):
        good = result["outcome"] in allowed
        passed += good
        print(f"{'ok' if good else 'FAIL'} {what}: {result['outcome']}, expected {' or '.join(sorted(allowed))}")
    return passed, len(flips)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("injector")
    parser.add_argument("array")
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    modules = rtl_registers.modules()
    injector = Injector(options.injector, options.array)
    window, state = injector.state()
    parts = strata(state, modules)
    weight = sum(map(bits_of, parts.values()))
    samples = {k: max(4, round(options.samples * bits_of(v) / weight)) if options.check else options.samples
               for k, v in parts.items()}
    print(f"seed {options.seed}: {sum(samples.values())} flips in {len(parts)} strata, {weight} bits, a step of "
          f"{window['last'] - window['first']} cycles")
    rows = campaign(injector, state, window, parts, samples, options.seed, options.jobs)
    for r in rows:
        print(f"{r['block']:16} {r['kind']:9} {r['bits']:8} bits {r['samples']:6}: " +
              ", ".join(f"{o} {r[o]}" for o in OUTCOMES if r[o]))
    report = {"array": options.array, "seed": options.seed, "samples": options.samples,
              "cycles": window["last"] - window["first"], "rows": rows, "all": protections(rows)}
    if options.report:
        options.report.parent.mkdir(parents=True, exist_ok=True)
        temporary = options.report.with_suffix(".tmp")
        temporary.write_text(json.dumps(report, indent=1))
        temporary.rename(options.report)
        print(f"{options.report} written; `make readme` puts it into the page")
    if options.check:
        passed, checks = known(injector, state, window)
        # Every block of the NPU is there, and not everything is masked.
        seen = {b for b, _ in parts} == {name for _, name in BLOCKS} - {"top"} and \
            any(r["masked"] < r["samples"] for r in rows)
        print(f"{'ok' if seen else 'FAIL'} every block has registers, and flips are noticed")
        passed += seen
        print(f"{passed} passed, {checks + 1 - passed} failed")
        raise SystemExit(0 if passed == checks + 1 else 1)


if __name__ == "__main__":
    main()
