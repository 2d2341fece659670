#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Predicted against measured cycles of a suite on the Verilated NPU; ends with `N passed, N failed`.

usage: check.py [--report NAME] [--make MAKE] PROGRAM NETWORKS VECTORS [--quick] ARRAY... ARRAY: a name of
sim/arrays.mk, or rows=8,cols=8,... Fails if a network is off by more than 5 %, the median of all cases of a parameter
set by more than 2 %, or the cycles of work of a command's array or drain at all; if perturbing changes how long a
command takes (a memory may be faster than the random numbers: AHEAD); and on 16 x 16 with a bus of 16 bytes if the
multipliers are busy for less, or a training step takes longer, than it should (BUSY, STEP). --make builds the RTL of
each parameter set first. Writes build/reports/NAME.json and NAME.md (NAME: timing-check).
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import arrays

NETWORK_LIMIT, MEDIAN_LIMIT = 5.0, 2.0  # per cent
KINDS = {"network": "networks", "vector": "golden vectors", "command": "single commands"}
AHEAD = 10  # cycles from requesting weights to their perturbation
EXACT = ["array_cycles", "drain_cycles"]
# Utilisation of the multipliers over a forward pass, and cycles of a step of one pair in forward passes; at 16 x 16,
# 16 bytes per cycle.
BUSY = {"resnet8 w16 batch 16 pairs 1": 0.90, "product 512": 0.97}
STEP, STEPS = 2.1, ["small-cnn w16 batch 16 pairs 1", "ds-cnn w16 batch 16 pairs 1", "resnet8 w16 batch 16 pairs 1"]
USUAL = (20, 0)  # latency, bytes per cycle (0: as wide as the bus)
# Of these the share of all cycles that prediction and measurement disagree about is reported.
COUNTERS = ["array_cycles", "stall_load", "stall_weight", "stall_drain", "drain_cycles", "element_cycles"]


def largest(cases):
    return max(cases, key=lambda c: abs(c["error"]))


def label(c):
    return f"{c['name']}, latency {c['latency']}, {c['bandwidth'] or 'bus width'} bytes per cycle"


def memory(c):
    return f"{c['latency']} cycles, {c['bandwidth']} B" if c["bandwidth"] else f"{c['latency']} cycles, full"


def summary(cases):
    rows = []
    for kind, name in KINDS.items():
        of = [c for c in cases if c["kind"] == kind]
        if of:
            worst = largest(of)
            rows.append({"kind": kind, "name": name, "cases": len(of), "cycles": sum(c["cycles"] for c in of),
                         "median": statistics.median(abs(c["error"]) for c in of), "largest": worst["error"],
                         "case": label(worst)})
    return rows


def utilisation(case, multipliers):
    """Where the multipliers' cycles of a forward pass go, as shares that add up to 1; `step`: cycles of 2 forward
    passes and the update over one."""
    forward = [k for k in case["commands"] if k["phase"] not in ("forward", "update")]
    cycles = sum(k["cycles"] for k in forward)
    array = sum(k["array_cycles"] for k in forward)
    out = {"name": case["name"], "cycles": cycles, "useful": sum(k["macs"] for k in forward) / (cycles * multipliers)}
    out["partly_used"] = array / cycles - out["useful"]
    for name in ("stall_load", "stall_weight", "stall_drain"):
        out[name] = sum(k[name] for k in forward) / cycles
    out["other_commands"] = sum(k["cycles"] for k in forward if not k["array_cycles"]) / cycles
    out["begin_and_end"] = 1 - sum(v for k, v in out.items() if k not in ("name", "cycles"))
    update = sum(k["cycles"] for k in case["commands"] if k["phase"] == "update")
    if update:
        out["step"] = (2 * cycles + update) / cycles
    return out


def perturbation_costs(case):
    """One line for each command of a network whose cycles depend on whether its weights are perturbed."""
    plain, perturbed = ([k for k in case["commands"] if k["phase"] == phase] for phase in ("forward", "forward+"))
    allowed = max(0, AHEAD - case["latency"])
    return [f"{label(case)}, command {a['command']}: {a['cycles']} cycles, perturbed {b['cycles']}"
            for a, b in zip(plain, perturbed, strict=True) if not 0 <= b["cycles"] - a["cycles"] <= allowed]


def too_slow(rows):
    """One line for each limit that is missed."""
    found = {r["name"]: r for r in rows}
    return [f"{n}: the multipliers are busy for {found[n]['useful']:.4f} of the time, at least {limit}"
            for n, limit in BUSY.items() if found[n]["useful"] < limit] + \
        [f"{n}: a training step takes {found[n]['step']:.3f} forward passes, at most {STEP}" for n in STEPS
         if found[n]["step"] > STEP]


def counters(cases):
    """Largest disagreement about each counter in a network, in per cent of the network's cycles."""
    out = {}
    for name in COUNTERS:
        out[name] = max((100 * abs(sum(k[f"predicted_{name}"] - k[name] for k in c["commands"])) / c["cycles"]
                         for c in cases if c["kind"] == "network"),
                        default=0.0)
    return out


def markdown(results):
    text = []
    for r in results:
        text += [f"### {r['rows']} x {r['cols']}, bus of {r['bus_bytes']} bytes", "",
                 "| | cases | cycles measured | median error, % | largest, % | in |",
                 "| --- | --- | --- | --- | --- | --- |"]
        text += [f"| {s['name']} | {s['cases']} | {s['cycles']} | {s['median']:.2f} | {s['largest']:+.2f} | "
                 f"{s['case']} |" for s in r["summary"]]
        text += ["", "| network | memory | measured | predicted | error, % |", "| --- | --- | --- | --- | --- |"]
        text += [f"| {c['name']} | {memory(c)} | {c['cycles']} | {c['predicted']} | {c['error']:+.2f} |"
                 for c in r["cases"] if c["kind"] == "network"]
        text.append("")
    return "\n".join(text)


def run(args, text):
    values = arrays.parse(text)
    if args.make:
        build = [*args.make.split(), "--no-print-directory", "rtl", *arrays.settings(values)]
        if subprocess.run(build, stdout=subprocess.DEVNULL).returncode != 0:
            return None
    quick = ["quick"] if args.quick else []
    child = subprocess.run([args.program, arrays.hardware(values), args.networks, args.vectors, *quick],
                           stdout=subprocess.PIPE, text=True)
    if child.returncode != 0:
        return None
    r = json.loads(child.stdout.splitlines()[-1])
    r.update({n.lower(): v for n, v in values.items() if n != "TRAINING"})
    r["summary"] = summary(r["cases"])
    r["median"] = statistics.median(abs(c["error"]) for c in r["cases"])
    r["counters"] = counters(r["cases"])
    r["utilisation"] = [utilisation(c, r["rows"] * r["cols"]) for c in r["cases"]
                        if c["name"] in [*STEPS, *BUSY] and (c["latency"], c["bandwidth"]) == USUAL]
    return r


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--report", default="timing-check")
    p.add_argument("--make")
    p.add_argument("--quick", action="store_true")
    p.add_argument("program")
    p.add_argument("networks")
    p.add_argument("vectors")
    p.add_argument("sets", nargs="+")
    args = p.parse_args()
    passed = failed = 0
    results = []
    for text in args.sets:
        r = run(args, text)
        if r is None:
            print(f"FAIL {text}: did not run")
            failed += 1
            continue
        results.append(r)
        print(f"{text}:")
        for s in r["summary"]:
            print(f"  {s['cases']} {s['name']}: median {s['median']:.2f} %, largest {s['largest']:+.2f} % "
                  f"({s['case']})")
        print("  largest disagreement in a network, % of its cycles: "
              + ", ".join(f"{n} {v:.2f}" for n, v in r["counters"].items()))
        for u in r["utilisation"]:
            print(f"  {u['name']}: multipliers busy {u['useful']:.4f}"
                  + (f", a step takes {u['step']:.3f} forward passes" if "step" in u else ""))
        if (r["rows"], r["cols"], r["bus_bytes"]) == (16, 16, 16):
            slow = too_slow(r["utilisation"])
            for line in slow:
                print(f"FAIL {line}")
            passed, failed = passed + len(BUSY) + len(STEPS) - len(slow), failed + len(slow)
        for c in r["cases"]:
            if c["kind"] != "network":
                continue
            if abs(c["error"]) <= NETWORK_LIMIT:
                passed += 1
            else:
                failed += 1
                print(f"FAIL {label(c)}: {c['cycles']} cycles, predicted {c['predicted']}, {c['error']:+.2f} %, at "
                      f"most {NETWORK_LIMIT} %")
        wrong = [f"{label(c)}, command {k['command']}: {n} {k[n]}, predicted {k['predicted_' + n]}"
                 for c in r["cases"] for k in c["commands"] for n in EXACT if k[n] != k[f"predicted_{n}"]]
        for line in wrong[:10]:
            print(f"FAIL {line}")
        passed, failed = (passed, failed + 1) if wrong else (passed + 1, failed)
        slower = [line for c in r["cases"] if c["kind"] == "network" for line in perturbation_costs(c)]
        for line in slower[:10]:
            print(f"FAIL {line}")
        passed, failed = (passed, failed + 1) if slower else (passed + 1, failed)
        if r["median"] <= MEDIAN_LIMIT:
            passed += 1
        else:
            failed += 1
            print(f"FAIL {text}: the median error of {len(r['cases'])} cases is {r['median']:.2f} %, at most "
                  f"{MEDIAN_LIMIT} %")
    folder = pathlib.Path("build/reports")
    folder.mkdir(parents=True, exist_ok=True)
    for r in results:
        for c in r["cases"]:
            c["commands"] = [{k: v for k, v in x.items() if k in ("phase", "command", "opcode", "runs")
                              or f"predicted_{k}" in x or k.startswith("predicted_")}
                             for x in c["commands"]]
    (folder / f"{args.report}.json").write_text(json.dumps({"limits": {"network": NETWORK_LIMIT,
        "median": MEDIAN_LIMIT}, "sets": results}, indent=1) + "\n")
    (folder / f"{args.report}.md").write_text("# Predicted cycles against the RTL\n\n" + markdown(results) + "\n")
    print(f"report: {folder / (args.report + '.json')}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
