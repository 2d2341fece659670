#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A memory of sw/share/memory on the platform. usage: check_memory.py LASTMILE-SYSTEMC LASTMILE

The same run on a flat memory and on a described one: the same bits, more cycles, later answers. Speed, which the
program judges too, is not looked at here.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
RUN = ["--steps", "6", "--adapt-examples", "64", "--evaluations", "0", "--quiet"]


def main():
    platform, program = (str(pathlib.Path(p).resolve()) for p in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as t:
        subprocess.run([program, "run", "--overwrite", "--no-float", "--no-backprop", "--hold-out", "0", "--epochs",
                        "1", "--method", "forward-gradient", "--out", t, "--reports", t, *RUN], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)

        def simulated(*args):
            report = pathlib.Path(t) / "systemc.json"
            report.unlink(missing_ok=True)
            run = subprocess.run([platform, "--run", t, "--rtl-steps", "0", "--report", str(report), *RUN, *args],
                                 cwd=ROOT, capture_output=True, text=True)
            assert report.exists(), f"no report: {run.stdout[-500:]} {run.stderr[-500:]}"
            return json.loads(report.read_text())

        flat, ddr = simulated(), simulated("--dram", "ddr3")
        assert (flat["memory"], ddr["memory"]) == ("flat", "ddr3"), (flat["memory"], ddr["memory"])
        assert ddr["memory_latency"] > flat["memory_latency"], ddr["memory_latency"]
        for r in (flat, ddr):
            assert r["loose"]["journal_equal"] and r["loose"]["weights_equal"], "the memory changed a result"
        cycles = [r["loose"]["npu_cycles"] for r in (flat, ddr)]
        assert cycles[1] > 1.2 * cycles[0], cycles
        # rows that open, conflicts and refresh: answers are not all equally late
        bus = [r["loose"]["bus"]["npu"] for r in (flat, ddr)]
        assert bus[1]["mean_latency"] > bus[0]["mean_latency"], bus
        both = subprocess.run([platform, "--dram", "ddr3", "--banks", "4"], capture_output=True, text=True)
        assert both.returncode != 0 and "--dram" in both.stdout + both.stderr, both
    print(f"memories of the platform: {cycles[0]} cycles flat, {cycles[1]} with ddr3")


main()
