#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Coverage of the RTL by the suites: lines, branches, toggles of ports, functional points.

usage: coverage.py run [--blocks N] [--make MAKE]     build/reports/coverage.json and coverage.md
       coverage.py line | toggle | benches            one of its builds again, and the report
       coverage.py report                             the same from the data of the last run
       coverage.py table                              the Markdown of build/reports/coverage.json

Three instrumented builds, because toggles cost most of the speed: lines and `cover property` points of the NPU at 4 x
8, port toggles at 4 x 4, port toggles of unit benches. Points of all instances and builds of a module are added.

line       source lines with a statement that Verilator counts (--coverage-line), executed
branch     its points of the kinds if, else, elsif and case
toggle     bits of ports of at most 256 bits (Verilator's limit). It counts changes in either direction together, and a
           bit alternates: two changes are one of each, so a bit is covered with two
functional average over coverpoints (tests/sim/functional_bins.hpp; npu_cover.sv: one coverpoint per module) of the
           share of bins hit
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

from exclusions import EXCLUSIONS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import arrays

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "coverage"
REPORTS = ROOT / "build" / "reports"
TOP = "sim/verilator/npu_sim.sv"
LINE_ARRAY = arrays.parse("4x8")
TOGGLE_ARRAY = arrays.parse("4x4")
BENCHES = ["axi_read_16", "axi_write_8", "control_16", "validate_4", "update_8", "softmax_8", "loss_8", "add_8",
           "perturb_8", "rescale", "requant"]
TARGETS = {"line": 95.0, "branch": 90.0, "toggle": 90.0, "functional": 90.0}
BRANCHES = {"if", "else", "elsif", "case"}


def run(command, **kwargs):
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", **kwargs)
    if done.returncode != 0:
        sys.exit(f"coverage.py: {' '.join(map(str, command))[:300]} ended with "
                 f"{done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout


def sources():
    return (ROOT / "rtl" / "npu.f").read_text().split()


def ports(file):
    """(first, last) line of the port list of a module's file, (0, 0) for a package."""
    lines = (ROOT / file).read_text().splitlines()
    first = next((n for n, t in enumerate(lines, 1) if re.match(r"\) \($|module \w+ \($", t)), 0)
    last = next((n for n, t in enumerate(lines, 1) if first and n > first and t.startswith(");")), 0)
    return first, last


def only_ports():
    """Verilator configuration that leaves nothing but port lists to count."""
    text = "`verilator_config\n"
    for f in sources():
        first, last = ports(f)
        if first == 0:
            text += f'coverage_off -file "*{os.path.basename(f)}"\n'
        else:
            text += (f'coverage_off -file "*{os.path.basename(f)}" -lines 1-{first}\ncoverage_off -file '
                     f'"*{os.path.basename(f)}" -lines {last}-100000\n')
    path = OUT / "ports.vlt"
    path.write_text(text)
    return str(path.relative_to(ROOT))


def verilate(obj, values, flags, more):
    run(["verilator", "--cc", "-O3", "-fno-reloop", "-sv", "-Wall", "--x-assign", "fast", "--x-initial", "unique",
         *flags,
         *(f"-G{s}" for s in arrays.settings(values)), "--top-module", "npu_sim", "--prefix", "Vnpu", "--Mdir",
         str(obj),
         "rtl/lint.vlt", "sim/verilator/public.vlt", *more, *sources(), TOP])
    run(["make", "--no-print-directory", "-C", str(obj), "-f", "Vnpu.mk", "Vnpu__ALL.a", "verilated.o",
         "verilated_threads.o", "verilated_cov.o",
         "CXX=g++ -fPIC -std=c++20", "OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O0"],
        env={**os.environ, "OBJCACHE": shutil.which("ccache") or "", "MAKEFLAGS": ""})


def library(kind, values, flags, more, make):
    """Instrumented npu.so of one parameter set in build/coverage/KIND/rtl, with the programs beside it."""
    base = OUT / kind
    name = arrays.folder(values)
    folder = base / "rtl" / name
    obj = folder / "obj"
    content = b"".join((ROOT / f).read_bytes() for f in [*sources(), *more, "rtl/lint.vlt", TOP])
    key = hashlib.sha256(content + repr((flags, values)).encode()).hexdigest()
    known = folder / "key"
    if not known.exists() or known.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        print(f"building {kind}, {name}", flush=True)
        verilate(obj, values, flags, more)
        known.write_text(key)
    include = run(["verilator", "--getenv", "VERILATOR_ROOT"]).strip() + "/include"
    interface = run([*make.split(), "--no-print-directory", "--eval", "interface:;@echo $(SIM_INTERFACE)",
                     "interface"], env={**os.environ, "MAKEFLAGS": ""}).split()[-1]
    run(["g++", "-std=c++20", "-O1", "-march=native", "-fPIC", "-shared", "-I.", f"-I{obj}", "-isystem", include,
         "-isystem", f"{include}/vltstd",
         *(f"-DP_{s}" for s in arrays.settings(values)), "-DP_CHECKED=0", "-DP_COVERAGE", "-DVM_COVERAGE=1",
         f"-DLASTMILE_SIM_INTERFACE={interface}",
         "sim/verilator/npu_simulation.cpp", "sim/verilator/npu_pins.cpp", str(obj / "Vnpu__ALL.a"),
         *map(str, sorted(obj.glob("verilated*.o"))), "-lpthread", "-o", str(folder / "npu.so")])
    (base / "bin").mkdir(exist_ok=True)
    for program in ("cosim-campaign", "lockstep-test"):
        shutil.copy2(ROOT / "build" / "release-g++" / program, base / "bin" / program)
    return base


def suites(kind, base, commands):
    """Runs programs on an instrumented build and merges what they counted into build/coverage/KIND.dat."""
    data = base / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    bins = OUT / f"bins-{kind}.json"
    bins.unlink(missing_ok=True)
    for command in commands:
        print("running " + " ".join(map(str, command)), flush=True)
        run([str(base / "bin" / command[0]), *map(str, command[1:])],
            env={**os.environ, "LASTMILE_COVERAGE": str(data), "LASTMILE_BINS": str(bins)})
        merge(OUT / f"{kind}.dat", sorted(data.glob("*.dat")), command is commands[0])
        for f in data.glob("*.dat"):
            f.unlink()


def merge(target, files, fresh):
    if not files:
        return
    before = [] if fresh or not target.exists() else [str(target)]
    new = target.with_suffix(".new")
    run(["verilator_coverage", "--write", str(new), *before, *map(str, files)])
    new.rename(target)


def benches(make):
    out = OUT / "benches"
    for name in BENCHES:
        program = out / name / "run"
        print(f"bench {name}", flush=True)
        env = {**os.environ, "MAKEFLAGS": ""}
        run([*make.split(), "--no-print-directory", "-j1", f"PERI_OUT={out.relative_to(ROOT)}",
             f"PERI_EXTRA=--coverage-toggle {OUT.relative_to(ROOT)}/ports.vlt",
             str(program.relative_to(ROOT))], env=env)
        data = out / "data"
        data.mkdir(exist_ok=True)
        run([str(program)], env={**os.environ, "LASTMILE_COVERAGE": str(data)})
        merge(OUT / "benches.dat", sorted(data.glob("*.dat")), name == BENCHES[0])
        for f in data.glob("*.dat"):
            f.unlink()


def measure(args, stages):
    OUT.mkdir(parents=True, exist_ok=True)
    vlt = only_ports()
    if "line" in stages:
        base = library("line", LINE_ARRAY, ["--coverage-line", "--coverage-user"], ["tests/coverage/npu_cover.sv"],
                       args.make)
        array = arrays.hardware(LINE_ARRAY)
        suites("line", base, [["cosim-campaign", array, 1, 900, 0, args.blocks], ["lockstep-test", 3, array]])
    if "toggle" in stages:
        base = library("toggle", TOGGLE_ARRAY, ["--coverage-toggle"], [vlt], args.make)
        array = arrays.hardware(TOGGLE_ARRAY)
        blocks = max(4, args.blocks // 3)
        suites("toggle", base, [["cosim-campaign", array, 1, 900, 0, blocks], ["lockstep-test", 1, array]])
    if "benches" in stages:
        benches(args.make)


POINT = re.compile(r"^C '(.*)' (\d+)$")


def points(path):
    """{file, line, column, kind, text, lines, hierarchy, count} of each point of a file that Verilator wrote."""
    for text in path.read_text(errors="replace").splitlines():
        m = POINT.match(text)
        if not m:
            continue
        fields = dict(f.split("\x02", 1) for f in m[1].split("\x01")[1:])
        yield {"file": fields["f"], "line": int(fields["l"]), "column": int(fields.get("n", 0)),
               "kind": fields["page"].split("/")[0],
               "text": fields.get("o", ""), "lines": fields.get("S", ""), "hierarchy": fields.get("h", ""),
               "count": int(m[2])}


def excluded(module, measure_name, where):
    for e in EXCLUSIONS:
        if e["module"] == module and e["measure"] == measure_name and re.fullmatch(e["what"], where):
            e["used"] = e.get("used", 0) + 1
            return True
    return False


def numbers_of(text):
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def collect():
    """{module: {measure: {place: covered}}}"""
    result = collections.defaultdict(lambda: collections.defaultdict(dict))
    source = {}
    add = collections.Counter()
    for name in ("line", "toggle", "benches"):
        path = OUT / f"{name}.dat"
        if not path.exists():
            print(f"{path.relative_to(ROOT)}: not there, left out")
            continue
        for p in points(path):
            if not p["file"].startswith("rtl/"):
                if p["kind"] == "v_user":
                    add["user", pathlib.Path(p["file"]).stem, p["hierarchy"].split(".")[-1], p["text"],
                        p["line"]] += p["count"]
                continue
            module = pathlib.Path(p["file"]).stem
            if p["kind"] == "v_toggle":
                add["toggle", module, p["text"]] += p["count"]
            elif p["kind"] in ("v_line", "v_branch"):
                for n in numbers_of(p["lines"]):
                    add["line", module, p["file"], n] += p["count"]
                if p["text"] in BRANCHES:
                    add["branch", module, p["file"], p["line"], p["column"], p["text"]] += p["count"]
    for key, count in add.items():
        kind, module = key[:2]
        if kind == "toggle":
            place, covered = key[2], count >= 2
        elif kind in ("line", "branch"):
            text = source.setdefault(key[2], (ROOT / key[2]).read_text().splitlines())
            place = f"{key[3]}: {text[key[3] - 1].strip()}" + (f" ({key[5]} {key[4]})" if kind == "branch" else "")
            covered = count > 0
        else:
            continue
        if not excluded(module, kind, key[2] if kind == "toggle" else place):
            result[module][kind][place] = covered
    return result, functional(add)


def functional(add):
    """{coverpoint: {bin: hits}}: the C++ bins of all runs, and the cover properties by module."""
    out = collections.defaultdict(collections.Counter)
    for path in OUT.glob("bins-*.json"):
        for point, bins in json.loads(path.read_text()).items():
            for b, hits in bins.items():
                out[point][b] += hits
    lines = (ROOT / "tests/coverage/npu_cover.sv").read_text().splitlines()
    module = {}
    current = ""
    for n, text in enumerate(lines, 1):
        current = m[1] if (m := re.match(r"module (\w+)", text)) else current
        module[n] = (current.replace("cover_", "RTL: npu_"), (re.match(r"\s*(\w+):", text) or [None, ""])[1])
    for key, count in add.items():
        if key[0] == "user":
            point, name = module[key[4]]
            state = re.search(r"gen_state\[(\d)\]", key[2] + key[3])
            out[point][name + (f" {state[1]}" if state else "")] += count
    for point in list(out):
        for b in list(out[point]):
            if excluded(point, "functional", b):
                del out[point][b]
    return out


def percent(hit, all_):
    return 100.0 * hit / all_ if all_ else None


def report():
    modules, bins = collect()
    rows = {}
    for module in sorted(modules):
        rows[module] = {}
        for kind in ("line", "branch", "toggle"):
            places = modules[module][kind]
            rows[module][kind] = {"covered": sum(places.values()), "all": len(places),
                                  "percent": percent(sum(places.values()), len(places)),
                                  "missing": sorted(p for p, c in places.items() if not c)}
    total = {k: percent(sum(r[k]["covered"] for r in rows.values()), sum(r[k]["all"] for r in rows.values()))
             for k in ("line", "branch", "toggle")}
    grades = {point: percent(sum(v > 0 for v in b.values()), len(b)) for point, b in bins.items()}
    total["functional"] = sum(grades.values()) / len(grades) if grades else None
    unused = [e for e in EXCLUSIONS if not e.get("used")]
    data = {"targets": TARGETS, "total": total, "modules": rows,
            "functional": {p: {"percent": grades[p], "bins": dict(b), "missing": [k for k, v in b.items() if not v]}
                           for p, b in sorted(bins.items())},
            "exclusions": [{k: e[k] for k in ("module", "measure", "what", "reason")} | {"points": e.get("used", 0)}
                           for e in EXCLUSIONS]}
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "coverage.json").write_text(json.dumps(data, indent=1) + "\n")
    (REPORTS / "coverage.md").write_text(markdown(data) + "\n")
    print(markdown(data))
    for e in unused:
        print(f"exclusion without a point: {e['module']} {e['measure']} {e['what']}")
    below = [k for k, t in TARGETS.items() if total[k] is None or total[k] < t]
    print("below its target: " + ", ".join(below) if below else "every target is met")
    return 1 if below or unused else 0


def markdown(data):
    """Table of the README."""
    def cell(v):
        return "" if v is None else f"{v:.1f}"
    lines = ["| | line | branch | port toggle | functional |", "| --- | --- | --- | --- | --- |",
             "| target, % | " + " | ".join(cell(data["targets"][k]) for k in TARGETS) + " |",
             "| **measured, %** | " + " | ".join(f"**{cell(data['total'][k])}**" for k in TARGETS) + " |"]
    for module, r in data["modules"].items():
        lines.append(f"| `{module}` | " + " | ".join(cell(r[k]["percent"]) for k in ("line", "branch", "toggle"))
                     + " | |")
    bins = data["functional"]
    count = sum(e["points"] for e in data["exclusions"])
    lines.append("")
    lines.append(f"Functional: {len(bins)} coverpoints, {sum(len(b['bins']) for b in bins.values())} bins. Left out "
                 f"with a reason: {count} points "
                 f"({len(data['exclusions'])} entries of `tests/coverage/exclusions.py`).")
    return "\n".join(lines)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--make", default="make")
    p.add_argument("--blocks", type=int, default=40)
    p.add_argument("what", choices=["run", "report", "table", "line", "toggle", "benches"])
    args = p.parse_args()
    if args.what == "table":
        print(markdown(json.loads((REPORTS / "coverage.json").read_text())))
        return 0
    if args.what != "report":
        if shutil.which("verilator") is None:
            print("SKIPPED: verilator is not installed")
            return 0
        measure(args, ["line", "toggle", "benches"] if args.what == "run" else [args.what])
    return report()


if __name__ == "__main__":
    sys.exit(main())
