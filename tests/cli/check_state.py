#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Nothing lost, nothing silently wrong: who owns a journal or a folder, what outputs may replace, standard streams,
damaged tails, signals, numbers, names.

usage: check_state.py PROGRAM      ends with `N passed, N failed`

LASTMILE_SEED repeats a run.
"""
import gzip
import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import zlib

from harness import (DEVICE, INPUT, JOURNAL, TIMEOUT, TINY, USAGE, Suite, error_line, idx_bytes, matches, state,
                     write_audio_folder, write_idx_folder)

DATA = ["--network", "tiny.toml", "--data", "img", "--adapt-examples", 32, "--threads", 1]
TRAIN = [*DATA, "--input", "q.lmq", "--batch", 8, "--pairs", 1, "--estimator", "sign", "--evaluations", 0]
STEPS = 900
ADAPT = ["adapt", *TRAIN, "--steps", STEPS, "--hold-out", 0]
LONG = ["adapt", *TRAIN, "--steps", 4000000]
RUN = ["run", *DATA, "--epochs", 2, "--steps", 400, "--batch", 8, "--readout-steps", 60, "--evaluations", 2,
       "--backprop-epochs", 1, "--no-float", "--out", "out", "--reports", "rep"]


def opens(path):
    """An FST file that was closed: its blocks fill it, the geometry and the hierarchy among them."""
    content, at, kinds = path.read_bytes(), 0, set()
    while at < len(content):
        kinds.add(content[at])
        at += 1 + int.from_bytes(content[at + 1:at + 9], "big")
    assert at == len(content) and 0 in kinds and 3 in kinds and kinds & {4, 6, 7}, (at, len(content), kinds)


class States(Suite):
    def __init__(self, program, folder):
        super().__init__(program, folder)
        seed = int(os.environ.get("LASTMILE_SEED") or random.SystemRandom().randrange(2 ** 32))
        print(f"LASTMILE_SEED={seed}")
        self.random = random.Random(seed)

    # ---- helpers

    def ok(self, *args, **kw):
        r = self.p.run(*args, cwd=self.dir, **kw)
        assert r.returncode == 0, f"exit code {r.returncode}: {error_line(r)!r}"
        return r

    def end(self, child):
        """An orderly end of a process of above."""
        child.send_signal(signal.SIGTERM)
        said = child.communicate()[1]
        assert child.returncode == 128 + signal.SIGTERM, f"it ended with {child.returncode}: {said}"
        return said

    # ---- groups

    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        write_idx_folder(self.dir / "img")
        self.p.ok("pretrain", *DATA, "--epochs", 1, "--output", "tiny.lmc", "--quiet", cwd=self.dir)
        self.p.ok("quantize", *DATA, "--checkpoint", "tiny.lmc", "--output", "q.lmq", cwd=self.dir)
        self.hash = self.p.json(*ADAPT, "--journal", "ref.lmj", "--output", "ref.lmq", cwd=self.dir)["weights_hash"]
        self.journal = self.read("ref.lmj")
        self.head = 16 + int.from_bytes(self.journal[8:12], "little")
        self.record = 29
        assert len(self.journal) == self.head + STEPS * self.record

    def ownership(self):
        def existing():
            shutil.copy(self.dir / "ref.lmj", self.dir / "j.lmj")
            self.fails(JOURNAL, [r"j\.lmj: it exists", "--resume", "--overwrite"], *ADAPT, "--journal", "j.lmj")
            self.fails(JOURNAL, [r"j\.lmj: it exists"], *ADAPT, "--method", "readout", "--journal", "j.lmj")
            self.fails(USAGE, ["--resume and --overwrite"], *ADAPT, "--journal", "j.lmj", "--resume", "--overwrite")
            (self.dir / "j.lmj").write_bytes(self.journal[:-1])
            self.ok(*ADAPT, "--journal", "j.lmj", "--resume")
            assert self.read("j.lmj") == self.journal
            (self.dir / "j.lmj").write_bytes(b"something else")
            self.ok(*ADAPT, "--journal", "j.lmj", "--overwrite")
            assert self.read("j.lmj") == self.journal
        self.case("a journal is not replaced without being told to", existing)

        def two_writers():
            with self.running(*LONG, "--journal", "two.lmj", until="two.lmj") as first:
                (self.dir / "link.lmj").symlink_to("two.lmj")
                os.link(self.dir / "two.lmj", self.dir / "hard.lmj")
                (self.dir / "part").mkdir()
                for name in ("two.lmj", "link.lmj", "hard.lmj", "part/../two.lmj", str(self.dir / "two.lmj")):
                    for how in ("--resume", "--overwrite"):
                        r = self.p.run(*LONG, "--journal", name, how, cwd=self.dir)
                        assert r.returncode == JOURNAL, f"{name} {how}: {r.returncode}: {error_line(r)}"
                        says = ["in use by"] if name == "hard.lmj" else [rf"in use by process {first.pid} on "]
                        matches(error_line(r), says)
                self.end(first)
            found = self.p.json("info", "two.lmj", cwd=self.dir)
            assert found["damage"] is None and not found["torn"] and found["steps"] > 0, found
            assert not (self.dir / "two.lmj.lock").exists()
        self.case("two writers: the second is refused and told who the first is", two_writers)

        def left_by_a_kill():
            with self.running(*LONG, "--journal", "k.lmj", until="k.lmj") as first:
                first.kill()
                first.wait()
            assert (self.dir / "k.lmj.lock").exists(), "the kill came too late to test anything"
            self.ok(*ADAPT, "--journal", "k.lmj", "--overwrite")
            assert not (self.dir / "k.lmj.lock").exists() and self.read("k.lmj") == self.journal
        self.case("the lock of a killed process binds nobody", left_by_a_kill)

        def start_together():
            children = [self.p.start(*ADAPT, "--journal", "t.lmj", cwd=self.dir) for _ in range(4)]
            codes = sorted(c.wait() for c in children)
            assert codes[0] == 0 and set(codes[1:]) == {JOURNAL}, codes
            assert self.read("t.lmj") == self.journal
        self.case("of four that start at once one works", start_together)

        def folders():
            slow = [*RUN[:-4], "--epochs", 100000, "--out", "busy", "--reports", "busy-rep"]
            slow = [a for i, a in enumerate(slow) if not (slow[i - 1] == "--epochs" and a == 2)
                    and not (a == "--epochs" and slow[i + 1] == 2)]
            with self.running(*slow, until="busy/run-state.json") as first:
                for how in ([], ["--resume"], ["--overwrite"]):
                    r = self.p.run(*slow, *how, cwd=self.dir)
                    assert r.returncode == JOURNAL, f"{how}: {r.returncode}: {error_line(r)}"
                    if how:
                        matches(error_line(r), [rf"busy: in use by process {first.pid} on "])
                said = self.end(first)
                matches(said, ["signal 15", "to go on: .* --resume"])
            assert not (self.dir / "busy/.lastmile.lock").exists()
        self.case("two runs in one folder: the second is refused", folders)

    def waveforms(self):
        small = ["--hardware", "rows=4,cols=4,bus_bytes=8,act_bytes=4096,acc_depth=64,rq_lanes=4", "--backend", "rtl",
                 "--backend-options"]
        eval_ = ["eval", *DATA, "--input", "q.lmq", *small]
        adapt = ["adapt", *TRAIN, "--test-examples", 2, "--journal", "w.lmj", "--overwrite", "--steps"]
        if self.p.run(*eval_, "trace=w.fst,trace_cycles=50", cwd=self.dir).returncode == DEVICE:
            print("SKIPPED: waveforms of the RTL: `make rtl ROWS=4 COLS=4 BUS_BYTES=8 ACT_BYTES=4096 ACC_DEPTH=64 "
                  "RQ_LANES=4 CHECKED=1` builds the backend")
            return
        (self.dir / "w.fst").unlink()

        def whole(*command):
            self.ok(*command, "trace=w.fst,trace_from=10,trace_cycles=50")
            opens(self.dir / "w.fst")
            (self.dir / "w.fst").unlink()
            self.fails(USAGE, [r"w\.fst: no waveform: .* beyond the [0-9]+ cycles of a step"], *command,
                       "trace=w.fst,trace_from=900000000,trace_cycles=50", stdout=None)

        def stopped(number):
            with self.running(*adapt, 1000000, *small, "trace=w.fst", until="w.lmj") as child:
                time.sleep(0.5)
                child.send_signal(number)
                assert child.wait(TIMEOUT) == 128 + number, child.returncode
            opens(self.dir / "w.fst")

        for name, command in (("eval", [*eval_]), ("adapt", [*adapt, 2, *small])):
            self.case(f"{name}: a waveform of some cycles; one beyond the end is an error and leaves no file", whole,
                      *command)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.case(f"a waveform opens after {number.name}", stopped, number)

    def runs(self):
        def whole():
            begin = time.monotonic()
            self.ok(*RUN)
            self.seconds = time.monotonic() - begin
            self.files = {f: self.read(f"out/{f}") for f in
                          ("float.lmc", "quantized.lmq", "journal.lmj", "adapted.lmq", "readout.lmj", "readout.lmq")}
            self.accuracy = json.loads(self.read("rep/run.json"))["accuracy"]
            self.fails(JOURNAL, ["out: it holds an earlier run", "--resume", "--overwrite"], *RUN)
            other = [a if a != 400 else 300 for a in RUN]
            self.fails(JOURNAL, ["another run: --steps is", "400", "expected", "300"], *other, "--resume")
            report = self.read("rep/run.json")
            matches(self.ok(*RUN, "--resume").stderr, ["this run is complete: its report stays"])
            assert self.read("rep/run.json") == report
            (self.dir / "out/journal.lmj").write_bytes(self.files["journal.lmj"][:-40])
            (self.dir / "out/adapted.lmq").unlink()
            self.ok(*RUN, "--resume", "--quiet")
            self.same("after a resume of a whole run")
            for name in ("gone", "mine"):
                (self.dir / f"out/journal-{name}.lmj").write_bytes(b"of an earlier run, or not")
            kept = json.loads(self.read("out/run-state.json"))
            kept["domains"].append("-gone")
            (self.dir / "out/run-state.json").write_text(json.dumps(kept))
            self.ok(*other, "--overwrite")
            assert self.read("out/journal.lmj") != self.files["journal.lmj"]
            assert not (self.dir / "out/journal-gone.lmj").exists()
            assert (self.dir / "out/journal-mine.lmj").exists(), "a file that no run made is gone"
        self.case("run: resumed, refused, replaced", whole)

        def stopped(number):
            kinds, stops = set(), 0
            for _ in range(40):
                if stops == 3:
                    break
                shutil.rmtree(self.dir / "out", ignore_errors=True)
                child = self.p.start(*RUN, cwd=self.dir, stderr=subprocess.PIPE)
                time.sleep(self.random.uniform(0, self.seconds))
                child.send_signal(number)
                said = child.communicate()[1]
                if child.returncode == 0:
                    kinds.add("too late")
                    self.same("undisturbed")
                    continue
                if child.returncode == -number:
                    kinds.add("before main")
                    continue
                assert child.returncode == 128 + number, f"{child.returncode}: {said}"
                lines = [x for x in said.splitlines() if x.startswith("lastmile: ")]
                assert len(lines) == 1 and ": to go on: " in lines[0].replace("; to go on: ", ": to go on: "), said
                kinds.add("stopped")
                stops += 1
                again = lines[0].split("to go on: ", 1)[1]
                r = subprocess.run(["sh", "-c", again], cwd=self.dir, capture_output=True, text=True)
                assert r.returncode == 0, f"{again}: {r.returncode}: {r.stderr}"
                self.same(f"after {lines[0]!r}")
                assert not list(self.dir.glob("out/*.part")) and not list(self.dir.glob("out/.last*"))
            assert "stopped" in kinds, kinds
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.case(f"run: {number.name}, then the line that it printed", stopped, number)

    def same(self, when):
        for name, content in self.files.items():
            assert self.read(f"out/{name}") == content, f"{when}: {name} differs"
        found = json.loads(self.read("rep/run.json"))["accuracy"]
        assert found == self.accuracy, f"{when}: accuracy {found}, expected {self.accuracy}"

    def signals(self):
        def ends(number, args, until, wait, resumes):
            with self.running(*args, until=until) as child:
                time.sleep(wait)
                child.send_signal(number)
                said = child.communicate()[1]
            assert child.returncode == 128 + number, f"{child.returncode}: {said}"
            line = said.splitlines()[-1]
            matches(line, [rf"^lastmile: signal {int(number)}", "to go on: " if resumes else "to start again: "])
            words = shlex.split(line.split(": ", 2)[2])
            assert words[0] == str(self.p.path) or words[0] in self.p.prefix, words
            assert ("--resume" in words) == resumes and not (resumes and "--overwrite" in words), words
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self.case(f"adapt: {number.name}", ends, number, [*LONG, "--journal", "s.lmj", "--overwrite"], "s.lmj",
                      0.05, True)
        self.case("adapt with readouts: SIGTERM", ends, signal.SIGTERM,
                  ["adapt", *TRAIN, "--method", "readout", "--readout-steps", 4000000, "--journal", "s.lmj"], "s.lmj",
                  0.05, True)
        self.case("pretrain: SIGTERM", ends, signal.SIGTERM,
                  ["pretrain", *DATA, "--epochs", 100000, "--output", "s.lmc"], "img", 0.3, False)

    def streams(self):
        def closed(which):
            def close():
                for fd in which:
                    os.close(fd)
            subprocess.run(self.p.command([*ADAPT, "--journal", "c.lmj", "--output", "c.lmq"]), cwd=self.dir,
                           preexec_fn=close, timeout=TIMEOUT)
            assert self.read("c.lmj") == self.journal and self.read("c.lmq") == self.read("ref.lmq")
            (self.dir / "c.lmj").write_bytes(self.journal[:-100])
            r = subprocess.run(self.p.command([*ADAPT, "--journal", "c.lmj", "--resume"]), cwd=self.dir,
                               preexec_fn=close, timeout=TIMEOUT)
            assert self.read("c.lmj") == self.journal
            assert r.returncode == (1 if 1 in which else 0), r.returncode
            r = subprocess.run(self.p.command(["info", "nowhere.lmj"]), cwd=self.dir, preexec_fn=close,
                               timeout=TIMEOUT)
            assert r.returncode == INPUT, r.returncode
        for which in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]):
            self.case(f"closed: {which}", closed, which)

        def full():
            for args, code in ((["info", "nowhere.lmj"], INPUT), (["adapt"], USAGE), (["info", "ref.lmj"], 0),
                               ([*ADAPT, "--journal", "f.lmj"], 0)):
                with open("/dev/full", "w") as stream:
                    r = subprocess.run(self.p.command(args), cwd=self.dir, stderr=stream, stdout=subprocess.PIPE,
                                       timeout=TIMEOUT)
                assert r.returncode == code, f"{args}: {r.returncode}, expected {code}"
                with open("/dev/full", "w") as stream:
                    both = subprocess.run(self.p.command([a if a != "f.lmj" else "g.lmj" for a in args]), cwd=self.dir,
                                          stderr=stream, stdout=stream, timeout=TIMEOUT)
                assert both.returncode == (code or 1), f"{args}: {both.returncode}"
            assert self.read("f.lmj") == self.journal and self.read("g.lmj") == self.journal
            (self.dir / "bad.json").write_text("{}")
            with open("/dev/full", "w") as stream:
                r = subprocess.run(self.p.command(["vectors", "bad.json"]), cwd=self.dir, stdout=stream)
            assert r.returncode == INPUT, f"vectors with a full stdout: {r.returncode}"
        self.case("stderr and stdout on a full disk", full)

        def reader_gone():
            read, write = os.pipe()
            os.close(read)
            r = subprocess.run(self.p.command([*ADAPT, "--journal", "p.lmj", "--output", "p.lmq"]), cwd=self.dir,
                               stdout=write, stderr=write, restore_signals=True)
            os.close(write)
            assert r.returncode == 1, r.returncode
            assert self.read("p.lmj") == self.journal and self.read("p.lmq") == self.read("ref.lmq")
        self.case("the reader of a pipe goes away", reader_gone)

    def outputs(self):
        def same_file():
            (self.dir / "copy.lmq").write_bytes(self.read("q.lmq"))
            (self.dir / "sym.lmq").symlink_to("copy.lmq")
            os.link(self.dir / "copy.lmq", self.dir / "hard.lmq")
            base = [a if a != "q.lmq" else "copy.lmq" for a in ADAPT]
            for name in ("copy.lmq", "sym.lmq", "hard.lmq", "./img/../copy.lmq"):
                one = ["are one file"]
                self.fails(USAGE, one, *base, "--journal", "x.lmj", "--output", name)
                self.fails(USAGE, [*one, "--journal"], *base, "--overwrite", "--journal", name)
                self.fails(USAGE, one, "replay", "--base", "copy.lmq", "--journal", "ref.lmj", "--output", name)
            self.fails(USAGE, ["are one file"], *ADAPT, "--journal", "x.lmq", "--output", "x.lmq")
            self.fails(USAGE, ["are one file"], "replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output",
                       "ref.lmj")
            self.fails(USAGE, ["are one file"], "quantize", *DATA, "--checkpoint", "tiny.lmc", "--output", "tiny.lmc")
            self.fails(USAGE, ["are one file"], "pretrain", *DATA, "--epochs", 1, "--output", "tiny.toml")
            self.fails(USAGE, ["part of --data"], "pretrain", *DATA, "--epochs", 1, "--output",
                       "img/train-images-idx3-ubyte")
            self.fails(USAGE, ["are one file"], "infer", "--network", "copy.lmq", "--random", 1, "--output", "sym.lmq")
            with open(self.dir / "out.txt", "w") as out:
                r = subprocess.run(self.p.command(["replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output",
                                                   "out.txt"]), cwd=self.dir, stdout=out, stderr=subprocess.PIPE)
            assert r.returncode == USAGE, r.stderr
        self.case("an output is no input, whatever its name", same_file)

        def special():
            os.mkfifo(self.dir / "fifo")
            server = socket.socket(socket.AF_UNIX)
            server.bind(str(self.dir / "sock"))
            for name in ("fifo", "sock", "/dev/null"):
                for how in ([], ["--resume"], ["--overwrite"]):
                    self.special_fails([INPUT], *ADAPT, "--journal", name, *how)
                self.special_fails([INPUT, JOURNAL], "replay", "--base", "q.lmq", "--journal", name)
                self.special_fails([INPUT], "replay", "--base", name, "--journal", "ref.lmj")
                self.special_fails([INPUT, USAGE], "info", name)
                self.special_fails([INPUT], "quantize", *DATA, "--checkpoint", name, "--output", "x.lmq")
            self.special_fails([INPUT], "replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", "sock")
            self.special_fails([INPUT], "replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", "fifo")
            server.close()
            self.ok("replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", "/dev/null")
            reader = subprocess.Popen(["cat", "fifo"], cwd=self.dir, stdout=subprocess.PIPE)
            time.sleep(0.2)
            self.ok("replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", "fifo")
            assert reader.communicate(timeout=TIMEOUT)[0] == self.read("ref.lmq")
            assert (self.dir / "fifo").is_fifo() and os.path.exists("/dev/null") and not os.path.isfile("/dev/null")
        self.case("devices, pipes and sockets are written to or refused, never replaced, and nothing hangs", special)

        def links():
            (self.dir / "far").mkdir()
            (self.dir / "dangling.lmq").symlink_to("far/new.lmq")
            self.ok("replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", "dangling.lmq")
            assert (self.dir / "dangling.lmq").is_symlink() and self.read("far/new.lmq") == self.read("ref.lmq")
            (self.dir / "nowhere.lmq").symlink_to("missing/new.lmq")
            (self.dir / "loop.lmq").symlink_to("loop.lmq")
            for name in ("nowhere.lmq", "loop.lmq"):
                self.fails(INPUT, [name], "replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", name)
                self.fails(INPUT, [name], *ADAPT, "--journal", name)
                assert (self.dir / name).is_symlink()
            (self.dir / "j.lmj").symlink_to("far/j.lmj")
            self.ok(*ADAPT, "--journal", "j.lmj")
            assert (self.dir / "j.lmj").is_symlink() and self.read("far/j.lmj") == self.journal
        self.case("links are followed, also those to nothing yet", links)

        def early():
            """Found before the work: it would take far longer than the time limit here."""
            begin = time.monotonic()
            slow = ["--epochs", 100000]
            for code, args in (
                    (INPUT, ["run", *DATA, *slow, "--out", "tiny.toml/out", "--reports", "rep"]),
                    (INPUT, ["run", *DATA, *slow, "--out", "o", "--reports", "tiny.toml/rep"]),
                    (INPUT, ["run", *DATA, *slow, "--out", "/proc/nowhere", "--reports", "rep"]),
                    (INPUT, ["pretrain", *DATA, *slow, "--output", "nowhere/x.lmc"]),
                    (INPUT, ["pretrain", *DATA, *slow, "--output", "/proc/x.lmc"]),
                    (INPUT, ["pretrain", *DATA, *slow, "--output", "n" * 300]),
                    (INPUT, [*LONG, "--journal", "x.lmj", "--output", "/proc/x.lmq"]),
                    (INPUT, ["validate", *DATA, *slow, "--reports", "tiny.toml/rep"]),
                    (INPUT, ["profile", "--networks", "small-cnn", "--reports", "tiny.toml/rep"]),
                    (INPUT, ["profile", "--networks", "small-cnn", "--reports", "rep", "--against", "nowhere.json"]),
                    (INPUT, ["vectors", "--emit", "tiny.toml/rep"]),
                    (USAGE, ["run", *DATA, *slow, "--out", "o", "--reports", "rep", "--speaker", 0]),
                    (USAGE, ["run", *DATA, *slow, "--out", "o", "--reports", "rep", "--layers", "nobody"])):
                self.fails(code, ["."], *args)
            assert time.monotonic() - begin < 120
        self.case("what cannot be written is known before the work", early)

    def special_fails(self, codes, *args):
        r = self.p.run(*args, cwd=self.dir)
        assert r.returncode in codes, f"{args}: exit code {r.returncode}: {error_line(r)}"

    def tails(self):
        good, record, head = self.journal, self.record, self.head

        def resumed(content, steps, *flags, warned=True):
            (self.dir / "t.lmj").write_bytes(content)
            found = self.p.json("info", "t.lmj", *flags, cwd=self.dir)
            assert found["steps"] == steps and (found["damage"] is not None) == warned, found
            r = self.ok("replay", "--base", "q.lmq", "--journal", "t.lmj", *flags)
            assert ("warning: t.lmj: record" in r.stderr) == warned, r.stderr
            part = self.ok("replay", "--base", "q.lmq", "--journal", "ref.lmj", "--steps", steps)
            assert r.stdout == part.stdout, "a replay of what is left is not that of so many steps"
            r = self.ok(*ADAPT, "--journal", "t.lmj", "--resume", "--quiet", *flags)
            assert ("warning: t.lmj: record" in r.stderr) == warned, r.stderr
            assert self.read("t.lmj") == good, "the journal does not end as the undisturbed one"

        def zeros(n, keep=0):
            end = len(good) - keep
            return good[:end - n] + bytes(n) + good[end:]

        self.case("a tail of zeros", resumed, zeros(100 * record), STEPS - 100)
        self.case("a tail of zeros, longest", resumed, zeros(256 * record), STEPS - 256)
        self.case("a tail of zeros that begins inside a record", resumed, zeros(100 * record + 7), STEPS - 101)
        self.case("zeros behind the last record", resumed, good[:-3 * record] + bytes(7 * record + 3), STEPS - 3)
        noise = bytes(self.random.randrange(256) for _ in range(50 * record))
        self.case("a tail of noise", resumed, good[:-len(noise)] + noise, STEPS - 50)
        self.case("a lost block with whole records behind it", resumed, zeros(1024, 20 * record),
                  STEPS - 20 - -(-1024 // record))

        def flipped(at):
            return good[:at] + bytes([good[at] ^ 16]) + good[at + 1:]

        def refused():
            for content, first in ((zeros(257 * record), STEPS - 257), (flipped(len(good) - 3 * record - 2), STEPS - 4),
                                   (flipped(head + 5), 0)):
                (self.dir / "t.lmj").write_bytes(content)
                for args in (["replay", "--base", "q.lmq", "--journal", "t.lmj"], ["info", "t.lmj"],
                             [*ADAPT, "--journal", "t.lmj", "--resume"]):
                    self.fails(JOURNAL, [rf"t\.lmj: record {first} ", "--salvage"], *args)
                resumed(content, first, "--salvage")
        self.case("more damage than a power cut makes is refused, and salvaged", refused)

        def some_steps():
            (self.dir / "t.lmj").write_bytes(good[:head + 10 * record + 3] + b"?" + good[head + 10 * record + 4:])
            for n in (0, 1, 10):
                a = self.ok("replay", "--base", "q.lmq", "--journal", "t.lmj", "--steps", n)
                b = self.ok("replay", "--base", "q.lmq", "--journal", "ref.lmj", "--steps", n)
                assert a.stdout == b.stdout and "warning" not in a.stderr, a.stderr
            self.fails(JOURNAL, ["record 10 "], "replay", "--base", "q.lmq", "--journal", "t.lmj", "--steps", 11)
        self.case("a replay of N steps needs N records only", some_steps)

    def readouts(self):
        """The same rules for the journals of readouts, alone and with inner layers, after channel statistics."""
        both = [*DATA, "--input", "bn.lmq", "--batch", 8, "--evaluations", 0, "--method", "both", "--readout-steps", 60,
                "--inner-steps", 30, "--layers", "all", "--statistics", "on"]

        def adapt(name, *more):
            return ["adapt", *[a if a != "tiny.toml" else "bn.toml" for a in both], "--journal", name, *more]

        def networks():
            (self.dir / "bn.toml").write_text(TINY.replace("kernel = 3", "kernel = 3\nbatch_norm = true", 1))
            args = [a if a != "tiny.toml" else "bn.toml" for a in DATA]
            self.ok("pretrain", *args, "--epochs", 1, "--output", "bn.lmc", "--quiet")
            self.ok("quantize", *args, "--checkpoint", "bn.lmc", "--output", "bn.lmq")

        def whole():
            networks()
            self.ok(*adapt("r.lmj"))
            good = self.read("r.lmj")
            self.fails(JOURNAL, [r"r\.lmj: it exists"], *adapt("r.lmj"))
            base = ["replay", "--base", "r.base.lmq", "--journal"]
            result = self.ok(*base, "r.lmj").stdout
            size = int.from_bytes(good[8:12], "little")
            for content, warns in ((good[:-1], False), (good[:-2] + b"??", True), (good[:-5] + bytes(5), True),
                                   (good + bytes(300), True)):
                (self.dir / "t.lmj").write_bytes(content)
                r = self.ok(*adapt("t.lmj", "--resume", "--quiet"))
                assert ("warning: t.lmj: record" in r.stderr) == warns, r.stderr
                assert self.read("t.lmj") == good, "it does not end as the undisturbed one"
                assert self.ok(*base, "t.lmj").stdout == result
            flipped = bytearray(good)
            flipped[len(good) // 2] ^= 1
            (self.dir / "t.lmj").write_bytes(flipped)
            self.fails(JOURNAL, [r"t\.lmj: record"], *adapt("t.lmj", "--resume"))
            self.ok(*adapt("t.lmj", "--resume", "--salvage", "--quiet"))
            assert self.read("t.lmj") == good
            # The rule of seeds stays that of the journal: one that does not say is of the earlier rule.
            header = json.loads(good[12:12 + size])
            assert header.pop("seed_rule") == "hashed"
            text = json.dumps(header, separators=(",", ":")).encode()
            old = good[:8] + len(text).to_bytes(4, "little") + text
            (self.dir / "old.lmj").write_bytes(old + zlib.crc32(old).to_bytes(4, "little"))
            self.ok(*adapt("old.lmj", "--resume", "--quiet"))
            assert b"seed_rule" not in self.read("old.lmj")
            ends = [self.ok(*base, name, "--steps", 90).stdout for name in ("old.lmj", "r.lmj")]
            assert ends[0] != ends[1], "both rules give the same weights"

        def owned():
            networks()
            with self.running(*[a if a != 30 else 4000000 for a in adapt("o.lmj")], until="o.lmj") as first:
                for how in ("--resume", "--overwrite"):
                    r = self.p.run(*adapt("o.lmj", how), cwd=self.dir)
                    assert r.returncode == JOURNAL, f"{how}: {r.returncode}: {error_line(r)}"
                    matches(error_line(r), [rf"in use by process {first.pid} on "])
                self.end(first)
        self.case("readouts and inner layers: damaged tails, salvage, the rule of seeds", whole)
        self.case("readouts and inner layers: two writers", owned)

    def numbers(self):
        big = str(2 ** 64)
        args = [*ADAPT, "--journal", "n.lmj", "--output", "n.lmq"]
        for option in ("--seed", "--steps", "--mask-seed", "--record-bytes", "--memory"):
            for value in (big, "99999999999999999999999", "-1", "", " ", "010", "0x10", "+5", "1e3", "5.", "5 ", "７"):
                self.case(f"adapt {option} {value!r}", self.fails, USAGE, [option], *args, f"{option}={value}"
                          if value else option, *([""] if not value else []))
        for option in ("--batch", "--pairs", "--threads", "--evaluations", "--adapt-examples", "--speaker"):
            for value in (str(2 ** 32 + 1), str(2 ** 31), "010", "0x8", "", "1.0"):
                self.case(f"adapt {option} {value!r}", self.fails, USAGE, ["."], *args, option, value)
        for option in ("--eps", "--step", "--inner", "--keep", "--headroom"):
            for value in ("nan", "inf", "-inf", "", "1e999", "0x1p3", "1,5", "1.0f", "infinity"):
                self.case(f"adapt {option} {value!r}", self.fails, USAGE, [option], *args, f"{option}={value}"
                          if value else option, *([""] if not value else []))
        for value in ("rows=010", "rows=0x10", "rows=+16", "rows=", "rows=4294967312", "rows= 16"):
            self.case(f"--hardware {value}", self.fails, USAGE, ["--hardware"], *args, "--hardware", value)
        for value in ("rotate=nan", "rotate=inf", "noise=1e999", "rotate=", "rotate=0x10"):
            self.case(f"--shift {value}", self.fails, USAGE, ["shift|rotate|noise"], *args, "--shift", value)
        for value in ("latency=010", "latency=-1", "latency=", "latency=4294967297"):
            self.case(f"--backend-options {value}", self.fails, USAGE, ["latency"], *args, "--backend-options", value)
        for value in ("4294967296", "4294967295", "-1"):
            self.case(f"cosim --from {value}", self.fails, USAGE, ["."], "cosim", "--backend", "cmodel", *DATA,
                      "--input", "q.lmq", "--journal", "ref.lmj", "--from", value, "--steps", 2, "--out", "o",
                      "--report", "o/c.json")
        self.case("a seed of 64 bits", lambda: self.ok("adapt", *TRAIN, "--steps", 2, "--journal", "b.lmj", "--seed",
                                                       2 ** 64 - 1))

    def names(self):
        def not_utf8():
            folder = os.fsencode(self.dir) + b"/im\xffg"
            shutil.copytree(os.fsencode(self.dir) + b"/img", folder)
            args = [a if a != "img" else "im\udcffg" for a in RUN]
            self.ok(*args)
            json.loads(self.read("rep/run.json").decode())
            r = self.p.run(*[a for a in args if a not in ("out", "--out")], "--out", "o2", "--json", cwd=self.dir)
            assert r.returncode == 0 and json.loads(r.stdout)["task"], r.stderr
        self.case("a folder whose name is no UTF-8", not_utf8)

        def speakers():
            write_audio_folder(self.dir / "snd", clips=6)
            index = self.dir / "snd/index.csv"
            index.write_bytes(index.read_bytes().replace(b",c,adapt", b",../c\xff\x1b[31m,adapt"))
            self.ok("run", "--network", "tiny.toml", "--data", "snd", "--epochs", 1, "--steps", 4, "--batch", 2,
                    "--readout-steps", 20, "--no-float", "--no-backprop", "--out", "so/out", "--reports", "so/rep")
            json.loads(self.read("so/rep/run.json").decode())
            outside = [p for p in self.dir.rglob("*.lmj") if "so/out" not in str(p) and p.name != "ref.lmj"]
            assert not outside, outside
        self.case("a speaker whose name is a path, not UTF-8 and a terminal's colour", speakers)

        def messages():
            for name in ("a\x1b[31mred.lmq", "new\nline.lmq", "x" * 100000):
                r = self.p.run("info", name, cwd=self.dir)
                assert r.returncode in (INPUT, USAGE), r.returncode
                assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", r.stderr), repr(r.stderr[:200])
                assert len(r.stderr) < 4000 and r.stderr.count("\n") == 1, len(r.stderr)
            r = self.p.run("info", "--no-such-\x1b[31m" + "x" * 100000, cwd=self.dir)
            assert r.returncode == USAGE and "\x1b" not in r.stderr and len(r.stderr) < 5000, len(r.stderr)
        self.case("messages carry no control characters and no megabytes", messages)

        def leftovers():
            (self.dir / "l.lmq.part").write_bytes(b"of a killed process")
            self.ok("replay", "--base", "q.lmq", "--journal", "ref.lmj", "--output", "l.lmq")
            assert self.read("l.lmq") == self.read("ref.lmq") and not (self.dir / "l.lmq.part").exists()
        self.case("the part of a file that a killed process left is used again", leftovers)

        def bomb():
            folder = self.dir / "bomb"
            shutil.copytree(self.dir / "img", folder)
            header = idx_bytes([240, 12, 12], b"")
            with gzip.open(folder / "train-images-idx3-ubyte", "wb", compresslevel=9) as f:
                f.write(header)
                for _ in range(1200):
                    f.write(bytes(1 << 20))
            def limit():
                import resource
                resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))
            args = [a if a != "img" else "bomb" for a in DATA]
            self.fails(INPUT, ["train-images", "240|expected|limit"], "pretrain", *args, "--epochs", 1, "--output",
                       "x.lmc", preexec_fn=limit if "debug" not in self.p.name else None)
        self.case("a gzip bomb is refused before it costs memory", bomb)

    def all(self):
        self.prepare()
        for group in (self.ownership, self.waveforms, self.runs, self.signals, self.streams, self.outputs, self.tails,
                      self.readouts, self.numbers, self.names):
            group()
        self.checks.finish()


if __name__ == "__main__":
    States.main(__doc__)
