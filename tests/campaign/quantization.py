#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Quantization that meets another domain than it was made on: `make quantization-tables [DATA=fashion-mnist]`.

usage: quantization.py LASTMILE [--only ranges,equalize,faults] [--data FOLDER] [--work FOLDER]

ranges:   a source at a part of its brightness or contrast, deployed at the whole of it: fixed point against float
equalize: the three networks, their channels as trained and scaled, with equalization off, on its own and on
faults:   what `validate` says of fifty planted faults of a deployment, and of ten sound ones
Tables go to build/reports/quantization_<name>.md, numbers to .json beside them.
"""
import argparse
import gzip
import json
import math
import pathlib
import random
import struct
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from harness import xxh64  # noqa: E402

REPORTS = pathlib.Path("build/reports")
CLASSES, SIDE = 8, 8
NET = """name = "bands"
input = "task"
classes = "task"
[[layer]]
name = "c1"
op = "conv2d"
filters = 8
kernel = 3
padding = "same"
batch_norm = true
activation = "relu"
[[layer]]
name = "pool"
op = "max_pool2d"
kernel = 2
[[layer]]
name = "fc"
op = "fully_connected"
units = "classes"
"""


# ---- data

def idx(path, dims, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([0, 0, 8, len(dims)]) + b"".join(struct.pack(">I", d) for d in dims) + bytes(data))


def folder(path, parts):
    """parts: train and t10k, each (images as lists of bytes, labels, side)."""
    for name, (images, labels, side) in parts.items():
        idx(path / f"{name}-images-idx3-ubyte", [len(images), side, side], b"".join(map(bytes, images)))
        idx(path / f"{name}-labels-idx1-ubyte", [len(labels)], labels)
    return path


def bands(n, seed, low=60, high=150, noise=60):
    """Class k lights band k of the picture."""
    rng, images, labels = random.Random(seed), [], []
    for i in range(n):
        y = i % CLASSES
        labels.append(y)
        images.append([max(0, min(255, (high if p * CLASSES // (SIDE * SIDE) == y else low)
                                  + rng.randint(-noise, noise))) for p in range(SIDE * SIDE)])
    return images, labels, SIDE


def changed(part, pixel=None, label=None, keep=None):
    images, labels, side = part
    both = [(x, y) for i, (x, y) in enumerate(zip(images, labels)) if keep is None or keep(i, y)]
    return ([[pixel(v) for v in x] for x, _ in both] if pixel else [x for x, _ in both],
            [label(y) for _, y in both] if label else [y for _, y in both], side)


def clamp(v):
    return max(0, min(255, int(round(v))))


# ---- float weights of a checkpoint

def read_checkpoint(path):
    """Head of the file, and its tensors as [name, shape, values]."""
    b = path.read_bytes()
    version = struct.unpack_from("<I", b, 8)[0]
    at = 12
    at += 4 + struct.unpack_from("<I", b, at)[0] + 8
    if version > 1:
        at += 4 + struct.unpack_from("<I", b, at)[0]
    head, count, tensors = b[:at], struct.unpack_from("<I", b, at)[0], []
    at += 4
    for _ in range(count):
        size = struct.unpack_from("<I", b, at)[0]
        name = b[at + 4:at + 4 + size].decode()
        at += 4 + size
        rank = struct.unpack_from("<I", b, at)[0]
        shape = struct.unpack_from(f"<{rank}I", b, at + 4)
        at += 4 + 4 * rank
        n = math.prod(shape)
        tensors.append([name, shape, list(struct.unpack_from(f"<{n}f", b, at))])
        at += 4 * n
    return head, tensors


def write_checkpoint(path, head, tensors):
    b = head + struct.pack("<I", len(tensors))
    for name, shape, values in tensors:
        b += struct.pack("<I", len(name)) + name.encode() + struct.pack(f"<I{len(shape)}I", len(shape), *shape)
        b += struct.pack(f"<{len(values)}f", *values)
    b += struct.pack("<Q", xxh64(b))
    path.write_bytes(b)


def scaled(source, to, first, second, channels, factor):
    """The same function: channels of layer `first` times factor (its batch norm), of `second` divided by it."""
    head, tensors = read_checkpoint(source)
    t = {name: (shape, values) for name, shape, values in tensors}
    filters = len(t[first + "/gamma"][1])
    for name in ("gamma", "beta"):
        for c in channels:
            t[f"{first}/{name}"][1][c] *= factor
    shape, w = t[second + "/weights"]
    for k in range(len(w)):
        if k % filters in channels:  # the input's channel is the fastest index of every layout
            w[k] /= factor
    write_checkpoint(to, head, tensors)
    return to


def killed(source, to, first, channels, weight):
    """Channels that never fire, with weights as large as said."""
    head, tensors = read_checkpoint(source)
    t = {name: values for name, _, values in tensors}
    filters = len(t[first + "/gamma"])
    per = len(t[first + "/weights"]) // filters
    for c in channels:
        for k in range(per):
            t[first + "/weights"][c * per + k] = weight if k % 2 else -weight
        t[first + "/gamma"][c], t[first + "/beta"][c] = 1, -20.0 * weight
        t[first + "/mean"][c], t[first + "/variance"][c] = 0, 1
    write_checkpoint(to, head, tensors)
    return to


class Campaign:
    def __init__(self, lastmile, work, data):
        self.lastmile, self.work, self.data = lastmile, work, data
        work.mkdir(parents=True, exist_ok=True)
        (work / "bands.toml").write_text(NET)

    def run(self, *args, codes=(0,)):
        r = subprocess.run([self.lastmile, *map(str, args)], capture_output=True, text=True)
        if codes and r.returncode not in codes:
            raise SystemExit(f"{' '.join(map(str, args))}: exit code {r.returncode}\n{r.stdout}{r.stderr}")
        return r

    # ---- ranges

    def fashion(self, train, test):
        def part(name, n):
            x = gzip.decompress((self.data / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:]
            y = gzip.decompress((self.data / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:]
            return [x[784 * i:784 * (i + 1)] for i in range(n)], list(y[:n]), 28
        return part("train", train), part("t10k", test)

    def ranges(self):
        if not self.data:
            print("SKIPPED: ranges: no --data folder of Fashion-MNIST")
            return
        train, test = self.fashion(7200, 2000)
        rows = []
        for kind in ("brightness", "contrast"):
            for k in (0.2, 0.4, 0.6, 0.8, 1.0):
                if kind == "contrast" and k == 1.0:
                    continue  # the same as brightness 1
                if kind == "brightness":
                    def change(p, k=k):
                        table = bytes(clamp(v * k) for v in range(256))
                        return [x.translate(table) for x in p[0]], p[1], p[2]
                    shift = f"gain={1 / k:.6g}"
                else:
                    def change(p, k=k):
                        out = []
                        for x in p[0]:
                            m = sum(x) / len(x)
                            out.append(x.translate(bytes(clamp(m + (v - m) * k) for v in range(256))))
                        return out, p[1], p[2]
                    shift = f"contrast={1 / k:.6g}"
                where = folder(self.work / f"{kind}-{k}", {"train": change(train), "t10k": change(test)})
                out = self.work / f"{kind}-{k}-out"
                self.run("run", "--data", where, "--shift", shift if k != 1 else "none", "--adapt-examples", 1200,
                         "--epochs", 4, "--steps", 1500, "--evaluations", 0, "--method", "forward-gradient",
                         "--no-backprop", "--quiet", "--out", out, "--reports", out)
                r = json.loads((out / "run.json").read_text())
                a = r["accuracy"]
                before = next(x for x in r["float_against_fixed"] if x["domain"] == "shifted")
                rows.append({"kind": kind, "part": k, "source_float": a["float_source"], "source": a["source"],
                             "before_float": before["float"], "before": before["fixed"],
                             "after_float": a["float"], "after": a["fixed"]})
                print(rows[-1], flush=True)
        lines = ["| source at | of its | source, float | fixed | deployed, float | fixed | adapted, float | fixed |",
                 "| --- | --- | --- | --- | --- | --- | --- | --- |"]
        for r in rows:
            lines.append("| {part} | {kind} | {source_float:.1f} | {source:.1f} | {before_float:.1f} | {before:.1f} | "
                         "{after_float:.1f} | {after:.1f} |".format(**r))
        self.write("ranges", rows, lines)

    # ---- equalization

    def equalize(self):
        rows = []
        tasks = [("small-cnn", [], "conv1", "conv2")]
        if self.data:
            small = folder(self.work / "fm", dict(zip(("train", "t10k"), self.fashion(3600, 800))))
            tasks = [("small-cnn", ["--data", small], None, None), ("resnet8", ["--data", small], None, None),
                     ("ds-cnn", ["--data", small], None, None)]
        for network, data, *_ in tasks:
            base = self.work / f"{network}.lmc"
            options = ["--network", network, *data, "--shift", "none", "--adapt-examples", 400]
            if not base.exists():
                self.run("pretrain", *options, "--epochs", 2, "--output", base, "--quiet")
            _, tensors = read_checkpoint(base)
            # A pair of layers of which one alone reads the other's channels.
            first, second = {"small-cnn": ("conv1", "conv2")}.get(network, (None, None))
            names = [name.split("/")[0] for name, _, _ in tensors if name.endswith("/gamma")]
            if network == "resnet8":
                first, second = names[1], names[2]
            if first is None:
                first, second = names[0], names[1]
            for scale in (None, 1000.0):
                ck = base
                if scale:
                    ck = scaled(base, self.work / f"{network}-scaled.lmc", first, second, {1}, scale)
                for weights in ("w8", "w16"):
                    row = {"network": network, "channels": "as trained" if not scale else "one times 1000",
                           "weights": weights}
                    for mode in ("off", "auto", "on"):
                        r = self.run("quantize", *options, "--checkpoint", ck, "--weights", weights, "--equalize", mode,
                                     "--apart", 100, "--output", self.work / "q.lmq", "--json", "--quiet")
                        got = json.loads(r.stdout)["float_against_fixed"]["source"]
                        row["float"], row[mode] = got["float"], got["fixed"]
                    rows.append(row)
                    print(row, flush=True)
        lines = ["| network | channels | weights | float | off | auto | on |",
                 "| --- | --- | --- | --- | --- | --- | --- |"]
        for r in rows:
            lines.append("| {network} | {channels} | {weights} | {float:.1f} | {off:.1f} | {auto:.1f} | {on:.1f} |"
                         .format(**r))
        self.write("equalize", rows, lines)

    # ---- faults

    def faults(self):
        train, test = bands(2400, 1), bands(800, 2)
        sound = folder(self.work / "sound", {"train": train, "t10k": test})
        dark = folder(self.work / "dark", {k: changed(p, pixel=lambda v: v * 2 // 5)
                                           for k, p in (("train", train), ("t10k", test))})
        net = ["--network", self.work / "bands.toml", "--adapt-examples", 300]
        made = {}
        for name, data in (("sound", sound), ("dark", dark)):
            made[name] = self.work / f"{name}.lmc"
            self.run("pretrain", "--data", data, *net, "--shift", "none", "--epochs", 12, "--output", made[name],
                     "--quiet")

        def quantized(ck, data, *options, shift="none"):
            q = self.work / "fault.lmq"
            self.run("quantize", "--data", data, *net, "--shift", shift, "--checkpoint", ck, "--output", q, "--apart",
                     100, "--quiet", *options)
            return ["--quantized", q]

        cases = []  # kind, what, arguments, names expected

        def add(kind, what, data, ck, *args, shift="none", names=()):
            cases.append((kind, what, ["--data", data, "--checkpoint", ck, "--shift", shift, *args], names))

        for shift in ("brightness=0.2", "brightness=0.3", "brightness=0.4", "brightness=0.5", "brightness=0.6",
                      "gain=2", "gain=2.5", "gain=3", "contrast=3", "contrast=4"):
            add("range", f"calibrated on the source, met {shift}", dark, made["dark"], "--calibrate-on", "source",
                shift=shift, names=("saturation", "output scale", "sqnr", "accuracy"))
        for lost in ({0}, {1, 2}, {3, 4, 5}, {6, 7}):
            n = folder(self.work / f"split-{min(lost)}",
                       {"train": changed(train, keep=lambda i, y: y not in lost or i < CLASSES), "t10k": test})
            add("split", f"classes {sorted(lost)} all but missing in the training file", n, made["sound"],
                names=("split",))
        for lost in ({0}, {4, 5}):
            n = folder(self.work / f"test-{min(lost)}", {"train": train,
                                                        "t10k": changed(test, keep=lambda i, y: y not in lost)})
            add("split", f"classes {sorted(lost)} missing in the test", n, made["sound"], names=("split",))
        for most in (0, 5):
            n = folder(self.work / f"mix-{most}", {"train": train, "t10k": changed(
                test, keep=lambda i, y: y == most or i % 64 < CLASSES)})
            add("split", f"test mostly class {most}", n, made["sound"], names=("split",))
        for what, pixel in (("inverted", lambda v: 255 - v), ("halved", lambda v: v // 2),
                            ("doubled", lambda v: clamp(2 * v)), ("plus 64", lambda v: clamp(v + 64)),
                            ("a third", lambda v: v // 3), ("stretched", lambda v: clamp((v - 60) * 2.5)),
                            ("two levels", lambda v: 255 if v > 110 else 0), ("squared", lambda v: v * v // 255)):
            n = folder(self.work / f"norm-{what.replace(' ', '-')}",
                       {k: changed(p, pixel=pixel) for k, p in (("train", train), ("t10k", test))})
            add("normalization", f"values {what}", n, made["sound"], names=("normalization",))
        for what, label in (("plus 1", lambda y: (y + 1) % 8), ("plus 3", lambda y: (y + 3) % 8),
                            ("reversed", lambda y: 7 - y), ("0 and 1 exchanged", lambda y: y ^ 1 if y < 2 else y),
                            ("2 and 7 exchanged", lambda y: {2: 7, 7: 2}.get(y, y)),
                            ("pairs exchanged", lambda y: y ^ 1), ("halves exchanged", lambda y: y ^ 4),
                            ("three in a ring", lambda y: {0: 1, 1: 2, 2: 0}.get(y, y))):
            n = folder(self.work / f"order-{what.replace(' ', '-')}",
                       {k: changed(p, label=label) for k, p in (("train", train), ("t10k", test))})
            add("class order", f"labels {what}", n, made["sound"], names=("class order",))
        for i, (channels, factor, weights) in enumerate((
                ({0}, 1000.0, "w8"), ({1}, 1000.0, "w16"), ({2}, 300.0, "w8"), ({0, 1, 2, 3}, 100.0, "w8"),
                ({4, 5, 6, 7}, 300.0, "w16"), ({3}, 10000.0, "w8"), ({0, 2, 4, 6}, 1000.0, "w8"),
                ({5}, 3000.0, "w16"))):
            ck = scaled(made["sound"], self.work / f"scale-{i}.lmc", "c1", "fc", channels, factor)
            add("channel scale", f"channels {sorted(channels)} times {factor:g}, {weights}", sound, ck,
                "--equalize", "off", "--weights", weights,
                names=("sqnr", "accuracy", "stuck channels", "rmse over scale"))
        for i, (channels, weight, weights) in enumerate((
                ({0}, 1e3, "w8"), ({1}, 1e4, "w8"), ({2}, 1e5, "w8"), ({3, 4}, 1e4, "w8"), ({5}, 1e6, "w8"),
                ({6}, 1e6, "w16"), ({7}, 1e7, "w16"), ({0, 7}, 1e6, "w16"))):
            ck = killed(made["sound"], self.work / f"dead-{i}.lmc", "c1", channels, weight)
            add("dead channel", f"channels {sorted(channels)} never fire, weights of {weight:g}, {weights}", sound, ck,
                "--equalize", "off", "--weights", weights, names=("sqnr", "accuracy", "rmse over scale"))
        planted = len(cases)
        for shift, *args in (("none",), ("brightness=0.1",), ("contrast=0.8",), ("rotate=10",), ("noise=0.05",),
                             ("none", "--weights", "w8"), ("brightness=0.2", "--weights", "w8"),
                             ("gain=1.3",), ("none", "--equalize", "on"), ("contrast=0.7", "--calibration",
                                                                           "percentile")):
            add("sound", f"{shift} {' '.join(args)}".strip(), sound, made["sound"], *args, shift=shift)

        rows = []
        for kind, what, args, names in cases:
            # A fault that training did not see: the network's file is from before it.
            r = self.run("validate", *net, *args, "--quick", "--no-signal", "--no-sweep", "--no-sensitivity", "--json",
                         "--quiet", "--reports", self.work / "v", codes=())
            if r.stdout.strip():
                findings = json.loads(r.stdout)["findings"]
            else:
                findings = [{"level": "fail", "layer": "", "check": "refused", "text": r.stderr.strip()}]
            failures = [f for f in findings if f["level"] == "fail"]
            said = [f for f in findings if f["check"] in names] or failures
            named = bool(said)
            rows.append({"kind": kind, "what": what, "exit": r.returncode, "named": named,
                         "said": f"{said[0]['check']}: {said[0]['text']}" if said else "nothing"})
            print(rows[-1], flush=True)
        faults, quiet = rows[:planted], rows[planted:]
        lines = [f"{sum(r['named'] for r in faults)} of {len(faults)} planted faults named; "
                 f"{sum(r['named'] for r in quiet)} false alarms on {len(quiet)} sound deployments.", "",
                 "| kind | what | exit status | first finding |", "| --- | --- | --- | --- |"]
        for r in rows:
            text = r["said"].replace("|", "/").replace(f"{self.work}/", "")
            text = text[:110] + ("..." if len(text) > 110 else "")
            lines.append(f"| {r['kind']} | {r['what']} | {r['exit']} | {text} |")
        self.write("faults", rows, lines)

    def write(self, name, rows, lines):
        REPORTS.mkdir(parents=True, exist_ok=True)
        (REPORTS / f"quantization_{name}.json").write_text(json.dumps(rows, indent=1) + "\n")
        (REPORTS / f"quantization_{name}.md").write_text("\n".join(lines) + "\n")
        print("\n".join(lines))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lastmile")
    parser.add_argument("--only", default="faults,equalize,ranges")
    parser.add_argument("--data", type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/quantization"))
    o = parser.parse_args()
    campaign = Campaign(o.lastmile, o.work, o.data)
    for name in o.only.split(","):
        getattr(campaign, name)()


if __name__ == "__main__":
    main()
