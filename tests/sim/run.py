#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The quick checks of the Verilated NPU; ends with `N passed, N failed`.

usage: run.py LOCKSTEP_TEST LASTMILE SHARED
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

CODER = """\
name = "coder"
input = "task"
loss = "reconstruction"
[[layer]]
name = "code"
op = "conv2d"
filters = 4
kernel = 3
stride = 2
padding = "same"
activation = "relu"
[[layer]]
name = "picture"
op = "fully_connected"
units = "classes"
"""
MEMORY = "latency=20,stall=20,reorder=2,rand_reset=7"


def main():
    test, lastmile, shared = sys.argv[1:]
    passed = failed = 0
    run = subprocess.run([test, "12"], stdout=subprocess.PIPE, text=True)
    print(run.stdout, end="")
    counts = re.search(r"^(\d+) passed, (\d+) failed", run.stdout, re.M)
    passed, failed = (int(counts[1]), int(counts[2])) if counts else (0, 1)

    vectors = sorted(pathlib.Path(shared, "vectors").glob("*.json"))
    if not vectors:
        print(f"SKIPPED: no golden vectors in {shared}/vectors")
    for backend in ["rtl", "lockstep"] if vectors else []:
        run = subprocess.run([lastmile, "vectors", "--backend", backend, "--backend-options", MEMORY,
                              *map(str, vectors)],
                             stdout=subprocess.PIPE, text=True)
        print(f"vectors on {backend}:\n{run.stdout}", end="")
        passed, failed = (passed + 1, failed) if run.returncode == 0 else (passed, failed + 1)

    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "cosim.json")
        coder = pathlib.Path(folder, "coder.toml")
        coder.write_text(CODER)
        for name, extra in [("two steps", ["--steps", "2"]),
                            ("an autoencoder", ["--steps", "1", "--network", str(coder), "--epochs", "1"]),
                            ("from step 3 on, gaussian, masked", ["--from", "3", "--steps", "1", "--distribution",
                                "gaussian", "--keep", "0.5"])]:
            run = subprocess.run([lastmile, "cosim", "--overwrite", "--batch", "4", "--adapt-examples", "200",
                                  "--quiet",
                                  "--backend-options", MEMORY,
                                  "--out", folder, "--report", str(report), *extra], stdout=subprocess.PIPE, text=True)
            good = run.returncode == 0
            if good:
                r = json.loads(report.read_text())
                good = r["differences"] == 0 and r["steps"] == int(extra[extra.index("--steps")
                    + 1]) and r["compared"] > 10000
                print(f"cosim, {name}: {r['cycles']} cycles, {r['compared']} values compared")
            if not good:
                print(f"FAIL cosim, {name}\n{run.stdout}")
            passed, failed = (passed + 1, failed) if good else (passed, failed + 1)
        # A bit flipped in memory behind the NPU's back must be found, located, and reported with the command that
        # repeats it.
        run = subprocess.run([lastmile, "cosim", "--overwrite", "--batch", "4", "--adapt-examples", "200", "--quiet",
                              "--steps", "1",
                              "--backend-options",
                              MEMORY + ",flip=9", "--out", folder, "--report", str(report)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)
        r = json.loads(report.read_text())
        where = r.get("difference", {})
        good = (run.returncode == 6 and r["differences"] == 1 and where.get("command") == 0
                and abs(where["rtl"] - where["model"]) == 1
                and "--from 0 --steps 1" in r["replay"] and "waveform" in r)
        print(f"flipped bit: {where.get('what')}, {r.get('waveform')}")
        passed, failed = (passed + 1, failed) if good else (passed, failed + 1)
        if not good:
            print(f"FAIL flipped bit: exit code {run.returncode}\n{run.stderr}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
