#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`lastmile validate` on every task and network: `make validate-networks`.

usage: matrix.py LASTMILE [--quick] [--networks A,B] [--only TASK-NETWORK,...] [--epochs N] [--args "..."] [FOLDER...]

The built-in digits and each data folder, each with the three networks; data folders are pre-trained for two epochs
and measured with --quick, so that a run takes minutes. Each run's reports are in
build/reports/validate/TASK-NETWORK/; from all that are there comes build/reports/validate-networks.json (what
tests/validate/RESULTS.md holds). Exit status 1 if a run finds a failure.
"""
import argparse
import json
import pathlib
import shlex
import subprocess
import sys
import time

REPORTS = pathlib.Path("build/reports")


def row(report):
    worst = next(x for x in report["layers"] if x["layer"] == report["worst_first"][0])
    out = {k: report[k] for k in ("task", "network", "accuracy", "quick", "failed", "exit_status")}
    out |= {"warnings": len(report["findings"]) - len(report["failed"]),
            "worst_layer": worst["layer"], "worst_sqnr_db": worst["total"]["sqnr_db"]}
    signal, sweep = report["signal"], report["sweep"]
    out |= {"parameters": signal["parameters"], "recommended": signal["recommended"],
            "lost": [[p["x"], p["lost"]] for p in signal["by_eps"]], "turns_at": sweep["turns_at"],
            "sweep": {f"{'float' if not p['weights'] else 'w' + str(p['weights'])}": [p["before"], p["after"]]
                      for p in sweep["points"]
                      if p["distribution"] == "sign"
                      and (not p["weights"] or (p["activations"], p["logits"]) == (8, 16))}}
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lastmile")
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", default="small-cnn,ds-cnn,resnet8")
    parser.add_argument("--only", default="")
    parser.add_argument("--epochs", default="2", help="of pre-training on data folders")
    parser.add_argument("--args", default="")
    args = parser.parse_args()
    bad = 0
    for folder in ["", *args.folders]:
        for network in args.networks.split(","):
            name = f"{pathlib.Path(folder).name or 'digits'}-{network}"
            if args.only and name not in args.only.split(","):
                continue
            reports = REPORTS / "validate" / name
            command = [args.lastmile, "validate", "--quiet", "--network", network, "--reports", str(reports),
                       *shlex.split(args.args)]
            if folder:
                command += ["--data", folder, "--epochs", args.epochs]
            if folder or args.quick:
                command += ["--quick"]
            begin = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True)
            seconds = time.monotonic() - begin
            print(f"{name}: exit status {done.returncode}, {seconds:.0f} s\n{done.stdout}{done.stderr}", flush=True)
            bad += done.returncode != 0
            all_there = [row(json.loads(p.read_text())) for p in sorted((REPORTS / "validate").glob("*/validate.json"))]
            (REPORTS / "validate-networks.json").write_text(json.dumps({"rows": all_there}, indent=1) + "\n")
    sys.exit(1 if bad else 0)


main()
