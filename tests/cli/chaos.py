#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong around a run, in random order, for a time: nothing is lost, nothing silently wrong.

usage: chaos.py PROGRAM IO_FAULTS.so [SECONDS [NPU_FAULTS]]      ends with `N passed, N failed`

A round takes one of several runs (sign and scaled estimators, readouts, readouts with inner layers, a whole `run`) and
disturbs it a few times:
SIGKILL, SIGINT, SIGTERM or SIGHUP at random times, a second process on the same files, a full disk (a small tmpfs where
that can be mounted, else a limit on the size of files), I/O errors of single calls (a preloaded library), closed
streams, a journal whose end a power cut has taken; where the RTL backend is built (`make rtl`), some steps on it with
a bus that stalls, answers with errors or stops answering. After each of them what is left must be a beginning of the
undisturbed run, or say what is damaged; the last start, which nobody disturbs, must end in the same bits.
NPU_FAULTS (`make rtl-unit-faults` builds it) takes turns with them: queues on the RTL with malformed commands, a bus
that fails or falls silent and resets at random cycles, after each of which the next queue must be right.
LASTMILE_SEED repeats the order of the disturbances (not the instants that a clock decides).
"""
import ctypes
import errno
import os
import pathlib
import random
import resource
import shutil
import signal
import subprocess
import sys
import time

from harness import DEVICE, INPUT, JOURNAL, TIMEOUT, TINY, Checks, Program, Workspace, write_idx_folder

COMMON = ["--network", "../tiny.toml", "--data", "../img", "--adapt-examples", 32, "--threads", 1, "--quiet"]
ADAPT = ["adapt", *COMMON, "--input", "../q.lmq", "--batch", 8, "--evaluations", 0, "--journal", "j.lmj", "--output",
         "o.lmq"]
RUNS = {
    "sign": [*ADAPT, "--steps", 3000, "--pairs", 1, "--estimator", "sign"],
    "scaled": [*ADAPT, "--steps", 600, "--pairs", 3],
    "readouts": [*ADAPT, "--method", "readout", "--readout-steps", 400],
    "both": [*ADAPT, "--method", "both", "--readout-steps", 100, "--inner-steps", 300, "--layers", "all"],
    "run": ["run", *COMMON, "--epochs", 2, "--steps", 500, "--batch", 8, "--readout-steps", 60, "--evaluations", 1,
            "--backprop-epochs", 1, "--no-float", "--out", "out", "--reports", "rep"],
}
KEPT = (".lmj", ".lmq", ".lmc")


def results(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.suffix in KEPT and p.is_file()}


def mount_tmpfs(folder, size):
    """In a mount namespace of this process's child; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone_newns, ms_private = 0x20000, (1 << 18) | (1 << 14)
    return (libc.unshare(clone_newns) == 0 and libc.mount(b"none", b"/", None, ms_private, None) == 0
            and libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()) == 0)


class Chaos:
    def __init__(self, program, library, folder, seed, npu_faults):
        self.npu_faults = npu_faults and pathlib.Path(npu_faults).resolve()
        self.p, self.library, self.dir = program, pathlib.Path(library).resolve(), folder
        self.random, self.checks, self.counts = random.Random(seed), Checks(), {}
        self.work = folder / "work"

    def prepare(self):
        (self.dir / "tiny.toml").write_text(TINY)
        write_idx_folder(self.dir / "img")
        self.work.mkdir()
        self.p.ok("pretrain", *COMMON, "--epochs", 1, "--output", "../t.lmc", cwd=self.work)
        self.p.ok("quantize", *COMMON, "--checkpoint", "../t.lmc", "--output", "../q.lmq", cwd=self.work)
        self.expected, self.seconds = {}, {}
        for name, args in RUNS.items():
            self.clean()
            begin = time.monotonic()
            self.p.ok(*args, cwd=self.work)
            self.seconds[name] = time.monotonic() - begin
            self.expected[name] = results(self.work)
        self.tmpfs = self.can_mount()
        self.rtl = self.has_rtl()
        print("RTL: " + ("built" if self.rtl else "not built, no faults of its bus"))
        print("full disk: " + ("tmpfs" if self.tmpfs else "limit on the size of files (no tmpfs can be mounted here)"))

    def has_rtl(self):
        self.clean()
        return self.p.run(*ADAPT, "--steps", 1, "--backend", "rtl", cwd=self.work).returncode == 0

    def clean(self):
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()

    def can_mount(self):
        probe = self.dir / "probe"
        probe.mkdir()
        child = os.fork()
        if child == 0:
            os._exit(0 if mount_tmpfs(probe, 4096) else 1)
        return os.waitpid(child, 0)[1] == 0

    def start(self, args, **kw):
        return subprocess.Popen(self.p.command([*args, "--resume"]), cwd=self.work, stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", **kw)

    def wait(self, child, codes):
        said = child.communicate(timeout=TIMEOUT)[1]
        assert child.returncode in codes, f"exit code {child.returncode}, expected one of {sorted(codes)}: {said}"
        return said

    # ---- disturbances

    def signalled(self, name, args):
        number = self.random.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
        child = self.start(args)
        time.sleep(self.random.uniform(0, self.seconds[name]))
        child.send_signal(number)
        self.wait(child, {0, 128 + number, -number})
        return number.name

    def second(self, name, args):
        first = self.start(args)
        time.sleep(self.random.uniform(0, self.seconds[name] / 2))
        if self.random.random() < 0.5:
            other = [a for a in args]
            child = subprocess.Popen(self.p.command([*other, "--overwrite"]), cwd=self.work, stderr=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, text=True)
        else:
            child = self.start(args)
        # Whoever comes second is refused, or comes when the first has ended.
        codes, said = [], []
        for c in (child, first):
            said.append(self.wait(c, {0, JOURNAL}))
            codes.append(c.returncode)
        assert 0 in codes, said
        return "two processes"

    def full_disk(self, name, args):
        whole = sum(len(v) for v in self.expected[name].values())
        size = self.random.randrange(1, whole)
        if not self.tmpfs:
            def limit():
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            child = self.start(args, preexec_fn=limit, restore_signals=False)
            self.wait(child, {0, INPUT})
            return "full disk"
        # The state moves onto the small disk, and what is there afterwards moves back.
        saved = self.dir / "saved"
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(self.work, saved)
        child = os.fork()
        if child == 0:
            code = 99
            try:
                pages = sum(-(-len(p.read_bytes()) // 4096) for p in saved.rglob("*") if p.is_file())
                if mount_tmpfs(self.work, 4096 * (pages + 4 + size // 4096)):
                    shutil.copytree(saved, self.work, dirs_exist_ok=True)
                    run = self.p.run(*args, "--resume", cwd=self.work)
                    code = run.returncode
                    if code not in (0, INPUT):
                        print(f"full disk: {code}: {run.stderr}", flush=True)
                    shutil.rmtree(saved)
                    shutil.copytree(self.work, saved)
            finally:
                os._exit(code if 0 <= code < 128 else 98)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        self.clean()
        shutil.copytree(saved, self.work, dirs_exist_ok=True)
        assert code in (0, INPUT), f"on a full disk it ended with {code}"
        return "full disk"

    def io_error(self, name, args):
        error = self.random.choice([errno.EIO, errno.ENOSPC, errno.EDQUOT])
        env = {**os.environ, "LD_PRELOAD": str(self.library), "LASTMILE_FAULT_ERRNO": str(error),
               "LASTMILE_FAULT_AT": str(self.random.choice([1, 2, 3, 5, 8, 13, 40, 200, 900])),
               "LASTMILE_FAULT_COUNT": str(self.random.choice([1, 1, 3, 10 ** 6]))}
        child = self.start(args, env=env)
        said = self.wait(child, {0, INPUT})
        came = "io_faults: a call fails" in said
        assert child.returncode == 0 or came, f"no call failed, but: {said}"
        assert child.returncode != 0 or not came, "a call failed, and the exit code is 0"
        return "I/O error" if came else "I/O error that never came"

    def bus(self, name, args):
        """Slow as it is, it is killed after a while if its bus lets it live."""
        n = self.random.randint(1, 60)
        options = self.random.choice([f"read_error={n}", f"write_error={n}", f"read_error={n},decode_error=1",
                                      f"hang={n}", f"stall={self.random.randint(10, 90)},reorder=1"])
        child = self.start([*args, "--backend", "rtl", "--backend-options", options])
        try:
            said = child.communicate(timeout=self.random.uniform(0.5, 3))[1]
        except subprocess.TimeoutExpired:
            child.kill()
            said = child.communicate(timeout=TIMEOUT)[1]
        assert child.returncode in (0, DEVICE, -signal.SIGKILL), f"{options}: {child.returncode}: {said}"
        return "bus" if child.returncode != DEVICE else "error of the bus"

    def closed(self, name, args):
        which = self.random.sample([0, 1, 2], self.random.randint(1, 3))
        child = subprocess.Popen(self.p.command([*args, "--resume"]), cwd=self.work,
                                 preexec_fn=lambda: [os.close(fd) for fd in which], stderr=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)
        time.sleep(self.random.uniform(0, self.seconds[name]))
        child.kill()
        code = child.wait(TIMEOUT)
        assert code in (0, 1, -signal.SIGKILL), code
        return "closed streams"

    def power_cut(self, name, args):
        """The end of a journal as it may be when the power comes back. (Readouts sync every record.)"""
        for file in self.work.rglob("j*.lmj"):
            content = file.read_bytes()
            info = self.p.json("info", file, cwd=self.work)
            if "pairs" not in info or info["steps"] == 0:
                continue
            record = 28 + info["pairs"]
            lost = self.random.randint(1, min(info["steps"], 250) * record)
            tail = bytes(lost) if self.random.random() < 0.5 else bytes(self.random.randrange(256) for _ in range(lost))
            file.write_bytes(content[:-lost] + tail)
        return "power cut"

    # ---- rounds

    def beginning(self, name, done):
        """What is left: whole files are the undisturbed ones, journals are beginnings or name their damage."""
        for file, content in results(self.work).items():
            expected = self.expected[name].get(file)
            assert expected is not None, f"after {done}: {file} is no file of this run"
            if file.endswith(".lmj"):
                whole = len(content)
                if "power cut" in done:
                    whole = self.p.json("info", file, cwd=self.work)["bytes"]
                assert content[:whole] == expected[:whole], \
                    f"after {done}: {file} is no beginning of the undisturbed one"
            else:
                assert content == expected, f"after {done}: {file} differs from the undisturbed one"

    def round(self, name):
        self.clean()
        args, done = RUNS[name], []
        for _ in range(self.random.randint(1, 4)):
            how = self.random.choice([self.signalled, self.signalled, self.second, self.full_disk, self.io_error,
                                      self.closed, self.power_cut, *([self.bus] if self.rtl else [])])
            done.append(how(name, args))
            self.counts[done[-1]] = self.counts.get(done[-1], 0) + 1
            self.beginning(name, done)
        r = self.p.run(*args, "--resume", cwd=self.work)
        assert r.returncode == 0, f"after {done} the last start ended with {r.returncode}: {r.stderr}"
        found = results(self.work)
        different = sorted(k for k in found.keys() | self.expected[name].keys()
                           if found.get(k) != self.expected[name].get(k))
        assert not different, f"after {done}: {different} differ from the undisturbed run"
        left = [p.name for p in self.work.rglob("*") if p.suffix in (".part", ".lock")]
        assert not left, f"after {done}: {left} are left"

    def npu(self):
        seed = self.random.randrange(2 ** 31)
        done = subprocess.run([self.npu_faults, "4"], env={**os.environ, "LASTMILE_SEED": str(seed)}, text=True,
                              capture_output=True, timeout=TIMEOUT)
        assert done.returncode == 0, done.stdout + done.stderr
        self.counts["NPU reset or starved"] = self.counts.get("NPU reset or starved", 0) + 1

    def run(self, seconds):
        self.prepare()
        end, i = time.monotonic() + seconds, 0
        names = list(RUNS)
        while i < len(names) or time.monotonic() < end:
            self.checks.case(f"round {i} ({names[i % len(names)]})", self.round, names[i % len(names)])
            if self.npu_faults:
                self.checks.case(f"round {i} (NPU)", self.npu)
            i += 1
        print("disturbed: " + ", ".join(f"{n} x {k}" for k, n in sorted(self.counts.items())))
        self.checks.finish()


def main():
    if len(sys.argv) not in (3, 4, 5):
        sys.exit(__doc__)
    seed = int(os.environ.get("LASTMILE_SEED") or random.SystemRandom().randrange(2 ** 32))
    print(f"LASTMILE_SEED={seed}", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    with Workspace() as folder:
        chaos = Chaos(Program(sys.argv[1]), sys.argv[2], folder, seed, sys.argv[4] if len(sys.argv) > 4 else None)
        chaos.run(float(sys.argv[3]) if len(sys.argv) > 3 else 60)


if __name__ == "__main__":
    main()
