#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An adaptation that is killed at any instant and continued ends with the same bits as one that was not.

usage: check_kill.py PROGRAM [TRIALS]      ends with `N passed, N failed`

Adapts on the built-in task in five settings, two of them with readouts. Every trial sends SIGKILL at a random time, or
as soon as the journal has a random length (just created, in the header's company only, or anywhere up to the end),
continues with --resume, possibly kills that as well, and compares journal, weights and what `replay` makes of the
journal with those of the undisturbed run. Before that, journals cut at every length around the first records stand for
kills that no clock hits, and runs that are asked to stop by a signal end after a whole step. LASTMILE_SEED repeats a
run.
"""
import os
import random
import signal
import subprocess
import sys
import time

from harness import TINY, Checks, Program, Workspace

COMMON = ["--network", "tiny.toml", "--adapt-examples", 400, "--evaluations", 0, "--quiet"]
SETTINGS = {
    "sign, m=1": ["--steps", 1500, "--batch", 64, "--pairs", 1, "--estimator", "sign"],
    "scaled, m=4, gaussian, keep 0.1": ["--steps", 400, "--batch", 48, "--pairs", 4, "--estimator", "scaled",
                                        "--distribution", "gaussian",
                                        "--keep", 0.1, "--mask-seed", 9],
    "head, m=2": ["--steps", 2000, "--batch", 64, "--pairs", 2, "--layers", "head", "--schedule", "constant"],
    "readouts": ["--method", "readout", "--readout-steps", 300, "--batch", 32],
    "both": ["--method", "both", "--readout-steps", 100, "--inner-steps", 100, "--pairs", 2, "--batch", 32],
}


class Reference:
    """The run that nobody disturbs."""

    def __init__(self, program, folder, name, options):
        self.name, self.folder = name, folder
        self.args = ["adapt", "--input", "q.lmq", *COMMON, *options]
        begin = time.monotonic()
        self.hash = program.json(*self.args, "--journal", "ref.lmj", "--overwrite", "--output", "ref.lmq",
                                 cwd=folder)["weights_hash"]
        self.seconds = time.monotonic() - begin
        self.journal = (folder / "ref.lmj").read_bytes()
        self.weights = (folder / "ref.lmq").read_bytes()
        number = lambda at: int.from_bytes(self.journal[at:at + 4], "little")
        self.head = 8 + 4 + number(8) + 4  # magic, length, text, checksum
        info = program.json("info", "ref.lmj", cwd=folder)
        self.steps = info.get("steps")
        # The first record: of fixed size, or of the size that its third word says.
        self.record = 28 + info["pairs"] if "pairs" in info else 12 + number(self.head + 8) + 4


def size_of(path):
    try:
        return path.stat().st_size
    except OSError:
        return 0


class Trials:
    def __init__(self, program, folder, seed):
        self.p, self.dir, self.random, self.checks = program, folder, random.Random(seed), Checks()
        self.journal, self.output = folder / "k.lmj", folder / "k.lmq"
        self.kills = {"before the journal": 0, "header only": 0, "between": 0, "all records": 0, "too late": 0}

    def clean(self):
        for f in self.dir.glob("k.*"):
            f.unlink()

    def args(self, ref):
        return [*ref.args, "--journal", "k.lmj", "--output", "k.lmq", "--resume"]

    def killed(self, ref):
        """One start that is killed; whether it came to its end before."""
        at_length = self.random.random() < 0.6
        middle = self.random.randint(ref.head + 1, ref.head + (len(ref.journal) - ref.head) * 3 // 4)
        length = self.random.choice([1, ref.head, middle, middle, len(ref.journal)])
        delay = self.random.uniform(0, ref.seconds)
        child = self.p.start(*self.args(ref), cwd=self.dir)
        deadline = time.monotonic() + (10 * ref.seconds + 60 if at_length else delay)
        while child.poll() is None and time.monotonic() < deadline and not (at_length
            and size_of(self.journal) >= length):
            time.sleep(0 if at_length else min(0.001, max(0.0, deadline - time.monotonic())))
        child.send_signal(signal.SIGKILL)
        finished = child.wait() == 0
        size = size_of(self.journal)
        self.kills["too late" if finished else "before the journal" if size == 0 else "header only"
                   if size == ref.head else
                   "all records" if size == len(ref.journal) else "between"] += 1
        assert finished or child.returncode == -signal.SIGKILL, (f"{ref.name}: it ended by itself with "
            f"{child.returncode}")
        assert (self.journal.read_bytes() if size else b"") == ref.journal[:size], \
            f"{ref.name}: after the kill the journal ({size} bytes) is no beginning of the undisturbed one"
        if self.output.exists():
            assert self.output.read_bytes() == ref.weights, f"{ref.name}: a killed run left other weights"
        return finished

    def same_end(self, ref):
        """The last continuation, which nobody disturbs."""
        r = self.p.json(*self.args(ref), cwd=self.dir)
        assert r["weights_hash"] == ref.hash, f"{ref.name}: weights {r['weights_hash']}, undisturbed {ref.hash}"
        assert self.journal.read_bytes() == ref.journal, f"{ref.name}: the journal differs from the undisturbed one"
        assert self.output.read_bytes() == ref.weights, f"{ref.name}: the network file differs from the undisturbed one"
        replayed = self.p.json("replay", "--base", "q.lmq", "--journal", "k.lmj", "--output", "k.replayed",
                               cwd=self.dir)
        assert replayed["weights_hash"] == ref.hash, (f"{ref.name}: replay gives {replayed['weights_hash']}, "
                                                      f"undisturbed {ref.hash}")
        assert (self.dir / "k.replayed").read_bytes() == ref.weights

    def trial(self, ref):
        self.clean()
        for _ in range(self.random.randint(1, 3)):
            if self.killed(ref):
                break
        self.same_end(ref)

    def stopped(self, ref, number):
        """A signal that asks: the step is ended, its record is whole, the exit code and the message say what to do."""
        for _ in range(5):  # a run that ended before this process looked again says nothing
            self.clean()
            child = self.p.start(*self.args(ref), cwd=self.dir, stderr=subprocess.PIPE)
            while child.poll() is None and size_of(self.journal) < ref.head + 3 * ref.record:
                time.sleep(0.001)
            early = size_of(self.journal) < len(ref.journal)
            child.send_signal(number)
            said = child.communicate()[1]
            if early and child.returncode != 0:
                break
        size = size_of(self.journal)
        assert child.returncode == 128 + number, f"{ref.name}: it ended with {child.returncode}: {said}"
        assert (size - ref.head) % ref.record == 0 and self.journal.read_bytes() == ref.journal[:size], \
            f"{ref.name}: the journal is no beginning of the undisturbed one"
        steps = (size - ref.head) // ref.record
        assert f"after step {steps} of {ref.steps}; to go on: " in said and "--resume" in said, \
            f"{ref.name}: it said {said!r}"
        assert not self.output.exists(), f"{ref.name}: a stopped run left weights"
        self.same_end(ref)

    def cut(self, ref, length):
        self.clean()
        self.journal.write_bytes(ref.journal[:length])
        self.same_end(ref)

    def run(self, trials):
        (self.dir / "tiny.toml").write_text(TINY)
        task = ["--network", "tiny.toml", "--quiet"]
        self.p.ok("pretrain", *task, "--epochs", 1, "--output", "t.lmc", cwd=self.dir)
        self.p.ok("quantize", *task, "--checkpoint", "t.lmc", "--output", "q.lmq", cwd=self.dir)
        refs = [Reference(self.p, self.dir, *s) for s in SETTINGS.items()]
        assert len({r.hash for r in refs}) == len(refs), "the settings do not differ"
        for ref in refs:
            cuts = [ref.head, ref.head + self.random.randint(1, ref.record - 1), ref.head + ref.record,
                    self.random.randint(ref.head, len(ref.journal)), len(ref.journal) - 1]
            for length in self.random.sample(cuts, 3):
                self.checks.case(f"{ref.name}: journal cut at byte {length}", self.cut, ref, length)
        for ref, number in zip(refs, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)):
            self.checks.case(f"{ref.name}: {number.name}", self.stopped, ref, number)
        for i in range(trials):
            ref = refs[i % len(refs)]
            self.checks.case(f"kill trial {i} ({ref.name})", self.trial, ref)
        print("killed: " + ", ".join(f"{n} {k}" for k, n in self.kills.items()))

        def hit():
            assert self.kills["between"] > 0, f"none of {trials} trials was killed between two records"
        self.checks.case("kills hit the adaptation", hit)
        self.checks.finish()


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    seed = int(os.environ.get("LASTMILE_SEED") or random.SystemRandom().randrange(2 ** 32))
    print(f"LASTMILE_SEED={seed}")
    # The program leaves a signal alone that its parent ignores (nohup, a shell's background job): not here.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    with Workspace() as folder:
        Trials(Program(sys.argv[1]), folder, seed).run(int(sys.argv[2]) if len(sys.argv) == 3 else 12)


if __name__ == "__main__":
    main()
