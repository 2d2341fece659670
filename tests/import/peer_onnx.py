#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exported ONNX models in onnxruntime against this project: `make peer-onnx`.

usage: peer_onnx.py LASTMILE PEER-ONNX [NETWORK...]

Every network is trained for an epoch on the drawn digits, quantized with weights of 8 and of 16 bits, adapted to the
shifted ones by readouts, and exported. On EXAMPLES shifted digits:
  float   outputs within FLOAT of their range, the same class for every input
  int8    QDQ outputs in the integers' own steps: at least NEAR per cent within one, or WORST where every layer, from
          the same inputs, is within one step and SAME per cent are equal: then the rest is what later layers make of
          numbers halfway between two steps (means often are), which floating point rounds to even and the
          contract away from zero
  logits  QDQ models as exported (real logits): accuracy within POINTS of this project's
The cases of nodes.json have to come out there as make_nodes.py computed them.
onnxruntime is looked for in build/peer-onnx (`make peer-onnx-install` puts it there by npm) and in NODE_PATH.
"""
import array
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
INSTALLED = ROOT / "build/peer-onnx"
EXAMPLES, SIDE = 1000, 16
FLOAT, NEAR, WORST, SAME, POINTS = 1e-5, 99.9, 95.0, 98.0, 0.3
NETWORKS = ("small-cnn", "resnet8")


def find_runtime():
    """A folder below which node finds onnxruntime-node; None: nowhere."""
    if shutil.which("node") is None:
        return None
    folders = [INSTALLED, *(pathlib.Path(p).parent for p in os.environ.get("NODE_PATH", "").split(":") if p)]
    for f in folders:
        if (f / "node_modules/onnxruntime-node/package.json").exists():
            return f.resolve()
    return None


def floats(path):
    a = array.array("f")
    a.frombytes(pathlib.Path(path).read_bytes())
    return a


def classes(values, count):
    return [max(range(count), key=lambda c, at=at: values[at + c]) for at in range(0, len(values), count)]


class Peer:
    def __init__(self, program, tool, runtime, folder):
        self.program, self.tool, self.runtime, self.dir = program, tool, runtime, folder
        self.passed = self.failed = 0
        self.report = []

    def check(self, what, fine, value):
        self.passed, self.failed = self.passed + bool(fine), self.failed + (not fine)
        print(f"{'' if fine else 'FAILED: '}{what}: {value}", flush=True)
        self.report.append({"what": what, "passed": bool(fine), "value": value})

    def run(self, *args):
        return subprocess.run([str(a) for a in args], cwd=self.dir, check=True, capture_output=True, text=True).stdout

    def lastmile(self, *args):
        return self.run(self.program, *args, "--quiet")

    def onnx(self, model, level="all"):
        self.run("node", HERE / "peer_onnx.mjs", self.runtime, "model", model, "x.f32", "y.f32", level, EXAMPLES, 1,
                 SIDE, SIDE)
        return floats(self.dir / "y.f32")

    def accuracy(self, found):
        return 100 * sum(a == b for a, b in zip(found, self.labels)) / len(self.labels)

    def float_model(self, network):
        self.lastmile("export", "w.lmc", "--network", network, "--output", "net.toml")
        self.lastmile("export", "w.lmc", "--network", network, "--output", "float.onnx")
        self.run(self.tool, "float", ".", "net.toml", "w.npz", "float")
        ours, theirs = floats(self.dir / "float.f32"), self.onnx("float.onnx")
        span = max(ours) - min(ours)
        worst = max(abs(a - b) for a, b in zip(ours, theirs)) / span
        self.check(f"{network}, float: largest difference by range", worst <= FLOAT, f"{worst:.2e}")
        n = len(ours) // EXAMPLES
        same = sum(a == b for a, b in zip(classes(ours, n), classes(theirs, n)))
        self.check(f"{network}, float: the same class", same == EXAMPLES, f"{same} of {EXAMPLES}")

    def integers(self, name, file):
        step = float(self.run(self.tool, "fixed", ".", file, "fixed"))
        ours = floats(self.dir / "fixed.int8.f32")
        self.lastmile("export", file, "--result", "int8", "--output", "int8.onnx")
        self.run(self.tool, "layers", ".", file)
        r = json.loads(self.run("node", HERE / "peer_onnx.mjs", self.runtime, "layers", "layers.json"))
        same, most = 100 * r.get("0", 0) / sum(r.values()), max(map(int, r))
        single = most <= 1 and same >= SAME
        self.check(f"{name}, each layer from the same inputs: equal", single, f"{same:.3f} %, at most {most} steps")
        for level in ("all", "disabled"):
            theirs = self.onnx("int8.onnx", level)
            sizes = collections.Counter(abs(round((a - b) / step)) for a, b in zip(ours, theirs))
            near = 100 * (sizes[0] + sizes[1]) / len(ours)
            text = ", ".join(f"{k} steps: {sizes[k]}" for k in sorted(sizes))
            self.check(f"{name}, QDQ, optimization {level}: within one step", near >= (WORST if single else NEAR),
                       f"{near:.3f} % ({text})")
        self.lastmile("export", file, "--output", "logits.onnx")
        logits, theirs = floats(self.dir / "fixed.logits.f32"), self.onnx("logits.onnx")
        n = len(logits) // EXAMPLES
        a, b = self.accuracy(classes(logits, n)), self.accuracy(classes(theirs, n))
        self.check(f"{name}, QDQ: accuracy here and there", abs(a - b) <= POINTS, f"{a:.1f} %, {b:.1f} %")
        self.lastmile("export", file, "--form", "float", "--output", "real.onnx")
        c = self.accuracy(classes(self.onnx("real.onnx"), n))
        self.check(f"{name}, exported as float: accuracy", abs(a - c) <= 2 * POINTS, f"{a:.1f} %, {c:.1f} %")

    def network(self, network):
        self.lastmile("pretrain", "--network", network, "--epochs", 1, "--output", "w.lmc")
        self.lastmile("export", "w.lmc", "--network", network, "--output", "w.npz")
        self.float_model(network)
        for bits in ("w8", "w16"):
            self.lastmile("quantize", "--network", network, "--checkpoint", "w.lmc", "--weights", bits, "--output",
                          f"{bits}.lmq")
            self.integers(f"{network}, {bits}", f"{bits}.lmq")
        self.lastmile("adapt", "--method", "readout", "--input", "w16.lmq", "--readout-steps", 400, "--journal",
                      "a.lmj", "--output", "adapted.lmq", "--overwrite")
        self.integers(f"{network}, readouts", "adapted.lmq")

    def nodes(self):
        self.run(self.tool, "nodes", ".", HERE / "nodes.json")
        r = json.loads(self.run("node", HERE / "peer_onnx.mjs", self.runtime, "nodes", HERE / "nodes.json"))
        self.check("cases of nodes.json", not r["different"], f"{r['cases']}, different: {r['different']}")

    def all(self, networks):
        self.nodes()
        self.run(self.tool, "inputs", ".", EXAMPLES)
        self.labels = (self.dir / "labels.u8").read_bytes()
        for n in networks:
            self.network(n)


def main():
    runtime = find_runtime()
    if runtime is None:
        print("SKIPPED: no onnxruntime-node (make peer-onnx-install, or NODE_PATH)")
        print("0 passed, 0 failed")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve(), runtime,
                    pathlib.Path(folder))
        try:
            peer.all(sys.argv[3:] or NETWORKS)
        except subprocess.CalledProcessError as e:
            peer.check(" ".join(e.cmd), False, e.stderr.strip()[-2000:])
    version = json.loads((runtime / "node_modules/onnxruntime-node/package.json").read_text())["version"]
    report = ROOT / "build/reports/peer-onnx.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps({"onnxruntime": version, "checks": peer.report}, indent=1) + "\n")
    print(f"onnxruntime {version}: {peer.passed} passed, {peer.failed} failed")
    return peer.failed != 0


if __name__ == "__main__":
    sys.exit(main())
