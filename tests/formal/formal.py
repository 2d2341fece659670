#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Formal proofs of the RTL's bus masters, registers, sequencer and buffers with Yosys and its ABC.

usage: formal.py prove [--jobs N] [--seconds S] [--quick] [PROOF...]   build/reports/formal.json
       formal.py faults [--jobs N] [--seconds S] [NAME...]   planted faults: each must break its property
       formal.py check                                       every planted fault still fits its file

Each property of a checker (formal_*.sv) is first tried by induction (`pdr`, without a bound). What that does not
decide in its time is searched for a counterexample cycle by cycle (`bmc3`) to the depth of its proof or as deep as S
seconds (default 60) allow: the report has the depth that was reached. `cover` statements must be reachable.
--quick: the proofs that take seconds, as `make test` runs them.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

from faults import FAULTS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = ROOT / "build" / "formal"
REPORTS = ROOT / "build" / "reports"
HERE = "tests/formal/"
CLOCK = ["rtl/clock/npu_clock.sv"]
READ = ["rtl/bus/npu_axi_read.sv", "rtl/bus/npu_axi_read_client.sv", "rtl/fifo/npu_fifo.sv", *CLOCK]
WRITE = ["rtl/bus/npu_axi_write.sv", "rtl/fifo/npu_fifo.sv"]
FIFO = ["rtl/fifo/npu_fifo.sv"]


class Proof:
    """name; what it is about; top module; sources beside the packages; parameters of the top module; seconds for
    induction of one property; depth of the search; least depth that counts; joint: induct over so many cycles with
    all properties together first; guided: covers too deep for a search of everything, sought with the checker's
    parameter GUIDED."""
    def __init__(self, name, what, top, sources, values=None, induct=20, depth=40, least=8, joint=0, guided=(),
                 quick=False):
        self.name, self.what, self.top, self.sources, self.values = name, what, top, sources, values or {}
        self.induct, self.depth, self.least, self.joint, self.quick = induct, depth, least, joint, quick
        self.guided = guided


PROOFS = [
    Proof("fifo-tokens", "`npu_fifo`, 4 tokens of 8 bits", "formal_fifo", FIFO, {"WIDTH": 8, "DEPTH": 4}, quick=True),
    Proof("fifo-single", "`npu_fifo`, 1 token", "formal_fifo", FIFO, {"WIDTH": 4, "DEPTH": 1}, quick=True),
    Proof("fifo-data", "`npu_fifo`, 16 words of 16 bits", "formal_fifo", FIFO, {"WIDTH": 16, "DEPTH": 16}, induct=60),
    Proof("arbiter", "round robin of `npu_axi_read`, any clients", "formal_arbiter",
          ["rtl/bus/npu_axi_read.sv", HERE + "arbiter_client.sv", *CLOCK], quick=True),
    Proof("sequencer", "`npu_sequencer`", "formal_sequencer", ["rtl/control/npu_sequencer.sv"]),
    Proof("registers", "`npu_regs`, AXI4-Lite slave", "formal_regs", ["rtl/control/npu_regs.sv", *CLOCK], joint=2),
    Proof("axi-write", "`npu_axi_write`, 8-byte bus", "formal_axi_write", WRITE, induct=5, depth=40,
          guided=("full_burst",)),
    Proof("axi-read", "`npu_axi_read` with clients and buffers of 16 words", "formal_axi_read", READ, induct=5,
          depth=40, least=6),
    Proof("axi-read-wild", "the same, memory that sends any beat at any time", "formal_axi_read", READ, {"LEGAL": 0},
          induct=5, depth=40, least=6),
]

YOSYS = """read_verilog -sv -formal -DSYNTHESIS rtl/pkg/npu_pkg.sv rtl/pkg/npu_types.sv {sources} {here}{top}.sv
{values}
prep -top {top} -flatten
tee -q -o {out}.covers select -list t:$cover
{kind}
memory_map
async2sync
formalff -clk2ff -ff2anyinit
setundef -undriven -anyseq
opt
techmap
opt -fast
dffunmap
abc -g AND -fast
opt_clean
tee -q -o {out}.names select -list t:$assert
write_aiger -I -B -zinit -no-startoffset -map {out}.aim {out}.aig
"""
# A cover statement is an assertion of the contrary that must fail.
COVER = """(* techmap_celltype = "$cover" *)
module cover_as_assert (input A, input EN);
  \\$assert _TECHMAP_REPLACE_ (.A(!A), .EN(EN));
endmodule
"""
AS_ASSERT = "techmap -map build/formal/cover.v t:$cover"
KINDS = {"all": AS_ASSERT, "assert": "chformal -cover -remove", "guided": "chformal -assert -remove; " + AS_ASSERT}


class FormalError(Exception):
    pass


def elaborate(proof, kind, folder, replaced=None):
    """Names of properties in the order of the circuit's outputs, which of them are covers, and the circuit. kind: one
    of KINDS; replaced: other files."""
    folder.mkdir(parents=True, exist_ok=True)
    (OUT / "cover.v").write_text(COVER)
    out = folder / f"{proof.name}-{kind}"
    values = {**proof.values, "GUIDED": 1} if kind == "guided" else proof.values
    values = " ".join(f"-set {k} {v}" for k, v in values.items())
    out.with_suffix(".ys").write_text(YOSYS.format(
        sources=" ".join((replaced or {}).get(s, s) for s in proof.sources), here=HERE, top=proof.top,
        kind=KINDS[kind], out=out.relative_to(ROOT), values=f"chparam {values} {proof.top}" if values else ""))
    run = subprocess.run(["yosys", "-q", "-e", "implicitly declared", "-e", "conflicting drivers", "-l",
                          str(out.with_suffix(".log")), "-s", str(out.with_suffix(".ys"))],
                         cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if run.returncode:
        raise FormalError(f"{proof.name}: yosys ended with {run.returncode}: {(run.stdout + run.stderr)[-2000:]}")
    names, covers = ([n.split("/")[1] for n in out.with_suffix(f".{x}").read_text().split()]
                     for x in ("names", "covers"))
    return names, set(covers), out.with_suffix(".aig")


def abc(circuit, commands, seconds):
    """What ABC says last. It is stopped from outside too: its own limits are not looked at everywhere."""
    script = f"read_aiger {circuit.relative_to(ROOT)}; fold; strash; {commands}"
    try:
        run = subprocess.run(["yosys-abc", "-q", script], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True,
                             text=True, errors="replace", timeout=10 * seconds + 60)
    except subprocess.TimeoutExpired:
        return ""
    return run.stdout


def search(circuit, index, depth, seconds):
    """(frame of a counterexample or None, cycles without one)."""
    said = abc(circuit, f"cone -s -O {index}; bmc3 -F {depth} -T {seconds}", seconds)
    if found := re.search(r"was asserted in frame (\d+)", said):
        return int(found[1]), int(found[1])
    held = re.search(r"No output asserted in (\d+) frames", said)
    return None, int(held[1]) if held else 0


def prove(proof, circuit, name, index, seconds):
    begun = time.monotonic()
    said = abc(circuit, f"cone -s -O {index}; pdr -T {proof.induct}", proof.induct)
    result = {"property": name, "method": "induction", "depth": None, "result": "proved"}
    if "Property proved" not in said:
        frame, depth = search(circuit, index, proof.depth, seconds)
        result = {"property": name, "method": "bounded", "depth": depth,
                  "result": f"FAILS in cycle {frame}" if frame is not None else
                  "holds" if depth >= proof.least else f"NOT DEEP ENOUGH: {depth} of {proof.least} cycles"}
    return {**result, "seconds": round(time.monotonic() - begun, 1)}


def reach(proof, circuit, name, index, seconds):
    begun = time.monotonic()
    depth = proof.depth
    if name in proof.guided:
        names, _, circuit = elaborate(proof, "guided", OUT)
        index, depth = names.index(name), 2 * depth
    frame, depth = search(circuit, index, depth, seconds)
    return {"property": name, "method": "cover", "depth": depth, "seconds": round(time.monotonic() - begun, 1),
            "result": "reached" if frame is not None else "NOT REACHED"}


def joint(proof):
    """All properties together: if they hold for k cycles, they do in the next; and they do in the first k."""
    begun = time.monotonic()
    names, _, circuit = elaborate(proof, "assert", OUT)
    said = abc(circuit, f"orpos; bmc3 -F {proof.joint + 2} -T 300; ind -F {proof.joint} -T 300", 300)
    if f"No output asserted in {proof.joint + 2} frames" not in said or "Networks are equivalent" not in said:
        return None
    each = round((time.monotonic() - begun) / len(names), 1)
    return [{"property": n, "method": f"{proof.joint}-induction", "depth": None, "result": "proved", "seconds": each}
            for n in names]


def good(result):
    return result["result"] in ("proved", "holds", "reached")


def run_proofs(proofs, args, known):
    report = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for proof in proofs:
            begun = time.monotonic()
            names, covers, circuit = elaborate(proof, "all", OUT)
            done = joint(proof) if proof.joint else None
            futures = [pool.submit(reach if n in covers else prove, proof, circuit, n, i, args.seconds)
                       for i, n in enumerate(names) if n in covers or not done]
            results = (done or []) + [f.result() for f in futures]
            for r in results:
                if not good(r):
                    print(f"FAIL {proof.name}: {r['property']}: {r['result']}", flush=True)
            report.append({"name": proof.name, "what": proof.what, "properties": results,
                           "seconds": round(time.monotonic() - begun, 1)})
            if not args.quick:
                save("proofs", report[-1:], known)
            proved = sum(r["result"] == "proved" for r in results)
            held = sorted(r["depth"] for r in results if r["result"] == "holds")
            reached = sum(r["result"] == "reached" for r in results)
            print(f"{proof.name}: {proved} proved" + (f", {len(held)} hold for {held[0]} to {held[-1]} cycles"
                                                      if held else "")
                  + f", {reached} of {len(covers)} situations reached ({report[-1]['seconds']} s)", flush=True)
    return report


def problems():
    found = []
    for name, proof, _, file, old, new, _ in FAULTS:
        count = (ROOT / file).read_text().count(old)
        if count != 1 or old == new:
            found.append(f"FAIL {name}: {file} contains {count} times {old!r}, expected once")
        if file not in next(p for p in PROOFS if p.name == proof).sources:
            found.append(f"FAIL {name}: {proof} does not read {file}")
    return found


def fault(entry, seconds):
    name, of, what, file, old, new, text = entry
    proof = next(p for p in PROOFS if p.name == of)
    folder = OUT / "faults" / name
    folder.mkdir(parents=True, exist_ok=True)
    changed = folder / os.path.basename(file)
    changed.write_text((ROOT / file).read_text().replace(old, new))
    begun = time.monotonic()
    names, _, circuit = elaborate(proof, "assert", folder, {file: str(changed.relative_to(ROOT))})
    frame, depth = search(circuit, names.index(what), proof.depth, seconds)
    return {"name": name, "proof": of, "property": what, "text": text, "file": file,
            "result": "found" if frame is not None else "MISSED", "depth": depth,
            "seconds": round(time.monotonic() - begun, 1)}


def save(key, entries, order):
    """A part of the report; the entries that were not run again stay."""
    path = REPORTS / "formal.json"
    data = json.loads(path.read_text()) if path.exists() else {}
    kept = {e["name"]: e for e in [*data.get(key, []), *entries]}
    entries = [kept[n] for n in order if n in kept]
    version = re.search(r"Yosys ([\w.]+)", subprocess.run(["yosys", "-V"], capture_output=True, text=True).stdout)
    REPORTS.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**data, "yosys": version[1] if version else "", key: entries}, indent=1) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("what", choices=["prove", "faults", "check"])
    p.add_argument("--jobs", type=int, default=1)
    p.add_argument("--seconds", type=int, default=60)
    p.add_argument("--quick", action="store_true")
    p.add_argument("names", nargs="*")
    args = p.parse_intermixed_args()
    known = [x.name for x in PROOFS] if args.what == "prove" else [f[0] for f in FAULTS]
    if unknown := set(args.names) - set(known):
        sys.exit(f"formal.py: no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if found := problems():
        print("\n".join(found))
        print(f"{len(FAULTS) - len(found)} passed, {len(found)} failed")
        return 1
    if args.what == "check":
        print(f"{len(FAULTS)} passed, 0 failed")
        return 0
    for tool in ("yosys", "yosys-abc"):
        if shutil.which(tool) is None:
            print(f"SKIPPED: {tool} is not installed")
            return 0
    if args.what == "prove":
        chosen = [x for x in PROOFS if (not args.names or x.name in args.names) and (x.quick or not args.quick)]
        if args.quick:
            for x in chosen:
                x.induct = min(x.induct, 5)
        report = run_proofs(chosen, args, known)
        results = [r for x in report for r in x["properties"]]
        bad = sum(not good(r) for r in results)
    else:
        chosen = [f for f in FAULTS if not args.names or f[0] in args.names]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            results = []
            for r in pool.map(lambda f: fault(f, args.seconds), chosen):
                results.append(r)
                print(f"{r['result']:7}{r['name']}: {r['text']}; {r['property']}, cycle {r['depth']} "
                      f"({r['seconds']} s)", flush=True)
                save("faults", [r], known)
        bad = sum(r["result"] != "found" for r in results)
    print(f"{len(results) - bad} passed, {bad} failed")
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FormalError as e:
        sys.exit(f"formal.py: {e}")
