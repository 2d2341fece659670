#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Model and RTL count the same, and the memory saw it. usage: check_rtl.py LASTMILE [--large]

A training step of each network on both: every event counter of every command of every phase must be equal; the bytes
of the per-layer table must be what the memory read and wrote; the highest address it saw must be the planner's last
byte. Cycles are gated elsewhere. --large: ResNet-18 and MobileNet at 96 x 96, one example, all of it executed.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

from checks import ROOT, Checks, decode_trace, have_protoc, read_bytes

# kind "event" in npu.toml
SPEC = (ROOT / "cmodel/spec/npu.toml").read_text()
EVENTS = [m[0].lower() for m in re.findall(r'^([A-Z_]+)\s*= \{ kind = "(event)"', SPEC, re.M)]
check = Checks()


def profile(folder, networks, backend, *args):
    r = subprocess.run([sys.argv[1], "profile", "--quiet", "--backend", backend, "--networks", networks,
                        "--no-compare", "--execute", "--reports", str(folder), *args], cwd=ROOT, capture_output=True,
                       text=True)
    if r.returncode != 0:
        sys.exit(f"{backend}: exit status {r.returncode}\n{r.stderr[-2000:]}")
    return json.loads((folder / "profile.json").read_text())


def slices(path):
    """Closed slices of a trace by track: [(start, end)]."""
    decoded = decode_trace(path)
    decoded.check_returncode()
    tracks, out, begun = {}, {}, {}
    for packet in decoded.stdout.split("\npacket {"):
        time = int((re.search(r"timestamp: (\d+)", packet) or [0, 0])[1])
        if named := re.search(r'\buuid: (\d+)\s+name: "([^"]*)"', packet):
            tracks[named[1]] = named[2]
        track = re.search(r"track_uuid: (\d+)", packet)
        if "TYPE_SLICE_BEGIN" in packet:
            assert track[1] not in begun, "slices overlap"
            begun[track[1]] = time
        if "TYPE_SLICE_END" in packet:
            out.setdefault(tracks[track[1]], []).append((begun.pop(track[1]), time))
    assert not begun
    return out


def traces(folder, large):
    if not have_protoc("traces of model and RTL are not compared"):
        return
    model, rtl = (slices(folder / f"{side}.pftrace") for side in ("model", "rtl"))
    check("traces have the same engines", set(model) == set(rtl), f"{set(model) ^ set(rtl)}")
    check("traces have the same commands", len(model["COMMAND"]) == len(rtl["COMMAND"]))
    off = max(abs(a[1] - b[1]) for a, b in zip(model["COMMAND"], rtl["COMMAND"])) / rtl["COMMAND"][-1][1]
    check("commands end at the same time in both traces, within 5 % of the step", off < 0.05, str(off))
    for engine in () if large else ("ARRAY", "LOAD"):  # spans of the model hold waiting, too: drains, depthwise tiles
        a, b = (sum(end - start for start, end in side[engine]) for side in (model, rtl))
        check(f"{engine} works about as long in both traces", abs(a / b - 1) < 0.25, f"{a} {b}")


def main():
    large = sys.argv[2:] == ["--large"]
    networks = "mobilenet-96,resnet18-96" if large else "small-cnn,resnet8,ds-cnn"
    settings = ["--batch", "1", "--variants", "full"] if large else ["--batch", "2", "--pairs", "2"]
    assert len(EVENTS) > 20, EVENTS
    with tempfile.TemporaryDirectory() as t:
        model, rtl = pathlib.Path(t) / "model", pathlib.Path(t) / "rtl"
        profile(model, networks, "cmodel", *settings, "--trace", str(model.parent / "model.pftrace"))
        report = profile(rtl, networks, "rtl", *settings, "--trace", str(rtl.parent / "rtl.pftrace"))
        compared = 0
        for path in sorted((model / "profile").glob("*.json")):
            a, b = (json.loads((side / "profile" / path.name).read_text()) for side in (model, rtl))
            check(f"{path.stem}: commands",
                  [(c["phase"], c["command"], c["name"]) for c in a["commands"]] == [(c["phase"], c["command"],
                      c["name"]) for c in b["commands"]])
            for phase in sorted({c["phase"] for c in a["commands"]}):
                beats = [sum(c["bus_read_beats"] for c in side["commands"] if c["phase"] == phase) for side in (a, b)]
                check(f"{path.stem} {phase}: beats read", beats[0] == beats[1], str(beats))
            for x, y in zip(a["commands"], b["commands"]):
                # the RTL reads the next descriptor while a command runs: those beats move to the command before
                different = [f"{k} {x[k]} {y[k]}" for k in EVENTS if x[k] != y[k] and k != "bus_read_beats"]
                compared += len(EVENTS)
                check(f"{path.stem} {x['phase']} {x['name']}: events", not different, ", ".join(different))
        for n in report["networks"]:
            for variant, s in n["steps"].items():
                bus, moved = s["bus"], s["traffic"]
                name = f"{n['name']} {variant}"
                read = read_bytes(s)
                check(f"{name}: bytes of layers", sum(map(read_bytes, s["layers"])) == read)
                check(f"{name}: bytes read by the memory's count", bus["read_beats"] * bus["bus_bytes"] == read,
                      f"{bus['read_beats'] * bus['bus_bytes']} {read}")
                check(f"{name}: bytes written by the memory's count", bus["written_bytes"] == moved["act_write_bytes"]
                      + moved["update_write_bytes"])
                word = bus["bus_bytes"]
                check(f"{name}: highest address is the planner's", bus["highest_address"] == (bus["planner_bytes"]
                    + word - 1) // word * word,
                      f"{bus['highest_address']} {bus['planner_bytes']}")
        traces(pathlib.Path(t), large)
        sizes = [(pathlib.Path(t) / f"{side}.pftrace").stat().st_size for side in ("model", "rtl")]
        check("traces of both", min(sizes) > 10000, str(sizes))
        print(f"{compared} counters compared, traces of {sizes} bytes")
    check.finish()


main()
