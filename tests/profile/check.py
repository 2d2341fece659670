#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The profiler as its users meet it. usage: check.py LASTMILE [--baseline REASON]

Checks summary, counters, energy, page, difference of runs, trace (protoc and sw/profile/perfetto.proto), and that
cycles, bytes and energy of a step are within 2 % of tests/profile/baseline.json. --baseline writes that file anew,
with the reason.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from checks import ROOT, Checks, decode_trace, have_protoc

BASELINE = ROOT / "tests" / "profile" / "baseline.json"
TASKS = ["small-cnn", "resnet8", "ds-cnn"]
DRIFT = 0.02
NETWORK = """name = "mine"
input = [8, 8, 4]
classes = 3
[[layer]]
name = "fc"
op = "fully_connected"
units = 3
"""
check = Checks()


def run(*args, code=0):
    r = subprocess.run([sys.argv[1], *map(str, args)], cwd=ROOT, capture_output=True, text=True)
    if r.returncode != code:
        raise AssertionError(f"{' '.join(map(str, args))}: exit status {r.returncode}, expected "
                             f"{code}\n{r.stderr[-2000:]}")
    return r.stdout if code == 0 else r.stderr


def bus_bytes(step):
    return sum(v for k, v in step["traffic"].items() if not k.startswith(("scratchpad", "accumulator")))


def measured(report):
    out = {}
    for n in report["networks"]:
        for variant, s in n["steps"].items():
            out[f"{n['name']} {variant}"] = {"cycles": s["cycles"], "bus_bytes": bus_bytes(s),
                                             "energy_uj": s["energy_uj"]["value"],
                                             "memory_bytes": s["memory"]["footprint_bytes"]}
    return out


def profile(folder, *args):
    return run("profile", "--quiet", "--predict", "--networks", ",".join(TASKS), "--reports", folder, *args)


def baselines(report):
    now, old = measured(report), json.loads(BASELINE.read_text())["steps"]
    check("baseline names every step", sorted(now) == sorted(old), f"{sorted(now)} {sorted(old)}")
    for step in now.keys() & old.keys():
        for key, value in now[step].items():
            drift = value / old[step][key] - 1
            check(f"baseline {step} {key}", abs(drift) <= DRIFT,
                  f"{old[step][key]} -> {value} ({100 * drift:+.1f} %); if meant: make profile-baseline REASON=...")


def trace(path):
    if not have_protoc("the trace is only decoded by test_trace.cpp"):
        return
    r = decode_trace(path)
    check("trace decodes", r.returncode == 0, r.stderr)
    text = r.stdout
    check("every field of the trace is known", not re.search(r"^\s*\d+[:\s{]", text, re.M))
    begins, ends = text.count("TYPE_SLICE_BEGIN"), text.count("TYPE_SLICE_END")
    check("slices of the trace are closed", begins == ends and begins > 100, f"{begins} {ends}")
    for word in ("LOAD", "WEIGHT", "ARRAY", "DRAIN", "STORE", "UPDATE", "tiles in the scratchpad",
                 "read, bytes per cycle", "energy, pJ"):
        check(f"trace has a track {word}", f'name: "{word}"' in text)
    check("trace has flows", "flow_ids" in text)


def main():
    if sys.argv[2:3] == ["--baseline"]:
        reason = " ".join(sys.argv[3:]).strip()
        if not reason:
            sys.exit("make profile-baseline REASON=\"why the numbers may change\"")
        with tempfile.TemporaryDirectory() as t:
            report = json.loads(profile(t, "--no-compare", "--json"))
        BASELINE.write_text(json.dumps({"reason": reason, "settings": "w16, 16 x 16, batch 64, m = 1, 22 nm",
                                        "steps": measured(report)}, indent=1) + "\n")
        print(f"{BASELINE.relative_to(ROOT)}: written")
        return
    with tempfile.TemporaryDirectory() as t:
        folder, small = pathlib.Path(t), pathlib.Path(t) / "small"
        summary = profile(folder, "--trace", folder / "unused.pftrace")
        check("summary has at most 40 lines", len(summary.splitlines()) <= 40, str(len(summary.splitlines())))
        report = json.loads((folder / "profile.json").read_text())
        baselines(report)
        full = next(n for n in report["networks"] if n["name"] == "resnet8")["steps"]["full"]

        # Layers and commands sum to the step, phases too.
        for parts in ("phases", "layers", "commands"):
            for key in ("cycles", "macs"):
                check(f"{parts} sum to the step: {key}", sum(p[key] for p in full[parts]) == full[key])
            check(f"{parts} sum to the step: bytes", sum(map(bus_bytes, full[parts])) == bus_bytes(full))
            check(f"{parts} sum to the step: energy",
                  abs(sum(p["energy_uj"]["value"] for p in full[parts]) / full["energy_uj"]["value"] - 1) < 1e-9)
        for p in full["layers"]:
            check("time of a layer sums to its cycles", abs(sum(p["time"].values()) - p["cycles"]) < 1e-6)

        # The saved counters give the same energy, and another with another table.
        counters = folder / "profile" / "resnet8-full.json"
        same = json.loads(run("energy", "--counters", counters, "--json"))
        check("energy of saved counters", abs(same["uj_per_step"]["value"] / full["energy_uj"]["value"] - 1) < 1e-12)
        other = json.loads(run("energy", "--counters", counters, "--table", "45nm", "--json"))
        check("another table, another energy", other["uj_per_step"]["value"] > same["uj_per_step"]["value"])
        table = folder / "mine.toml"
        text = (ROOT / "sw/share/energy/22nm.toml").read_text()
        table.write_text(text.replace('[cell."array.mac_w16"]\nvalue = 0.35', '[cell."array.mac_w16"]\nvalue = 0.45'))
        mine = json.loads(run("energy", "--counters", counters, "--table", table, "--json"))
        delta = mine["uj_per_step"]["value"] - same["uj_per_step"]["value"]
        check("a cell changed by 0.1 pJ", abs(delta / (full["macs"] * 0.1e-6) - 1) < 1e-6, str(delta))
        table.write_text(text.replace('[cell."array.mac_w16"]', '[cell."array.mac_w32"]'))
        check("an unknown cell is refused", "array.mac_w16" in run("energy", "--counters", counters, "--table", table,
            code=3))
        check("counters that are none are refused", "not JSON" in run("energy", "--counters", table, code=3))

        # The page fetches nothing.
        page = (folder / "profile.html").read_text()
        check("page is self-contained", not re.search(r'(src|href)\s*=\s*"(?!#)|<script|@import|url\(',
                                                      page.replace("xlink:href=\"#", "")), "")
        for word in ("Roofline", "Energy by layer", "Bus traffic by layer", "Live memory", "Cycles by layer",
                     "Against what", "Weight traffic"):
            check(f"page shows {word}", word in page)

        # Difference of two runs, and a trace.
        profile(small, "--batch", 8, "--against", folder / "profile.json", "--trace", small.parent / "step.pftrace",
                "--no-compare")
        (small.parent / "step.pftrace").rename(small / "step.pftrace")
        worse = json.loads((small / "profile.json").read_text())["differences"]
        check("difference of runs", worse and all(d["percent"] != 0 for d in worse))
        check("page shows the difference", "Difference to the earlier run" in (small / "profile.html").read_text())
        profile(small / "b", "--batch", 8, "--against", small / "profile.json", "--no-compare")
        check("equal runs differ in nothing",
              json.loads((small / "b" / "profile.json").read_text())["differences"] == [])
        trace(small / "step.pftrace")
        check("unknown network", "expected one of" in run("profile", "--networks", "resnet9", "--reports", folder,
                                                          code=2))
        mine = folder / "mine" / "net.toml"
        mine.parent.mkdir()
        mine.write_text(NETWORK)
        run("profile", "--quiet", "--predict", "--no-compare", "--networks", mine, "--reports", folder / "own")
        check("a network file in a folder: reports are named after the file and lie in their folder",
              (folder / "own" / "profile" / "net-full.json").exists() and list(mine.parent.iterdir()) == [mine])
        check("two networks of one name", "would write the same reports" in run(
            "profile", "--predict", "--networks", f"{mine},{mine.parent}/../mine/net.toml", "--reports",
            folder / "own", code=2))
    check.finish()


main()
