#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of the RTL in simulation: the whole NPU alone, in lockstep and with a waveform, and its multipliers alone.

usage: sim_speed.py LASTMILE ARRAY_SPEED [--repeat N]

Processor time of one core per queue (host work and pre-training not included); the best of N runs. Training steps (m
= 1) at batch 16, memory latency 20, no stalls. Writes build/reports/sim-speed.json.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile

CASES = [  # name, network, steps, backend, more options
    ("RTL alone", "small-cnn", 8, "rtl", ""),
    ("lockstep", "small-cnn", 8, "lockstep", ""),
    ("lockstep, 10 % stalls", "small-cnn", 8, "lockstep", ",stall=10"),
    ("lockstep, assertions", "small-cnn", 2, "lockstep", ",checked=1"),
    ("lockstep, waveform", "small-cnn", 1, "lockstep", ",trace=FOLDER/speed.fst"),
    ("RTL alone", "resnet8", 2, "rtl", ""),
    ("lockstep", "resnet8", 2, "lockstep", ""),
]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("lastmile")
    p.add_argument("array")
    p.add_argument("--repeat", type=int, default=3)
    args = p.parse_args()
    rows = []
    runs = [json.loads(subprocess.run([args.array], capture_output=True, text=True, check=True).stdout)
            for _ in range(args.repeat)]
    best = max(r["cycles"] / r["cpu_seconds"] for r in runs)
    rows.append({"what": "multipliers alone (npu_dot)", "cycles_per_second": best, "macs_per_second": best * 256})
    with tempfile.TemporaryDirectory() as folder:
        for name, network, steps, backend, more in CASES:
            best = None
            for _ in range(args.repeat):
                report = pathlib.Path(folder, "speed.json")
                done = subprocess.run([args.lastmile, "cosim", "--overwrite",
                                       "--backend", backend, "--network", network, "--batch",
                                       "16", "--pairs", "1",
                                       "--steps", str(steps), "--adapt-examples", "256", "--threads", "1", "--quiet",
                                       "--out", folder, "--report", str(report),
                                       "--backend-options", "latency=20" + more.replace("FOLDER", folder)],
                                      capture_output=True, text=True)
                if done.returncode != 0:
                    raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stderr}")
                r = json.loads(report.read_text())
                if best is None or r["cycles_per_cpu_second"] > best["cycles_per_cpu_second"]:
                    best = r
            row = {"what": f"{network}: {name}", "cycles_per_second": best["cycles_per_cpu_second"],
                   "macs_per_second": best["macs"] / best["cpu_seconds"], "cycles": best["cycles"]}
            if backend == "lockstep":
                row["checking_share"] = best["cpu_seconds_checking"] / best["cpu_seconds"]
            rows.append(row)
            print(f"{row['what']:36} {row['cycles_per_second'] / 1e6:6.2f} Mcycle/s "
                  f"{row['macs_per_second'] / 1e6:8.1f} MMAC/s", flush=True)
    print(f"{rows[0]['what']:36} {rows[0]['cycles_per_second'] / 1e6:6.2f} Mcycle/s "
          f"{rows[0]['macs_per_second'] / 1e6:8.1f} MMAC/s")
    path = pathlib.Path("build/reports/sim-speed.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": 1, "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
