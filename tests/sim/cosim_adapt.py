#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A whole adaptation in the RTL: `make cosim-adapt`.

A pre-trained network meets another domain and learns it by readouts, twice: on the model, and on the RTL with the model
in lockstep, which compares every command's results. From the first example's record through the search for a rate to
the last step, every bit must agree: 0 differences, the same journal, the same network. Accuracy is that of the network
on the model, over all test examples; the RTL sees the first batch of them.

usage: cosim_adapt.py PROGRAM OUT REPORT [--resume] [--rtl OPTIONS] [-- ARGUMENTS of `lastmile adapt`]

--rtl: --backend-options of the run on the RTL. OUT keeps the files; --resume goes on with a run on the RTL that was
killed. Ends with `N passed, N failed`.
"""
import argparse
import json
import pathlib
import subprocess
import sys
import time


def main():
    argv = sys.argv[1:]
    more = argv[argv.index("--") + 1:] if "--" in argv else []
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--rtl", default="")
    options = parser.parse_args(argv[:argv.index("--")] if "--" in argv else argv)
    out = options.out
    out.mkdir(parents=True, exist_ok=True)

    def lastmile(*args):
        done = subprocess.run([options.program, *map(str, args)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              text=True)
        if done.returncode != 0:
            sys.exit(f"cosim-adapt: lastmile {args[0]}: exit code {done.returncode}")
        return done.stdout

    def option(name):
        return more[more.index(name) + 1] if name in more else None

    data = [word for name in ("--data", "--shift", "--network", "--adapt-examples") if option(name)
            for word in (name, option(name))]
    base = out / "base.lmq"
    if not (options.resume and base.exists()):
        lastmile("pretrain", *data, "--output", out / "float.lmc")
        lastmile("quantize", *data, "--checkpoint", out / "float.lmc", "--output", base)

    def adapt(name, *args):
        begin = time.monotonic()
        result = json.loads(lastmile("adapt", "--json", "--method", "readout", "--evaluations", 0, *more, "--input",
                                     base, "--journal", out / f"{name}.lmj", "--output", out / f"{name}.lmq", *args))
        result["wall_seconds"] = time.monotonic() - begin
        return result

    print("cosim-adapt: on the model", file=sys.stderr)
    model = adapt("model", "--overwrite")
    print("cosim-adapt: on the RTL, the model in lockstep", file=sys.stderr)
    rtl = adapt("rtl", "--test-examples", 64, "--backend", "lockstep",
                *(["--backend-options", options.rtl] if options.rtl else []),
                "--resume" if options.resume else "--overwrite")
    device = rtl["device"]
    same = {what: (out / f"model.{end}").read_bytes() == (out / f"rtl.{end}").read_bytes()
            for what, end in (("journal", "lmj"), ("network", "lmq"))}

    report = {"before": model["before"]["accuracy"], "after": model["after"]["accuracy"],
              "passes": rtl["forward_passes"],
              "commands": device["commands"], "compared": device["compared"], "differences": device["differences"],
              "cycles": device["simulated_cycles"], "wall_seconds": rtl["wall_seconds"],
              "model_seconds": model["wall_seconds"], "resumed": options.resume, "arguments": more}
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(json.dumps(report, indent=1) + "\n")
    print(f"accuracy {report['before']:.2f} % before, {report['after']:.2f} % after; {report['commands']} commands, "
          f"{report['cycles'] / 1e6:.1f} million cycles, {report['compared']} values compared in "
          f"{report['wall_seconds']:.0f} s")
    checks = {"0 differences": report["differences"] == 0, "values were compared": report["compared"] > 0,
              "the journal has the model's bytes": same["journal"],
              "the network has the model's bytes": same["network"]}
    for what, ok in checks.items():
        print(f"{'ok' if ok else 'FAIL'}  {what}")
    failed = sum(not ok for ok in checks.values())
    print(f"{len(checks) - failed} passed, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
