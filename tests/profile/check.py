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

sys.path.insert(0, str(ROOT / "tests" / "cli"))
from documented import absent, section, unsaid  # noqa: E402

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
    networks = () if "--networks" in args else ("--networks", ",".join(TASKS))
    return run("profile", "--quiet", "--predict", *networks, "--reports", folder, *args)


def text_of(page):
    """A page without its charts and tags."""
    return re.sub(r"<[^>]+>", " ", re.sub(r"<svg.*?</svg>|<style.*?</style>", " ", page, flags=re.S))


def units(what, text):
    check(f"{what}: no number with an exponent", not (bad := re.findall(r"\d[.\d]*e[+-]\d+", text)), str(bad[:5]))
    check(f"{what}: thousands are separated", not (bad := re.findall(r"(?<![\w.,-])\d{5,}(?= cycles| B\b| uJ)", text)),
          str(bad[:5]))


def documentation(folder):
    """What sw/profile/README.md says of the report is true, and all of it is said."""
    profile(folder / "first", "--networks", "small-cnn", "--no-compare")
    first = folder / "first" / "profile.json"
    report = json.loads(profile(folder / "doc", "--sweep", "--batch", 8, "--dram", "ddr3", "--against", first,
                                "--json"))
    text = section(ROOT / "sw/profile/README.md", "## build/reports/profile.json")
    check("documented fields are in the report", not (a := absent(report, text)), str(a))
    n = next(n for n in report["networks"] if n["name"] == "resnet8")
    for where, part in (("report", report), ("networks[]", n), ("steps.head", n["steps"]["head"]),
                        ("memory", n["steps"]["head"]["memory"]), ("energy", n["steps"]["full"]["energy"]),
                        ("memory of the report", report["memory"])):
        check(f"fields of {where} are documented", not (u := unsaid(part, text)), str(u))
    for path in sorted((folder / "doc").glob("*.csv")):
        columns = path.read_text().split("\n", 1)[0].split(",")
        twice = sorted({c for c in columns if columns.count(c) > 1})
        check(f"{path.name}: every column has a name of its own", not twice, str(twice))
    # Head training: what a step leaves out is said.
    head = n["steps"]["head"]
    frozen, memory = head["memory"]["frozen"], head["memory"]
    check("device memory of a head holds the frozen layers", memory["device_bytes"] ==
          max(memory["footprint_bytes"], frozen["footprint_bytes"]) and frozen["footprint_bytes"] >
          n["steps"]["full"]["memory"]["footprint_bytes"] / 2, str(memory["device_bytes"]))
    check("features that the host keeps", frozen["feature_bytes_per_example"] == 64, str(frozen))
    names = [a["name"] for a in head["against"]]
    check("inference beside a head says of what", "inference" not in names
          and {"inference, whole network", "inference, layers of the step"} <= set(names), str(names))
    page = text_of((folder / "doc" / "profile.html").read_text())
    check("page says what a head's step leaves out", "begins at the kept outputs of" in page)
    units("page", page)


def memories(folder):
    """One description of the memory: cycles, energy, roofline and sweep."""
    def one(name, *args):
        small = ("--networks", "small-cnn", "--variants", "full", "--batch", 8, "--no-compare")
        summary = profile(folder / name, *small, *args)
        return summary, json.loads((folder / name / "profile.json").read_text()), folder / name / "profile.html"

    flat, ddr = one("flat"), one("ddr", "--dram", "ddr3", "--against", folder / "flat" / "profile.json")
    step = [r["networks"][0]["steps"]["full"] for r in (flat[1], ddr[1])]
    check("another memory, other cycles", step[1]["cycles"] > 1.2 * step[0]["cycles"])
    check("another memory, other energy", step[1]["energy_components_uj"]["memory"] >
          2 * step[0]["energy_components_uj"]["memory"])
    check("events do not depend on the memory", step[1]["traffic"] == step[0]["traffic"])
    memory = ddr[1]["memory"]
    check("report says the memory", (memory["name"], memory["bytes_per_cycle"], memory["banks"]) == ("ddr3", 4, 8)
          and memory["latency_cycles"] > 20, str(memory))
    check("summary says the memory", "memory ddr3: " in ddr[0] and "memory flat: 20 cycles" in flat[0], ddr[0])
    if "<svg" in ddr[2].read_text():  # without gnuplot there is no chart
        check("roofline is of the memory", "off-chip roof (ddr3), 8 B/cycle" in ddr[2].read_text()
              and "off-chip roof (flat), 32 B/cycle" in flat[2].read_text())
    settings = {s["what"] for s in ddr[1]["comparison"]["settings"]}
    check("settings that differ head the comparison", {"memory.name", "memory.latency_cycles"} <= settings
          and "settings differ: memory." in ddr[0] and ddr[0].index("settings differ") < ddr[0].index("largest diff"),
          ddr[0])
    page = text_of(ddr[2].read_text())
    check("page: settings stand above what differs", 0 < page.index("made with different settings") <
          page.index("change", page.index("made with different settings")))
    check("boundaries of memories are warned of", any("do not cover the same: lpddr4 (" in w
          for w in ddr[1]["comparison"]["warnings"]), str(ddr[1]["comparison"]))
    hardware = one("hw", "--hardware", "rows=8,cols=8", "--against", folder / "flat" / "profile.json")[1]
    check("hardware that differs heads the comparison", {"hardware.rows", "hardware.cols"} <=
          {s["what"] for s in hardware["comparison"]["settings"]})
    other = json.loads(profile(folder / "net", "--networks", "ds-cnn", "--variants", "head", "--no-compare",
                               "--against", folder / "flat" / "profile.json", "--json"))
    check("networks of one report alone head the comparison",
          {("small-cnn", "there", "absent"), ("ds-cnn", "absent", "there")} <=
          {(s["network"], s["old"], s["new"]) for s in other["comparison"]["settings"]})
    given = one("given", "--dram", "ddr3", "--backend-options", "latency=100")[1]["memory"]
    check("latency= overrides", (given["latency_cycles"], given["bytes_per_cycle"]) == (100, 4), str(given))
    # The sweep meets the same memory: its point of this array, batch and m costs what the step does.
    swept = json.loads(run("profile", "--quiet", "--networks", "small-cnn", "--variants", "full", "--batch", 16,
                           "--no-compare", "--dram", "ddr3", "--sweep", "--json", "--reports", folder / "sweep"))
    point = next(p for p in swept["sweep"]["points"] if (p["rows"], p["act_bytes"], p["bus_bytes"], p["batch"],
                 p["pairs"]) == (16, 65536, 16, 16, 1))
    check("sweep has the same memory", abs(point["cycles"] * 16 / swept["networks"][0]["steps"]["full"]["cycles"] - 1)
          < 1e-9)
    mine = folder / "mine.toml"
    mine.write_text((ROOT / "sw/share/memory/ddr3.toml").read_text().replace('name = "ddr3"', 'name = "slow"')
                    .replace("bandwidth_gbs = 3.2", "bandwidth_gbs = 0.8"))
    slow = one("mine", "--dram", mine)[1]
    check("a memory from a file", slow["memory"]["name"] == "slow" and slow["networks"][0]["steps"]["full"]["cycles"] >
          1.5 * step[1]["cycles"])
    check("a memory that is none", "expected flat, ddr3" in run("profile", "--dram", "ddr9", "--reports", folder,
                                                                 code=2))
    # Energy of saved counters is that of their memory unless another one is asked for.
    counters = folder / "ddr" / "profile" / "small-cnn-full.json"
    same = json.loads(run("energy", "--counters", counters, "--json"))
    check("energy of saved counters has their memory", same["dram"] == "ddr3" and
          abs(same["uj_per_step"]["value"] / step[1]["energy_uj"]["value"] - 1) < 1e-12, str(same["dram"]))
    check("another memory's energy says so", "cycles were counted with memory ddr3" in
          run("energy", "--counters", counters, "--dram", "hbm2"))
    check("help says what the memory is", all(w in run("profile", "--help") for w in ("latency", "bandwidth", "lpddr4",
          "--dram")))


def ranks(folder):
    """Tables that mix sources do not rank nodes."""
    tables = {n: (ROOT / f"sw/share/energy/{n}.toml").read_text() for n in ("45nm", "22nm", "7nm")}
    values = {n: {c: float(v) for c, v in re.findall(r'\[cell\."([^"]+)"\]\nvalue = ([0-9.]+)', t)}
              for n, t in tables.items()}
    small = ("--networks", "small-cnn", "--variants", "full", "--no-compare")
    profile(folder / "45nm", *small, "--table", "45nm")
    for name, large in (("22nm", "45nm"), ("7nm", "22nm")):
        old = folder / large / "profile.json"
        summary = profile(folder / name, *small, "--table", name, "--against", old)
        report = json.loads((folder / name / "profile.json").read_text())
        wrong = {c for c, v in values[name].items() if v > values[large][c] and not c.startswith(("leak.", "dram."))}
        listed = {f["cell"] for f in report["energy_table"]["node_faults"].get(large, [])}
        check(f"{name} against {large}: the report lists what does not rank", listed == wrong, str(listed ^ wrong))
        compared = any(d["what"] == "energy uJ" for d in report["differences"])
        check(f"{name} against {large}: energies are compared only where figures rank", compared == (not wrong))
        check(f"{name} against {large}: cycles are compared all the same", not report["differences"] or
              all(d["what"] != "cycles" or d["percent"] == 0 for d in report["differences"]))
        check(f"{name} against {large}: the summary says so", ("energies are not compared" in summary) == bool(wrong))
        page = text_of((folder / name / "profile.html").read_text())
        check(f"{name}: page lists them", "What the energies do not rank" in page and all(c in page for c in wrong))
    check("22 nm against 7 nm does not rank", "sram.read64_8KB" in wrong)
    text = run("energy", "--counters", folder / "7nm" / "profile" / "small-cnn-full.json", "--table", "7nm")
    check("energy says what it does not rank", "do not rank 7nm against 22nm" in text, text)
    units("energy", text)


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
        units("summary", summary)
        check("summary says mJ", re.search(r"^resnet8 +full +\d,\d{3},\d{3} cycles, \d\.\d+ mJ \(", summary, re.M),
              summary)
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
        profile(small, "--batch", 8, "--against", folder / "profile.json", "--trace", small / "new" / "step.pftrace",
                "--no-compare")  # the trace's folder is made
        worse = json.loads((small / "profile.json").read_text())["differences"]
        check("difference of runs", worse and all(d["percent"] != 0 for d in worse))
        check("page shows the difference", "Difference to the earlier run" in (small / "profile.html").read_text())
        profile(small / "b", "--batch", 8, "--against", small / "profile.json", "--no-compare")
        check("equal runs differ in nothing",
              json.loads((small / "b" / "profile.json").read_text())["differences"] == [])
        trace(small / "new" / "step.pftrace")
        check("unknown network", "expected one of" in run("profile", "--networks", "resnet9", "--reports", folder,
                                                          code=2))
        mine = folder / "mine" / "net.toml"
        mine.parent.mkdir()
        mine.write_text(NETWORK)
        run("profile", "--quiet", "--predict", "--no-compare", "--networks", mine, "--reports", folder / "own")
        check("a network file in a folder: reports are named after the network and lie in their folder",
              (folder / "own" / "profile" / "mine-full.json").exists() and list(mine.parent.iterdir()) == [mine])
        again = mine.parent / "other.toml"
        again.write_text(NETWORK)
        both = json.loads(run("profile", "--quiet", "--predict", "--no-compare", "--networks", f"{mine},{again}",
                              "--reports", folder / "own", "--json"))
        check("two networks of one name are told apart by their files",
              [n["name"] for n in both["networks"]] == ["net", "other"])
        # A name is no path, and no two cells of a CSV.
        again.write_text(NETWORK.replace('"mine"', '"../../a, b"'))
        hostile = folder / "own" / "hostile"
        report = json.loads(run("profile", "--quiet", "--predict", "--no-compare", "--networks", again, "--reports",
                                hostile, "--json"))
        check("a network's name does not lead out of the folder",
              (hostile / "profile" / "_._.._a__b-full.json").exists() and not list(folder.rglob("a, b*"))
              and report["networks"][0]["name"] == "_._.._a__b", str(list(folder.rglob("*b-full*"))))
        check("a network's input is its own", report["networks"][0]["input"] == [8, 8, 4])
        rows = [x.split(",") for x in (hostile / "profile-layers.csv").read_text().splitlines()]
        check("every row of a CSV has its columns", len({len(r) for r in rows}) == 1)
        # Another network under the same name heads the comparison.
        again.write_text(NETWORK.replace("input = [8, 8, 4]", "input = [8, 8, 8]"))
        first = folder / "own" / "first"
        run("profile", "--quiet", "--predict", "--no-compare", "--networks", mine, "--reports", first)
        other = json.loads(run("profile", "--quiet", "--predict", "--no-compare", "--networks", again, "--reports",
                               folder / "own" / "other", "--against", first / "profile.json", "--json"))
        check("another network of the same name heads the comparison", {"input", "fingerprint", "weights"} <=
              {s["what"] for s in other["comparison"]["settings"]}, str(other["comparison"]))
        again.write_text(NETWORK.replace("input = [8, 8, 4]", 'input = "task"').replace("classes = 3",
            'classes = "task"').replace("units = 3", 'units = "classes"'))
        assumed = json.loads(run("profile", "--quiet", "--predict", "--no-compare", "--networks", again, "--reports",
                                 folder / "own", "--json"))["networks"][0]
        info = json.loads(run("info", again))
        check("profile and info assume the same of a network that leaves it open, and say so",
              assumed["input"] == info["input"] == [28, 28, 1] and assumed["assumed"] == info["assumed"]
              and "28 x 28 x 1" in info["assumed"], f"{assumed} {info}")
        memories(folder / "memories")
        ranks(folder / "ranks")
        documentation(folder / "documentation")
        check("two networks of one name", "would write the same reports" in run(
            "profile", "--predict", "--networks", f"{mine},{mine.parent}/../mine/net.toml", "--reports",
            folder / "own", code=2))
    check.finish()


main()
