#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program as a user meets it: every kind of bad input, exit codes, JSON, help; a failure leaves nothing behind.

usage: check_cli.py PROGRAM      ends with `N passed, N failed`
"""
import gzip
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
import zlib

from documented import absent, section, unsaid
from harness import (DEVICE, INDEX, INPUT, JOURNAL, MISMATCH, ROOT, TINY, USAGE, Checks, Program, Workspace,
                     error_line, idx_bytes, images, npy_bytes,
                     matches, state, write_audio_folder, write_idx_folder, write_wav, xxh64)

COMMANDS = ["run", "pretrain", "quantize", "adapt", "replay", "eval", "vectors", "info", "audit"]
STEPS = 12
ADAPT = ["--network", "tiny.toml", "--data", "img", "--input", "q.lmq", "--adapt-examples", 32, "--batch", 8,
         "--steps", STEPS,
         "--pairs", 2, "--estimator", "sign", "--schedule", "cosine", "--evaluations", 0, "--threads", 1,
         "--hold-out", 0]
DATA = ["--network", "tiny.toml", "--data", "img"]


class Suite:
    def __init__(self, program, folder):
        self.p, self.dir, self.checks = program, folder, Checks()

    # ---- helpers

    def fails(self, code, patterns, *args, creates=(), **kw):
        """The command ends with `code`, says `patterns` on stderr, nothing on stdout, and changes no file."""
        before = state(self.dir)
        r = self.p.run(*args, cwd=self.dir, **kw)
        text = error_line(r)
        assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {text!r}"
        matches(text, patterns)
        assert r.stdout == "", f"stdout is {r.stdout[:200]!r}, expected nothing"
        after = state(self.dir)
        changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k) and k not in creates)
        assert not changed, f"a failed command changed {changed}"

    def bad(self, name, code, patterns, *args, **kw):
        self.checks.case(name, self.fails, code, patterns, *args, **kw)

    def bad_file(self, name, file, content, code, patterns, *args):
        """The same with a file whose content is replaced meanwhile (None: the file is absent)."""
        path = self.dir / file
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        try:
            self.bad(name, code, patterns, *args)
        finally:
            path.unlink(missing_ok=True)
            if kept is not None:
                path.write_bytes(kept)

    def read(self, file):
        return (self.dir / file).read_bytes()

    # ---- groups

    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        (self.dir / "other.toml").write_text(TINY.replace('"tiny"', '"other"').replace("filters = 8", "filters = 6"))
        write_idx_folder(self.dir / "img")
        for name in ("tiny", "other"):
            self.p.ok("pretrain", "--network", f"{name}.toml", "--data", "img", "--adapt-examples", 32, "--epochs", 1,
                      "--output",
                      f"{name}.lmc", "--quiet", cwd=self.dir)
            self.p.ok("quantize", "--network", f"{name}.toml", "--data", "img", "--adapt-examples", 32,
                      "--checkpoint", f"{name}.lmc",
                      "--output", "q.lmq" if name == "tiny" else "other.lmq", cwd=self.dir)
        r = self.p.json("adapt", *ADAPT, "--journal", "j.lmj", "--output", "a.lmq", cwd=self.dir)
        self.hash = r["weights_hash"]

    def usage(self):
        bad = self.bad
        bad("no subcommand", USAGE, ["subcommand is required"])
        bad("unknown command", USAGE, ["no command 'frobnicate', expected one of run, .*audit"], "frobnicate")
        bad("a slip", USAGE, ["no command 'adpat'; did you mean 'adapt'"], "adpat", "--steps", 3)
        bad("a beginning", USAGE, ["no command 'val'; did you mean 'validate'"], "val")
        required = {"pretrain": ["--output", "x"], "quantize": ["--checkpoint", "x", "--output", "x"], "vectors": ["x"],
                    "adapt": ["--input", "x", "--journal", "x"], "replay": ["--base", "x", "--journal", "x"],
                    "eval": ["--input", "x"], "audit": ["x", "--base", "x"]}
        for c in COMMANDS:
            bad(f"{c}: unknown option", USAGE, ["--no-such-option"], c, *required.get(c, []), "--no-such-option")
        bad("pretrain: output missing", USAGE, ["--output is required"], "pretrain", *DATA)
        bad("quantize: checkpoint missing", USAGE, ["--checkpoint is missing"], "quantize", *DATA, "--output", "x.lmq")
        bad("adapt: input missing", USAGE, ["--input is missing"], "adapt", "--journal", "x.lmj")
        bad("adapt: journal missing", USAGE, ["--journal is required"], "adapt", "--input", "q.lmq")
        bad("replay: base missing", USAGE, ["--base is required"], "replay", "--journal", "j.lmj")
        bad("eval: input missing", USAGE, ["--input is missing"], "eval")
        bad("vectors: no file", USAGE, ["no files: expected JSON vectors, or --emit"], "vectors")
        for option, value, says in (
                ("--steps", "many", "--steps"), ("--steps", "-1", "--steps"), ("--threads", "-1", "--threads"),
                ("--pairs", "0", "pairs is 0, expected 1..8"), ("--pairs", "9", "pairs is 9, expected 1..8"),
                ("--batch", "0", "batch is 0"), ("--batch", "33", "batch is 33, expected 1..32"),
            ("--keep", "0", "keep is 0"),
                ("--keep", "1.5", "keep is 1.5"), ("--keep", "nan", "--keep"), ("--eps", "0", "eps"),
            ("--eps", "nan", "eps"),
                ("--eps", "inf", "eps"), ("--step", "-1", "step"), ("--step", "nan", "step"),
            ("--layers", "nobody", "nobody"),
                ("--inner", "-1", "inner"), ("--inner", "nan", "inner"), ("--unit", "inch", "--unit"),
            ("--estimator", "guess", "--estimator"), ("--schedule", "never", "--schedule"),
                ("--distribution", "cauchy", "--distribution"), ("--speaker", "0", "--speaker 0.*no speakers"),
                ("--evaluations", "-1", "--evaluations"), ("--adapt-examples", "0", "adapt"),
            ("--adapt-examples", "41", "adapt.*1 to 40"),
                ("--shift", "twist=4", "twist"), ("--shift", "rotate=x", "rotate"), ("--seed", "x", "--seed"),
                ("--hardware", "rows=5", "--hardware.*ROWS"), ("--hardware", "rows", "--hardware.*rows"),
                ("--hardware", "rows=16x", "--hardware"), ("--hardware", "wheels=4", "--hardware.*wheels"),
                ("--hardware", "training=0", "TRAINING is 0"), ("--method", "guess", "--method"),
                ("--taps", "nobody", "tap 'nobody'"),
                ("--taps", "conv1:99", "grid is '99', expected 1 to 6"), ("--readout-steps", "0", "steps is 0"),
                ("--memory", "1000", "memory is 1000 bytes")):
            args = ["adapt", *ADAPT, "--journal", "new.lmj", "--output", "new.lmq"]
            if option in ("--taps", "--readout-steps", "--memory"):
                args += ["--method", "readout"]
            if option in [str(a) for a in args]:
                at = args.index(option)
                args[at:at + 2] = []
            # too little memory for this network is found when it is compiled
            code = INPUT if option == "--memory" else USAGE
            bad(f"adapt {option} {value}", code, [says], *args, f"{option}={value}")
        bad("pretrain: learning rate", USAGE, ["learning"], "pretrain", *DATA, "--adapt-examples", 32, "--output",
            "x.lmc",
            "--learning-rate=nan")
        bad("pretrain: negative epochs", USAGE, ["epochs"], "pretrain", *DATA, "--adapt-examples", 32, "--output",
            "x.lmc", "--epochs=-1")
        for option, value in (("--weights", "w4"), ("--weights", "w8,fc"), ("--weights", "w8,fc=w4"),
                              ("--weights", "fc=w8"), ("--weights", "w8,nobody=w16"), ("--calibration", "guess"),
                              ("--percentile", "0"), ("--percentile", "nan"),
                              ("--headroom", "0"), ("--headroom", "nan"), ("--calibration-examples", "0")):
            extra = ["--calibration", "percentile"] if option == "--percentile" else []
            bad(f"quantize {option} {value}", USAGE, [option[2:].split("-")[0]], "quantize", *DATA,
                "--adapt-examples", 32,
                "--checkpoint", "tiny.lmc", "--output", "x.lmq", *extra, f"{option}={value}")
        bad("unknown backend", DEVICE, ["nowhere", "cmodel"], "eval", *DATA, "--adapt-examples", 32, "--input",
            "q.lmq", "--backend",
            "nowhere")
        bad("options of a backend without options", USAGE, ["speed=1"], "eval", *DATA, "--adapt-examples", 32,
            "--input", "q.lmq",
            "--backend-options", "speed=1")
        bad("replay: more steps than there are", USAGE, ["steps is 13", "j.lmj", str(STEPS)], "replay", "--base",
            "q.lmq", "--journal",
            "j.lmj", "--steps", STEPS + 1)
        bad("info: file of another kind", USAGE, ["img.png", ".lmq"], "info", "img.png")

    def data_sets(self):
        train = ["pretrain", "--network", "tiny.toml", "--adapt-examples", 32, "--epochs", 1, "--output", "x.lmc",
                 "--data"]
        self.bad("data: missing folder", INPUT, ["nowhere"], *train, "nowhere")
        self.bad("data: a file", INPUT, ["tiny.toml", "neither of numpy", "folder"], *train, "tiny.toml")
        (self.dir / "empty").mkdir()
        self.bad("data: empty folder", INPUT, ["empty", "PNG", "train-images", "index.csv"], *train, "empty")
        images_file, labels_file = "img/train-images-idx3-ubyte", "img/train-labels-idx1-ubyte"
        good, labels = self.read(images_file), self.read(labels_file)
        args = [*train, "img"]

        def idx(name, file, content, *patterns):
            self.bad_file(f"idx: {name}", file, content, INPUT, [re.escape(os.path.basename(file)), *patterns], *args)

        idx("truncated images", images_file, good[:-100], "data", "truncated")
        idx("bytes behind the images", images_file, good + b"x", "data", "after the end")
        idx("empty file", images_file, b"", "magic")
        idx("header cut short", images_file, good[:10], "header")
        idx("not an IDX file", images_file, b"\x89PNG" + good[4:], "magic", "IDX")
        idx("another element type", images_file, b"\0\0\x0d\3" + good[4:], "magic", "element type 0d")
        idx("labels where images belong", images_file, labels, "magic", "dimensions")
        idx("images where labels belong", labels_file, good, "magic", "dimensions")
        idx("no image", images_file, idx_bytes([0, 12, 12], b""), "images", "0")
        idx("no columns", images_file, idx_bytes([240, 12, 0], b""), "columns", "0")
        idx("huge count", images_file, idx_bytes([0xffffffff, 12, 12], b""), "images", "4294967295")
        idx("count above the data", images_file, idx_bytes([241, 12, 12], good[16:]), "data", "truncated")
        idx("fewer labels than images", labels_file, idx_bytes([239], labels[8:-1]), "labels: 239, expected 240")
        idx("a class without examples", labels_file, idx_bytes([240], bytes(2 if b == 1 else b for b in labels[8:])),
            "labels")
        idx("test labels of an unknown class", "img/t10k-labels-idx1-ubyte",
            idx_bytes([60], bytes([0, 1, 2, 9] * 15)), "9 at example 3")
        idx("no test labels", "img/t10k-labels-idx1-ubyte", None)
        pixels, _ = images(60, 10, 3)
        idx("test images of another size", "img/t10k-images-idx3-ubyte", idx_bytes([60, 10, 10], pixels), "10x10x1",
            "12x12x1")
        packed = gzip.compress(good, mtime=0)
        idx("gzip cut short", images_file, packed[:-20], "truncated")
        idx("gzip with a flipped bit", images_file, packed[:500] + bytes([packed[500] ^ 4]) + packed[501:], "corrupt")
        idx("gzip with bytes behind it", images_file, packed + b"rest", "after the end")
        self.audio()

    def audio(self):
        folder = write_audio_folder(self.dir / "snd")
        train = ["pretrain", "--network", "tiny.toml", "--epochs", 1, "--output", "x.lmc", "--data", "snd"]
        good = self.read("snd/train.wav")
        index = (folder / "index.csv").read_text()

        def sound(name, content, *patterns):
            self.bad_file(f"audio: {name}", "snd/train.wav", content, INPUT, ["train.wav", *patterns], *train)

        def made(**kw):
            write_wav(folder / "made", 16000, **kw)
            data = (folder / "made").read_bytes()
            (folder / "made").unlink()
            return data

        sound("50 Hz", made(rate=50), "sample rate: 50 Hz, expected 100")
        sound("17 channels", made(channels=17), "channels: 17, expected 1 to 16")
        sound("cut short", good[:-1000], "data chunk", "truncated")
        sound("header alone", good[:30])
        sound("not audio", b"hello world, this is text", "WAV or FLAC")
        sound("empty", b"", "WAV or FLAC")
        sound("a FLAC that is none", b"fLaC" + good[4:])
        sound("absent", None)

        def listed(name, text, *patterns):
            self.bad_file(f"index.csv: {name}", "snd/index.csv", text.encode(), INPUT, ["index.csv", *patterns], *train)

        row = index.splitlines()[1]
        listed("empty", "", "line 1")
        listed("a column is missing", index.replace(",speaker", ",talker", 1), "speaker")
        listed("a clip past the end", index.replace("train.wav,0,4000", "train.wav,999999,4000", 1), "line 2",
               "train.wav")
        listed("a start that is no number", index.replace("train.wav,0,", "train.wav,soon,", 1), "line 2", "start",
               "soon")
        listed("a path outside", index.replace("train.wav,0,", "../train.wav,0,", 1), "line 2", "file")
        listed("an unknown split", index.replace(",train\n", ",validation\n", 1), "line 2", "split", "validation")
        listed("a line too short", index + "train.wav,0\n", "fields")
        listed("a speaker in two splits", index + row.replace(",a,", ",c,") + "\n", "'c'")
        listed("columns alone", INDEX + "\n", "classes")
        self.bad("audio: a shift", USAGE, ["shift", "rotate=25"], *train, "--shift", "rotate=25")
        self.p.ok("pretrain", "--network", "tiny.toml", "--data", "snd", "--epochs", 1, "--output", "snd.lmc",
                  "--quiet", cwd=self.dir)
        self.p.ok("quantize", "--network", "tiny.toml", "--data", "snd", "--checkpoint", "snd.lmc", "--output",
                  "snd.lmq", cwd=self.dir)
        adapt = ["adapt", "--network", "tiny.toml", "--data", "snd", "--input", "snd.lmq", "--journal", "new.lmj",
                 "--batch", 2, "--steps", 2]
        self.bad("audio: no speaker chosen", USAGE, ["--speaker"], *adapt)
        self.bad("audio: no such speaker", USAGE, ["speaker: 2, expected below 2"], *adapt, "--speaker", 2)
        self.bad("audio: weights of images", INPUT, ["q.lmq|12x12x1"], "eval", "--network", "tiny.toml", "--data",
                 "snd", "--input", "q.lmq")

    def networks(self):
        train = ["pretrain", "--data", "img", "--adapt-examples", 32, "--epochs", 1, "--output", "x.lmc", "--network"]

        def net(name, text, *patterns):
            self.bad_file(f"network: {name}", "bad.toml", text.encode(), INPUT, [r"bad\.toml", *patterns], *train,
                          "bad.toml")

        self.bad("network: missing file", INPUT, ["nowhere.toml"], *train, "nowhere.toml")
        self.bad("network: unknown name", INPUT, ["nowhere"], *train, "nowhere")
        net("not TOML", "name = [", "bad.toml")
        net("empty", "", "name")
        net("unsupported layer", TINY.replace('"conv2d"', '"transposed_conv2d"', 1), "conv1", "transposed_conv2d")
        net("unsupported activation", TINY.replace('"relu"', '"swish"', 1), "conv1", "activation", "swish")
        net("unknown key", TINY.replace("stride = 2", "strides = 2", 1), "conv1", "strides")
        net("kernel of zero", TINY.replace("kernel = 3", "kernel = 0", 1), "conv1", "kernel")
        net("kernel wider than the image", TINY.replace("kernel = 3", "kernel = 40", 1).replace('"same"', '"valid"',
            1), "conv1")
        net("groups that do not divide", TINY.replace("filters = 8", "filters = 8\ngroups = 3"), "conv2", "groups")
        net("unknown input", TINY.replace("filters = 8", 'filters = 8\ninput = "conv0"'), "conv2", "conv0")
        net("two layers of one name", TINY.replace('"conv2"', '"conv1"'), "conv1")
        net("last layer of another size", TINY.replace('units = "classes"', "units = 7"), "7")
        net("softmax before the end",
            TINY.replace('name = "conv2"', 'name = "s"\nop = "softmax"\n\n[[layer]]\nname = "conv2"'), "'s'")
        net("weights in kind", TINY.replace("kernel = 3", "kernel = nan", 1), "conv1", "kernel")
        head = 'name = "n"\ninput = {}\nclasses = 2\n\n[[layer]]\nname = "{}"\nop = '
        wide = head.format("[257, 256, 1]", "fc") + '"fully_connected"\nunits = 2\n'
        deep = head.format("[8, 8, 8193]", "c") + ('"conv2d"\nfilters = 2\nkernel = [2, 4]\n\n'
                                                   '[[layer]]\nname = "g"\nop = "global_average_pool"\n')
        for name, text, says in (("fully connected", wide, ["'fc'", "65792", "65536"]),
                                 ("convolution", deep, ["'c'", "65544", "65536"])):
            self.bad_file(f"network: K too large, {name}", "bad.toml", text.encode(), INPUT, [r"bad\.toml", *says],
                          "info", "bad.toml")
        write_idx_folder(self.dir / "large", train=8, test=2, side=257, classes=2)
        flat = re.sub(r'(?s)name = "conv1".*(?=name = "fc")', "", TINY)
        self.bad_file("network: K too large for these images", "bad.toml", flat.encode(), INPUT,
                      [r"bad\.toml", "'fc'", "66049", "65536"],
                      "pretrain", "--data", "large", "--adapt-examples", 1, "--network", "bad.toml", "--output",
                      "x.lmc")
        net("another input than the data", TINY.replace('input = "task"', "input = [28, 28, 1]"), "28")

    def checkpoints(self):
        good = self.read("tiny.lmc")
        quantize = ["quantize", *DATA, "--adapt-examples", 32, "--checkpoint", "bad.lmc", "--output", "x.lmq"]

        def weights(name, content, *patterns):
            self.bad_file(f"checkpoint: {name}", "bad.lmc", content, INPUT, [r"bad\.lmc", *patterns], *quantize)

        def signed(content):
            return content[:-8] + struct.pack("<Q", xxh64(content[:-8]))

        assert signed(good) == good, "the checksum of these checks is not that of the program"
        at = good.index(b"conv1/weights") + len(b"conv1/weights") + 4 + 4 * 4
        weights("absent", None)
        weights("empty", b"", "0 bytes")
        weights("of another kind", self.read("q.lmq"), "LMFLOAT")
        weights("cut short", good[:-5], "checksum")
        weights("a flipped bit", good[:at] + bytes([good[at] ^ 1]) + good[at + 1:], "checksum")
        for name, value in (("NaN", float("nan")), ("infinite", float("inf"))):
            patched = good[:at + 8] + struct.pack("<f", value) + good[at + 12:]
            weights(f"{name}, old checksum", patched, "checksum")
            weights(f"{name}, right checksum", signed(patched), "conv1", "weight", "2", "nan" if name == "NaN"
                    else "inf")
        weights("of a later version", signed(good[:8] + b"\3" + good[9:]), "version is 3, expected 1 or 2")
        weights("of another network", self.read("other.lmc"), "'other', expected 'tiny'")
        weights("of another input shape", self.read("snd.lmc"), "audio", "images")
        self.bad("checkpoint: a folder", INPUT, ["img"], "quantize", *DATA, "--adapt-examples", 32, "--checkpoint",
                 "img", "--output", "x.lmq")

    def quantized(self):
        good = self.read("q.lmq")

        def refused(name, content, *patterns):
            for command in (["info", "bad.lmq"], ["eval", *DATA, "--adapt-examples", 32, "--input", "bad.lmq"]):
                self.bad_file(f"quantized: {name} ({command[0]})", "bad.lmq", content, INPUT,
                              [r"bad\.lmq", *patterns], *command)

        size = struct.unpack_from("<I", good, 12)[0]
        header = good[24:24 + size]

        def with_header(text):
            return good[:12] + struct.pack("<IQ", len(text), xxh64(text)) + text + good[24 + size:]

        assert with_header(header) == good
        refused("absent", None)
        refused("empty", b"", "0 bytes")
        refused("of another kind", self.read("tiny.lmc"), "magic")
        refused("cut in the header", good[:100], "header")
        refused("cut in the arrays", good[:-3], "array")
        refused("bytes behind the arrays", good + b"\0", "bytes")
        refused("a later version", good[:8] + b"\x09" + good[9:], "version is 9")
        refused("a flipped bit in the header", good[:60] + bytes([good[60] ^ 1]) + good[61:], "header checksum")
        for at in (24 + size, 24 + size + 50, len(good) - 1):
            refused(f"a flipped bit in byte {at}", good[:at] + bytes([good[at] ^ 16]) + good[at + 1:],
                    "array .* checksum")
        parsed = json.loads(header)
        refused("a header that is no JSON", with_header(b"{"), "header")
        for field, change in (("weight_type", {"weight_type": "w4"}), ("layers", {"layers": []}),
                              ("arrays", {"arrays": []}),
                              ("input", {"input": {"scale": 0.0, "zero_point": 0}}),
                              ("zero_point", {"input": {"scale": 0.1, "zero_point": 300}}),
                              ("network", {"network": "name = 3"})):
            refused(f"header with a wrong {field}",
                    with_header(json.dumps({**parsed, **change}, separators=(",", ":")).encode()), field)
        self.bad("quantized: of another input", INPUT, ["16 x 16 x 1", "12 x 12 x 1", "q.lmq"], "eval", "--network",
                 "tiny.toml", "--input", "q.lmq")

    def journals(self):
        good = self.read("j.lmj")
        text = struct.unpack_from("<I", good, 8)[0]
        head = 8 + 4 + text + 4
        size = 30  # of a record with two pairs
        assert len(good) == head + STEPS * size, "the journal's layout is not the documented one"
        replay = ["replay", "--base", "q.lmq", "--journal", "bad.lmj", "--output", "x.lmq"]
        resume = ["adapt", *ADAPT, "--journal", "bad.lmj", "--output", "x.lmq", "--resume"]

        def refused(name, content, *patterns):
            for command in (replay, resume):
                self.bad_file(f"journal: {name} ({command[0]})", "bad.lmj", content, JOURNAL,
                              [r"bad\.lmj", *patterns], *command)

        def flip(at):
            return good[:at] + bytes([good[at] ^ 64]) + good[at + 1:]

        refused("empty", b"", "not a journal")
        refused("of another kind", self.read("q.lmq"), "not a journal")
        refused("cut in the header", good[:head - 1], "header")
        refused("magic", flip(2), "not a journal")
        refused("header length", flip(8), "header")
        refused("huge header length", flip(11), "header")
        refused("header text", flip(40), "header checksum")
        refused("header checksum", flip(head - 2), "header checksum")
        for record in (0, 5, STEPS - 3):  # of the last ones see check_state.py
            for field, offset in (("step", 0), ("step register", 4), ("coefficient", 8), ("loss", 10), ("scale", 18),
                                  ("checksum", 26)):
                refused(f"{field} of record {record}", flip(head + record * size + offset),
                        f"record {record} .*checksum")
        first = good[head:head + size]
        refused("a record dropped", good[:head] + good[head + size:], "record 0 ")
        refused("a record twice", good[:head + size] + first + good[head + size:], "record 1 ")
        self.bad_file("journal: absent", "bad.lmj", None, INPUT, [r"bad\.lmj"], *replay)
        # A header with a right checksum and wrong content.
        def header(**change):
            body = json.dumps({**json.loads(good[12:12 + text]), **change}, separators=(",", ":")).encode()
            start = good[:8] + struct.pack("<I", len(body)) + body
            return start + struct.pack("<I", zlib.crc32(start))
        refused("9 pairs", header(pairs=9), "pairs is 9")
        refused("a seed that is no number", header(seed="x"), "header", 'seed is "x", expected 0..18446744073709551615')
        bare = {k: v for k, v in json.loads(good[12:12 + text])["config"].items() if k != "tensors"}
        self.bad_file("journal: header without tensors (replay)", "bad.lmj", header(config=bare), JOURNAL, ["tensors"],
                      *replay)
        wrong = json.loads(good[12:12 + text])["config"]
        wrong["tensors"][0]["tensor"] = 99
        self.bad_file("journal: header with an unknown tensor (replay)", "bad.lmj", header(config=wrong), JOURNAL,
                      ["bad.lmj", "tensor"], *replay)

        self.bad("journal: of another network (replay)", JOURNAL, [r"j\.lmj", "digest"], "replay", "--base",
                 "other.lmq", "--journal", "j.lmj",
                 "--output", "x.lmq")
        resume = ["adapt", *ADAPT, "--journal", "j.lmj", "--output", "x.lmq", "--resume"]
        for option, value, field in (("--seed", 2, "seed"), ("--steps", 13, "steps"), ("--batch", 4, "batch"),
                                     ("--pairs", 1, "pairs"),
                                     ("--eps", 0.5, "eps"), ("--estimator", "scaled", "estimator"),
                                     ("--mask-seed", 3, "mask_seed"),
                                     ("--distribution", "gaussian", "distribution"), ("--unit", "rms", "eps"),
                                     ("--shift", "rotate=5", "data_digest"),
                                     ("--input", "other.lmq", "base_digest"), ("--schedule", "constant", "schedule"),
                                     ("--layers", "head", "tensors")):
            args = list(resume)
            if option in args:
                at = args.index(option)
                args[at:at + 2] = []
            self.bad(f"journal: of a run with another {option}", JOURNAL,
                     [r"j\.lmj", "another run", rf"{field}\b.* is .*, expected"],
                     *args, option, value)

        def torn():
            for cut in range(1, size):
                (self.dir / "torn.lmj").write_bytes(good[:head + 3 * size + cut])
                found = self.p.json("info", "torn.lmj", cwd=self.dir)
                assert (found["steps"], found["torn"]) == (3, True), found
            r = self.p.json("adapt", *ADAPT, "--journal", "torn.lmj", "--resume", cwd=self.dir)
            assert r["weights_hash"] == self.hash and self.read("torn.lmj") == good
            (self.dir / "torn.lmj").unlink()
        self.checks.case("journal: an incomplete last record is dropped", torn)

    def writing(self):
        """Outputs that cannot be written: nothing half-written, and an adaptation can go on."""
        for name, path in (("missing folder", "nowhere/x.lmq"), ("a folder", "img")):
            quantize = ["quantize", *DATA, "--adapt-examples", 32, "--checkpoint", "tiny.lmc", "--output", path]
            self.bad(f"output: {name} (quantize)", INPUT, [path.split("/")[0]], *quantize)
            self.bad(f"output: {name} (pretrain)", INPUT, [path.split("/")[0]], "pretrain", *DATA, "--adapt-examples",
                     32, "--epochs", 1,
                     "--output", path)
            self.bad(f"output: {name} (replay)", INPUT, [path.split("/")[0]], "replay", "--base", "q.lmq",
                     "--journal", "j.lmj", "--output", path)
            # Before the run, not after hours of it.
            self.bad(f"output: {name} (adapt)", INPUT, [path.split("/")[0]], "adapt", *ADAPT, "--journal", "new.lmj",
                     "--output", path)
        self.bad("journal in a missing folder", INPUT, ["nowhere"], "adapt", *ADAPT, "--journal", "nowhere/x.lmj")

        def limited(size):
            def apply():  # as a full disk: EFBIG instead of a signal
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            return {"preexec_fn": apply, "restore_signals": False}

        self.bad("full disk while quantizing", INPUT, [r"x\.lmq", "write|large"], "quantize", *DATA,
                 "--adapt-examples", 32, "--checkpoint",
                 "tiny.lmc", "--output", "x.lmq", **limited(100))
        kept = len(self.read("q.lmq"))

        def kept_old():
            shutil.copy(self.dir / "q.lmq", self.dir / "old.lmq")
            self.fails(INPUT, [r"old\.lmq"], "quantize", *DATA, "--adapt-examples", 32, "--checkpoint", "tiny.lmc",
                       "--output", "old.lmq",
                       **limited(kept - 1))
            (self.dir / "old.lmq").unlink()
        self.checks.case("full disk: the old file stays", kept_old)

        def journal_full():
            good = self.read("j.lmj")
            part = len(good) - 100
            self.fails(INPUT, [r"full\.lmj", "record 8"], "adapt", *ADAPT, "--journal", "full.lmj",
                       creates=["full.lmj"], **limited(part))
            assert self.read("full.lmj") == good[:part]
            r = self.p.json("adapt", *ADAPT, "--journal", "full.lmj", "--resume", cwd=self.dir)
            assert r["weights_hash"] == self.hash and self.read("full.lmj") == good
            (self.dir / "full.lmj").unlink()
        self.checks.case("full disk while adapting, resumed", journal_full)

        def full_stdout():
            with open("/dev/full", "w") as full:
                r = subprocess.run(self.p.command(["info"]), stdout=full, stderr=subprocess.PIPE, text=True)
            assert r.returncode != 0 and "output" in r.stderr, f"exit code {r.returncode}, stderr {r.stderr!r}"
        self.checks.case("results that cannot be printed", full_stdout)

    def vectors(self):
        def case(**params):
            """Fully connected, computed here by the rule of the vectors' README."""
            x, w, bias = [-128, 5, 77, 127, 0, -3], [3, -90, 127, -127, 44, 1, 0, 9], [1000, -7]
            x, k = x[:4] + x[2:], 4
            m, e, zp_in, zp_out = 1518500250, [-6, 1], -4, 11
            out = []
            for n in range(2):
                for o in range(2):
                    acc = bias[o] + sum((x[n * k + i] - zp_in) * w[o * k + i] for i in range(k))
                    left, right = max(e[o], 0), max(-e[o], 0)
                    h = (acc * 2 ** left * m + 2 ** 30) >> 31
                    low = (1 << right) - 1
                    y = (h >> right) + ((h & low) > (low >> 1) + (h < 0))
                    out.append(max(-128, min(127, y + zp_out)))
            tensor = {"input": ("int8", [2, 4], x), "weights": ("int8", [2, 4], w), "bias": ("int32", [2], bias),
                      "multiplier": ("int32", [1], [m]), "shift": ("int32", [2], e), "expected": ("int8", [2, 2], out)}
            return {"name": "fc", "op": "fully_connected", "kind": "s8", "requant": "double32",
                    "params": {"input_zero_point": zp_in, "weight_zero_point": 0, "output_zero_point": zp_out,
                               "act_min": -128,
                               "act_max": 127, **params},
                    "tensors": {k: {"dtype": d, "shape": s, "data": v} for k, (d, s, v) in tensor.items()}}

        def write(name, value):
            (self.dir / name).write_text(value if isinstance(value, str) else json.dumps(value))

        def run(*files, code, passed, failed, says=()):
            before = state(self.dir)
            r = self.p.run("vectors", *files, cwd=self.dir)
            assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {r.stdout}{r.stderr}"
            assert r.stdout.splitlines()[-1] == f"{passed} passed, {failed} failed", r.stdout
            matches(r.stdout, says)
            j = self.p.run("vectors", *files, "--json", cwd=self.dir)
            assert j.returncode == code
            found = json.loads(j.stdout)
            assert (found["passed"], found["failed"]) == (passed, failed) and len(found["results"]) == passed + failed
            assert state(self.dir) == before

        def one(name, value, *says, code=INPUT):
            write("bad.json", value)
            self.checks.case(f"vectors: {name}", run, "bad.json", code=code, passed=0, failed=1,
                             says=[r"bad\.json", *says])

        write("good.json", case())
        self.checks.case("vectors: a case of our own", run, "good.json", code=0, passed=1, failed=0)
        wrong = case()
        wrong["tensors"]["expected"]["data"][3] ^= 1
        one("wrong expected value", wrong, "3|1, 1", code=MISMATCH)
        self.checks.case("vectors: one of each", run, "bad.json", "good.json", code=MISMATCH, passed=1, failed=1,
                         says=["FAIL bad", "ok +good"])
        for name, change, says in (
                ("weights with a zero point", {"params": {**case()["params"], "weight_zero_point": 3}},
                 ["weight_zero_point", "3"]),
                ("an unknown operator", {"op": "lstm"}, ["op", "lstm"]),
            ("another kind", {"kind": "s4"}, ["kind", "s4"]),
                ("another requantization", {"requant": "single32"}, ["requant", "single32"]),
            ("no tensors", {"tensors": {}}, ["tensors|input"]),
                ("a clamp upside down", {"params": {**case()["params"], "act_min": 5, "act_max": 4}}, ["act_m"])):
            one(name, {**case(), **change}, *says)
        for tensor, change, says in (
                ("input", {"data": [1, 2, 3]}, ["input", "3"]), ("input", {"data": [300] * 8}, ["input", "300"]),
                ("input", {"shape": [2, 5]}, ["input"]), ("weights", {"shape": [4, 2]}, ["weights|input|shift"]),
                ("weights", {"dtype": "float32"}, ["weights", "float32"]),
            ("multiplier", {"shape": [3], "data": [1, 1, 1]}, ["multiplier"]),
                ("shift", {"data": [99, 0]}, ["shift", "99"]), ("bias", {"data": [2 ** 31, 0]}, ["bias", "2147483648"]),
                ("expected", {"shape": [2, 3], "data": [0] * 6}, ["expected"])):
            broken = case()
            broken["tensors"][tensor] = {**broken["tensors"][tensor], **change}
            one(f"{tensor} with {next(iter(change))} {str(list(change.values())[0])[:20]}", broken, *says)
        one("not JSON", "{", "JSON|json")
        one("an empty file", "")
        one("a list", "[]")
        (self.dir / "bad.json").unlink()
        self.checks.case("vectors: absent file", run, "nowhere.json", code=INPUT, passed=0, failed=1,
                         says=["nowhere.json"])

    def output(self):
        """--json, --quiet, help and info of every kind of file."""
        def all_help():
            r = self.p.run("--help")
            assert r.returncode == 0 and r.stderr == "" and "Exit codes" in r.stdout
            for c in COMMANDS:
                assert re.search(rf"^  {c}\b", r.stdout, re.M), f"--help does not name {c}"
                h = self.p.run(c, "--help")
                assert h.returncode == 0 and h.stderr == "" and h.stdout.count("\n") > 8, f"{c} --help"
                for option in ("--json", "--seed", "--threads"):
                    assert option in h.stdout, f"{c} --help does not name {option}"
            assert self.p.run("--help-all").returncode == 0
        self.checks.case("help", all_help)

        def every_json():
            commands = [["pretrain", *DATA, "--adapt-examples", 32, "--epochs", 1, "--output", "x.lmc"],
                        ["quantize", *DATA, "--adapt-examples", 32, "--checkpoint", "tiny.lmc", "--output", "x.lmq"],
                        ["adapt", *ADAPT, "--journal", "x.lmj", "--overwrite", "--output", "y.lmq"],
                        ["replay", "--base", "q.lmq", "--journal", "j.lmj"],
                        ["eval", *DATA, "--adapt-examples", 32, "--input", "q.lmq"],
                        ["eval", *DATA, "--adapt-examples", 32, "--input", "tiny.lmc"], ["info"], ["info", "q.lmq"],
                        ["info", "j.lmj"],
                        ["info", "tiny.toml"], ["info", "tiny.lmc"]]
            for c in commands:
                r = self.p.run(*c, "--json", cwd=self.dir)
                assert r.returncode == 0, f"{c}: {r.stderr}"
                assert isinstance(json.loads(r.stdout), dict), c
                assert "{" not in r.stderr, f"{c}: JSON on stderr"
                q = self.p.run(*c, "--json", "--quiet", cwd=self.dir)
                assert q.stderr == "", f"{c}: --quiet, but stderr is {q.stderr!r}"
                plain = self.p.run(*c, cwd=self.dir)
                assert plain.returncode == 0 and plain.stdout.strip()
            for f in ("x.lmc", "x.lmq", "x.lmj", "y.lmq"):
                (self.dir / f).unlink()
        self.checks.case("one JSON document on stdout", every_json)

        def error_with_json():
            self.fails(INPUT, ["nowhere"], "eval", "--data", "nowhere", "--input", "q.lmq", "--json")
        self.checks.case("errors with --json", error_with_json)

        def information():
            info = lambda f: self.p.json("info", f, cwd=self.dir)
            q = info("a.lmq")
            assert q["network"] == "tiny" and q["weights_hash"] == self.hash and q["weight_type"] == "w16" and len(q[
                "layers"]) == 3
            j = info("j.lmj")
            assert (j["steps"], j["pairs"], j["torn"], j["seed"]) == (STEPS, 2, False,
                1) and j["bytes"] == len(self.read("j.lmj"))
            assert info("tiny.lmc")["network"] == "tiny"
            assert "hardware" in self.p.json("info") and info("tiny.toml")["layers"][0]["name"] == "conv1"
            listing = self.p.ok("info", "q.lmq", "--listing", "--batch", 8, cwd=self.dir)
            assert "conv1" in listing and "update fc.bias" in listing
        self.checks.case("info", information)

        def amplitudes():
            # Those of a run are its journal's; nobody knows them before they are measured.
            tensors = self.p.json("info", "j.lmj", cwd=self.dir)["config"]["tensors"]
            listing = self.p.ok("info", "q.lmq", "--listing", "--journal", "j.lmj", cwd=self.dir)
            shown = re.findall(r"eps ([\d.]+) LSB, step ([\d.]+) LSB", listing)
            assert len(shown) == len(tensors) > 0, shown
            for (eps, step), t in zip(shown, tensors):
                assert abs(float(eps) / t["eps"] - 1) < 1e-3 and abs(float(step) / t["step"] - 1) < 1e-2, (shown, t)
            blank = self.p.run("info", "q.lmq", "--listing", cwd=self.dir)
            assert "eps" not in blank.stdout and " step " not in blank.stdout and "--journal" in blank.stderr, blank
            by_rms = self.p.ok("info", "q.lmq", "--listing", "--unit", "rms", "--eps", 0.01, cwd=self.dir)
            assert "eps" in by_rms
            self.fails(JOURNAL, ["digest"], "info", "a.lmq", "--listing", "--journal", "j.lmj")
        self.checks.case("a listing's perturbations are the journal's", amplitudes)

        def documented_run():
            self.p.ok("run", *DATA, "--epochs", 1, "--steps", 30, "--readout-steps", 30, "--evaluations", 1,
                      "--method", "all", "--out", "doc", "--reports", "doc", "--quiet",
                      cwd=self.dir)
            report = json.loads(self.read("doc/run.json"))
            text = section(ROOT / "sw/app/README.md", "## `run.json`")
            missing = absent(report, text)
            assert not missing, missing
            silent = unsaid(report, text)
            assert not silent, silent
        self.checks.case("documented fields are in run.json", documented_run)

        def documented_validation():
            r = self.p.run("validate", *DATA, "--epochs", 1, "--quick", "--examples", 60, "--adapt-examples", 40,
                           "--reports", "doc", "--quiet", cwd=self.dir)
            assert r.returncode in (0, 32), r.stderr
            report = json.loads(self.read("doc/validate.json"))
            text = section(ROOT / "sw/validate/README.md", "## `validate.json`")
            missing, silent = absent(report, text), unsaid(report, text)
            assert not missing and not silent, (missing, silent)
            columns = self.read("doc/validate-layers.csv").decode().split("\n", 1)[0].split(",")
            assert len(set(columns)) == len(columns), columns
        self.checks.case("documented fields are in validate.json", documented_validation)

        def frozen():
            head = self.p.json("run", *DATA, "--epochs", 1, "--steps", 4, "--layers", "head", "--hold-out", 0,
                               "--method", "forward-gradient", "--no-float", "--no-backprop", "--out", "head",
                               "--reports", "head", cwd=self.dir)
            lines = dict(re.findall(r"^  (frozen layers, total|kept outputs|total) +(\d+) ", head["memory"], re.M))
            bytes_ = {k: int(v) for k, v in lines.items()}
            assert bytes_["frozen layers, total"] > bytes_["total"] > 0, head["memory"]
            assert head["peak_bytes"] == bytes_["frozen layers, total"], head["peak_bytes"]
            assert bytes_["kept outputs"] > 0 and "kept by the host" in head["memory"]
        self.checks.case("memory of a head holds what is below it", frozen)

        def replayed():
            assert self.p.json("replay", "--base", "q.lmq", "--journal", "j.lmj",
                               cwd=self.dir)["weights_hash"] == self.hash
            self.p.ok("replay", "--base", "q.lmq", "--journal", "j.lmj", "--output", "r.lmq", cwd=self.dir)
            assert self.read("r.lmq") == self.read("a.lmq")
            (self.dir / "r.lmq").unlink()
            start = self.p.json("info", "q.lmq", cwd=self.dir)["weights_hash"]
            assert self.p.json("replay", "--base", "q.lmq", "--journal", "j.lmj", "--steps", 0,
                               cwd=self.dir)["weights_hash"] == start
        self.checks.case("replay", replayed)

        def readouts():
            args = ["adapt", *ADAPT, "--method", "readout", "--readout-steps", 40, "--journal", "ro.lmj",
                    "--output", "ro.lmq"]
            r = self.p.json(*args, cwd=self.dir)
            start = self.p.json("info", "q.lmq", cwd=self.dir)
            end = self.p.json("info", "ro.lmq", cwd=self.dir)
            assert end["weights_hash"] == r["weights_hash"] != start["weights_hash"]
            ops = {layer["name"]: layer for layer in end["layers"]}
            assert ops["readout.record"]["op"] == "concat"
            classes = ops["fc"]["out"][2]
            assert ops["fc"]["weights"] == classes * ops["readout.record"]["out"][2], ops
            assert ops["readout.record"]["out"][2] % 64 == 0
            journal = self.p.json("info", "ro.lmj", cwd=self.dir)
            assert journal["snapshots"][0] == 0 and journal["snapshots"][-1] == 40, journal
            assert journal["end"] in journal["snapshots"], journal
            again = self.p.json("replay", "--base", "q.lmq", "--journal", "ro.lmj", "--output", "ro2.lmq", cwd=self.dir)
            assert again["weights_hash"] == r["weights_hash"] and self.read("ro2.lmq") == self.read("ro.lmq")
            evaluated = self.p.json("eval", *DATA, "--adapt-examples", 32, "--input", "ro.lmq", cwd=self.dir)
            assert evaluated["shifted"]["correct"] == r["after"]["correct"]
            listing = self.p.ok("info", "ro.lmq", "--listing", cwd=self.dir)
            assert "kept records" in listing and "learn fc.weights" in listing and "w-transposed" in listing
            # room for some records only: the same bits
            few = self.p.json(*args, "--overwrite", "--memory", 60000, cwd=self.dir)
            assert few["weights_hash"] == r["weights_hash"], few
            for file in ("ro.lmj", "ro.lmq", "ro2.lmq"):
                (self.dir / file).unlink()
        self.checks.case("readouts", readouts)

        def both():
            (self.dir / "bn.toml").write_text(TINY.replace("kernel = 3", "kernel = 3\nbatch_norm = true", 1))
            network = ["--data", "img", "--network", "bn.toml", "--adapt-examples", 40]
            self.p.ok("pretrain", *network, "--epochs", 1, "--output", "bn.lmc", cwd=self.dir)
            self.p.ok("quantize", *network, "--checkpoint", "bn.lmc", "--output", "bn.lmq", cwd=self.dir)
            args = ["adapt", *network, "--input", "bn.lmq", "--batch", 8, "--pairs", 2, "--evaluations", 0,
                    "--method", "both", "--readout-steps", 20, "--inner-steps", 12, "--layers", "all",
                    "--statistics", "on", "--journal", "both.lmj", "--output", "both.lmq"]
            r = self.p.json(*args, cwd=self.dir)
            journal = self.p.json("info", "both.lmj", cwd=self.dir)
            assert journal["snapshots"][-1] == 32, journal
            # Statistics moved the start, so it is kept; the run replays from it and from nothing else.
            again = self.p.json("replay", "--base", "both.base.lmq", "--journal", "both.lmj", "--output", "b2.lmq",
                                cwd=self.dir)
            assert again["weights_hash"] == r["weights_hash"] and self.read("b2.lmq") == self.read("both.lmq")
            start = self.p.json("info", "bn.lmq", cwd=self.dir)
            moved = self.p.json("info", "both.base.lmq", cwd=self.dir)
            assert start["weights_hash"] != moved["weights_hash"], "no bias moved"
            other = self.p.run("replay", "--base", "bn.lmq", "--journal", "both.lmj", cwd=self.dir)
            assert other.returncode == 5 and "digest" in other.stderr, other.stderr
            # The last snapshot has inner layers that moved.
            end = self.p.json("replay", "--base", "both.base.lmq", "--journal", "both.lmj", "--steps", 32,
                              "--output", "b2.lmq", cwd=self.dir)
            readouts_only = self.p.json("replay", "--base", "both.base.lmq", "--journal", "both.lmj", "--steps", 20,
                                        cwd=self.dir)
            assert end["weights_hash"] != readouts_only["weights_hash"]
            for file in ("bn.toml", "bn.lmc", "bn.lmq", "both.lmj", "both.lmq", "both.base.lmq", "b2.lmq"):
                (self.dir / file).unlink()
        self.checks.case("both", both)

        def experiment():
            before = state(self.dir)
            r = self.p.run("run", *DATA, "--adapt-examples", 32, "--epochs", 2, "--steps", 6, "--batch", 8,
                           "--backprop-epochs", 1,
                           "--readout-steps", 40, "--out", "out", "--reports", "rep", "--json", cwd=self.dir)
            assert r.returncode == 0, r.stderr
            report = json.loads((self.dir / "rep/run.json").read_text())
            assert json.loads(r.stdout) == report
            for key in ("task", "network", "trained_weights", "steps", "pairs", "seed", "accuracy", "forward_passes",
                        "peak_bytes",
                        "host_bytes_per_step", "seconds", "loss_curve"):
                assert key in report, f"run.json has no {key}"
            assert set(report["accuracy"]) >= {"source", "shifted", "fixed", "float", "readout", "readout_float",
                                               "backprop"}
            assert set(report["methods"]) == {"forward_gradient", "readout", "backprop"}
            assert all(m["mmac"] > 0 and m["scratch_bytes"] > 0 for m in report["methods"].values())
            assert report["methods"]["backprop"]["rate"] in report["methods"]["backprop"]["rates"]
            assert report["methods"]["readout"]["rate"] in report["methods"]["readout"]["rates"]
            assert all(0 <= v <= 100 for v in report["accuracy"].values())
            # Three examples are held out: a pass at the start and after each of the six steps.
            assert report["methods"]["forward_gradient"]["held"] == 3, report["methods"]
            assert report["forward_passes"] == 2 * report["steps"] * report["pairs"] + 7
            assert len(report["loss_curve"]) == 6
            page = (self.dir / "rep/run.html").read_text()
            assert "<svg" in page and not re.search(r"(src|href)\s*=\s*[\"']?(https?:|//)",
                                                    page), "run.html is not self-contained"
            new = sorted(set(state(self.dir)) - set(before))
            assert new == ["out", "out/adapted.lmq", "out/float.lmc", "out/journal.lmj", "out/quantized.lmq",
                           "out/readout.lmj", "out/readout.lmq", "out/run-state.json", "rep", "rep/run.html",
                           "rep/run.json"], new
        self.checks.case("run", experiment)

    def deployment(self):
        """Networks that meet other data than they were made for; hardware that does not run them."""
        index = (self.dir / "snd/index.csv").read_text()
        renumbered = "\n".join(line.replace(",0,no,", ",9,no,").replace(",1,yes,", ",0,yes,")
                               .replace(",9,no,", ",1,no,")
                               for line in index.splitlines()) + "\n"
        for command in (["eval", "--input", "snd.lmc"], ["eval", "--input", "snd.lmq"],
                        ["quantize", "--checkpoint", "snd.lmc", "--output", "new.lmq"]):
            self.bad_file(f"renumbered classes: {' '.join(command[::2])}", "snd/index.csv", renumbered.encode(), INPUT,
                          ["snd.lm", "class 0 'no'", "'yes'"], *command, "--network", "tiny.toml", "--data", "snd")
            self.bad(f"other features: {' '.join(command[::2])}", INPUT, ["snd.lm", "logmel", "mfcc"], *command,
                     "--network", "tiny.toml", "--data", "snd", "--features", "mfcc")
        # What the hardware does not run is refused before an epoch of these would take hours.
        (self.dir / "wide-window.toml").write_text(
            TINY.replace("filters = 4", "filters = 600", 1).replace("kernel = 3", "kernel = 5", 2))
        self.bad("network too wide for its scratchpad", INPUT, ["conv2", "ACT_BYTES is 4096"], "pretrain", "--data",
                 "img", "--network", "wide-window.toml", "--adapt-examples", 32, "--epochs", 100000, "--hardware",
                 "act_bytes=4096", "--output", "new.lmc", "--quiet")

        def balanced():
            found = self.p.json("eval", *DATA, "--adapt-examples", 32, "--input", "q.lmq", cwd=self.dir)["source"]
            rows = [sum(row) for row in found["confusion"]]
            assert sum(rows) == found["examples"], found
            assert sum(row[i] for i, row in enumerate(found["confusion"])) == found["correct"], found
            recalls = [v for v in found["per_class"] if v is not None]
            assert abs(sum(recalls) / len(recalls) - found["balanced"]) < 1e-9, found
        self.checks.case("eval: per class", balanced)

        def rescaled():
            r = self.p.ok("rescale", *DATA, "--adapt-examples", 32, "--input", "q.lmq", "--output", "wide.lmq",
                          cwd=self.dir)
            assert "wide.lmq" in r, r
            self.p.ok("eval", *DATA, "--adapt-examples", 32, "--input", "wide.lmq", "--quiet", cwd=self.dir)
        self.checks.case("rescale", rescaled)

    def sparse_labels(self):
        """Arrays of 1,000 classes of which 8 have examples: the first loss is not that of guessing."""
        def trained():
            n, labels = 160, [111 * (i % 8) + 222 for i in range(160)]
            with zipfile.ZipFile(self.dir / "sparse.npz", "w") as z:
                z.writestr("x.npy", npy_bytes("|u1", [n, 8, 8], bytes(
                    (labels[i] * (k + 3) * 7) % 256 for i in range(n) for k in range(64))))
                z.writestr("y.npy", npy_bytes("<i4", [n], b"".join(y.to_bytes(4, "little") for y in labels)))
            (self.dir / "many.toml").write_text('name = "many"\ninput = [8, 8, 1]\nclasses = 1000\n'
                                                '[[layer]]\nname = "fc"\nop = "fully_connected"\nunits = 1000\n')
            said = self.p.run("pretrain", "--network", "many.toml", "--data", "sparse.npz", "--epochs", 3, "--output",
                              "many.lmc", cwd=self.dir)
            assert said.returncode == 0 and "diverged" not in said.stderr, said.stderr
        self.checks.case("labels of few classes of many", trained)

    def reconstruction(self):
        """An autoencoder on normal examples (0) to train on, and tests of both classes."""
        (self.dir / "auto.toml").write_text('name = "auto"\ninput = "task"\nloss = "reconstruction"\n' + "".join(
            f'[[layer]]\nname = "{name}"\nop = "fully_connected"\nunits = {units}\n{rest}'
            for name, units, rest in (("a", 16, 'activation = "relu"\nbatch_norm = true\n'), ("b", 8, ""),
                                      ("c", '"classes"', ""))))
        (self.dir / "ano").mkdir()
        for part, n, label in (("train", 300, lambda i: 0), ("t10k", 80, lambda i: i % 2)):
            labels = bytes(label(i) for i in range(n))
            # Stripes of any phase; anomalous ones have a spot.
            pixels = bytes(min(255, 90 + 60 * ((x + i) % 4 > 1) + 100 * (labels[i] and x in (3, 4) and y in (3, 4)))
                           for i in range(n) for y in range(8) for x in range(8))
            (self.dir / f"ano/{part}-images-idx3-ubyte").write_bytes(idx_bytes([n, 8, 8], pixels))
            (self.dir / f"ano/{part}-labels-idx1-ubyte").write_bytes(idx_bytes([n], labels))
        data = ["--data", "ano", "--adapt-examples", 50, "--shift", "contrast=0.6"]
        described = ["--network", "auto.toml", *data]
        adapt = ["adapt", *data, "--input", "auto.lmq", "--batch", 10, "--steps", 60, "--step", 0.3, "--evaluations", 0]

        def adapted():
            self.p.ok("pretrain", *described, "--epochs", 100, "--output", "auto.lmc", cwd=self.dir)
            self.p.ok("quantize", *described, "--checkpoint", "auto.lmc", "--output", "auto.lmq", cwd=self.dir)
            r = self.p.json("eval", *data, "--input", "auto.lmq", cwd=self.dir)
            exact = self.p.json("eval", *described, "--input", "auto.lmc", cwd=self.dir)
            for domain in ("source", "shifted"):
                assert r[domain]["examples"] == 80 and 0.9 < r[domain]["auc"] <= 1, r[domain]
                assert r[domain]["squared_error_normal"] < r[domain]["squared_error"], r[domain]
                key = "squared_error_normal"  # anomalous ones leave the calibrated ranges
                assert abs(r[domain][key] / exact[domain][key] - 1) < 0.1, (r, exact)
            a = self.p.json(*adapt, "--journal", "auto.lmj", "--output", "auto2.lmq", "--audit-every", 20, cwd=self.dir)
            assert a["before"] == r["shifted"], (a, r)
            assert a["after"]["squared_error_normal"] < 0.95 * a["before"]["squared_error_normal"], a
            again = self.p.json("replay", "--base", "auto.lmq", "--journal", "auto.lmj", cwd=self.dir)
            assert again["weights_hash"] == a["weights_hash"], (again, a)
            said = self.p.ok("audit", *data, "auto.lmj", "--base", "auto.lmq", cwd=self.dir)
            assert "confirmed: 60 of 60" in said, said
            assert self.p.json("info", "auto2.lmq", cwd=self.dir)["loss"] == "reconstruction"
        self.checks.case("reconstruction: adapt, replay, audit, eval", adapted)

        def validated():
            said = self.p.run("validate", *described, "--checkpoint", "auto.lmc", "--quick", "--reports", "p", "--json",
                              "--quiet", cwd=self.dir)
            r = json.loads(said.stdout)
            assert r["reconstruction"] and len(r["layers"]) == 3, r
            exact = self.p.json("eval", *described, "--input", "auto.lmc", cwd=self.dir)
            for part, domain in ((r, "source"), (r["shifted"], "shifted")):
                error = exact[domain]["squared_error_normal"]
                assert abs(part["loss"]["float"] / error - 1) < 1e-3, (part["loss"], error)
                assert 0 < abs(part["loss"]["fixed"] / error - 1) < 0.1, (part["loss"], error)
            assert all(x["contract_differences"] == 0 and x["total"]["sqnr_db"] > 20 for x in r["layers"]), r["layers"]
            assert r["saturation_counters"]["device"] == r["saturation_counters"]["counted"], r
            assert said.returncode in (0, 32 + 4), said  # 4: saturation, which a target may show
            assert not [f for f in r["findings"] if f["layer"] == ""], r["findings"]
        self.checks.case("reconstruction: validate", validated)

        def profiled():
            (self.dir / "coder.toml").write_text((self.dir / "auto.toml").read_text().replace(
                '"task"', "[1, 1, 64]").replace('units = "classes"', "units = 64"))
            self.p.ok("profile", "--predict", "--no-compare", "--batch", 8, "--networks", "coder.toml", "--reports",
                      "coder", cwd=self.dir)
            n = json.loads((self.dir / "coder/profile.json").read_text())["networks"][0]
            for section in ("full", "head"):
                names = [x["command"] for x in n["steps"][section]["commands"]]
                assert any("squares" in x for x in names), (section, names)
        self.checks.case("reconstruction: profile", profiled)

        def without_labels():
            """A target alone, of normal examples and without labels; files that a kill left are in nobody's way."""
            (self.dir / "met").mkdir()
            images = (self.dir / "ano/train-images-idx3-ubyte").read_bytes()
            (self.dir / "met/met-images-idx3-ubyte").write_bytes(images)
            args = ["adapt", "--input", "auto.lmq", "--target", "met/met-images-idx3-ubyte", "--batch", 10,
                    "--evaluations", 0, "--journal", "met/k.lmj", "--output", "met/k.lmq", "--steps"]
            child = self.p.start(*args, 20000, cwd=self.dir)
            while not (self.dir / "met/k.lmj").exists() and child.poll() is None:
                time.sleep(0.002)
            child.kill()
            child.wait()
            assert (self.dir / "met/k.lmj.lock").exists()
            (self.dir / "met/k.lmq.part").write_text("left")
            r = self.p.json(*args, 4, "--overwrite", cwd=self.dir)
            assert r["before"]["squared_error"] > 0 and "auc" not in r["before"], r
            for part in ("train", "t10k"):  # one class is enough
                size = 300 if part == "train" else 80
                (self.dir / f"met/{part}-labels-idx1-ubyte").write_bytes(idx_bytes([size], bytes(size)))
                (self.dir / f"met/{part}-images-idx3-ubyte").write_bytes(
                    (self.dir / f"ano/{part}-images-idx3-ubyte").read_bytes())
            self.p.ok("pretrain", "--network", "auto.toml", "--data", "met", "--epochs", 1, "--output", "n.lmc",
                      cwd=self.dir)
        self.checks.case("reconstruction: normal examples alone", without_labels)
        refused = [r"its loss is reconstruction", r"pretrain, quantize, adapt"]
        self.bad("reconstruction: run", INPUT, refused, "run", *described, "--out", "o", "--reports", "p")
        self.bad("reconstruction: readouts", INPUT, refused, *adapt, "--journal", "n.lmj", "--method", "readout")
        self.bad("reconstruction: statistics", INPUT, refused, *adapt, "--journal", "n.lmj", "--statistics", "on")
        self.bad("reconstruction: rescale", INPUT, refused, "rescale", *data, "--input", "auto.lmq", "--output",
                 "n.lmq")

    def all(self):
        self.prepare()
        for group in (self.usage, self.data_sets, self.networks, self.checkpoints, self.quantized, self.journals,
                      self.writing, self.vectors,
                      self.output, self.deployment, self.sparse_labels, self.reconstruction):
            group()
        self.checks.finish()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with Workspace() as workspace:
        Suite(Program(sys.argv[1]), workspace).all()
