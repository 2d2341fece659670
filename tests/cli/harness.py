# SPDX-License-Identifier: Apache-2.0
"""Shared by the checks that run the `lastmile` program: running it, what it left behind, counting, small data."""
import contextlib
import hashlib
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import wave

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
USAGE, INPUT, DEVICE, JOURNAL, MISMATCH = 2, 3, 4, 5, 6  # sw/base/error.hpp; `lastmile --help`
TIMEOUT = 300

# Three layers, 1,600 weights on 28x28x1: a step takes a fraction of a millisecond.
TINY = """\
name = "tiny"
input = "task"
classes = "task"

[[layer]]
name = "conv1"
op = "conv2d"
filters = 4
kernel = 3
stride = 2
padding = "same"
activation = "relu"

[[layer]]
name = "conv2"
op = "conv2d"
filters = 8
kernel = 3
stride = 2
padding = "same"
activation = "relu"

[[layer]]
name = "fc"
op = "fully_connected"
units = "classes"
"""


def without_aslr():
    """Sanitizers of older compilers crash at random under wide address randomisation; where allowed, run without it."""
    wrap = ["setarch", platform.machine(), "-R"]
    try:
        return wrap if subprocess.run(wrap + ["true"], stderr=subprocess.DEVNULL).returncode == 0 else []
    except OSError:
        return []


class Program:
    """One build of `lastmile`; the folder of its output tree names it."""

    def __init__(self, path):
        self.path = pathlib.Path(path).resolve()
        self.name = self.path.parent.name
        self.prefix = without_aslr() if "debug" in self.name else []

    def command(self, args):
        return self.prefix + [str(self.path)] + [str(a) for a in args]

    def run(self, *args, cwd=None, **kw):
        return subprocess.run(self.command(args), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace",
                              timeout=TIMEOUT, **kw)

    def start(self, *args, cwd=None, stderr=subprocess.DEVNULL):
        return subprocess.Popen(self.command(args), cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=stderr, text=True)

    def ok(self, *args, cwd=None):
        """Runs what must work; its stdout."""
        r = self.run(*args, cwd=cwd)
        assert r.returncode == 0, f"`lastmile {' '.join(map(str, args))}` ended with {r.returncode}: {r.stderr.strip()}"
        return r.stdout

    def json(self, *args, cwd=None):
        return json.loads(self.ok(*args, "--json", "--quiet", cwd=cwd))


class Checks:
    """Counts cases; `N passed, N failed` is what tests/run.py reads."""

    def __init__(self):
        self.passed, self.failed = 0, 0
        self.start = time.monotonic()

    def case(self, name, body, *args, **kw):
        try:
            body(*args, **kw)
            self.passed += 1
        except Exception as e:  # every failure is reported, the next case still runs
            self.failed += 1
            where = traceback.extract_tb(e.__traceback__)[-1]
            text = str(e) if isinstance(e, AssertionError) else f"{type(e).__name__}: {e}"
            print(f"FAIL {name} ({os.path.basename(where.filename)}:{where.lineno}): {text}", flush=True)

    def finish(self):
        print(f"{time.monotonic() - self.start:.1f} s")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        sys.exit(1 if self.failed else 0)


def state(folder):
    """Every file below a folder and what is in it."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
            for p in pathlib.Path(folder).rglob("*")}


class Workspace:
    """A folder for the files of one run of the checks."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="lastmile-cli-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def idx_bytes(dims, data):
    return bytes([0, 0, 8, len(dims)]) + b"".join(struct.pack(">I", d) for d in dims) + bytes(data)


def npy_bytes(kind, shape, content):
    """An array as numpy stores it, in order of rows."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + content


def images(n, side, classes):
    """n images in which the place of a bright bar is the class, and their labels."""
    pixels, labels = bytearray(), bytearray()
    for i in range(n):
        label = (i * 7 + i // classes) % classes
        labels.append(label)
        for y in range(side):
            for x in range(side):
                pixels.append((200 if y * classes // side == label else 20) + (i * 31 + y * 17 + x * 13) % 40)
    return bytes(pixels), bytes(labels)


def write_idx_folder(folder, train=240, test=60, side=12, classes=3):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    for part, n in (("train", train), ("t10k", test)):
        pixels, labels = images(n, side, classes)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx_bytes([n, side, side], pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes([n], labels))
    return folder


def write_wav(path, samples, rate=16000, channels=1, width=2):
    with wave.open(str(path), "wb") as w:
        w.setnchannels(channels)
        w.setsampwidth(width)
        w.setframerate(rate)
        w.writeframes(bytes((i * i * 37 + i * 11) & (0xff if i % 2 else 0x1f)
                            for i in range(samples * channels * width)))


INDEX = "file,start,length,class,class_name,speaker,split"


def write_audio_folder(folder, clips=4, length=4000, rate=16000):
    """Two classes; per split one file of `clips` clips each; two held-out speakers."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    rows = [INDEX]
    for split, speakers in (("train", ["a"]), ("test", ["b"]), ("adapt", ["c", "d"])):
        write_wav(folder / f"{split}.wav", clips * length * len(speakers), rate)
        for i in range(clips * len(speakers)):
            word = "yes" if i % 2 else "no"
            rows.append(f"{split}.wav,{i * length},{length},{i % 2},{word},{speakers[i // clips]},{split}")
    (folder / "index.csv").write_text("\n".join(rows) + "\n")
    return folder


def xxh64(data):
    """XXH64 with seed 0, to give damaged files a checksum that fits (its specification: xxHash, doc/xxhash_spec.md)."""
    p1, p2, p3, p4, p5 = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579,
                          2870177450012600261)
    mask = (1 << 64) - 1

    def rotl(x, r):
        return ((x << r) | (x >> (64 - r))) & mask

    def round_(acc, lane):
        return rotl((acc + lane * p2) & mask, 31) * p1 & mask

    at, n = 0, len(data)
    if n >= 32:
        acc = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        while at + 32 <= n:
            acc = [round_(a, lane) for a, lane in zip(acc, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = (rotl(acc[0], 1) + rotl(acc[1], 7) + rotl(acc[2], 12) + rotl(acc[3], 18)) & mask
        for a in acc:
            h = ((h ^ round_(0, a)) * p1 + p4) & mask
    else:
        h = p5
    h = (h + n) & mask
    while at + 8 <= n:
        h = (rotl(h ^ round_(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & mask
        at += 8
    if at + 4 <= n:
        h = (rotl(h ^ (struct.unpack_from("<I", data, at)[0] * p1 & mask), 23) * p2 + p3) & mask
        at += 4
    while at < n:
        h = rotl(h ^ (data[at] * p5 & mask), 11) * p1 & mask
        at += 1
    h = (h ^ (h >> 33)) * p2 & mask
    h = (h ^ (h >> 29)) * p3 & mask
    return h ^ (h >> 32)


def error_line(result):
    """The message of a failed run: what it prints on stderr, without progress and notes."""
    lines = [line for line in result.stderr.splitlines() if line.startswith("lastmile: ")]
    return lines[-1] if lines else result.stderr.strip()


def matches(text, patterns):
    missing = [p for p in patterns if not re.search(p, text)]
    assert not missing, f"the message does not say {missing}: {text!r}"


class Suite:
    """Cases of one program in one folder; each finds the files that the ones before were given, and no others."""

    def __init__(self, program, folder):
        self.p, self.dir, self.checks = program, folder, Checks()

    @classmethod
    def main(cls, doc):
        """Runs all() on the program that is the only argument."""
        if len(sys.argv) != 2:
            sys.exit(doc)
        # Whoever started this may ignore signals; the program must then not.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        with Workspace() as folder:
            cls(Program(sys.argv[1]), folder).all()

    def case(self, name, body, *args, **kw):
        kept = state(self.dir)
        self.checks.case(name, body, *args, **kw)
        for file in sorted(set(state(self.dir)) - set(kept), reverse=True):
            path = self.dir / file
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def read(self, name):
        return (self.dir / name).read_bytes()

    def message(self, result):
        return error_line(result)

    def fails(self, code, patterns, *args, stdout="", **kw):
        """It ends with `code`, says so and nothing on stdout (None: whatever), and no file has changed."""
        before = state(self.dir)
        r = self.p.run(*args, cwd=self.dir, **kw)
        assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {error_line(r)!r}"
        matches(self.message(r), patterns)
        assert stdout is None or r.stdout == stdout, f"stdout is {r.stdout[:200]!r}"
        after = state(self.dir)
        changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
        assert not changed, f"a failed command changed {changed}"
        return r

    @contextlib.contextmanager
    def running(self, *args, until, **kw):
        """A process that has come as far as that a file is there."""
        child = self.p.start(*args, cwd=self.dir, stderr=subprocess.PIPE, **kw)
        try:
            deadline = time.monotonic() + TIMEOUT
            while not (self.dir / until).exists() and time.monotonic() < deadline:
                assert child.poll() is None, f"it ended with {child.returncode}: {child.stderr.read()}"
                time.sleep(0.002)
            yield child
        finally:
            if child.poll() is None:
                child.kill()
            if not child.stderr.closed:
                child.communicate()
