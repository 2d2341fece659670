#!/usr/bin/env python3
"""Runs the tests of the SystemC platform; ends with `N passed, N failed`.

usage: run.py PROTOCOL_TEST FAULT_TEST [TRANSACTIONS]
"""
import re
import subprocess
import sys


def main():
    passed = failed = 0
    for command in ([sys.argv[1], *sys.argv[3:4]], [sys.argv[2]]):
        try:
            run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=600)
            out, status = run.stdout, run.returncode
        except subprocess.TimeoutExpired as e:
            out, status = (e.stdout or b"").decode() + "\nno end within 600 s", 1
        counts = re.search(r"^(\d+) passed, (\d+) failed\n", out, re.M)
        print(out.replace(counts[0], "") if counts else f"{out}\nFAIL {command[0]}: exit status {status}", end="")
        passed += int(counts[1]) if counts else 0
        failed += int(counts[2]) if counts else 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
