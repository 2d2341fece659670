#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Adaptation by forward gradients does not end worse than it began: examples that do not train choose the result, and
a run that diverges goes back to its best point and says so; pre-training goes back, too, and tries a smaller rate.

usage: check_held_out.py PROGRAM      ends with `N passed, N failed`
"""
import json
import shutil

from harness import JOURNAL, TINY, USAGE, Suite, error_line, matches

DIVERGED = 8
DATA = ["--network", "tiny.toml", "--adapt-examples", 200, "--threads", 1]
STEPS = 200
ADAPT = ["adapt", *DATA, "--input", "q.lmq", "--batch", 16, "--evaluations", 0, "--steps", STEPS]
WILD = ["--step", 60, "--schedule", "constant"]
RECORD = 28 + 1  # bytes; one pair


class HeldOut(Suite):
    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        self.p.ok("pretrain", *DATA, "--epochs", 1, "--output", "tiny.lmc", "--quiet", cwd=self.dir)
        self.p.ok("quantize", *DATA, "--checkpoint", "tiny.lmc", "--output", "q.lmq", cwd=self.dir)
        self.base = self.p.json("info", "q.lmq", cwd=self.dir)["weights_hash"]
        self.good = self.p.json(*ADAPT, "--journal", "j.lmj", "--output", "a.lmq", cwd=self.dir)

    def adapted(self, code, *args, journal="x.lmj"):
        r = self.p.run(*ADAPT, *args, "--journal", journal, "--output", "x.lmq", "--json", "--quiet", cwd=self.dir)
        assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {r.stderr}"
        return json.loads(r.stdout), r.stderr

    def replayed(self, *args):
        return self.p.json("replay", "--base", "q.lmq", *args, cwd=self.dir)["weights_hash"]

    def clean(self):
        for file in self.dir.glob("x.*"):
            file.unlink()

    def best_point(self):
        def chosen():
            r = self.good
            assert r["held"] == 20 and r["diverged_at"] is None, r
            assert r["held_loss"]["best"] <= r["held_loss"]["start"], r
            assert r["best_step"] % (STEPS // 10) == 0, r
            # 11 points of 20 examples, two passes each.
            assert r["forward_passes"] == 2 * STEPS + 11 * 2, r
            assert self.replayed("--journal", "j.lmj") == r["weights_hash"]
            assert self.replayed("--journal", "j.lmj", "--steps", r["best_step"]) == r["weights_hash"]
            info = self.p.json("info", "j.lmj", cwd=self.dir)
            assert info["hold_out"] == 10 and info["best_step"] == r["best_step"] and info["steps"] == STEPS, info
            assert self.p.json("info", "a.lmq", cwd=self.dir)["weights_hash"] == r["weights_hash"]
        self.checks.case("the best point is the result, also of a replay", chosen)

        def earlier():
            # Steps so large that the loss goes up and down: the end is not the best.
            r, _ = self.adapted(0, "--step", 2, "--schedule", "constant")
            assert 0 <= r["best_step"] < STEPS, r
            assert self.replayed("--journal", "x.lmj") == r["weights_hash"]
            assert self.replayed("--journal", "x.lmj", "--steps", STEPS) != r["weights_hash"]
            self.clean()
        self.checks.case("an earlier point than the end", earlier)

        def none():
            r, _ = self.adapted(0, "--hold-out", 0)
            assert "best_step" not in r and r["forward_passes"] == 2 * STEPS, r
            assert "hold_out" not in self.p.json("info", "x.lmj", cwd=self.dir)
            assert self.replayed("--journal", "x.lmj", "--steps", STEPS) == r["weights_hash"]
            half, _ = self.adapted(0, "--hold-out", 50, "--overwrite")
            assert half["held"] == 100, half
            self.clean()
        self.checks.case("--hold-out 0 and 50", none)

        def few():
            args = [a if a != 200 else 19 for a in ADAPT]
            r = self.p.run(*args, "--journal", "x.lmj", cwd=self.dir)
            assert r.returncode == 0 and "no example of 19 is held out" in r.stderr, r.stderr
            args = [20 if a in (19, 16) else a for a in args]
            r = self.p.run(*args, "--journal", "x.lmj", "--overwrite", cwd=self.dir)
            assert r.returncode == 0 and "2 examples are held out; the batch is 18" in r.stderr, r.stderr
            self.clean()
        self.checks.case("too few to hold one out, and a batch of all", few)

        def usage():
            for value in (51, -1, "x", 2.5):
                r = self.p.run(*ADAPT, "--journal", "x.lmj", f"--hold-out={value}", cwd=self.dir)
                assert r.returncode == USAGE and "--hold-out" in r.stderr, r.stderr
        self.checks.case("--hold-out out of range", usage)

    def continued(self):
        def cut(records, rest):
            content = self.read("j.lmj")
            head = len(content) - (STEPS + 1) * RECORD
            (self.dir / "x.lmj").write_bytes(content[:head + records * RECORD + rest])
            r, _ = self.adapted(0, "--resume")
            assert r["weights_hash"] == self.good["weights_hash"], r
            for key in ("best_step", "held_loss", "forward_passes"):
                assert r[key] == self.good[key], (key, r)
            assert self.read("x.lmj") == content and self.read("x.lmq") == self.read("a.lmq")
            self.clean()
        for records in (0, 10, 19, 20, 21, 75, STEPS - 1, STEPS):
            self.checks.case(f"cut after {records} records", cut, records, 0)
        self.checks.case("cut within the end", cut, STEPS, RECORD - 1)
        self.checks.case("not cut", cut, STEPS + 1, 0)

        def old():
            whole, _ = self.adapted(0, "--hold-out", 0)
            content = self.read("x.lmj")
            (self.dir / "x.lmj").write_bytes(content[:-77 * RECORD])
            r, _ = self.adapted(0, "--resume")  # the journal's share, where none is asked for
            assert r["weights_hash"] == whole["weights_hash"] and self.read("x.lmj") == content
            r = self.p.run(*ADAPT, "--journal", "x.lmj", "--resume", "--hold-out", 10, cwd=self.dir)
            assert r.returncode == JOURNAL, r.stderr
            matches(error_line(r), [r"x\.lmj", "hold_out is missing, expected 10"])
            self.clean()
        self.checks.case("a journal that holds out nothing is gone on with as it is", old)

        def other_share():
            shutil.copy(self.dir / "j.lmj", self.dir / "x.lmj")
            for share, says in ((20, "hold_out is 10, expected 20"), (0, "hold_out is 10, expected missing")):
                r = self.p.run(*ADAPT, "--journal", "x.lmj", "--resume", "--hold-out", share, cwd=self.dir)
                assert r.returncode == JOURNAL, r.stderr
                matches(error_line(r), [r"x\.lmj", says])
            self.clean()
        self.checks.case("another share is another run", other_share)

        def cosimulated():
            self.p.ok("cosim", *DATA, "--input", "q.lmq", "--journal", "j.lmj", "--backend", "cmodel", "--from", 15,
                      "--steps", 10, "--out", "cosim", "--report", "cosim/c.json", cwd=self.dir)
            shutil.rmtree(self.dir / "cosim")
        self.checks.case("its steps are those of a cosimulation", cosimulated)

    def diverged(self):
        def adapt():
            r, said = self.adapted(DIVERGED, *WILD)
            assert r["best_step"] == 0 and r["weights_hash"] == self.base and r["after"] == r["before"], r
            assert 0 < r["diverged_at"] < STEPS, r
            matches(said, [f"diverged by step {r['diverged_at']} of {STEPS}, back to the best", "after step 0 "])
            assert self.p.json("info", "x.lmq", cwd=self.dir)["weights_hash"] == self.base
            info = self.p.json("info", "x.lmj", cwd=self.dir)
            assert info["steps"] == r["diverged_at"] and info["best_step"] == 0, info
            assert self.replayed("--journal", "x.lmj") == self.base
            content = self.read("x.lmj")
            audit = ["audit", *DATA, "--base", "q.lmq", "x.lmj", "--result", "x.lmq", "--quiet"]
            found = self.p.json(*audit, cwd=self.dir)
            assert found["confirmed"] and found["best_step"] == 0 and found["steps"] == r["diverged_at"], found
            for left_out in (0, RECORD, 30 * RECORD):
                (self.dir / "x.lmj").write_bytes(content[:len(content) - left_out])
                again, _ = self.adapted(DIVERGED, *WILD, "--resume")
                assert again["weights_hash"] == self.base and self.read("x.lmj") == content
            self.clean()
        self.checks.case("adapt: exit code 8, the best point kept, replayed, audited, resumed", adapt)

        def run():
            args = ["run", *DATA, "--checkpoint", "tiny.lmc", "--steps", STEPS, "--batch", 16, "--evaluations", 0,
                    "--method", "forward-gradient", "--no-backprop", *WILD, "--out", "out", "--reports", "rep"]
            r = self.p.run(*args, "--quiet", cwd=self.dir)
            assert r.returncode == DIVERGED, f"{r.returncode}: {r.stderr}"
            matches(r.stderr, ["diverged by step", "back to the best"])
            report = json.loads((self.dir / "rep/run.json").read_text())
            assert report["accuracy"]["fixed"] == report["accuracy"]["shifted"], report["accuracy"]
            m = report["methods"]["forward_gradient"]
            assert m["best_step"] == 0 and m["held"] == 20 and m["diverged_at"] > 0, m
            assert report["domains"][0]["held_out"]["float"]["held"] == 20
            assert self.p.json("info", "out/adapted.lmq", cwd=self.dir)["weights_hash"] == self.p.json(
                "info", "out/quantized.lmq", cwd=self.dir)["weights_hash"]
            r = self.p.run(*args, "--quiet", "--resume", cwd=self.dir)
            assert r.returncode == DIVERGED, f"{r.returncode}: {r.stderr}"
            for folder in ("out", "rep"):
                shutil.rmtree(self.dir / folder)
        self.checks.case("run: exit code 8 after the report", run)

    def pretrained(self):
        def again():
            r = self.p.run("pretrain", *DATA, "--learning-rate", 3, "--epochs", 2, "--output", "x.lmc", cwd=self.dir)
            assert r.returncode == 0, r.stderr
            matches(r.stderr, ["training diverged", "pre-training begins .* with a learning rate of 0.75"])
            found = self.p.json("eval", *DATA, "--input", "x.lmc", cwd=self.dir)["source"]
            assert found["accuracy"] > 60, found
            self.clean()
        self.checks.case("pretrain: units that died in the first steps are no result", again)

        def never():
            r = self.p.run("pretrain", *DATA, "--learning-rate", 1e6, "--epochs", 2, "--output", "x.lmc", cwd=self.dir)
            assert r.returncode == DIVERGED, r.stderr
            assert not (self.dir / "x.lmc").exists()
        self.checks.case("pretrain: exit code 8 if no smaller rate helps", never)

        def run():
            r = self.p.run("run", *DATA, "--steps", 20, "--batch", 16, "--evaluations", 0, "--learning-rate", 3,
                           "--epochs", 2, "--method", "forward-gradient", "--no-backprop", "--no-float", "--out", "out",
                           "--reports", "rep", cwd=self.dir)
            assert r.returncode == 0, f"{r.returncode}: {r.stderr}"
            for folder in ("out", "rep"):
                shutil.rmtree(self.dir / folder)
        self.checks.case("run: a network without batch norm at a rate too large is no mismatch", run)

    def all(self):
        self.prepare()
        self.best_point()
        self.continued()
        self.diverged()
        self.pretrained()
        self.checks.finish()


if __name__ == "__main__":
    HeldOut.main(__doc__)
