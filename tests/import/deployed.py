#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Models as they are deployed, one inference at a time, and what importing them costs: `make models MODELS=folder`.

usage: deployed.py LASTMILE DEPLOYED MODELS [--only tiny|imports] [--sets ARRAY...] [--inputs N] [--reports FOLDER]

tiny     Of every int8 .tflite file in MODELS, in the form of MLPerf Tiny: the same bytes as the reference kernels on N
         random inputs or not; cycles at batch 1, predicted, and measured on the RTL of the arrays that are built (`make
         rtl ARRAY=...`), where the outputs are compared, too; inferences per second and energy at CLOCK MHz; memory;
         and for what the multipliers do not work. Fails where bytes differ, and below FLOOR inferences of ResNet-8.
imports  Of these files and of networks that DEPLOYED writes as PyTorch exports them: processor seconds and peak memory
         of each command, with the same outputs on model and RTL (16 x 16). What a command refuses is in the table.

Reports: models.json, models_tiny.md, models_imports.md. `make readme` puts the last two into tests/import/RESULTS.md.
"""
import argparse
import csv
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from random import Random

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import arrays  # noqa: E402

SETS = ["4x4-s16384", "8x16", "16x16", "32x32"]
CLOCK = 500  # MHz
FLOOR = 6000  # inferences of ResNet-8 per second on 16 x 16
SEED = 5
ON_RTL = 2  # inputs whose bytes are compared there
TIMEOUT = 900
LARGE = 200e6  # multiplications: training signal and sweep of such a network take hours
EXAMPLES = 48  # of the noise that is calibrated on
# What the multipliers do instead of multiplying, by the parts of `time` in profile.json.
CAUSES = {"input": ["stall_load"], "weights": ["stall_weight"], "drain": ["stall_drain", "drain"],
          "elements": ["element"], "other": ["other"]}
# Benchmarks of MLPerf Tiny by the start of their file's name.
BENCHMARKS = {"kws": "keyword spotting, DS-CNN", "pretrainedResnet": "image classification, ResNet-8",
              "vww": "visual wake words, MobileNetV1 0.25", "ad01": "anomaly detection, autoencoder"}


class Failure(Exception):
    """A command's exit code and message."""


def run(*args):
    """Standard output; exit code (0, or what validate found), processor seconds and peak kilobytes of the process."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen([str(a) for a in args], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        end = time.monotonic() + TIMEOUT
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > end:
                child.kill()
                os.wait4(child.pid, 0)
                child.returncode = -9
                raise Failure(f"stopped after {TIMEOUT} s")
            time.sleep(0.005)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if child.returncode < 0 or child.returncode in range(1, 32) or child.returncode > 128:
            lines = [line for line in err.read().splitlines() if line.strip()]
            said = [line.split("lastmile: ", 1)[1] for line in lines if line.startswith("lastmile: ")]
            raise Failure(f"exit code {child.returncode}: {(said or lines or ['nothing said'])[-1]}")
        return out.read(), (child.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
                      *("| " + " | ".join(map(str, r)) + " |" for r in rows)])


def called(file):
    for start, name in BENCHMARKS.items():
        if file.name.startswith(start):
            return name
    return file.stem


def built(program, values):
    return (ROOT / "build/rtl" / arrays.folder(values) / "npu.so").exists() and \
        (program.resolve().parent / "liblastmile_rtl.so").exists()


def losses(part, multipliers):
    """Cycles of a part of a run that all multipliers together lose, by cause."""
    useful = part["macs"] / multipliers
    return {"partly used": part["time"]["compute"] - useful,
            **{cause: sum(part["time"][k] for k in keys) for cause, keys in CAUSES.items()}}


class Bench:
    def __init__(self, a):
        self.program, self.tool, self.folder, self.inputs, self.small = (
            a.program, a.tool, a.models, a.inputs, a.small)
        self.sets = {name: arrays.parse(name) for name in a.sets}
        self.failed = []
        self.work = a.reports / "models"
        self.work.mkdir(parents=True, exist_ok=True)
        # Leakage is energy per time: the table at the clock that is stated.
        text = (ROOT / "sw/share/energy/22nm.toml").read_text()
        self.table = self.work / f"22nm-{CLOCK}.toml"
        self.table.write_text(re.sub(r"^clock_mhz = \S+", f"clock_mhz = {CLOCK}", text, count=1, flags=re.M))

    def lastmile(self, *args):
        return run(self.program, *args, "--quiet")

    def fail(self, text):
        print(f"FAILED: {text}", flush=True)
        self.failed.append(text)

    def models(self):
        files = sorted(self.folder.glob("*.tflite")) if self.folder.is_dir() else []
        if not files:
            print(f"SKIPPED: no .tflite file in {self.folder} (MODELS=folder)")
        return files

    def int8(self):
        for file in self.models():
            info = json.loads(self.lastmile("import", file, "--json")[0])
            if info["type"] == "int8":
                yield file, info
            else:
                print(f"{file.name}: a float model, not in this table")

    def profile(self, file, values, *how):
        folder = self.work / "profile"
        out, _ = self.lastmile("profile", "--inference", "--batch", 1, "--no-compare", "--networks", file, "--json",
                               "--table", self.table, "--hardware", arrays.hardware(values), "--reports", folder, *how)
        return json.loads(out)["networks"][0]["inference"]

    def hash(self, file, inputs, *how):
        return json.loads(self.lastmile("infer", "--network", file, "--random", inputs, "--seed", SEED, "--json",
                                        *how)[0])["outputs_hash"]

    def same(self, file, inputs, where, *how):
        wanted = run(self.tool, "reference", file, inputs, SEED)[0].strip()
        found = self.hash(file, inputs, *how)
        if found != wanted:
            self.fail(f"{file.name} on {where}: {inputs} random inputs give other bytes than the reference kernels")
        return found == wanted

    def on_array(self, file, name, values):
        predicted = self.profile(file, values, "--predict")
        measured, equal = None, None
        if built(self.program, values):
            measured = self.profile(file, values, "--backend", "rtl")
            equal = self.same(file, ON_RTL, f"the RTL {name}", "--backend", "rtl", "--batch", 1, "--hardware",
                              arrays.hardware(values))
        of = measured or predicted
        multipliers = values["ROWS"] * values["COLS"]
        by_layer = {x["layer"]: losses(x, multipliers) for x in of["layers"]}
        worst = max(by_layer, key=lambda x: sum(by_layer[x].values()))
        cause = max(by_layer[worst], key=by_layer[worst].get)
        live = of["memory"]["timeline"]
        return {"array": name, "rows": values["ROWS"], "cols": values["COLS"], "bus_bytes": values["BUS_BYTES"],
                "predicted": predicted["cycles"], "measured": measured and measured["cycles"], "equal": equal,
                "per_second": CLOCK * 1e6 / of["cycles"], "energy_uj": of["energy"]["uj_per_step"],
                "useful": of["utilisation"], "cycles": of["cycles"], "losses": losses(of, multipliers),
                "worst": {"layer": worst, "share": sum(by_layer[worst].values()) / of["cycles"], "cause": cause},
                "memory": {k: max(p[k] for p in live) for k in ("weights", "parameters", "activations")}}

    def tiny(self):
        out = []
        for file, info in self.int8():
            n = {"name": called(file), "file": file.name, "inputs": self.inputs, "macs": info["macs"],
                 "weights": info["weights"], "layers": info["layers"],
                 "equal": self.same(file, self.inputs, "the model"), "arrays": []}
            for name, values in self.sets.items():
                try:
                    n["arrays"].append(self.on_array(file, name, values))
                    x = n["arrays"][-1]
                    print(f"{file.name} on {name}: {x['cycles']:.0f} cycles, "
                          f"{'predicted' if x['measured'] is None else 'measured'}", flush=True)
                    if name == "16x16" and "ResNet-8" in n["name"] and x["per_second"] < FLOOR:
                        self.fail(f"{file.name}: {x['per_second']:.0f} inferences per second, expected {FLOOR}")
                except Failure as e:
                    self.fail(f"{file.name} on {name}: {e}")
            out.append(n)
        return out

    # Imports

    def data(self, folder, shape, classes, labels=None):
        """Noise of the network's shape."""
        folder.mkdir(exist_ok=True)
        (folder / "classes.txt").write_text("".join(f"{i}\n" for i in range(classes)))
        path, each = folder / "data.npz", 1
        for d in shape:
            each *= d
        random = Random(SEED)

        def npy(kind, dims, content):
            head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(dims)}, }}"
            head += " " * (-(len(head) + 11) % 64) + "\n"
            return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + content

        with zipfile.ZipFile(path, "w") as z:
            x = b""
            for _ in range(EXAMPLES):  # each with a range of its own
                low, high = sorted(random.sample(range(256), 2))
                values = bytes(low + i * (high - low) // 255 for i in range(256))
                x += random.randbytes(each).translate(values)
            z.writestr("x.npy", npy("|u1", [EXAMPLES, *shape], x))
            if labels:
                z.writestr("y.npy", npy("<i4", [EXAMPLES], struct.pack(f"<{EXAMPLES}i", *labels)))
        return path

    def step(self, steps, name, *args):
        """One command of a model; its cost or why there is none is kept."""
        try:
            out, (code, seconds, kilobytes) = self.lastmile(*args)
            steps[name] = {"code": code, "seconds": seconds, "kilobytes": kilobytes}
            if code:
                steps[name]["finding"] = [x for x in out.splitlines() if x.startswith("FAILED")][-1]
            return out
        except Failure as e:
            steps[name] = {"error": str(e).replace(str(self.work) + "/", "").replace(str(self.folder) + "/", "")}
            return None

    def one_import(self, file):
        steps, name = {}, file.stem
        own = self.work / name
        (self.work / f"{name}.lmq").unlink(missing_ok=True)
        out = self.step(steps, "import", "import", file, "--output", own, "--json")
        row = {"name": name, "steps": steps}
        if out is None:
            return row
        info = json.loads(out)
        row.update(type=info["type"], macs=info["macs"], weights=info["weights"], layers=info["layers"])
        integers, told = self.work / f"{name}.lmq", self.work / f"{name}.csv"
        folder, shape, classes = self.work / f"{name}-data", info["input"], info["classes"]
        # Labels are what the network says itself: nothing is known of noise. Of an autoencoder's every sixth example
        # is anomalous, which its loss does not look at.
        coder = "autoencoder" in " ".join(info["notes"])
        if coder:
            classes = 2
        labels = [int(coder and i % 6 == 5) for i in range(EXAMPLES)]
        if self.step(steps, "eval", "eval", "--network", file, "--target",
                     self.data(folder, shape, classes), "--predictions", told) is not None and not coder:
            with told.open() as f:
                labels = [int(r["predicted"]) for r in csv.DictReader(f)]
        data = ["--data", self.data(folder, shape, classes, labels), "--shift", "none"]
        if info["type"] == "int8":
            steps["quantize"] = {"text": "its own integers"}
        elif self.step(steps, "quantize", "quantize", "--network", file, *data, "--apart", 100, "--output",
                       integers) is None:
            run(self.tool, "quantize", file, integers)
        hashes = {}
        values = self.sets.get("16x16") or next(iter(self.sets.values()))
        rtl = built(self.program, values)
        for where in ("model", *(["RTL"] if rtl else [])):
            out = self.step(steps, where, "infer", "--network", integers, "--random", 1, "--seed", SEED, "--batch", 1,
                            "--json", "--hardware", arrays.hardware(values),
                            *(["--backend", "rtl"] if where == "RTL" else []))
            hashes[where] = out and json.loads(out)["outputs_hash"]
        if rtl:
            row["equal"] = hashes["model"] == hashes["RTL"] is not None
            if not row["equal"]:
                self.fail(f"{name}: {hashes}")
        cheap = []
        if info["macs"] > LARGE:  # measuring amplitudes takes many minutes
            cheap = ["--unit", "rms", "--eps", 0.01, "--step", 0.001, "--test-examples", 4]
        start = ["--network", file] if info["type"] == "int8" else ["--input", integers]
        self.step(steps, "adapt", "adapt", *start, *data, "--steps", 4, "--batch", 4, "--pairs", 1,
                  "--evaluations", 0, "--hold-out", 0, "--journal", self.work / f"{name}.lmj", "--overwrite", *cheap)
        layers = self.small or info["macs"] > LARGE
        self.step(steps, "validate", "validate", "--quick", *(["--no-sweep", "--no-signal"] if layers else []),
                  "--network", file, *data, "--reports", self.work / "validate")
        if layers and "error" not in steps["validate"]:
            steps["validate"]["part"] = "layers only"
        self.step(steps, "profile", "profile", "--predict", "--no-compare", "--batch", 1, "--networks", file,
                  "--reports", self.work / "profile")
        return row

    def imports(self, keep):
        written = self.work / "written"
        written.mkdir(exist_ok=True)
        print(run(self.tool, "tiny" if self.small else "write", written)[0], end="")
        rows = []
        for file in [*self.models(), *sorted(written.glob("*.onnx"))]:
            rows.append(self.one_import(file))
            keep(rows)
            x = rows[-1]["steps"]
            print(f"{file.name}: " + ", ".join(f"{k} {cell(v)}" for k, v in x.items()), flush=True)
        return rows


def cell(step):
    if "seconds" in step:
        return f"{step['seconds']:.2f} s, {step['kilobytes'] / 1024:.0f} MB" + (
            f", {step['part']}" if "part" in step else "")
    return step.get("text") or step["error"]


def tiny_text(networks):
    parts = []
    for n in networks:
        rows = []
        for x in n["arrays"]:
            rtl = "not measured" if x["measured"] is None else \
                f"{x['measured']:,.0f} ({100 * (x['predicted'] / x['measured'] - 1):+.2f} %)"
            lost, e = x["losses"], x["energy_uj"]
            share = [f"{100 * lost[k] / x['cycles']:.1f}" for k in ("partly used", *list(CAUSES)[:3])]
            rest = 100 * (lost["elements"] + lost["other"]) / x["cycles"]
            w = x["worst"]
            rows.append([f"{x['rows']} x {x['cols']}, bus {x['bus_bytes']}", f"{x['predicted']:,.0f}", rtl,
                         f"{x['per_second']:,.0f}", f"{e['value']:.3g} ({e['low']:.3g} to {e['high']:.3g})",
                         f"{100 * x['useful']:.1f}", *share, f"{rest:.1f}",
                         f"`{w['layer']}`: {100 * w['share']:.1f}, {w['cause']}"])
        on = [x for x in n["arrays"] if x["equal"] is not None]
        same = f"the same bytes as the reference kernels on {n['inputs']:,} random inputs" if n["equal"] else \
            "**OTHER bytes than the reference kernels**"
        if on:
            good = [f"{x['rows']} x {x['cols']}" for x in on if x["equal"]]
            same += f", and on {ON_RTL} on the RTL ({', '.join(good)})" if len(good) == len(on) else \
                "; **the RTL differs**"
        m = (next((x for x in n["arrays"] if x["array"] == "16x16"), None) or n["arrays"][0])["memory"]
        parts.append(
            f"{n['name'][0].upper()}{n['name'][1:]} (`{n['file']}`): {same}. Accuracy: no data of its kind. "
            f"{n['layers']} layers, {n['macs'] / 1e6:.2f} million multiplications. Memory: weights "
            f"{m['weights'] / 1e3:.1f} kB, their parameters {m['parameters'] / 1e3:.1f} kB, activations at most "
            f"{m['activations'] / 1e3:.1f} kB.\n\n" +
            table(["array", "cycles, predicted", "on the RTL (prediction off by)", f"inferences/s at {CLOCK} MHz",
                   "energy, uJ", "multipliers used, %", "partly used", "waiting for input", "for weights",
                   "for the drain", "elements, other", "loses most: % of all, cause"], rows))
    return "\n\n".join(parts)


def imports_text(rows):
    columns = {"import": "import", "eval": "eval", "quantize": "quantize", "model": "forward, model",
               "RTL": "forward, RTL", "adapt": "adapt, 4 steps of 4", "validate": "validate --quick",
               "profile": "profile --predict"}
    notes, out = [], []
    for x in rows:
        line = [f"`{x['name']}`", x.get("type", ""), f"{x['weights']:,}" if "weights" in x else "",
                f"{x['macs'] / 1e6:,.1f}" if "macs" in x else ""]
        for key in columns:
            step = x["steps"].get(key)
            if step and "error" in step:
                notes.append(f"{len(notes) + 1}. `{x['name']}`, {columns[key]}: {step['error']}")
                line.append(f"refused ({len(notes)})")
                if key == "quantize":
                    notes[-1] += "; quantized by the test itself"
            else:
                line.append("" if step is None else cell(step))
                if step and "finding" in step:
                    notes.append(f"{len(notes) + 1}. `{x['name']}`, {columns[key]}: {step['finding']}")
                    line[-1] += f" ({len(notes)})"
        line.append({True: "yes", False: "**NO**"}.get(x.get("equal"), ""))
        out.append(line)
    text = table(["model", "", "weights", "MMAC", *columns.values(), "RTL: the same outputs"], out)
    return text + ("\n\n" + "\n".join(notes) if notes else "")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program", type=pathlib.Path)
    p.add_argument("tool", type=pathlib.Path)
    p.add_argument("models", type=pathlib.Path)
    p.add_argument("--only", choices=["tiny", "imports"])
    p.add_argument("--sets", nargs="+", default=SETS)
    p.add_argument("--inputs", type=int, default=1000)
    p.add_argument("--reports", type=pathlib.Path, default=ROOT / "build/reports")
    p.add_argument("--small", action="store_true", help="a tiny network in place of the written ones")
    a = p.parse_args()
    a.program, a.tool, a.models, a.reports = (x.absolute() for x in (a.program, a.tool, a.models, a.reports))
    bench = Bench(a)
    path = a.reports / "models.json"
    report = json.loads(path.read_text()) if path.exists() else {}
    report["clock_mhz"] = CLOCK
    if a.only != "imports":
        report["tiny"] = bench.tiny()
        if report["tiny"]:
            (a.reports / "models_tiny.md").write_text(tiny_text(report["tiny"]) + "\n")
    if a.only != "tiny":
        def keep(rows):  # what ends early keeps what it measured
            report["imports"] = rows
            (a.reports / "models_imports.md").write_text(imports_text(rows) + "\n")
            path.write_text(json.dumps(report, indent=1) + "\n")

        bench.imports(keep)
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"report: {path}; {len(bench.failed)} failed")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    sys.exit(main())
