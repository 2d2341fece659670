#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the cosimulation campaign over parameter sets and writes build/reports/campaign.json.

usage: campaign.py [--make MAKE] [--seconds N] [--seed N] [--jobs N] [--add] PROGRAM ARRAY...

ARRAY: a name of sim/arrays.mk, or rows=8,cols=8,... --add: the results are added to those already in the report.
"""
import argparse
import concurrent.futures
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import arrays


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--make", default="make")
    p.add_argument("--seconds", default="600")
    p.add_argument("--seed", default="1")
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--add", action="store_true")
    p.add_argument("program")
    p.add_argument("sets", nargs="+")
    args = p.parse_args()
    for text in args.sets:
        build = [*args.make.split(), "--no-print-directory", "rtl", *arrays.settings(arrays.parse(text))]
        if subprocess.run(build, stdout=subprocess.DEVNULL).returncode != 0:
            print(f"{text}: the build failed")
            return 1

    def campaign(number):
        text = args.sets[number]
        array = arrays.hardware(arrays.parse(text))
        run = subprocess.run([args.program, array, str(int(args.seed) + number), args.seconds],
                             stdout=subprocess.PIPE, text=True)
        if not run.stdout.strip():
            raise SystemExit(f"{text}: ended with status {run.returncode}")
        r = json.loads(run.stdout.splitlines()[-1])
        print(f"{text}: seed {r['seed']}, {r['commands']} commands, {r['cycles']} cycles, {r['compared']} values "
              f"compared, "
              f"{r['differences']} differences" + (f": {r['difference']}" if "difference" in r else ""), flush=True)
        return r

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(campaign, range(len(args.sets))))
    path = pathlib.Path("build/reports/campaign.json")
    if args.add and path.exists():
        results = json.loads(path.read_text())["sets"] + results
    total = {k: sum(r[k] for r in results) for k in ("commands", "cycles", "compared", "differences")}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**total, "sets": results}, indent=1) + "\n")
    print(f"{total['compared']} values compared, {total['differences']} differences; report: {path}")
    return 1 if total["differences"] else 0


if __name__ == "__main__":
    sys.exit(main())
