#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Data sets of one's own with the program: pictures, arrays, sounds; source and target; every command of the page.

usage: check_data.py PROGRAM      ends with `N passed, N failed`

Sets are written here, with Python alone. Commands of sw/data/YOUR_DATA.md run in a folder that has the files it names.
"""
import base64
import csv
import os
import pathlib
import random
import shlex
import struct
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/cli"))
from harness import (INPUT, TINY, USAGE, Checks, Program, Workspace, idx_bytes, matches,  # noqa: E402
                     write_audio_folder, write_wav)

PAGE = ROOT / "sw/data/YOUR_DATA.md"
CLASSES = ("bike", "car", "tram")
# 9 x 12 pixels, written by libjpeg: grey, colour.
JPEG = [base64.b64decode(text) for text in (
    "/9j/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/wAAL"
    "CAAJAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAACQj/xAAaEAABBQEAAAAAAAAAAAAAAAAAAwYIOIS0/9oACAEBAAA/AJ/hlZRn"
    "7ONcUAL+GVlGfs41xQD/2Q==",
    "/9j/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/2wBD"
    "AQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBT/wAARCAAJAAwD"
    "ASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAACAb/xAAaEAABBQEAAAAAAAAAAAAAAAAAAwUHN4Oz/8QAFAEBAAAAAAAAAAAA"
    "AAAAAAAACP/EABwRAAEEAwEAAAAAAAAAAAAAAAIAAQZyNDWxsv/aAAwDAQACEQMRAD8AlIOtFl34KCwCfB1osu/BQWAfpVmhRukk"
    "fNdgFG9Ev//Z")]


def png(h, w, rows, color=0, depth=8, palette=b"", interlace=0):
    """`rows`: bytes of each row. color: 0 grey, 2 colour, 3 palette, 4 grey and alpha, 6 colour and alpha"""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + (chunk(b"PLTE", palette) if palette else b"")
            + chunk(b"IDAT", zlib.compress(b"".join(b"\0" + r for r in rows))) + chunk(b"IEND", b""))


def picture(label, side, rng, color=0, dark=0):
    """A bright bar whose place is the class."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[color]
    rows = []
    for y in range(side):
        row = bytearray()
        for _ in range(side):
            level = (220 if y * len(CLASSES) // side == label else 40) - dark
            row += bytes(max(0, min(255, level + rng.randrange(-20, 20))) for _ in range(channels))
        rows.append(bytes(row))
    return png(side, side, rows, color)


def write_pictures(folder, n, side=12, colors=(0,), dark=0, seed=1, labelled=True):
    rng = random.Random(seed)
    for label, name in enumerate(CLASSES):
        at = folder / name if labelled else folder
        at.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            color = colors[i % len(colors)]
            (at / f"{name}{i:03}.png").write_bytes(picture(label, side, rng, color, dark))
    return folder


def npy(shape, values, kind):
    code = {"|u1": "B", "<f4": "f", "<i8": "q"}[kind]
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return (b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header.encode()
            + struct.pack(f"<{len(values)}{code}", *values))


def npz(arrays):
    import io
    import zipfile
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, data in arrays.items():
            z.writestr(name + ".npy", data)
    return out.getvalue()


def bars(n, side, seed, scale=1, channels_first=False):
    """Arrays of the same pictures, one channel."""
    rng = random.Random(seed)
    values, labels = [], []
    for i in range(n):
        label = i % len(CLASSES)
        labels.append(label)
        for y in range(side):
            for _ in range(side):
                v = (220 if y * len(CLASSES) // side == label else 40) + rng.randrange(-20, 20)
                values.append(v * scale if scale != 1 else v)
    return ([n, 1, side, side] if channels_first else [n, side, side, 1]), values, labels


class Suite:
    def __init__(self, program, folder):
        self.p, self.dir, self.checks = program, folder, Checks()

    def ok(self, *args):
        return self.p.ok(*args, "--quiet", cwd=self.dir)

    def json(self, *args):
        return self.p.json(*args, cwd=self.dir)

    def fails(self, code, patterns, *args):
        r = self.p.run(*args, cwd=self.dir)
        text = "\n".join(line for line in r.stderr.splitlines() if not line.startswith("note:"))
        assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {text}"
        matches(text, patterns)

    def case(self, name, body, *args):
        self.checks.case(name, body, *args)

    def bad(self, name, code, patterns, *args):
        self.checks.case(name, self.fails, code, patterns, *args)

    # ---- groups

    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        write_pictures(self.dir / "photos", 30, colors=(0, 2, 4, 6))
        write_pictures(self.dir / "field", 20, side=16, dark=30, seed=2)
        write_pictures(self.dir / "unknown", 3, dark=20, seed=3, labelled=False)
        self.ok("pretrain", "--network", "tiny.toml", "--data", "photos", "--size", "12x12x1", "--output", "tiny.lmc")
        self.ok("quantize", "--network", "tiny.toml", "--data", "photos", "--size", "12x12x1",
                "--checkpoint", "tiny.lmc", "--output", "tiny.lmq")

    def pictures(self):
        def evaluated():
            r = self.json("eval", "--input", "tiny.lmq", "--source", "photos")
            assert r["classes"] == list(CLASSES), r["classes"]
            assert r["source"]["examples"] == 18 and r["source"]["accuracy"] > 80, r["source"]
            assert len(r["source"]["confusion"]) == 3 and len(r["source"]["per_class"]) == 3
            assert "18 to test" in r["data"]["split"], r["data"]
        self.case("eval of pictures", evaluated)

        def pair():
            r = self.json("eval", "--input", "tiny.lmq", "--source", "photos", "--target", "field")
            assert r["shifted"]["examples"] == 20 and r["data"]["shift"] == "field", r["data"]
            alone = self.json("eval", "--input", "tiny.lmq", "--target", "field")
            assert "source" not in alone and alone["shifted"] == r["shifted"], alone
            moved = self.json("eval", "--input", "tiny.lmq", "--target", "field", "--shift", "brightness=-0.9")
            assert moved["shifted"]["loss"] != alone["shifted"]["loss"]
            text = self.ok("eval", "--input", "tiny.lmq", "--target", "field")
            matches(text, ["target .* %", "bike", "tram"])
        self.case("source and target, and the target alone", pair)

        def predicted():
            r = self.json("eval", "--input", "tiny.lmq", "--target", "unknown", "--predictions", "p.csv")
            assert sum(r["shifted"]["predicted"]) == 9 and "accuracy" not in r["shifted"], r
            with open(self.dir / "p.csv", newline="") as f:
                rows = list(csv.DictReader(f))
            assert len(rows) == 9 and list(rows[0]) == ["example", "predicted", "confidence"], rows[0]
            right = sum(row["example"].startswith(row["predicted"]) for row in rows)
            assert right >= 7, rows
            assert all(1 / 3 <= float(row["confidence"]) <= 1 for row in rows)
            labelled = self.json("eval", "--network", "tiny.toml", "--input", "tiny.lmc", "--target", "field",
                                 "--predictions", "q.csv")
            with open(self.dir / "q.csv", newline="") as f:
                rows = list(csv.DictReader(f))
            right = sum(row["label"] == row["predicted"] for row in rows)
            assert right == labelled["shifted"]["correct"] and rows[0]["example"].startswith(rows[0]["label"]), rows[0]
        self.case("a target without labels; predictions", predicted)

        def adapted():
            r = self.json("adapt", "--input", "tiny.lmq", "--target", "field", "--method", "readout",
                          "--readout-steps", 20, "--journal", "t.lmj", "--output", "t.lmq")
            assert r["classes"] == list(CLASSES) and len(r["before"]["confusion"]) == 3
            assert len(r["after"]["per_class"]) == 3
            again = self.json("eval", "--input", "t.lmq", "--target", "field")
            assert again["shifted"]["correct"] == r["after"]["correct"], (again, r)
            said = self.p.run("eval", "--input", "t.lmq", "--target", "field", cwd=self.dir).stderr
            assert "an older file" not in said, said
            self.ok("replay", "--base", "tiny.lmq", "--journal", "t.lmj", "--output", "t2.lmq")
            assert (self.dir / "t.lmq").read_bytes() == (self.dir / "t2.lmq").read_bytes()
            self.ok("rescale", "--input", "tiny.lmq", "--target", "field", "--output", "wide.lmq")
        self.case("adaptation to a target alone", adapted)

        def ran():
            r = self.json("run", "--network", "tiny.toml", "--source", "photos", "--target", "field", "--size",
                          "12x12x1", "--steps", 8, "--readout-steps", 8, "--out", "out", "--reports", "rep",
                          "--backprop-epochs", 1, "--apart", 100)
            assert r["classes"]["names"] == list(CLASSES) and r["shift"] == "field", r["shift"]
            for key in ("source", "shifted", "fixed", "readout"):
                assert len(r["classes"][key]["confusion"]) == 3, key
            assert r["data"]["adapt"]["per_class"] == [14, 13, 13] or sum(r["data"]["adapt"]["per_class"]) == 40
            page = (self.dir / "rep/run.html").read_text()
            matches(page, ["bike", "Confusion: shifted", "Per cent right of each class"])
        self.case("a whole run on source and target", ran)

        def small():
            write_pictures(self.dir / "few", 7, seed=5)
            (self.dir / "few/tram/tram006.png").unlink()  # 20 examples
            r = self.json("run", "--network", "tiny.toml", "--data", "few", "--steps", 4, "--readout-steps", 4,
                          "--out", "few_out", "--reports", "few_rep", "--backprop-epochs", 1, "--apart", 100)
            assert [r["data"][k]["examples"] for k in ("pretrain", "adapt", "shifted_test")] == [13, 3, 4], r["data"]
            assert "13 of 16 to pre-train on" in r["data"]["split"], r["data"]["split"]
            self.ok("adapt", "--input", "tiny.lmq", "--target", "few", "--steps", 4, "--journal", "few.lmj")
        self.case("20 examples in all", small)

        def resized():
            sets = [["--target", "field", "--resize", how] for how in ("stretch", "fit", "crop")]
            losses = {self.json("eval", "--network", "tiny.toml", "--input", "tiny.lmc", *s)["shifted"]["loss"]
                      for s in sets}
            assert len(losses) == 1, losses  # square on square: all the same
            self.ok("quantize", "--network", "tiny.toml", "--source", "photos", "--target", "field", "--checkpoint",
                    "tiny.lmc", "--size", "12x12x1", "--output", "u.lmq")
        self.case("resizing", resized)

        def normalized():
            norm = ["--mean", "0.4", "--std", "0.3"]
            size = ["--network", "tiny.toml", "--size", "12x12x1", "--data", "photos"]
            self.ok("pretrain", *size, *norm, "--output", "n.lmc")
            self.ok("quantize", *size, "--checkpoint", "n.lmc", "--output", "n.lmq")
            same = [self.json("eval", "--input", "n.lmq", "--target", "field", *extra)["shifted"]
                    for extra in ([], norm)]
            assert same[0] == same[1]
            self.fails(INPUT, ["made for a --mean of 0.4", "0.5"], "eval", "--input", "n.lmq", "--target", "field",
                       "--mean", "0.5", "--std", "0.3")
            self.fails(INPUT, ["made for a --mean of none"], "eval", "--input", "tiny.lmq", "--target", "field",
                       *norm)
        self.case("normalization is kept with the network", normalized)

        need = ["--network", "tiny.toml", "--target", "field", "--size", "12x12x1"]
        self.bad("pretrain on a target alone", USAGE, ["expected --source"], "pretrain", *need, "--output", "x.lmc")
        self.bad("run on a target alone", USAGE, ["expected --source"], "run", *need, "--out", "x", "--reports", "x")
        self.bad("calibrate on what is not there", USAGE, ["--calibrate-on source", "expected --source"],
                 "quantize", *need, "--checkpoint", "tiny.lmc", "--calibrate-on", "source", "--output", "x.lmq")
        self.bad("adapt without labels", INPUT, ["unknown", "no labels", "eval"], "adapt", "--input", "tiny.lmq",
                 "--target", "unknown", "--journal", "x.lmj")
        self.bad("--data and --source", USAGE, ["--data and --source"], "eval", "--input", "tiny.lmq", "--data",
                 "photos", "--source", "photos")
        self.bad("more than there are", USAGE, ["--adapt-examples: 41, expected 1 to 40"], "adapt", "--input",
                 "tiny.lmq", "--target", "field", "--adapt-examples", 41, "--journal", "x.lmj")
        self.bad("a size that is none", USAGE, ["--size", "ROWSxCOLUMNS"], "eval", "--input", "tiny.lmq", "--size",
                 "12", "--target", "field")
        self.bad("an output that is part of the target", USAGE, ["is part of --target"], "eval", "--input",
                 "tiny.lmq", "--target", "field", "--predictions", "field/bike/bike000.png")

        def other_classes():
            write_pictures(self.dir / "other", 2)
            os.rename(self.dir / "other/car", self.dir / "other/lorry")
            self.fails(INPUT, ["class 'lorry' is none of 'bike', 'car', 'tram'"], "eval", "--input", "tiny.lmq",
                       "--target", "other")
            # A target may lack a class.
            for file in (self.dir / "other/lorry").iterdir():
                file.unlink()
            (self.dir / "other/lorry").rmdir()
            r = self.json("eval", "--input", "tiny.lmq", "--target", "other")
            assert r["classes"] == list(CLASSES) and r["shifted"]["per_class"][1] is None, r["shifted"]
        self.case("classes of the target", other_classes)

    def formats(self):
        def jpeg():
            for label in ("a", "b"):
                (self.dir / "jpegs" / label).mkdir(parents=True)
                for i in range(4):
                    (self.dir / "jpegs" / label / f"{i}.jpg").write_bytes(JPEG[i % 2])
            d = self.json("data", "jpegs")["sets"][0]
            assert d["shape"] == {"least": [9, 12, 1], "most": [9, 12, 3]} and not d["problems"], d
            self.ok("pretrain", "--network", "tiny.toml", "--data", "jpegs", "--epochs", 1, "--output", "j.lmc")
        self.case("JPEG, grey and colour", jpeg)

        def arrays():
            shape, values, labels = bars(60, 12, 7)
            (self.dir / "set.npz").write_bytes(npz({"x": npy(shape, values, "|u1"),
                                                    "y": npy([60], labels, "<i8")}))
            shape, values, _ = bars(60, 12, 7, channels_first=True)
            (self.dir / "x.npy").write_bytes(npy(shape, values, "|u1"))
            (self.dir / "y.npy").write_bytes(npy([60], labels, "<i8"))
            shape, values, _ = bars(60, 12, 7, scale=1 / 255)
            (self.dir / "real.npz").write_bytes(npz({"images": npy(shape, values, "<f4"),
                                                     "labels": npy([60], labels, "<i8")}))
            (self.dir / "some-images-idx3-ubyte").write_bytes(idx_bytes([60, 12, 12], bars(60, 12, 7)[1]))
            (self.dir / "some-labels-idx1-ubyte").write_bytes(idx_bytes([60], labels))
            names = ("set.npz", "x.npy", "real.npz", "some-images-idx3-ubyte")
            self.ok("pretrain", "--network", "tiny.toml", "--data", "set.npz", "--output", "a.lmc")
            seen = [self.json("eval", "--network", "tiny.toml", "--input", "a.lmc", "--data", name, "--shift",
                              "none")["source"]["correct"] for name in names]
            assert len(set(seen)) == 1 and seen[0] >= 10, seen
            means = [self.json("data", name)["sets"][0]["values"][0]["mean"] for name in names]
            assert max(means) - min(means) < 1e-6, means
            self.fails(INPUT, ["set.npz", "12 x 12 x 1, expected 9 x 9 x 1"], "pretrain", "--network", "tiny.toml",
                       "--source", "photos", "--size", "9x9x1", "--target", "set.npz", "--output", "x.lmc")
            self.ok("pretrain", "--network", "tiny.toml", "--source", "photos", "--size", "9x9x1", "--target",
                    "set.npz", "--resize", "stretch", "--epochs", 1, "--output", "x.lmc")
        self.case("the same examples as .npz, .npy, float and IDX", arrays)

        def sounds():
            rng = random.Random(1)
            for split, n in (("train", 6), ("test", 2)):
                for word in ("no", "yes"):
                    (self.dir / "words" / split / word).mkdir(parents=True)
                    for i in range(n):
                        write_wav(self.dir / "words" / split / word / f"{i}.wav", 4000 + rng.randrange(2000),
                                  rate=8000 if i % 2 else 16000, channels=1 + i % 2)
            d = self.json("data", "words")["sets"][0]
            assert d["sound"]["rates"] == {"16000": 8, "8000": 8}, d
            assert [p["per_class"] for p in d["parts"]] == [[2, 2], [6, 6]] or \
                [p["per_class"] for p in d["parts"]] == [[6, 6], [2, 2]], d["parts"]
            self.ok("pretrain", "--network", "tiny.toml", "--data", "words", "--epochs", 2, "--output", "w.lmc")
            self.ok("quantize", "--network", "tiny.toml", "--data", "words", "--checkpoint", "w.lmc", "--output",
                    "w.lmq", "--apart", 100)
            r = self.json("eval", "--input", "w.lmq", "--target", "words/test")
            assert r["classes"] == ["no", "yes"], r
            self.ok("adapt", "--input", "w.lmq", "--target", "words", "--steps", 4, "--batch", 4, "--journal",
                    "w.lmj")
            write_audio_folder(self.dir / "cuts", rate=8000)
            self.ok("eval", "--input", "w.lmq", "--target", "cuts")
            self.fails(INPUT, ["photos has pictures", "w.lmq"], "eval", "--input", "w.lmq", "--target", "photos")
            self.fails(INPUT, ["photos has pictures", "words has sounds"], "pretrain", "--network", "tiny.toml",
                       "--source", "words", "--target", "photos", "--output", "x.lmc")
        self.case("sounds by class and by cut list, of any rate", sounds)

    def hostile(self):
        def problems():
            bad = self.dir / "bad"
            write_pictures(bad, 3)
            good = (bad / "car/car000.png").read_bytes()
            (bad / "bike/bike000.png").write_bytes(good[:40])
            (bad / "bike/bike001.png").write_bytes(b"")
            (bad / "car/car001.png").unlink()
            (bad / "car/car001.png").symlink_to("car001.png")
            (bad / "tram/tram000.png").unlink()
            os.mkfifo(bad / "tram/tram000.png")
            (bad / "tram/tram001.png").write_bytes(png(60000, 60000, []))
            (bad / "tram/loop").symlink_to("..")
            for i in range(3000):
                (bad / "car" / f"note{i}.txt").write_text("x")
            r = self.p.run("data", "bad", "--json", cwd=self.dir)
            assert r.returncode == INPUT, r.returncode
            matches(r.stdout, ["bike000.png: PNG", "bike001.png: neither", "car001.png", "tram000.png: is not a reg",
                               "60000 x 60000 pixels", "3000 other files"])
            r = self.p.run("eval", "--input", "tiny.lmq", "--target", "bad", cwd=self.dir)
            assert r.returncode == INPUT, r.returncode
            matches(r.stderr, ["5 files cannot be used", "bike000.png", "tram001.png"])
        self.case("all files that cannot be read, at once", problems)

        def bombs():
            # 1 GiB of zeros in 1 MiB of .npz; a header that claims 2^40 values.
            shape = [1 << 10, 1 << 10, 1 << 10]
            header = npy(shape, [], "|u1")
            import io
            import zipfile
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
                with z.open("x.npy", "w") as f:
                    f.write(header)
                    for _ in range(1 << 10):
                        f.write(bytes(1 << 20))
            (self.dir / "bomb.npz").write_bytes(out.getvalue())
            self.fails(INPUT, ["bomb.npz", "at most"], "eval", "--input", "tiny.lmq", "--target", "bomb.npz")
            (self.dir / "huge.npy").write_bytes(npy([1 << 20, 1 << 10, 1 << 10], [], "<f4"))
            self.fails(INPUT, ["huge.npy", "too many|at most"], "eval", "--input", "tiny.lmq", "--target", "huge.npy")
            cut = (self.dir / "set.npz").read_bytes()[:-30]
            (self.dir / "cut.npz").write_bytes(cut)
            self.fails(INPUT, ["cut.npz", "ZIP"], "eval", "--input", "tiny.lmq", "--target", "cut.npz")
        self.case("arrays that claim too much", bombs)
        os.mkfifo(self.dir / "pipe.npz")
        self.bad("a pipe", INPUT, ["pipe.npz", "not a regular file"], "eval", "--input", "tiny.lmq", "--target",
                 "pipe.npz")
        self.bad("a text", INPUT, ["tiny.toml", "neither of numpy"], "eval", "--input", "tiny.lmq", "--target",
                 "tiny.toml")
        self.bad("nothing there", INPUT, ["nowhere", "no such folder or file"], "eval", "--input", "tiny.lmq",
                 "--target", "nowhere")

    def page(self):
        """Every command of the page, in a folder with what it names."""
        folder = self.dir / "page"
        folder.mkdir()
        write_pictures(folder / "photos", 24, colors=(0, 2))
        write_pictures(folder / "field", 16, side=20, dark=30, seed=2)
        write_pictures(folder / "unlabelled", 3, seed=3, labelled=False)
        write_audio_folder(folder / "recordings")
        (folder / "net.toml").write_text(TINY.replace('input = "task"', "input = [12, 12, 1]"))
        shape, values, labels = bars(60, 12, 7)
        (folder / "set.npz").write_bytes(npz({"x": npy(shape, values, "|u1"), "y": npy([60], labels, "<i8")}))
        commands = [shlex.split(line)[1:] for line in PAGE.read_text().splitlines()
                    if line.startswith("    lastmile ")]
        assert len(commands) > 5, commands
        for command in commands:
            self.case("page: " + " ".join(command), lambda c=command: self.p.ok(*c, "--quiet", cwd=folder))


def main():
    with Workspace() as folder:
        s = Suite(Program(sys.argv[1]), folder)
        s.prepare()
        s.pictures()
        s.formats()
        s.hostile()
        s.page()
        s.checks.finish()


if __name__ == "__main__":
    main()
