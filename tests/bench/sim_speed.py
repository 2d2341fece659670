#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed of the RTL in simulation: the whole NPU alone, in lockstep and with a waveform, and its multipliers alone.

usage: sim_speed.py LASTMILE ARRAY_SPEED [--repeat N]
       sim_speed.py LASTMILE --against LASTMILE [--repeat N]

Processor time of one core per queue (host work and pre-training not included); the best of N runs. Training steps (m
= 1) at batch 16, memory latency 20, no stalls. Writes build/reports/sim-speed.json. --against: how often as fast the
first program is as the second, that of another checkout, both in turn: the RTL alone and in lockstep, each with the
simulation that was built beside it (`make rtl`). Prints the ratio of the best and the median of the runs' ratios.
"""
import argparse
import json
import pathlib
import statistics
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


def run(program, case):
    """The report of one run; the folder is new for each, so that nothing has to be overwritten."""
    name, network, steps, backend, more = case
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder, "speed.json")
        done = subprocess.run([str(pathlib.Path(program).absolute()), "cosim", "--backend", backend, "--network",
                               network, "--batch", "16", "--pairs", "1", "--steps", str(steps), "--adapt-examples",
                               "256", "--threads", "1", "--quiet", "--out", folder, "--report", str(report),
                               "--backend-options", "latency=20" + more.replace("FOLDER", folder)],
                              cwd=pathlib.Path(program).absolute().parent.parent, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{program}: {name}: exit code {done.returncode}\n{done.stderr}")
        return json.loads(report.read_text())


def against(program, other, repeat):
    for case in CASES:
        if case[4] != "":
            continue
        runs = [[run(p, case)["cycles_per_cpu_second"] for p in (program, other)] for _ in range(repeat)]
        best = max(r[0] for r in runs) / max(r[1] for r in runs)
        median = statistics.median(r[0] / r[1] for r in runs)
        print(f"{case[1] + ': ' + case[0]:36} {max(r[0] for r in runs) / 1e6:6.2f} Mcycle/s, {best:.2f} times as fast "
              f"(median {median:.2f})", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("lastmile")
    p.add_argument("array", nargs="?")
    p.add_argument("--against", metavar="LASTMILE")
    p.add_argument("--repeat", type=int, default=3)
    args = p.parse_args()
    if args.against:
        against(args.lastmile, args.against, args.repeat)
        return
    if args.array is None:
        p.error("ARRAY_SPEED is missing")
    rows = []
    runs = [json.loads(subprocess.run([args.array], capture_output=True, text=True, check=True).stdout)
            for _ in range(args.repeat)]
    best = max(r["cycles"] / r["cpu_seconds"] for r in runs)
    rows.append({"what": "multipliers alone (npu_dot)", "cycles_per_second": best, "macs_per_second": best * 256})
    for case in CASES:
        name, network, _, backend, _ = case
        best = max((run(args.lastmile, case) for _ in range(args.repeat)), key=lambda r: r["cycles_per_cpu_second"])
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
