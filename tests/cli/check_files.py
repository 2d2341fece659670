#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a command writes destroys nothing of anybody's: new content and locks beside files, bases of journals, runs in
folders, names of stdout, empty names, FIFOs.

usage: check_files.py PROGRAM      ends with `N passed, N failed`
"""
import json
import math
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import time

from harness import (INPUT, JOURNAL, TIMEOUT, TINY, USAGE, Suite, error_line, matches, state, write_audio_folder,
                     write_idx_folder)

DATA = ["--network", "tiny.toml", "--data", "img", "--adapt-examples", 32, "--threads", 1]
TRAIN = [*DATA, "--input", "q.lmq", "--batch", 8, "--evaluations", 0]
ADAPT = ["adapt", *TRAIN, "--steps", 30]
REPLAY = ["replay", "--base", "q.lmq", "--journal", "ref.lmj"]
RUN = ["run", *DATA, "--epochs", 1, "--steps", 40, "--batch", 8, "--readout-steps", 48, "--evaluations", 2,
       "--no-float", "--backprop-epochs", 1]
NORMED = TINY.replace('padding = "same"', 'padding = "same"\nbatch_norm = true', 1).replace('"tiny"', '"normed"')


class Files(Suite):
    def ok(self, *args):
        return self.p.ok(*args, "--quiet", cwd=self.dir)

    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        (self.dir / "normed.toml").write_text(NORMED)
        write_idx_folder(self.dir / "img")
        shutil.copytree(self.dir / "img", self.dir / "img2")
        for part in ("train", "t10k"):
            for file in (self.dir / "img2").glob(f"{part}-labels*"):
                content = bytearray(file.read_bytes())
                content[8:] = content[9:] + content[8:9]
                file.write_bytes(content)
        self.ok("pretrain", *DATA, "--epochs", 1, "--output", "tiny.lmc")
        self.ok("pretrain", *DATA, "--epochs", 1, "--pretrain-seed", 5, "--output", "other.lmc")
        self.ok("quantize", *DATA, "--checkpoint", "tiny.lmc", "--output", "q.lmq")
        normed = ["normed.toml" if a == "tiny.toml" else a for a in DATA]
        self.ok("pretrain", *normed, "--epochs", 1, "--output", "normed.lmc")
        self.ok("quantize", *normed, "--checkpoint", "normed.lmc", "--output", "n.lmq")
        self.ok(*ADAPT, "--journal", "ref.lmj")

    # ---- new content and locks beside files

    def beside(self):
        def part():
            shutil.copy(self.dir / "q.lmq", self.dir / "z.lmq.part")
            self.fails(USAGE, ["are one file"], "replay", "--base", "z.lmq.part", "--journal", "ref.lmj", "--output",
                       "z.lmq")
            shutil.copy(self.dir / "ref.lmj", self.dir / "y.lmq.part")
            self.fails(USAGE, ["are one file"], "replay", "--base", "q.lmq", "--journal", "y.lmq.part", "--output",
                       "y.lmq")
            shutil.copy(self.dir / "tiny.lmc", self.dir / "x.lmq.part")
            self.fails(USAGE, ["are one file"], "quantize", *DATA, "--checkpoint", "x.lmq.part", "--output", "x.lmq")
            shutil.copy(self.dir / "q.lmq", self.dir / "w.lmj.part")
            self.fails(USAGE, ["are one file"], *[a if a != "q.lmq" else "w.lmj.part" for a in ADAPT], "--journal",
                       "w.lmj")
            (self.dir / "out").mkdir()
            shutil.copy(self.dir / "tiny.lmc", self.dir / "out/quantized.lmq.part")
            self.fails(USAGE, ["are one file"], *RUN, "--checkpoint", "out/quantized.lmq.part", "--out", "out",
                       "--reports", "rep")
        self.case("the new content of an output is no input", part)

        def linked():
            for name, command in (("z.lmq.part", [*REPLAY, "--output", "z.lmq"]),
                                  ("w.lmj.part", [*ADAPT, "--journal", "w.lmj"])):
                for mine in ("tiny.lmc", "other.lmc"):
                    before = self.read(mine)
                    os.link(self.dir / mine, self.dir / name)
                    self.ok(*command, *(["--overwrite"] if command[0] == "adapt" else []))
                    assert self.read(mine) == before, mine
        self.case("another name of a file is not emptied", linked)

        def locks():
            (self.dir / "w.lmj.lock").write_text("my notes")
            self.fails(INPUT, [r"w\.lmj\.lock: something else has this name"], *ADAPT, "--journal", "w.lmj")
            (self.dir / "w.lmj.lock").unlink()
            os.link(self.dir / "other.lmc", self.dir / "w.lmj.lock")
            self.fails(INPUT, ["something else has this name"], *ADAPT, "--journal", "w.lmj")
            (self.dir / "w.lmj.lock").unlink()
            (self.dir / "w.lmj.lock").write_text("process 4711 on nowhere since 2001-01-01 00:00:00\n")
            self.ok(*ADAPT, "--journal", "w.lmj")  # of a process that was killed
            (self.dir / "rep").mkdir()
            shutil.copy(self.dir / "tiny.lmc", self.dir / "rep/run.json.lock")
            self.fails(USAGE, ["are one file"], *RUN, "--checkpoint", "rep/run.json.lock", "--out", "out", "--reports",
                       "rep")
            (self.dir / "out").mkdir()
            shutil.copy(self.dir / "tiny.lmc", self.dir / "out/.lastmile.lock")
            self.fails(USAGE, ["are one file"], *RUN, "--checkpoint", "out/.lastmile.lock", "--out", "out", "--reports",
                       "rep")
        self.case("a lock takes nobody's file", locks)

        def tables():
            shutil.copy(self.p.path.parent.parent.parent / "sw/share/energy/22nm.toml", self.dir / "et.toml")
            self.fails(USAGE, ["are one file"], "profile", "--networks", "tiny.toml", "--table", "et.toml", "--trace",
                       "et.toml", "--reports", "rep")
        self.case("an energy table is an input", tables)

        def traced():
            small = ["--hardware", "rows=4,cols=4,bus_bytes=8,act_bytes=4096,acc_depth=64,rq_lanes=4"]
            self.fails(USAGE, ["are one file"], *ADAPT, "--journal", "w.lmj", *small, "--backend", "rtl",
                       "--backend-options", "trace=q.lmq")
        self.case("a waveform is an output", traced)

    # ---- bases of journals

    def bases(self):
        def adapt(*more):
            swapped = {"tiny.toml": "normed.toml", "q.lmq": "n.lmq"}
            return [*[swapped.get(a, a) for a in ADAPT], "--statistics", "on", *more]

        def refused():
            for method in (["--method", "readout", "--readout-steps", 48], []):
                self.ok(*adapt(*method, "--journal", "r.lmj", "--overwrite"))
                kept = self.p.json("replay", "--base", "r.base.lmq", "--journal", "r.lmj", cwd=self.dir)
                other = [a if a != "img" else "img2" for a in adapt(*method, "--journal", "r.lmj")]
                self.fails(JOURNAL, ["another run"], *other, "--resume")
                if method:
                    self.fails(USAGE, ["nobody"], *adapt(*method, "--journal", "r.lmj"), "--overwrite", "--taps",
                               "nobody")
                assert kept == self.p.json("replay", "--base", "r.base.lmq", "--journal", "r.lmj", cwd=self.dir)
                (self.dir / "r.base.lmq").unlink()
                self.ok(*adapt(*method, "--journal", "r.lmj", "--resume"))
                assert kept == self.p.json("replay", "--base", "r.base.lmq", "--journal", "r.lmj", cwd=self.dir)
        self.case("a refused command leaves the base of the journal that is there", refused)

        def shared():
            self.ok(*adapt("--journal", "v.1"))
            kept = self.p.json("replay", "--base", "v.1.base.lmq", "--journal", "v.1", cwd=self.dir)
            self.ok(*[a if a != "img" else "img2" for a in adapt("--journal", "v.2")])
            assert kept == self.p.json("replay", "--base", "v.1.base.lmq", "--journal", "v.1", cwd=self.dir)
        self.case("two journals do not share a base", shared)

        def foreign():
            shutil.copy(self.dir / "q.lmq", self.dir / "pp.base.lmq")
            self.fails(JOURNAL, [r"pp\.base\.lmq: it is there and another network"], *adapt("--journal", "pp.lmj"))
            self.ok(*adapt("--journal", "pp.lmj", "--overwrite"))
        self.case("a base that is there is not replaced without being told to", foreign)

    # ---- runs in folders

    def runs(self):
        out = ["--out", "out", "--reports", "rep"]

        def overwritten():
            self.ok(*RUN, *out)
            (self.dir / "out/both-notes.lmq").write_text("mine")
            (self.dir / "out/journal-2024.lmj").write_text("mine")
            for wrong in (["--taps", "nobody"], ["--taps", "conv1:99"], ["--statistics", "on"], ["--eps", "1e308"],
                          ["--layers", "nobody"], ["--batch", 0], ["--readout-steps", 0]):
                before = state(self.dir / "out")
                r = self.p.run(*RUN, *out, "--overwrite", *wrong, cwd=self.dir)
                assert r.returncode in (USAGE, INPUT), f"{wrong}: {r.returncode}: {error_line(r)}"
                assert state(self.dir / "out") == before, wrong
            self.ok(*RUN, *out, "--overwrite")
            assert self.read("out/both-notes.lmq") == self.read("out/journal-2024.lmj") == b"mine"
        self.case("an earlier run is there until the new one can begin", overwritten)

        def resumed():
            first = [*RUN, *out, "--checkpoint", "c.lmc"]
            shutil.copy(self.dir / "tiny.lmc", self.dir / "c.lmc")
            shutil.copytree(self.dir / "img", self.dir / "img3")
            first = [a if a != "img" else "img3" for a in first]
            self.ok(*first)
            whole = json.loads(self.read("rep/run.json"))
            def files():
                return {k: v for k, v in state(self.dir / "out").items() if k != "run-state.json"}
            before = files()
            (self.dir / "rep/run.json").unlink()  # with it the run is complete, and nothing is done again
            self.ok(*first, "--resume")
            assert files() == before
            again = json.loads(self.read("rep/run.json"))
            for key in ("accuracy", "forward_passes", "peak_bytes", "trained_weights", "classes"):
                assert whole[key] == again[key], key
            assert again["host_bytes_per_step"] is None and again["batch_bytes_per_step"] is None
            for key in ("passes", "mmac", "host_bytes_per_step"):
                assert again["methods"]["readout"][key] is None and whole["methods"]["readout"][key] > 0, key
            shutil.copy(self.dir / "other.lmc", self.dir / "c.lmc")
            self.fails(JOURNAL, ["another run: the checkpoint has another content"], *first, "--resume")
            shutil.copy(self.dir / "tiny.lmc", self.dir / "c.lmc")
            for part in ("t10k", "train"):
                for file in (self.dir / "img2").glob(f"{part}-labels*"):
                    shutil.copy(file, self.dir / "img3" / file.name)
                self.fails(JOURNAL, ["another run|other data"], *first, "--resume")
                for file in (self.dir / "img").glob(f"{part}-labels*"):
                    shutil.copy(file, self.dir / "img3" / file.name)
            shutil.copy(self.dir / "n.lmq", self.dir / "out/quantized.lmq")
            self.fails(JOURNAL, [r"quantized\.lmq: it is not what this run wrote"], *first, "--resume")
        self.case("a run goes on with what it began with, and says what it does not know", resumed)

        def owned():
            child = self.p.start(*[3000000 if a == 40 else a for a in RUN], *out, cwd=self.dir)
            try:
                deadline = time.monotonic() + TIMEOUT
                while not (self.dir / "out/journal.lmj").exists() and time.monotonic() < deadline:
                    assert child.poll() is None
                    time.sleep(0.01)
                for command in ([*ADAPT, "--journal", "out/mine.lmj"], [*REPLAY, "--output", "out/quantized.lmq"]):
                    r = self.p.run(*command, cwd=self.dir)
                    assert r.returncode == JOURNAL, f"{r.returncode}: {error_line(r)}"
                    matches(error_line(r), [f"out: in use by process {child.pid} "])
            finally:
                child.send_signal(signal.SIGTERM)
                child.wait(TIMEOUT)
        self.case("nothing else is written where a run works", owned)

    # ---- names

    def names(self):
        def stdout():
            self.ok(*REPLAY, "--output", "out.lmq")
            expected = self.read("out.lmq")
            for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
                r = subprocess.run(self.p.command([*REPLAY, "--output", name]), cwd=self.dir, capture_output=True)
                assert r.returncode == 0 and r.stdout.startswith(expected), (name, r.returncode, len(r.stdout))
                assert expected not in r.stderr, name
                with open(self.dir / "piped", "wb") as to:
                    subprocess.run(self.p.command([*REPLAY, "--output", name]), cwd=self.dir, stdout=to, check=True,
                                   stderr=subprocess.DEVNULL)
                assert self.read("piped").startswith(expected), name
        self.case("names of stdout are stdout", stdout)

        def empty():
            for command, option in ((ADAPT, "--journal"), (REPLAY, "--output"),
                                    (["pretrain", *DATA, "--epochs", 1], "--output"),
                                    (["quantize", *DATA, "--checkpoint", "tiny.lmc"], "--output"),
                                    (["audit", *DATA, "--base", "q.lmq", "ref.lmj"], "--digest"),
                                    (["audit", *DATA, "--base", "q.lmq", "ref.lmj"], "--result"),
                                    (["eval", *DATA], "--input")):
                self.fails(USAGE, [option], *command, option, "")
        self.case("an empty name is an error", empty)

        def digests():
            self.ok(*ADAPT, "--audit-every", 5, "--journal", "a.lmj")
            audit = ["audit", *DATA, "--base", "q.lmq", "a.lmj"]
            digest = self.p.json("info", "a.lmj", cwd=self.dir)["digest"]
            self.ok(*audit, "--digest", digest.upper())
            for wrong in (digest[:-1], digest + "0", "xyz", digest[:-1] + "g", digest + " "):
                self.fails(USAGE, ["64 hexadecimal digits"], *audit, "--digest", wrong)
        self.case("a digest is one", digests)

        def fifos():
            os.mkfifo(self.dir / "fifo")
            self.fails(INPUT, ["is a FIFO that nobody reads"], "pretrain", *DATA, "--epochs", 100000, "--output",
                       "fifo")
            self.ok(*REPLAY, "--output", "out.lmq")
            with subprocess.Popen(["cat", "fifo"], cwd=self.dir, stdout=subprocess.PIPE) as reader:
                self.ok(*REPLAY, "--output", "fifo")
                assert reader.communicate(timeout=TIMEOUT)[0] == self.read("out.lmq")
            (self.dir / "out").mkdir()
            os.mkfifo(self.dir / "out/journal.lmj")
            for how in ([], ["--overwrite"], ["--resume"]):
                r = self.p.run(*RUN, "--out", "out", "--reports", "rep", *how, cwd=self.dir)
                assert r.returncode == INPUT, f"{how}: {r.returncode}: {error_line(r)}"
                matches(error_line(r), [r"journal\.lmj: is a device, a pipe"])
        self.case("a FIFO without a reader is known before the work", fifos)

    # ---- files of others

    def owned(self):
        def journals():
            shutil.copy(self.dir / "ref.lmj", self.dir / "old.lmj")
            for command in (["quantize", *DATA, "--checkpoint", "tiny.lmc", "--output"], [*REPLAY, "--output"],
                            ["pretrain", *DATA, "--epochs", 1, "--output"],
                            ["infer", "--network", "q.lmq", "--random", 2, "--output"]):
                self.fails(JOURNAL, [r"old\.lmj: it is a journal"], *command, "old.lmj")
        self.case("a journal is replaced by no output", journals)

        def in_use():
            owner = ["adapt", *TRAIN, "--steps", 10 ** 6, "--journal", "w.lmj", "--output", "w.lmq"]
            with self.running(*owner, until="w.lmj") as child:
                os.link(self.dir / "w.lmj", self.dir / "x.lmj")
                for taken in ("w.lmj", "w.lmq", "x.lmj"):
                    r = self.p.run("quantize", *DATA, "--checkpoint", "tiny.lmc", "--output", taken, cwd=self.dir)
                    assert r.returncode == JOURNAL, f"{taken}: {r.returncode}: {error_line(r)}"
                    matches(error_line(r), ["in use by process|it is a journal"])
                assert child.poll() is None
                (self.dir / "w.lmj").unlink()
                (self.dir / "x.lmj").unlink()
                assert child.wait(TIMEOUT) == JOURNAL
                matches(child.stderr.read(), ["removed or replaced while records were appended"])
        self.case("what a process writes is nobody else's output, and it notices when its journal goes", in_use)

        def locks():
            self.fails(USAGE, ["are one file"], *ADAPT, "--journal", "w.lmj", "--output", "w.lmj.lock")
            self.fails(USAGE, ["are one file"], "profile", "--networks", "tiny.toml", "--reports", "rep", "--trace",
                       "rep/profile.json.lock")
            self.fails(USAGE, ["are one file"], "profile", "--networks", "tiny.toml", "--reports", "rep", "--trace",
                       "rep/profile.html.part")
            name = "n" * 249 + ".lmq"  # .lock and .part make it too long
            self.ok(*REPLAY, "--output", name)
            assert sorted(p.name for p in self.dir.glob("lastmile-*")) == []
        self.case("an output is no lock and no new content of another", locks)

        def data():
            (self.dir / "real").mkdir()
            shutil.copytree(self.dir / "img", self.dir / "linked")
            for file in list((self.dir / "linked").iterdir()):
                file.rename(self.dir / "real" / f"{file.name}.bin")
                file.symlink_to(f"../real/{file.name}.bin")
            linked = ["linked" if a == "img" else a for a in DATA]
            for target in sorted((self.dir / "real").iterdir()):
                self.fails(USAGE, ["it is part of --data linked"], "quantize", *linked, "--checkpoint", "tiny.lmc",
                           "--output", target)
            write_audio_folder(self.dir / "au")
            (self.dir / "au/s").mkdir()
            for place in ("au/train.wav", "au/s/train.WAV", "au/s/train.snd"):
                if place != "au/train.wav":
                    (self.dir / "au/train.wav").rename(self.dir / place)
                text = (self.dir / "au/index.csv").read_text()
                (self.dir / "au/index.csv").write_text(text.replace("\ntrain.wav", "\n" + place[3:]))
                self.fails(USAGE, ["it is part of --data au"], "pretrain", "--network", "tiny.toml", "--data", "au",
                           "--output", place)
                (self.dir / "au/index.csv").write_text(text)
                if place != "au/train.wav":
                    (self.dir / place).rename(self.dir / "au/train.wav")
        self.case("files of a data set are no outputs, whatever their names", data)

        def integers():
            (self.dir / "t.tflite").write_bytes(b"none")
            (self.dir / "m.lmq").write_bytes(self.read("q.lmq"))
            shared = pathlib.Path(os.environ.get("SHARED", "../shared")).resolve()
            models = sorted(shared.glob("models/*float32.tflite"))
            if not models:
                print("SKIPPED: import beside integers: no float model (../shared/models)")
                return
            self.fails(INPUT, [r"m\.lmq: integers of another model"], "import", models[0], "--output", "m")
        self.case("a float model is not written beside another one's integers", integers)

    # ---- what is asked for

    def asked(self):
        def arrays():
            def npy(name, shape, values):
                head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
                (self.dir / name).write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head +
                                              struct.pack(f"<{len(values)}f", *values))
            infer = ["infer", "--network", "q.lmq", "--input"]
            for shape in ((2, 12, 12, 1), (2, 12, 12), (2, 144), (12, 12, 1)):
                npy("x.npy", shape, [0.5] * math.prod(shape))
                self.ok(*infer, "x.npy")
            for shape in ((5, 12, 24, 1), (2, 12, 1, 12), (288,)):
                npy("x.npy", shape, [0.5] * math.prod(shape))
                said = f"the array's shape is {' x '.join(map(str, shape))}, expected examples of 12 x 12 x 1"
                self.fails(INPUT, [said], *infer, "x.npy")
            npy("x.npy", (1, 144), [0.5] * 143 + [math.inf])
            self.fails(INPUT, ["value 143 is inf"], *infer, "x.npy")
        self.case("arrays of another shape, or without an end", arrays)

        def documents():
            emitted = json.loads(self.p.ok("vectors", "--emit", "vec", "--json", cwd=self.dir))["files"]
            assert emitted and all((self.dir / f).is_file() for f in emitted), emitted
            peer = self.p.ok("validate", "--network", "tiny.toml", "--peer", "peer", "--json", cwd=self.dir)
            assert all((self.dir / f).is_file() for f in json.loads(peer)["files"]), peer
            self.fails(USAGE, ["--listing is for people"], "info", "q.lmq", "--listing", "--json")
        self.case("--json is a document, or is refused", documents)

    def all(self):
        self.prepare()
        for group in (self.beside, self.bases, self.runs, self.names, self.owned, self.asked):
            group()
        self.checks.finish()


if __name__ == "__main__":
    Files.main(__doc__)
