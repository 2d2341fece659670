#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`lastmile validate --quick` as a user runs it: exit codes, summary, and what the reports hold."""
import csv
import json
import pathlib
import subprocess
import sys
import tempfile


def run(lastmile, *args):
    done = subprocess.run([lastmile, "validate", "--quick", "--quiet", *args], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def main():
    lastmile = sys.argv[1]
    results = []

    def check(name, good, found=""):
        results.append(bool(good))
        if not good:
            print(f"FAIL {name}: {found}")

    with tempfile.TemporaryDirectory() as folder:
        weights = pathlib.Path(folder) / "float.lmc"
        subprocess.run([lastmile, "pretrain", "--quiet", "--epochs", "2", "--output", weights], check=True,
                       stdout=subprocess.DEVNULL)
        base = ["--checkpoint", str(weights), "--reports", folder]
        status, out, err = run(lastmile, *base)
        check("exit status", status == 0, f"{status}\n{out}{err}")
        lines = out.splitlines()
        check("at most 40 lines", 10 < len(lines) <= 40, len(lines))
        report = json.loads((pathlib.Path(folder) / "validate.json").read_text())
        order = [next(x for x in report["layers"] if x["layer"] == n)["total"]["sqnr_db"]
                 for n in report["worst_first"]]
        check("worst first", order == sorted(order), order)
        check("recommendation", all(report["signal"]["recommended"][k] > 0 for k in ("eps", "pairs", "step")))
        w8 = [p for p in report["sweep"]["points"] if p["weights"] == 8]
        check("8-bit weights have no signal", w8 and all(p["perturbed_share"] == 0 and p["before"] == p["after"]
                                                         for p in w8), w8)
        turns = report["sweep"]["turns_at"]
        check("the sweep turns above 8 bits", turns["sign"] != 8 and turns["gaussian"] != 8, turns)
        with open(pathlib.Path(folder) / "validate-layers.csv") as file:
            rows = list(csv.DictReader(file))
        check("one CSV line per layer", [r["layer"] for r in rows] == [x["layer"] for x in report["layers"]])
        page = (pathlib.Path(folder) / "validate.html").read_text()
        check("page is self-contained", "http-equiv" not in page and "<script" not in page and "src=" not in page)
        check("page has its parts",
              all(w in page for w in ("SQNR by layer", "Width sweep", "Training signal", "Error histograms")))

        part = ["--no-signal", "--no-sweep", "--no-sensitivity"]
        status, out, err = run(lastmile, *base, *part, "--sqnr-fail", "99")
        check("a missed threshold is exit status 32 + 2", status == 34, status)
        check("warnings do not count, but with --strict",
              [run(lastmile, *base, *part, *extra, "--sqnr-warn", "99", "--rmse-warn", "0.01")[0]
                                                           for extra in ([], ["--strict"])] == [0, 32 + 2 + 8])
        check("and named", "FAILED (exit status 34):" in out and "conv1: sqnr" in out, out)
        first = run(lastmile, *base, *part, "--json", "--threads", "1")[1]
        second = run(lastmile, *base, *part, "--json", "--threads", "3")[1]
        same = [json.loads(x) for x in (first, second)]
        for x in same:
            x.pop("seconds"), x.pop("cpu_seconds")
        check("threads change nothing", same[0] == same[1])
        status, out, err = run(lastmile, "--checkpoint", str(weights) + ".missing")
        check("bad input is exit status 3", status == 3 and ".missing" in err, f"{status} {err}")
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    sys.exit(0 if all(results) else 1)


main()
