# SPDX-License-Identifier: Apache-2.0
"""What check.py and check_rtl.py share: cases, bytes read, traces as text."""
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
READ_BYTES = ("cmd_bytes", "act_read_bytes", "weight_read_bytes", "param_read_bytes", "update_read_bytes")


class Checks:
    """Counts cases; `N passed, N failed` is what tests/run.py reads."""

    def __init__(self):
        self.passed, self.failed = 0, 0

    def __call__(self, name, condition, detail=""):
        if condition:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAILED: {name} {detail}")

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(self.failed != 0)


def read_bytes(part):
    return sum(part["traffic"][k] for k in READ_BYTES)


def have_protoc(what_otherwise):
    if shutil.which("protoc") is None:
        print(f"SKIPPED: protoc is not installed (Debian package protobuf-compiler), {what_otherwise}")
        return False
    return True


def decode_trace(path):
    """protoc's run on a trace, by the published field numbers; its output is the trace as text."""
    with path.open("rb") as trace:
        return subprocess.run(["protoc", "--decode=perfetto.protos.Trace", "sw/profile/perfetto.proto"], cwd=ROOT,
                              stdin=trace, capture_output=True, text=True)
