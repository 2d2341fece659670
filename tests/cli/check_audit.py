#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An outsider's audit: a true run is confirmed, a forged one refuted at the first step that differs, whatever digests
the forger computed again.

usage: check_audit.py PROGRAM      ends with `N passed, N failed`
"""
import hashlib
import json
import shutil
import zlib

from harness import INPUT, JOURNAL, MISMATCH, TINY, USAGE, Suite, error_line, matches, state, write_idx_folder

DATA = ["--network", "tiny.toml", "--data", "img", "--adapt-examples", 32, "--threads", 1]
STEPS, EVERY, PAIRS = 40, 10, 2
ADAPT = ["adapt", *DATA, "--input", "q.lmq", "--batch", 8, "--pairs", PAIRS, "--evaluations", 0, "--steps", STEPS,
         "--hold-out", 0]
AUDIT = ["audit", *DATA, "--base", "q.lmq"]
COEF_MAX = 127


def number(value, size):
    return (value % 2 ** (8 * size)).to_bytes(size, "little")


class Forger:
    """A journal taken apart; what it writes has right checksums and digests, if it is told to."""

    FIELDS = {"step": (0, 4), "STEP": (4, 4), "coefficient": (8, 1), "loss": (8 + PAIRS, 8), "scale": (16 + PAIRS, 8),
              "weights": (24 + PAIRS, 8)}

    def __init__(self, content):
        size = int.from_bytes(content[8:12], "little")
        self.magic, self.header = content[:8], json.loads(content[12:12 + size])
        record = 24 + PAIRS + 8 + 32 + 4
        body = content[16 + size:]
        assert len(body) % record == 0, len(body)
        self.records = [bytearray(body[i:i + record]) for i in range(0, len(body), record)]

    def add(self, record, field, value):
        at, size = self.FIELDS[field]
        r = self.records[record]
        before = int.from_bytes(r[at:at + size], "little")
        if field == "coefficient" and before == COEF_MAX:
            value = -value  # beyond the largest coefficient the reader would refuse the file
        r[at:at + size] = number(before + value, size)

    def remove(self, record):
        del self.records[record]
        for i, r in enumerate(self.records):
            r[0:4] = number(i, 4)

    def written(self, crc=True, chain=True):
        text = json.dumps(self.header, separators=(",", ":"), sort_keys=True).encode()
        out = bytearray(self.magic + number(len(text), 4) + text)
        digest = hashlib.sha256(out).digest()
        check = zlib.crc32(out)
        out += number(check, 4)
        for r in self.records:
            if chain:
                r[-36:-4] = hashlib.sha256(digest + r[:-36]).digest()
            digest = bytes(r[-36:-4])
            if crc:
                check = zlib.crc32(r[:-4], check)
                r[-4:] = number(check, 4)
            out += r
        return bytes(out)


class ReadoutForger:
    """The same for a journal of readouts."""

    CHOICE, SNAPSHOT, END = 1, 2, 3

    def __init__(self, content):
        size = int.from_bytes(content[8:12], "little")
        self.magic, self.header = content[:8], json.loads(content[12:12 + size])
        self.records, at = [], 16 + size
        while at < len(content):
            kind, step, size = (int.from_bytes(content[at + i:at + i + 4], "little") for i in (0, 4, 8))
            self.records.append([kind, step, bytearray(content[at + 12:at + 12 + size])])
            at += 16 + size

    def snapshots(self):
        return [i for i, r in enumerate(self.records) if r[0] == self.SNAPSHOT]

    def flip(self, record, byte):
        self.records[record][2][byte] ^= 1

    def replace(self, record, old, new):
        before = bytes(self.records[record][2])
        assert old in before, before
        self.records[record][2] = bytearray(before.replace(old, new, 1))

    def written(self):
        text = json.dumps(self.header, separators=(",", ":"), sort_keys=True).encode()
        out = bytearray(self.magic + number(len(text), 4) + text)
        check = zlib.crc32(out)
        out += number(check, 4)
        for kind, step, payload in self.records:
            r = number(kind, 4) + number(step, 4) + number(len(payload), 4) + payload
            check = zlib.crc32(r, check)
            out += r + number(check, 4)
        return bytes(out)


class Audits(Suite):
    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        write_idx_folder(self.dir / "img")
        shutil.copytree(self.dir / "img", self.dir / "img2")
        for file in (self.dir / "img2").glob("train-labels*"):
            content = bytearray(file.read_bytes())
            content[8:] = content[9:] + content[8:9]
            assert content != file.read_bytes()
            file.write_bytes(content)
        self.p.ok("pretrain", *DATA, "--epochs", 1, "--output", "tiny.lmc", "--quiet", cwd=self.dir)
        self.p.ok("quantize", *DATA, "--checkpoint", "tiny.lmc", "--output", "q.lmq", cwd=self.dir)
        self.p.ok(*ADAPT, "--audit-every", EVERY, "--journal", "j.lmj", "--output", "a.lmq", cwd=self.dir)
        self.p.ok(*ADAPT, "--journal", "plain.lmj", "--output", "plain.lmq", cwd=self.dir)
        self.good = self.read("j.lmj")
        self.p.ok(*ADAPT[:-2], "--audit-every", EVERY, "--journal", "held.lmj", "--output", "held.lmq", cwd=self.dir)
        self.held = self.read("held.lmj")

    def audited(self, code, patterns, *args, step=None, journal="j.lmj"):
        before = state(self.dir)
        r = self.p.run(*AUDIT, journal, "--quiet", "--json", *args, cwd=self.dir)
        assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {error_line(r)!r}"
        assert state(self.dir) == before, "an audit changed a file"
        if code in (0, MISMATCH):
            found = json.loads(r.stdout)
            assert found["confirmed"] == (code == 0) and found["step"] == step, found
            if step is not None:
                assert found["steps"] == step, found
                matches(error_line(r), [f"refuted: step {step}: "])
        if code != 0:
            matches(error_line(r), [journal.replace(".", r"\."), *patterns])
        return json.loads(r.stdout) if r.stdout else None

    def forged(self, name, code, patterns, change, *args, step=None, good=None, **how):
        def body():
            f = Forger(good or self.good)
            change(f)
            content = f.written(**how)
            assert content != (good or self.good), "nothing was forged"
            (self.dir / "f.lmj").write_bytes(content)
            self.audited(code, patterns, *args, step=step, journal="f.lmj")
            (self.dir / "f.lmj").unlink()
        self.checks.case(name, body)

    def confirmed(self):
        def whole():
            assert Forger(self.good).written() == self.good, "the digests are not those of the description"
            assert self.read("a.lmq") == self.read("plain.lmq"), "an audit's digests changed the run"
            info = self.p.json("info", "j.lmj", cwd=self.dir)
            found = self.audited(0, [], "--digest", info["digest"], "--result", "a.lmq")
            assert found["steps"] == found["of"] == STEPS and found["weights_checked"] == STEPS // EVERY, found
            assert found["digest"] == info["digest"]
            replayed = self.p.json("replay", "--base", "q.lmq", "--journal", "j.lmj", cwd=self.dir)
            assert found["weights_hash"] == replayed["weights_hash"]
            assert self.audited(0, [], "--steps", 7)["steps"] == 7
        self.checks.case("a true run, its digest and its result", whole)

        def other():
            found = self.audited(0, [], journal="plain.lmj")
            assert found["digest"] is None and found["weights_checked"] == 0, found
            self.audited(USAGE, ["--audit-every"], "--digest", "0" * 64, journal="plain.lmj")
            self.audited(0, [], "--hardware", "rows=4,cols=4,bus_bytes=8")
        self.checks.case("a journal without digests; another array", other)

        def resumed():
            for cut in (1, 36, 500, len(self.good) // 2):
                (self.dir / "r.lmj").write_bytes(self.good[:-cut])
                self.p.ok(*ADAPT, "--audit-every", EVERY, "--journal", "r.lmj", "--resume", cwd=self.dir)
                assert self.read("r.lmj") == self.good, cut
            for every in (0, EVERY + 1):
                r = self.p.run(*ADAPT, "--audit-every", every, "--journal", "r.lmj", "--resume", cwd=self.dir)
                assert r.returncode == JOURNAL, r.returncode
                matches(error_line(r), ["another run: audit"])
            (self.dir / "r.lmj").unlink()
        self.checks.case("a run that was cut ends in the same digests", resumed)

        def nowhere():
            self.audited(INPUT, ["nowhere"], journal="nowhere.lmj")
        self.checks.case("no journal", nowhere)

        def rtl():
            if self.p.run(*AUDIT, "j.lmj", "--steps", 1, "--backend", "rtl", cwd=self.dir).returncode == 4:
                print("SKIPPED: audit on the RTL: the backend is not built (`make rtl`)")
                return
            self.audited(0, [], "--steps", EVERY + 1, "--backend", "rtl")
            (self.dir / "f.lmj").write_bytes(self.good)
            f = Forger(self.good)
            f.add(3, "coefficient", 1)
            (self.dir / "f.lmj").write_bytes(f.written())
            self.audited(MISMATCH, ["coefficients"], "--steps", EVERY + 1, "--backend", "rtl", step=3, journal="f.lmj")
            (self.dir / "f.lmj").unlink()
        self.checks.case("the same on the RTL", rtl)

    def refuted(self):
        for field, record, says in (("coefficient", 17, "coefficients are"), ("coefficient", 0, "coefficients are"),
                                    ("coefficient", STEPS - 1, "coefficients are"), ("loss", 23, "loss sum is"),
                                    ("STEP", 5, "STEP is"), ("scale", 0, "scale is"), ("scale", 30, "scale is"),
                                    ("weights", 20, "weights before it"), ("weights", 21, "weights before it")):
            def change(f, record=record, field=field):
                f.add(record, field, 1)
            self.forged(f"{field} of record {record}, all digests computed again", MISMATCH, [says], change,
                        step=record)
            self.forged(f"{field} of record {record}, nothing computed again", JOURNAL, [f"record {record} "], change,
                        **{"crc": False, "chain": False}) if record < STEPS - 1 else None
            self.forged(f"{field} of record {record}, checksums computed again", JOURNAL,
                        [f"record {record} ", "SHA-256 is"], change, chain=False)
        self.forged("a record removed, all computed again", MISMATCH, ["refuted"], lambda f: f.remove(12), step=12)
        self.forged("a record removed, checksums computed again", JOURNAL, ["record 12 ", "SHA-256"],
                    lambda f: f.remove(12), chain=False)
        self.forged("a record twice", MISMATCH, ["refuted"],
                    lambda f: (f.records.insert(9, bytearray(f.records[8])), f.add(9, "step", 1),
                               [f.add(i, "step", 1) for i in range(10, len(f.records))]), step=9)
        self.forged("the seed changed", MISMATCH, ["refuted"],
                    lambda f: f.header.update(seed=f.header["seed"] + 1), step=0)
        self.forged("the rule of seeds changed", MISMATCH, ["refuted"], lambda f: f.header.pop("seed_rule"), step=0)
        self.forged("another step size", MISMATCH, ["refuted"],
                    lambda f: f.header["config"]["tensors"][0].update(step=9.0), step=1)
        self.forged("a batch that the data do not have", JOURNAL, ["batch"],
                    lambda f: f.header["config"].update(batch=1000))

        def last_removed():
            digest = self.p.json("info", "j.lmj", cwd=self.dir)["digest"]
            f = Forger(self.good)
            f.remove(STEPS - 1)
            (self.dir / "f.lmj").write_bytes(f.written())
            found = self.audited(0, [], journal="f.lmj")
            assert found["steps"] == STEPS - 1 and found["of"] == STEPS, found
            self.audited(MISMATCH, ["after the last step", "steps are missing"], "--digest", digest, journal="f.lmj")
            self.audited(MISMATCH, ["after the last step", "the result has weights"], "--result", "a.lmq",
                         journal="f.lmj")
            (self.dir / "f.lmj").unlink()
        self.checks.case("the last records removed: found by digest or result", last_removed)

        def data():
            other = [a if a != "img" else "img2" for a in AUDIT]
            r = self.p.run(*other, "j.lmj", cwd=self.dir)
            assert r.returncode == MISMATCH, r.returncode
            matches(error_line(r), [r"refuted: before step 0: it is of a data set with digest"])
            # The forger knows the auditor's data and writes their digests into the header.
            self.p.ok(*[a if a != "img" else "img2" for a in ADAPT], "--audit-every", EVERY, "--journal", "o.lmj",
                      cwd=self.dir)
            f, o = Forger(self.good), Forger(self.read("o.lmj"))
            f.header["config"]["data_digest"] = o.header["config"]["data_digest"]
            self.written_data(f, other, "before step 0")
            f.header["audit"]["data_sha256"] = o.header["audit"]["data_sha256"]
            first = next(i for i in range(STEPS) if f.records[i][:-36] != o.records[i][:-36])
            self.written_data(f, other, f"step {first}")
            (self.dir / "o.lmj").unlink()
        self.checks.case("other data, also with their digests in the header", data)

        def base():
            r = self.p.run(*[a if a != "q.lmq" else "a.lmq" for a in AUDIT], "j.lmj", cwd=self.dir)
            assert r.returncode == MISMATCH, r.returncode
            matches(error_line(r), ["before step 0: it is of a base network"])
        self.checks.case("another base network", base)

    def held_out(self):
        """The best step is what the auditor finds, too."""
        def true():
            info = self.p.json("info", "held.lmj", cwd=self.dir)
            found = self.audited(0, [], "--digest", info["digest"], "--result", "held.lmq", journal="held.lmj")
            assert found["best_step"] == info["best_step"] and found["steps"] == STEPS, (found, info)
            assert found["weights_hash"] == self.p.json("info", "held.lmq", cwd=self.dir)["weights_hash"]
            assert self.audited(0, [], "--steps", STEPS, journal="held.lmj")["best_step"] is None
            assert self.audited(0, [])["best_step"] is None
        self.checks.case("held out: a true run, its digest and its result", true)
        best = int.from_bytes(Forger(self.held).records[-1][4:8], "little")
        other = best - STEPS // 10 if best else STEPS // 10

        def forged(name, code, patterns, change, *args, **how):
            self.forged(f"held out: {name}", code, patterns, change, *args, good=self.held, **how)
        forged("another best step", MISMATCH, ["after the last step", f"best step is {other}, expected {best}"],
               lambda f: f.add(-1, "STEP", other - best))
        forged("another best step, checksums computed again", JOURNAL, [f"record {STEPS} ", "SHA-256 is"],
               lambda f: f.add(-1, "STEP", other - best), chain=False)
        forged("a best step that is none", JOURNAL, ["best step is"], lambda f: f.add(-1, "STEP", STEPS + 1 - best))
        forged("loss at the best step", MISMATCH, ["after the last step", "losses of its held-out examples"],
               lambda f: f.add(-1, "loss", 1))
        forged("loss at the start", MISMATCH, ["after the last step", "losses of its held-out examples"],
               lambda f: f.add(-1, "scale", 1))
        forged("a step left out before the end", MISMATCH, ["after the last step", "had not diverged"],
               lambda f: (f.records.pop(-2), f.add(-1, "STEP", -best)))
        forged("the end left out of a result", MISMATCH, ["after the last step", "it has no end"],
               lambda f: f.records.pop(), "--result", "held.lmq")
        forged("the end left out", MISMATCH, ["after the last step", "steps are missing"], lambda f: f.records.pop(),
               "--digest", self.p.json("info", "held.lmj", cwd=self.dir)["digest"])
        forged("another share", MISMATCH, ["refuted"], lambda f: f.header.update(hold_out=20), step=0)
        forged("no share", JOURNAL, [f"record {STEPS} ", "step is"], lambda f: f.header.pop("hold_out"))

    def written_data(self, forger, command, where):
        (self.dir / "f.lmj").write_bytes(forger.written())
        r = self.p.run(*command, "f.lmj", cwd=self.dir)
        assert r.returncode == MISMATCH, f"{r.returncode}: {error_line(r)}"
        matches(error_line(r), [f"refuted: {where}: "])
        (self.dir / "f.lmj").unlink()

    def readouts(self):
        steps = {"readout": 48, "both": 48 + 6}
        for method, of in steps.items():
            adapt = [*ADAPT[:-2], "--method", method, "--readout-steps", 48, "--inner-steps", 6, "--layers", "all"]
            name = f"{method}.lmj"

            def whole(adapt=adapt, name=name, of=of, method=method):
                self.p.ok(*adapt, "--audit-every", 1, "--journal", name, "--output", f"{method}.lmq", cwd=self.dir)
                self.p.ok(*adapt, "--journal", "x.lmj", "--overwrite", "--output", "x.lmq", cwd=self.dir)
                assert self.read(f"{method}.lmq") == self.read("x.lmq"), "an audit's digests changed the run"
                assert self.audited(0, [], journal="x.lmj")["confirmed"]
                good = self.read(name)
                assert ReadoutForger(good).written() == good, "the journal is not that of the description"
                info = self.p.json("info", name, cwd=self.dir)
                assert info["digest"] == hashlib.sha256(good).hexdigest()
                found = self.audited(0, [], "--digest", info["digest"], "--result", f"{method}.lmq", journal=name)
                assert found["steps"] == found["of"] == of, found
                assert found["weights_checked"] == len(info["snapshots"]), found
                part = self.audited(0, [], "--steps", 20, journal=name)
                assert 0 < part["steps"] <= 20, part
                self.audited(USAGE, ["steps is 1000"], "--steps", 1000, journal=name)
                r = self.p.run(*adapt, "--journal", name, "--resume", cwd=self.dir)
                assert r.returncode == JOURNAL, r.returncode
                matches(error_line(r), ["another run: audit"])
            self.checks.case(f"{method}: a true run, its digest and its result", whole)

            good = self.read(name)
            snaps = ReadoutForger(good).snapshots()
            at = [ReadoutForger(good).records[i][1] for i in snaps]

            def forged(says, change, step=None, args=(), code=MISMATCH, good=good):
                f = ReadoutForger(good)
                change(f)
                content = f.written()
                assert content != good, "nothing was forged"
                (self.dir / "f.lmj").write_bytes(content)
                before = state(self.dir)
                r = self.p.run(*AUDIT, "f.lmj", "--quiet", "--json", *args, cwd=self.dir)
                assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {error_line(r)!r}"
                assert state(self.dir) == before, "an audit changed a file"
                matches(error_line(r), [r"f\.lmj", *says])
                if code == MISMATCH:
                    found = json.loads(r.stdout)
                    assert not found["confirmed"] and found["step"] == step, found
                    assert step is None or found["steps"] == at[max(0, at.index(step) - 1)], found
                (self.dir / "f.lmj").unlink()

            def case(text, *args, forged=forged, **kw):
                self.checks.case(f"{method}: {text}", forged, *args, **kw)

            for k in (0, 5, len(snaps) - 1):
                case(f"a weight of snapshot {k}", ["weight 0 is"], lambda f, k=k: f.flip(snaps[k], 24), at[k])
            case("the loss of a snapshot", [r"loss is"], lambda f: f.flip(snaps[3], 0), at[3])
            case("the held-out loss of a snapshot", ["held-out loss"], lambda f: f.flip(snaps[4], 8), at[4])
            case("the answers of a snapshot", ["held-out correct"], lambda f: f.flip(snaps[4], 16), at[4])
            case("the choice of the rate", ["chosen rate|losses of the rates"],
                 lambda f: f.replace(0, b'"rate":', b'"rate":1'))
            case("the seed", ["losses of the rates|chosen rate|weight"],
                 lambda f: f.header.update(seed=f.header["seed"] + 1), None)
            case("the data's digest", ["before step 0: data_digest"], lambda f: f.header.update(data_digest=1))
            case("the SHA-256 of the base", ["before step 0: audit"],
                 lambda f: f.header["audit"].update(base_sha256="0" * 64))
            case("a batch that the data do not have", ["header: batch"], lambda f: f.header.update(batch=1000),
                 code=JOURNAL)
            case("a field of the wrong kind", ["header: steps is"], lambda f: f.header.update(steps="1"), code=JOURNAL)
            case("an unknown field", ["header: what is"], lambda f: f.header.update(what=1), code=JOURNAL)
            case("a snapshot removed", ["snapshot is of step"], lambda f: f.records.pop(snaps[6]), at[6])

            def result(f):
                other = next(x for x in at if x != f.records[-1][1])
                f.records[-1] = [f.END, other, bytearray(b'{"step":%d}' % other)]
            def ended(f):
                del f.records[snaps[-3]:]
                f.records.append([f.END, at[-4], bytearray(b'{"step":%d}' % at[-4])])
            case("an end after some of the steps", ["after the last step: it has an end after step"], ended)

            def longer(f):
                f.records.insert(-1, [f.SNAPSHOT, at[-1] + 1, bytearray(f.records[snaps[-1]][2])])
            case("a snapshot behind the last step", ["a snapshot of step .* follows the last step"], longer)
            case("the result is another snapshot", ["its result is that of step"], result)

            def ends_early(good=good, name=name):
                f = ReadoutForger(good)
                digest = hashlib.sha256(good).hexdigest()
                del f.records[snaps[-2]:]
                (self.dir / "f.lmj").write_bytes(f.written())
                found = self.audited(0, [], journal="f.lmj")
                assert found["steps"] == at[-3], found
                self.audited(MISMATCH, ["steps are missing"], "--digest", digest, journal="f.lmj")
                (self.dir / "f.lmj").unlink()
            self.checks.case(f"{method}: a journal that ends early", ends_early)

    def all(self):
        self.prepare()
        self.confirmed()
        self.refuted()
        self.readouts()
        self.held_out()
        self.checks.finish()


if __name__ == "__main__":
    Audits.main(__doc__)
