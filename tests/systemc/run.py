#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests of the SystemC platform; ends with `N passed, N failed`.

usage: run.py [--report FILE] PROTOCOL_TEST FAULT_TEST     FILE: a report that gets the counts as "tests"
"""
import json
import pathlib
import re
import subprocess
import sys


def main():
    args = sys.argv[1:]
    report = pathlib.Path(args[1]) if args[0] == "--report" else None
    counted = {}
    passed = failed = 0
    for program in args[-2:]:
        try:
            run = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=600)
            out, status = run.stdout, run.returncode
        except subprocess.TimeoutExpired as e:
            out, status = (e.stdout or b"").decode() + "\nno end within 600 s", 1
        counts = re.search(r"^(\d+) passed, (\d+) failed\n", out, re.M)
        print(out.replace(counts[0], "") if counts else f"{out}\nFAIL {program}: exit status {status}", end="")
        passed += int(counts[1]) if counts else 0
        failed += int(counts[2]) if counts else 1
        counted[pathlib.Path(program).name] = {"passed": int(counts[1]) if counts else 0, "failed": int(counts[2])
                                               if counts else 1}
        transactions = re.match(r"(\d+) transactions", out)
        if transactions:
            counted[pathlib.Path(program).name]["transactions"] = int(transactions[1])
    if report:
        report.write_text(json.dumps({**json.loads(report.read_text()), "tests": counted}, indent=1) + "\n")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
