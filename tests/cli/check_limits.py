#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bounds: signals that end every long command, files that would exhaust stack, memory or disk, numbers that would be
clamped, exit codes and command lines that are told.

usage: check_limits.py PROGRAM      ends with `N passed, N failed`
"""
import json
import os
import pathlib
import re
import resource
import shlex
import signal
import struct
import subprocess
import time
import zlib

from harness import (DEVICE, INPUT, JOURNAL, MISMATCH, TINY, USAGE, Suite, error_line, idx_bytes, images, matches,
                     state)

DATA = ["--network", "tiny.toml", "--data", "img", "--adapt-examples", 32, "--threads", 1]
BIG = ["--network", "wide.toml", "--data", "big", "--threads", 1, "--quiet"]
TRAIN = ["--batch", 8, "--pairs", 1, "--estimator", "sign", "--evaluations", 0, "--hold-out", 0]
REACTION = 20  # seconds, of a busy machine
# 5.3 million products for an example of 12 x 12.
WIDE = TINY.replace("filters = 4", "filters = 64\nbatch_norm = true").replace(
    "filters = 8", "filters = 64\nbatch_norm = true").replace("stride = 2", "stride = 1").replace("tiny", "wide")


def write_images(folder, repeats):
    """300 images of 12 x 12 in three unequal classes, each so many times."""
    folder.mkdir()
    for part, n, times in (("train", 240, repeats), ("t10k", 60, repeats)):
        pixels, labels = images(n, 12, 3)
        labels = bytes(0 if i % 4 == 1 else label for i, label in enumerate(labels))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes([n * times, 12, 12], pixels * times))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes([n * times], labels * times))


class Records:
    """A journal without audit as records that can be changed; written with the checksums that belong to them."""

    def __init__(self, content):
        self.head = content[:16 + int.from_bytes(content[8:12], "little")]
        pairs = json.loads(self.head[12:-4])["forward"]["pairs"] if b'"forward"' in self.head else 1
        self.size = 28 + pairs
        body = content[len(self.head):]
        self.records = [bytearray(body[i:i + self.size]) for i in range(0, len(body), self.size)]

    def written(self):
        out, check = bytearray(self.head), int.from_bytes(self.head[-4:], "little")
        for r in self.records:
            check = zlib.crc32(r[:-4], check)
            r[-4:] = check.to_bytes(4, "little")
            out += r
        return bytes(out)


def npy_head(shape, kind="<f4"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (10 + len(text)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz_of_zeros(entries):
    """A ZIP archive of arrays of zeros, deflated a part at a time: name, shape, elements (float32) of each."""
    out, directory = bytearray(), bytearray()
    for name, shape, elements in entries:
        head, left = npy_head(shape), 4 * elements
        size, check = len(head) + left, zlib.crc32(head)
        z = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = z.compress(head)
        while left:
            part = bytes(min(left, 1 << 20))
            left -= len(part)
            check = zlib.crc32(part, check)
            packed += z.compress(part)
        packed += z.flush()
        inner = f"{name}.npy".encode()
        common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, check, len(packed), size, len(inner), 0)
        directory += b"PK\1\2" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(out)) + inner
        out += b"PK\3\4" + common + inner + packed
    return bytes(out + directory + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries),
                                                           len(directory), len(out), 0))


class Limits(Suite):
    def message(self, result):
        return result.stderr

    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        (self.dir / "wide.toml").write_text(WIDE)
        write_images(self.dir / "img", 1)
        write_images(self.dir / "big", 400)
        for name, data in (("tiny", DATA), ("wide", ["--network", "wide.toml", *DATA[2:]])):
            self.p.ok("pretrain", *data, "--epochs", 1, "--output", f"{name}.lmc", "--quiet", cwd=self.dir)
            self.p.ok("quantize", *data, "--checkpoint", f"{name}.lmc", "--output", f"{name}.lmq", "--apart", 100,
                      cwd=self.dir)
        self.p.ok("adapt", *DATA, *TRAIN, "--balance", "--input", "tiny.lmq", "--steps", 20, "--journal", "j.lmj",
                  cwd=self.dir)

    # ---- groups

    def signals(self):
        def ends(number, args, outputs, wait=0.5):
            before = state(self.dir)
            child = self.p.start(*args, cwd=self.dir, stderr=subprocess.PIPE)
            try:
                # A signal that comes before the program waits for it ends it at once.
                caught = pathlib.Path(f"/proc/{child.pid}/status")
                while not int(re.search(r"SigCgt:\s*(\w+)", caught.read_text())[1], 16) >> (number - 1) & 1:
                    assert child.poll() is None, child.stderr.read()
                    time.sleep(0.002)
                time.sleep(wait)
                assert child.poll() is None, f"it had ended before the signal: {child.stderr.read()}"
                child.send_signal(number)
                said = child.communicate(timeout=REACTION)[1]
            finally:
                if child.poll() is None:
                    child.kill()
                    child.communicate()
            assert child.returncode == 128 + number, f"{child.returncode}: {said}"
            matches(said, [rf"lastmile: signal {int(number)}"])
            new = set(state(self.dir)) - set(before)
            wrong = [f for f in new if f.endswith((".part", ".lock")) or f in outputs]
            assert not wrong, f"{wrong} are left"

        def long_journal():
            long = Records(self.read("j.lmj"))
            first = bytes(long.records[0])
            long.records = [bytearray(i.to_bytes(4, "little") + first[4:]) for i in range(400000)]
            return long.written()
        (self.dir / "long.lmj").write_bytes(long_journal())
        commands = {
            "replay": (["replay", "--base", "tiny.lmq", "--journal", "long.lmj", "--output", "o.lmq"], ["o.lmq"]),
            "profile": (["profile", "--networks", "resnet8", "--steps", 100000, "--reports", "rep"],
                        ["rep/profile.json"]),
            "profile --sweep": (["profile", "--networks", "resnet8", "--variants", "head", "--predict", "--no-compare",
                                 "--steps", 1, "--sweep", "--reports", "rep", "--threads", 1], ["rep/profile.json"]),
            "infer": (["infer", "--network", "wide.lmq", "--random", 100000, "--output", "o.npy"], ["o.npy"]),
            "rescale": (["rescale", *BIG, "--input", "wide.lmq", "--adapt-examples", 15000, "--examples", 15000,
                         "--output", "o.lmq"], ["o.lmq"]),
            "eval of float weights": (["eval", *BIG, "--input", "wide.lmc"], []),
            "cosim, the model's run": (["cosim", *DATA, "--backend", "cmodel", "--steps", 1000000, "--out", "o",
                                        "--report", "o/r.json"], ["o/r.json", "o/base.lmq", "o/journal.lmj"], 1.5),
            "validate": (["validate", *BIG, "--checkpoint", "wide.lmc", "--examples", 15000, "--reports", "rep"],
                         ["rep/validate.json"]),
            "validate, the signal": (["validate", *DATA, "--checkpoint", "tiny.lmc", "--probes", 1000000, "--no-sweep",
                                      "--reports", "rep"], ["rep/validate.json"], 2),
            "adapt --statistics": (["adapt", *BIG, "--input", "wide.lmq", "--adapt-examples", 15000, "--statistics",
                                    "on", "--journal", "o.lmj", "--output", "o.lmq"], ["o.lmq", "o.lmj"]),
        }
        numbers = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
        for i, (name, given) in enumerate(commands.items()):
            number = numbers[i % len(numbers)]
            self.case(f"{name}: {number.name}", ends, number, *given)

    def tables(self):
        (self.dir / "deep.toml").write_text("a = " + "[" * 300000)
        for args in (["profile", "--table", "deep.toml", "--networks", "small-cnn", "--predict", "--reports", "img"],
                     ["energy", "--counters", "j.lmj", "--table", "deep.toml"],
                     ["info", "deep.toml"]):
            self.case(f"nested brackets: {args[0]}", self.fails, INPUT, [r"deep\.toml:1: brackets 17 deep"], *args)
        (self.dir / "deep.toml").write_text("a" + ".a" * 3000 + " = 1")
        self.case("nested names", self.fails, INPUT, [r"deep\.toml:1: 17 dots"], "energy", "--counters", "j.lmj",
                  "--table", "deep.toml")

    def archives(self):
        def memory(*args):
            """Exit code, stderr and the largest resident set in MiB."""
            child = self.p.start(*args, cwd=self.dir, stderr=subprocess.PIPE)
            said = child.stderr.read()
            status, usage = os.wait4(child.pid, 0)[1:]
            child.returncode = os.waitstatus_to_exitcode(status)
            child.stderr.close()
            return child.returncode, said, usage.ru_maxrss / 1024

        def bomb():
            before = memory("info", "tiny.lmc")[2]
            (self.dir / "bomb.npz").write_bytes(npz_of_zeros([("conv1/weights", (50000000,), 50000000)]))
            assert (self.dir / "bomb.npz").stat().st_size < 250000
            code, said, used = memory("info", "bomb.npz")
            assert code == 0, said
            assert used < before + 40 or "debug" in self.p.name, f"info took {used:.0f} MiB, {before:.0f} without"
            assert self.p.json("info", "bomb.npz", cwd=self.dir)["tensors"][0]["shape"] == [50000000]
            code, said, used = memory("quantize", *DATA, "--checkpoint", "bomb.npz", "--output", "o.lmq")
            assert code == INPUT, (code, said)
            matches(said, [r"bomb\.npz", "50000000|needs"])
            assert used < before + 80 or "debug" in self.p.name, f"quantize took {used:.0f} MiB"
        self.case("a bomb of an archive costs no memory", bomb)

        def lies():
            """The header's shape is not the size that the archive's directory says."""
            good = bytearray(npz_of_zeros([("a", (4,), 4000000)]))
            (self.dir / "lie.npz").write_bytes(good)
            self.fails(INPUT, [r'entry "a\.npy"', "16000000 bytes of data, expected 16"], "info", "lie.npz")
        self.case("a shape that is not the size", lies)

        def damaged():
            good = npz_of_zeros([("a", (4000,), 4000), ("b", (3, 5), 15)])
            (self.dir / "good.npz").write_bytes(good)
            shapes = [t["shape"] for t in self.p.json("info", "good.npz", cwd=self.dir)["tensors"]]
            assert shapes == [[4000], [3, 5]], shapes
            for at in range(30, len(good) - 22, 7):
                bad = bytearray(good)
                bad[at] ^= 0x41
                (self.dir / "good.npz").write_bytes(bad)
                r = self.p.run("info", "good.npz", cwd=self.dir)
                assert r.returncode in (0, INPUT), f"byte {at}: {r.returncode}: {r.stderr}"
        self.case("every seventh byte of an archive changed", damaged)

    def disk(self):
        size = len(self.read("j.lmj")) - 100

        def limit():  # what `ulimit -f` does: the signal keeps its default
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        def full():
            args = ["adapt", *DATA, *TRAIN, "--balance", "--input", "tiny.lmq", "--steps", 20, "--journal", "f.lmj"]
            r = self.p.run(*args, cwd=self.dir, preexec_fn=limit)
            assert r.returncode == INPUT, f"{r.returncode}: {r.stderr}"
            matches(error_line(r), [r"f\.lmj", "record", "large"])
            assert not list(self.dir.glob("f.lmj.*"))
            self.p.ok(*args, "--resume", cwd=self.dir)
            assert self.read("f.lmj") == self.read("j.lmj")
        self.case("a file that may not grow: adapt", full)

        def replaced():
            r = self.p.run("replay", "--base", "tiny.lmq", "--journal", "j.lmj", "--output", "f.lmq", cwd=self.dir,
                           preexec_fn=limit)
            assert r.returncode == INPUT and not list(self.dir.glob("f.lmq*")), f"{r.returncode}: {r.stderr}"
        self.case("a file that may not grow: replay", replaced)

    def lines(self):
        """Command lines that the program prints do what they say."""
        # Of every option of `cosim`: in the line, in the journal (or of a run that makes one), or no matter of results.
        in_line = {"seed", "backend", "backend-options", "hardware", "data", "source", "target", "shift",
                   "adapt-examples", "balance", "resize", "size", "mean", "std", "layout", "features", "speaker",
                   "steps", "from", "input", "journal", "out", "report"}
        in_journal = {"network", "epochs", "learning-rate", "pretrain-seed", "weights", "calibration", "percentile",
                      "headroom", "per-tensor", "calibration-examples", "calibrate-on", "equalize", "range-headroom",
                      "layers", "no-biases", "unit", "eps", "step", "inner", "keep", "pairs", "batch", "estimator",
                      "schedule", "distribution", "mask-seed"}
        free = {"help", "help-all", "threads", "json", "quiet", "overwrite", "no-feature-cache", "evaluations",
                "backprop-rate", "backprop-epochs"}

        def known():
            text = self.p.ok("cosim", "--help", cwd=self.dir)
            found = set(re.findall(r"^ +(?:-\w,)?(?:--)([a-z-]+)", text, re.M))
            assert found == in_line | in_journal | free, found ^ (in_line | in_journal | free)
        self.case("cosim: every option is in the line of a replay, or none of its business", known)

        def replayed():
            forged = Records(self.read("j.lmj"))
            forged.records[7][9 + 0] ^= 1  # its loss
            (self.dir / "forged.lmj").write_bytes(forged.written())
            args = ["cosim", *DATA, "--balance", "--seed", 1, "--backend", "cmodel",
                    "--hardware", "rows=16,cols=16", "--input", "tiny.lmq", "--out", "o", "--report", "o/r.json",
                    "--steps", 20]
            self.p.ok(*args, "--journal", "j.lmj", cwd=self.dir)
            r = self.p.run(*args, "--journal", "forged.lmj", cwd=self.dir)
            assert r.returncode == MISMATCH, f"{r.returncode}: {r.stderr}"
            line = r.stderr.strip().splitlines()[-1].split(": ", 1)[1]
            words = shlex.split(line)
            options = {w[2:] for w in words if w.startswith("--")}
            assert options <= in_line and "balance" in options, options
            again = subprocess.run(["sh", "-c", line], cwd=self.dir, capture_output=True, text=True)
            assert again.returncode == MISMATCH, f"{line}: {again.returncode}: {again.stderr}"
            matches(again.stderr, ["step 7: not what the journal has"])
        self.case("cosim: the line of a replay finds the difference again", replayed)

        def overwriting(*words):
            args = ["adapt", *DATA, *TRAIN, "--input", "tiny.lmq", "--steps", 4000000, "--journal", "s.lmj"]
            child = self.p.start(*args, *words, cwd=self.dir, stderr=subprocess.PIPE)
            while not (self.dir / "s.lmj").exists():
                assert child.poll() is None, child.stderr.read()
                time.sleep(0.01)
            time.sleep(0.1)
            child.send_signal(signal.SIGTERM)
            said = child.communicate()[1]
            line = said.splitlines()[-1].split("to go on: ", 1)[1]
            assert "--overwrite" not in line and line.count("--resume") == 1, line
            there = (self.dir / "s.lmj").stat().st_size
            child = subprocess.Popen(["sh", "-c", "exec " + line], cwd=self.dir, stderr=subprocess.PIPE, text=True)
            while (self.dir / "s.lmj").stat().st_size <= there:
                assert child.poll() is None, f"{line}: {child.returncode}: {child.stderr.read()}"
                time.sleep(0.01)
            child.send_signal(signal.SIGTERM)
            child.communicate()
            (self.dir / "s.lmj").unlink()
        for words in (["--overwrite=true"], ["--overwrite"], ["--resume=true"], ["--resume"]):
            self.case(f"adapt {words[0]}, stopped: the line goes on", overwriting, *words)

        def salvaged():
            args = ["run", *DATA, "--epochs", 1, "--steps", 600, "--batch", 8, "--method", "forward-gradient",
                    "--no-float", "--no-backprop", "--apart", 100, "--out", "o", "--reports", "rep", "--quiet"]
            self.p.ok(*args, cwd=self.dir)
            good = self.read("o/journal.lmj")
            bad = bytearray(good)
            bad[len(good) // 2] ^= 1
            (self.dir / "o/journal.lmj").write_bytes(bad)
            r = self.p.run(*args, "--resume", cwd=self.dir)
            assert r.returncode == JOURNAL, f"{r.returncode}: {r.stderr}"
            matches(error_line(r), [r"journal\.lmj", "--salvage keeps"])
            self.p.ok(*args, "--resume", "--salvage", cwd=self.dir)
            assert self.read("o/journal.lmj") == good
        self.case("run: --salvage of a damaged journal", salvaged)

    def numbers(self):
        validate = ["validate", *DATA, "--checkpoint", "tiny.lmc", "--quick", "--reports", "rep"]
        for option, values in (("--examples", [-1, 0]), ("--probes", [0, -7, 7]), ("--sweep-seeds", [0, -1]),
                               ("--sweep-steps", [0]), ("--sweep-eps", [-1, 0, 2]), ("--sweep-step", [-1, 0]),
                               ("--cosine-warn", [2]), ("--saturation-warn", [-1, 2]), ("--saturation-fail", [-1]),
                               ("--rmse-warn", [-1]), ("--headroom-warn", [-1, 41]), ("--float32-fail", [-1]),
                               ("--logit-bits-fail", [-1, 17]), ("--calibration-examples", [0]), ("--headroom", [0.5]),
                               ("--range-headroom", [0]), ("--percentile", [101]), ("--adapt-examples", [-1]),
                               ("--backprop-rate", [-1]), ("--learning-rate", [-1])):
            for value in values:
                self.case(f"validate {option} {value}", self.fails, USAGE, [option], *validate, f"{option}={value}")
        for option, value, says in (("--sweep-layers", "nobody", "nobody"), ("--layers", "nobody", "nobody"),
                                    ("--pairs", 9, "pairs is 9"), ("--batch", 0, "batch is 0"),
                                    ("--keep", 2, "keep is 2"), ("--eps", -1, "eps is -1"), ("--step", 0, "step is 0")):
            self.case(f"validate {option} {value}", self.fails, USAGE, [says], *validate, option, value)
            if option != "--sweep-layers":
                self.case(f"cosim {option} {value}", self.cosim_refuses, option, value, says)
        self.case("validate --speaker without speakers", self.fails, USAGE, ["speaker is 1, but task .* no speakers"],
                  "validate", *DATA, "--checkpoint", "tiny.lmc", "--speaker", 1)
        self.case("cosim --speaker without speakers", self.cosim_refuses, "--speaker", -1, "no speakers")
        self.case("profile --batch -1", self.fails, USAGE, ["--batch"], "profile", "--batch", -1, "--reports", "rep")
        for steps, inner in ((4294967295, 3), (4294967295, 1), (1, 4294967295)):
            self.case(f"steps that wrap: {steps} + {inner}", self.fails, USAGE, ["sum below 2\\^32"], "adapt", *DATA,
                      "--input", "tiny.lmq", "--batch", 8, "--method", "both", "--readout-steps", steps,
                      "--inner-steps", inner, "--journal", "w.lmj")

    def cosim_refuses(self, option, value, says):
        r = self.p.run("cosim", *DATA, "--backend", "cmodel", "--out", "o", "--report", "o/r.json", option, value,
                       cwd=self.dir)
        assert r.returncode == USAGE, f"{r.returncode}: {r.stderr}"
        matches(error_line(r), [says])
        assert not (self.dir / "o/base.lmq").exists(), "it was told after the pre-training"

    def codes(self):
        (self.dir / "folder").mkdir()
        os.mkfifo(self.dir / "fifo.json")
        (self.dir / "bad.json").write_text("{")
        for name in ("nowhere.json", "folder", "fifo.json", "bad.json"):
            r = self.p.run("vectors", name, cwd=self.dir)
            self.checks.case(f"vectors: {name}", lambda r=r: self.told(r, INPUT, name))
        r = self.p.run("vectors", "bad.json", "--backend", "nowhere", cwd=self.dir)
        self.checks.case("vectors: no such backend", lambda: self.told(r, DEVICE, ""))
        os.unlink(self.dir / "fifo.json")

        def unreadable():
            # The owner may not, not even root without its capabilities.
            args, drop = self.p.command(["eval", *DATA, "--input", "tiny.lmq"]), []
            if os.geteuid() == 0:
                caps = "-dac_override,-dac_read_search"
                drop = ["setpriv", "--bounding-set", caps, "--inh-caps", caps]
                if subprocess.run([*drop, "true"], stderr=subprocess.DEVNULL).returncode != 0:
                    return
            os.chmod(self.dir / "img", 0)
            try:
                r = subprocess.run(drop + args, cwd=self.dir, capture_output=True, text=True)
            finally:
                os.chmod(self.dir / "img", 0o755)
            assert r.returncode == INPUT, f"{r.returncode}: {r.stderr}"
            matches(error_line(r), ["img: .*cannot be read: Permission denied|img.*Permission denied"])
        self.case("a data folder that cannot be read", unreadable)

    def told(self, r, code, name):
        assert r.returncode == code, f"{r.returncode}, expected {code}: {r.stdout}{r.stderr}"
        assert name in r.stdout + r.stderr

    def all(self):
        self.prepare()
        for group in (self.tables, self.archives, self.disk, self.lines, self.numbers, self.codes, self.signals):
            group()
        self.checks.finish()


if __name__ == "__main__":
    Limits.main(__doc__)
