#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Synthesis of the NPU with Yosys: does every configuration synthesize cleanly, and what does each block cost?

usage: synth.py check [ARRAY...]                 latches, drivers and loops, without mapping to gates
       synth.py report [--jobs N] ARRAY...       build/reports/synth.json and synth.md
       synth.py table                                     the Markdown of build/reports/synth.json

ARRAY is a name of sim/arrays.mk, or rows=8,cols=8,... Cells are two-input gates, inverters and multiplexers (`abc -g
simple`), flip-flops apart. Writable memories stay memory cells, counted in bits; tables become gates. Every module is
mapped once and multiplied by its instances. The multipliers (npu_dot) are mapped with two columns, which are alike,
and counted per column.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import arrays

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "synth"
REPORTS = ROOT / "build" / "reports"
# Block of the table: instance paths below the top that it sums, with everything inside that no other block takes.
BLOCKS = {
    "control": ["u_control"],
    "bus": ["u_read", "u_write"],
    "load": ["u_core.u_load", "u_core.u_scratchpad"],
    "weight": ["u_core.u_weight"],
    "weight: perturbation unit": ["u_core.u_weight.u_perturb"],
    "array": ["u_core.u_array"],
    "params": ["u_core.u_params"],
    "params: perturbation unit": ["u_core.u_params.u_perturb"],
    "drain": ["u_core.u_drain"],
    "pool": ["u_core.u_pool"],
    "add": ["u_add"],
    "softmax": ["u_softmax"],
    "loss": ["gen_training.u_loss"],
    "update": ["gen_training.u_update"],
    "rest": [""],
}
PERTURB = ["weight: perturbation unit", "params: perturbation unit"]
TRAINING = PERTURB + ["loss", "update"]
# Modules that only training needs.
TRAINING_MODULES = ["npu_loss", "npu_update", "npu_hash", "npu_gaussian", "npu_perturb_lane", "npu_update_lane"]
LATCHES = "t:$dlatch t:$adlatch t:$dlatchsr t:$sr t:$_DLATCH_* t:$_DLATCHSR_* t:$_SR_*"
FLIPFLOP = re.compile(r"\$_(S|A)?(DFF|LDFF)\w*_$")


class SynthesisError(Exception):
    pass


def sources():
    return (ROOT / "rtl" / "npu.f").read_text().split()


def parameters(text):
    try:
        return arrays.parse(text)
    except ValueError as e:
        raise SynthesisError(str(e)) from e


def yosys(name, script):
    """Runs a script; the log is build/synth/NAME.log. Errors and what Yosys only warns about end in SynthesisError."""
    OUT.mkdir(parents=True, exist_ok=True)
    log = OUT / f"{name}.log"
    (OUT / f"{name}.ys").write_text(script)
    # Undeclared names are only warnings of Yosys; a struct it does not understand looks like that.
    run = subprocess.run(["yosys", "-q", "-e", "implicitly declared", "-e", "conflicting drivers", "-l", str(log),
                          "-s", str(OUT / f"{name}.ys")],
                         cwd=ROOT, capture_output=True, text=True)
    text = log.read_text(errors="replace")
    if run.returncode != 0:
        raise SynthesisError(f"{name}: yosys ended with {run.returncode}: "
                             f"{(run.stdout + run.stderr).strip()[-2000:]} (log: {log.relative_to(ROOT)})")
    return text


def elaborate(top, values):
    text = f"read_verilog -sv -DSYNTHESIS {' '.join(sources())}\n"
    text += "chparam " + " ".join(f"-set {k} {v}" for k, v in values.items()) + f" {top}\n"
    return text + f"hierarchy -check -top {top}\nproc\n"


def clean_checks():
    """No wire with two drivers or none, no latch; loops inside a module, or everywhere once flattened."""
    return f"check -assert\nselect -assert-none {LATCHES}\n"


def base_name(module):
    """npu_fifo of $paramod$0ab1...\\npu_fifo and of $paramod\\npu_fifo\\WIDTH=..."""
    return next((part for part in module.split("\\") if part.startswith("npu")), module)


def check(values):
    """Every module alone, then the flattened NPU, so that a loop through several modules is found too."""
    name = "check-" + "-".join(str(v) for v in values.values())
    modules = OUT / f"{name}.modules"
    yosys(name, elaborate("npu", values) + clean_checks()
          + f"tee -q -o {modules.relative_to(ROOT)} ls\nflatten\nopt_clean\n" + clean_checks())
    present = {base_name(m) for m in modules.read_text().split()}
    training = present & set(TRAINING_MODULES)
    if values["TRAINING"] and training != set(TRAINING_MODULES):
        raise SynthesisError(f"{name}: modules missing: {sorted(set(TRAINING_MODULES) - training)}")
    if not values["TRAINING"] and training:
        raise SynthesisError(f"{name}: an inference-only build contains {sorted(training)}")


def memory_bits(module):
    """[bits with a registered read, bits with a combinational read] of the writable memories in one module."""
    bits = [0, 0]
    for cell in module["cells"].values():
        if cell["type"] == "$mem_v2" and int(cell["parameters"]["WR_PORTS"], 2):
            p = cell["parameters"]
            size = int(p["WIDTH"], 2) * int(p["SIZE"], 2)
            bits[0 if "0" not in p["RD_CLK_ENABLE"] else 1] += size
    return bits


def depth(log, marker):
    found = re.search(re.escape(marker) + r".*?Longest topological path in \S+ \(length=(\d+)\)", log, re.S)
    return int(found[1]) if found else 0


def statistics(text):
    """{module: {cell type: number}} of a `stat -json` listing, which Yosys 0.23 ends with a table that is not JSON."""
    end = text.index("\n   }," if "\n   }," in text else "\n   }") + len("\n   }")
    return {m.lstrip("\\"): v["num_cells_by_type"]
            for m, v in json.loads(text[text.index("{"):end] + "}")["modules"].items()}


MAP = """opt -fast -full
memory_map -rom-only
opt -undriven -fine
techmap
opt -fast
abc -fast -g simple
opt_clean
"""


def map_top(name, top, values, before=""):
    """Maps a hierarchy to gates. Returns (structure after coarse synthesis, statistics, log)."""
    short = OUT.relative_to(ROOT) / name
    script = elaborate(top, values) + clean_checks() + before + "synth -run coarse:fine\n" + (
        f"write_json {short}.json\n" + MAP)
    script += f"check -assert\nselect -assert-none {LATCHES}\ntee -q -o {short}.stat stat -json\n"
    log = yosys(name, script + f"write_rtlil {short}.il\n")
    structure = json.loads((OUT / f"{name}.json").read_text())["modules"]
    return structure, statistics((OUT / f"{name}.stat").read_text()), log


def depths(name, tops):
    """Longest path in gates of each top with everything inside it, between registers, memories and ports."""
    short = OUT.relative_to(ROOT) / name
    script = f"read_rtlil {short}.il\n"
    for n, top in enumerate(tops):
        script += (f"log DEPTH {n} OF\ndesign -push-copy\nhierarchy -top {top}\nflatten\ndelete t:$mem_v2\nltp "
                   f"-noff\ncheck -assert\ndesign -pop\n")
    log = yosys(f"{name}-depth", script.replace("check -assert\n", ""))
    return {top: depth(log, f"DEPTH {n} OF") for n, top in enumerate(tops)}


def cost(types):
    """(cells, flip-flops) of one module without its instances."""
    cells = flipflops = 0
    for t, n in types.items():
        if FLIPFLOP.match(t):
            flipflops += n
        elif t.startswith("$_"):
            cells += n
        elif t.startswith("$") and not t.startswith("$paramod") and t != "$mem_v2":
            raise SynthesisError(f"cell {t} was not mapped to gates")
    return cells, flipflops


def expand(structure, stats, top):
    """{instance path: [cells, flip-flops, bits read through a register, bits read directly]} of each instance alone,
    and {path: module}."""
    costs, types = {}, {}

    def visit(module, path):
        types[path] = module
        if module in stats:
            costs[path] = [*cost(stats[module]), *memory_bits(structure[module])]
        for name, cell in structure[module]["cells"].items():
            if cell["type"] in structure:
                visit(cell["type"], f"{path}.{name}" if path else name)

    visit(top, "")
    return costs, types


def configuration(name):
    """Everything the report says about one configuration."""
    values = parameters(name)
    started = time.monotonic()
    structure, stats, _ = map_top(name, "npu", values, "blackbox *npu_dot\n" if values["ROWS"] > 4 else "")
    tops = [m for m in structure if structure[m].get("attributes", {}).get("top") or m == "npu"]
    costs, types = expand(structure, stats, tops[0])
    dots = [p for p, m in types.items() if base_name(m) == "npu_dot"]
    dot_depth = 0
    if values["ROWS"] > 4:  # what the black box would have held
        two = {"ROWS": values["ROWS"], "COLS": 2}
        _, dot_stats, _ = map_top(f"{name}-dot", "npu_dot", two)
        dot_depth = depths(f"{name}-dot", ["npu_dot"])["npu_dot"]
        cells, flipflops = cost(dot_stats["npu_dot"] if "npu_dot" in dot_stats else next(iter(dot_stats.values())))
        for p in dots:
            costs[p] = [cells * values["COLS"] // 2, flipflops * values["COLS"] // 2, 0, 0]

    owner = {}
    for path in costs:
        inside = [(len(p), block) for block, paths in BLOCKS.items() for p in paths if p == "" or path == p
                  or path.startswith(p + ".")]
        owner[path] = max(inside)[1]
    wanted = {block: [p for p in paths if p in types and p] for block, paths in BLOCKS.items()}
    found = depths(name, list(dict.fromkeys(types[p] for paths in wanted.values() for p in paths)))
    blocks = {}
    for block, paths in wanted.items():
        total = [sum(costs[p][k] for p in costs if owner[p] == block) for k in range(4)]
        if total == [0, 0, 0, 0] and block != "rest":
            continue
        levels = max((found[types[p]] for p in paths), default=None)
        if block == "array":
            levels = max(levels, dot_depth)
        blocks[block] = {"cells": total[0], "flip_flops": total[1], "memory_bits": total[2],
                         "register_file_bits": total[3], "depth": levels}
    modules = collections.Counter(base_name(m) for m in types.values())
    present = sorted(set(TRAINING_MODULES) & set(modules))
    if bool(present) != bool(values["TRAINING"]) or (values["TRAINING"] and present != sorted(TRAINING_MODULES)):
        raise SynthesisError(f"{name}: TRAINING={values['TRAINING']} and the modules {present}")
    total = {k: sum(b[k] for b in blocks.values()) for k in ("cells", "flip_flops", "memory_bits",
                                                             "register_file_bits")}
    result = {"parameters": values, "blocks": blocks, "total": total, "multipliers": values["ROWS"] * values["COLS"],
              "instances": {m: n for m, n in sorted(modules.items())}, "latches": 0,
              "seconds": round(time.monotonic() - started, 1)}
    perturb = sum(blocks[b]["cells"] for b in PERTURB if b in blocks)
    if values["TRAINING"]:
        result["perturbation_share_of_array"] = perturb / blocks["array"]["cells"]
        result["perturbation_cells"] = perturb
    return result


def cached(name):
    """The same sources, script and parameters give the same result."""
    content = b"".join((ROOT / f).read_bytes() for f in [*sources(), "tests/synth/synth.py"])
    key = hashlib.sha256(content + arrays.hardware(parameters(name)).encode()).hexdigest()
    path = OUT / f"{name}.result.json"
    if path.exists():
        old = json.loads(path.read_text())
        if old["key"] == key:
            return old["result"]
    result = configuration(name)
    path.write_text(json.dumps({"key": key, "result": result}))
    for suffix in (".il", ".json"):
        for stem in (name, f"{name}-dot"):
            (OUT / f"{stem}{suffix}").unlink(missing_ok=True)
    return result


def compare(full, inference):
    """What training adds to an inference-only build."""
    out = {}
    for k in ("cells", "flip_flops", "memory_bits", "register_file_bits"):
        a, b = full["total"][k], inference["total"][k]
        out[k] = {"training": a, "inference": b, "added": a - b, "share": (a - b) / b if b else None}
    return out


def report(results):
    training = {n: compare(r, results[f"{n}-inference"]) for n, r in results.items() if f"{n}-inference" in results}
    version = subprocess.run(["yosys", "-V"], capture_output=True, text=True).stdout.split(" (")[0]
    data = {"tool": version,
            "cells": "two-input gates, inverters, multiplexers (abc -fast -g simple), without flip-flops",
            "configurations": results,
            "training_cost": training}
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / "synth.json").write_text(json.dumps(data, indent=1) + "\n")
    (REPORTS / "synth.md").write_text(markdown(data) + "\n")
    return data


def thousands(n):
    return f"{n:,}".replace(",", " ")


def rows(head, body):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
                      *("| " + " | ".join(map(str, r)) + " |" for r in body)])


def markdown(data):
    """The tables of the README: blocks of the default configuration, totals of every one, cost of training."""
    configurations = data["configurations"]
    name = "16x16" if "16x16" in configurations else next(iter(configurations))
    shown = configurations[name]
    text = (f"Blocks of {name.replace('x', ' x ')} ({data['tool']}; cells are two-input gates, inverters and "
            f"multiplexers, depth is in cells):\n\n")
    text += rows(["block", "cells", "flip-flops", "SRAM bits", "register file bits", "depth"],
                 [[b, thousands(v["cells"]), thousands(v["flip_flops"]), thousands(v["memory_bits"]),
                   thousands(v["register_file_bits"]),
                   "" if v["depth"] is None else v["depth"]] for b, v in shown["blocks"].items()])
    if all(v["depth"] is None for v in shown["blocks"].values()):
        other = next((n for n, r in configurations.items() if any(v["depth"] for v in r["blocks"].values())), None)
        if other:
            text += f"\n\nDepth, {other.replace('x', ' x ')}: " + ", ".join(f"{b} {v['depth']}"
                for b, v in configurations[other]["blocks"].items() if v["depth"]) + "."
    text += "\n\n" + rows(["configuration", "cells", "flip-flops", "SRAM bits", "register file bits", "latches",
                           "perturbation units / array, cells"],
                          [[n, thousands(r["total"]["cells"]), thousands(r["total"]["flip_flops"]),
                            thousands(r["total"]["memory_bits"]),
                            thousands(r["total"]["register_file_bits"]), r["latches"],
                            f"{100 * r['perturbation_share_of_array']:.1f} %" if "perturbation_share_of_array" in r
                            else ""]
                           for n, r in configurations.items()])
    for n, r in configurations.items():
        present = [b for b in TRAINING if b in r["blocks"]]
        if n in data["training_cost"] or not present:
            continue
        added, flipflops = (sum(r["blocks"][b][k] for b in present) for k in ("cells", "flip_flops"))
        text += (f"\n\nTraining blocks, {n.replace('x', ' x ')}: {thousands(added)} cells, "
                 f"{100 * added / (r['total']['cells'] - added):.1f} % of the rest "
                 f"({', '.join(b + ' ' + thousands(r['blocks'][b]['cells']) for b in present)}), "
                 f"{thousands(flipflops)} flip-flops.")
    for n, c in data["training_cost"].items():
        parts = ", ".join(f"{b} {thousands(configurations[n]['blocks'][b]['cells'])}" for b in TRAINING
                          if b in configurations[n]["blocks"])
        text += (f"\n\nTraining hardware, {n.replace('x', ' x ')}: {thousands(c['cells']['added'])} cells "
                 f"({100 * c['cells']['share']:.1f} % of the inference-only build; {parts}), "
                 f"{thousands(c['flip_flops']['added'])} flip-flops ({100 * c['flip_flops']['share']:.1f} %), "
                 f"{thousands(c['memory_bits']['added'])} SRAM bits.")
    return text


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("what", choices=["check", "report", "table"])
    p.add_argument("names", nargs="*")
    args = p.parse_intermixed_args()
    if args.what == "table":
        print(markdown(json.loads((REPORTS / "synth.json").read_text())))
        return 0
    if shutil.which("yosys") is None:
        print("SKIPPED: yosys is not installed")
        return 0
    passed = failed = 0
    if args.what == "check":
        for text in args.names or ["4x4", "4x4-inference"]:
            started = time.monotonic()
            try:
                check(parameters(text))
                passed += 1
                print(f"{text}: no latch, no wire with two drivers or none, no loop "
                      f"({time.monotonic() - started:.0f} s)", flush=True)
            except SynthesisError as e:
                failed += 1
                print(f"FAIL {text}: {e}", flush=True)
        print(f"{passed} passed, {failed} failed")
        return 1 if failed else 0
    results = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = {n: pool.submit(cached, n) for n in args.names}
        for n, f in futures.items():
            try:
                results[n] = f.result()
                t = results[n]["total"]
                print(f"{n}: {t['cells']} cells, {t['flip_flops']} flip-flops, {t['memory_bits']} + "
                      f"{t['register_file_bits']} memory bits, "
                      f"{results[n]['seconds']} s", flush=True)
            except SynthesisError as e:
                failed += 1
                print(f"FAIL {n}: {e}", flush=True)
    if results:
        report(results)
        print(f"{len(results)} configurations; report: {(REPORTS / 'synth.json').relative_to(ROOT)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
