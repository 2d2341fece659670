#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts the tables that reports hold into the pages, between `<!-- table NAME -->` and `<!-- end NAME -->`.

usage: readme.py [--check]
Pages: README.md and tests/*/RESULTS.md. A table whose report is not in build/reports stays as it is, and the program
says so. --check writes nothing: every marker has its program, every table of a program is in one page, and numbers that
the README quotes from a table are those of the table.
"""
import json
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "tests").glob("*/RESULTS.md"))]
REPORTS = ROOT / "build" / "reports"


def number(s):
    error = s["standard_error"]
    return f"{s['mean']:.2f}" + ("" if error is None or math.isnan(error) else f" ± {error:.2f}")


def table(head, rows):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head),
                      *("| " + " | ".join(map(str, r)) + " |" for r in rows)])


def run_table(r):
    a = r["accuracy"]
    names = {"source": ("source domain, fixed point", ""), "shifted": ("shifted domain, not adapted", ""),
             "fixed": ("adapted: fixed-point forward gradient", "forward_gradient"),
             "float": ("adapted: float forward gradient, same seeds", ""),
             "readout": ("adapted: fixed-point readouts", "readout"), "readout_float": ("adapted: float readouts", ""),
             "backprop": ("adapted: float backpropagation", "backprop")}

    def work(method):
        m = r.get("methods", {}).get(method)
        return [f"{m['passes']:.0f}", f"{m['mmac'] / 1000:.1f}"] if m else ["", ""]

    return table(["", "accuracy, %", "passes of 64", "10^9 multiplications"],
                 [[text, f"{a[key]:.2f}", *work(method)] for key, (text, method) in names.items() if key in a]) + \
        f"\n\n{r['forward_passes']} forward passes of {r['batch']} examples, {r['trained_weights']} trained weights, " \
        f"{r['host_bytes_per_step']:.0f} bytes over the host interface per step, {r['peak_bytes']} bytes of NPU memory."


def fashion_table(r):
    rows = []
    for subset, s in r["subsets"].items():
        a = s["accuracy"]
        rows.append([subset, s["trained_weights"], s["forward_passes"],
                     *(number(a[k]) for k in ("shifted", "fixed", "float", "fixed_minus_float", "backprop"))])
    text = table(["trained", "weights", "forward passes", "before", "fixed", "float", "fixed - float",
                  "backpropagation"], rows)
    for subset, s in r["subsets"].items():
        points = [p for p in s["curve"]]
        text += f"\n\nAccuracy against forward passes ({subset}, seed 1): " + ", ".join(f"{p['forward_passes']}: "
            f"{p['accuracy']:.1f}" for p in points) + "."
        text += f" Settings: `{s['settings']}`."
    return text + f"\n\n{r['seeds']} seeds; mean ± standard error, per cent."


def readouts_table(r):
    rows = []
    for x in r["rows"]:
        a, w = x["accuracy"], x["work"]
        rows.append([f"`{x['shift']}`", x["examples"],
                     *(number(a[k]) for k in ("shifted", "head", "w8", "readout", "fixed_minus_float", "backprop",
                                              "readout_minus_backprop")),
                     f"{w['readout']['passes']:.0f}", f"{w['backprop']['passes']:.0f}",
                     f"{100 * w['readout']['mmac'] / w['backprop']['mmac']:.1f}"])
    more = [[f"`{x['shift']}`", x["examples"],
             *(number(x["accuracy"][k]) for k in ("shifted", "statistics", "statistics_readout", "statistics_backprop",
                                                  "statistics_minus_backprop", "both")),
             f"{x['work']['both']['passes']:.0f}"] for x in r["rows"]]
    taps = ", ".join(f"{t['layer']} {t['grid']} x {t['grid']}" for t in r["rows"][0]["taps"])
    return table(["shift", "examples", "before", "head", "readouts, w8", "readouts", "readouts: fixed - float",
                  "backpropagation", "readouts - backpropagation", "passes: readouts", "backpropagation",
                  "multiplications, % of those"],
                 rows) + (f"\n\n{r['seeds']} seeds; mean ± standard error, per cent. Taps: {taps}. Passes are of 64 "
                          "examples, the search for rates included; a backward pass counts as two.\n\n") + table(
                              ["shift", "examples", "before", "channel statistics, no labels", "readouts after them",
                               "backpropagation after them", "their difference", "readouts and inner layers",
                               "passes of these"], more)


def widths_table(r):
    rows = [[x["weights"], x["eps"], *(number(x[k]) for k in ("shifted", "fixed", "float"))] for x in r["rows"]]
    return table(["weights", "e", "before", "fixed", "float, same seeds"],
                 rows) + f"\n\n{r['data']}, {r['steps']} steps, {r['seeds']} seeds; mean ± standard error, per cent."


def speakers_table(r):
    def row(name, head, every):
        return [name, number(head["shifted"]), *(number(d[k]) for d in (head, every) for k in ("fixed", "backprop"))]

    rows = [row(head["name"], head, every) for head, every in zip(r["head"]["speakers"], r["all"]["speakers"])]
    rows.append(row("all", r["head"]["accuracy"], r["all"]["accuracy"]))
    return table(["speaker", "before", "head: fixed", "backpropagation", "all layers: fixed", "backpropagation"],
                 rows) + (f"\n\n{r['network']}, {r['seeds']} seeds; source domain "
                          f"{number(r['head']['accuracy']['source'])}; per cent.")


def span(i, scale=1.0):
    return f"{i['value'] * scale:.3g} ({i['low'] * scale:.3g} to {i['high'] * scale:.3g})"


def profile_table(r):
    rows = []
    for n in r["networks"]:
        s = n["steps"]["full"]
        bus = sum(v for k, v in s["traffic"].items() if not k.startswith(("scratchpad", "accumulator")))
        rows.append([n["name"], n["batch"], f"{s['macs'] / 1e6:,.0f}", f"{s['cycles'] / 1e6:.2f}",
                     f"{100 * s['utilisation']:.0f} %", f"{bus / 1e6:.1f}",
                     span(s["energy_uj"], 1e-3), f"{s['memory']['peak_bytes'] / 1e6:.2f}",
                     f"{s['weight_movement']:.1f}"])
    text = table(["network, all trains", "batch", "MMAC", "Mcycles", "array", "bus, MB", "energy, mJ",
                  "live memory, MB", "weight bytes moved / weight bytes"], rows)
    n = next(n for n in r["networks"] if n["name"] == "resnet8")
    s = n["steps"]["full"]
    rows = [[a["name"], f"{a['cycles'] / s['cycles']:.2f}", span(a["energy_ratio"]),
             f"{a['scratch_bytes'] / 1e6:.2f}"] for a in s["against"]]
    text += ("\n\nResNet-8, full training, relative to a forward-gradient step (m = 1); energy with the interval over "
             "all figures of the table:\n\n")
    text += table(["", "cycles", "energy", "scratch memory, MB"], rows)
    ff, bp = s["against"][0], next(a for a in s["against"] if a["name"] == "backpropagation")
    text += ("\n\nA forward-gradient step of the ResNet-8 against a step of backpropagation on the same array: "
             f"{bp['scratch_bytes'] / ff['scratch_bytes']:.2f} times less scratch memory, {span(bp['energy_ratio'])} "
             f"times "
             f"less energy ({r['technology']}, {r['dram']}); it takes many more steps.")
    rows = [[x["name"], x["how"], f"{x['weight_movement']:.2f}", f"{100 * (x['cycles'] / s['cycles'] - 1):+.1f} %",
             span(x["energy_ratio"]),
             f"{(x['activation_bytes'] - s['memory']['scratch_bytes']) / 1e6:+.2f}",
             f"{(x['on_chip_bytes'] - s['memory']['on_chip_bytes']) / 1e3:+.0f}"]
            for x in s["schedules"]]
    scratch = table(["scratch memory of full training", f"batch {n['batch']}, kB", "times less", "batch 1, kB",
                     "times less"],
                    [[x["name"], f"{x['bytes'] / 1e3:,.1f}", f"{x['times_less']:.1f}",
                      f"{x['bytes_of_one_example'] / 1e3:,.1f}",
                      f"{x['times_less_of_one_example']:.1f}"] for x in n["scratch"]])
    text += "\n\n" + scratch
    return text + "\n\nSchedules that would move fewer weight bytes (floor: one read and one write, 2):\n\n" + \
        table(["", "how", "weight bytes moved / weight bytes", "cycles", "energy", "activations, MB", "on chip, kB"],
              rows)


def bench_table(r):
    rows = [[t["what"], f"{t['measured']:.2f}", f"at least {t['at_least']}" if "at_least" in t
             else f"at most {t['at_most']}"] for t in r["targets"]]
    rates = []
    for name, b in r["benchmarks"].items():
        if "gmacs_per_second" in b:
            time = b["wall_us" if b["by_wall_clock"] else "cpu_us"]
            rates.append([name, f"{time:,.0f}", f"{b['gmacs_per_second']:.1f}"])
    return f"{'; '.join([r['cpu'], *r['peers']])}.\n\n" + table(["", "measured", "wanted"], rows) + \
        "\n\nMedians of CPU time, for two threads of wall-clock time; a limit is what the machine does at most:\n\n" + \
        table(["", "us", "GMAC/s"], rates)


def utilisation_table(r):
    rows = [[f"{x['rows']} x {x['cols']}, bus {x['bus_bytes']}", u["name"].removesuffix(" pairs 1"), u["cycles"],
             *(f"{100 * u[k]:.1f}" for k in ("useful", "partly_used", "stall_load", "stall_weight", "stall_drain",
                                             "other_commands", "begin_and_end")),
             f"{u['step']:.3f}" if "step" in u else ""] for x in r["sets"] for u in x["utilisation"]]
    return table(["array", "", "cycles of a forward pass", "useful, %", "partly used", "wait for activations",
                  "for weights", "for the drain", "pooling, loss",
                  "begin and end of commands", "training step, in forward passes"], rows)


def timing_table(r):
    rows = [[f"{x['rows']} x {x['cols']}, bus {x['bus_bytes']}", s["name"], s["cases"], s["cycles"],
             f"{s['median']:.2f}", f"{s['largest']:+.2f}"]
            for x in r["sets"] for s in x["summary"]]
    return table(["array", "", "cases", "cycles of the RTL", "median error, %", "largest, %"], rows)


def validate_table(r):
    worst = [next(x for x in r["layers"] if x["layer"] == n) for n in r["worst_first"][:3]]
    rows = [[f"layer `{x['layer']}`: SQNR, whole chain (injected, inherited)",
             " ".join((f"{x['total']['sqnr_db']:.1f} dB",
             "(" + ", ".join(f"{x[k]['sqnr_db']:.1f}" if x[k]["sqnr_db"] < 199 else "none"
                             for k in ("injected", "inherited")) + ")"))] for x in worst]
    signal, sweep = r["signal"], r["sweep"]
    rows.append(["lost signs of L+ - L- at e", ", ".join(f"{p['x']:g}: {100 * p['lost']:.0f} %"
                                                         for p in signal["by_eps"])])
    best = signal["recommended"]
    one = next((p for p in signal["by_pairs"] if p["eps"] == best["eps"] and p["pairs"] == 1), None)
    if one:
        rows.append([f"cosine of a pair with the gradient at e = {best['eps']:g} (theory)",
                     f"{one['fixed_signed']:.4f} ± {one['standard_error']:.4f} ({one['theory_signed']:.4f})"])
    rows.append(["recommended", f"e = {best['eps']:g}, m = {best['pairs']}, step = {best['step']:g}"])
    for kind, text in (("sign", "signs"), ("gaussian", "Gaussian")):
        points = {p["weights"]: p for p in sweep["points"] if p["distribution"] == kind
                  and (not p["weights"] or (p["activations"], p["logits"]) == (8, 16))}
        rows.append([f"width sweep, z {text}: from {points[16]['before']:.1f} % to", ", ".join(
            f"{'w' + str(w) if w else 'float'}: {p['after']:.1f}" for w, p in sorted(points.items()))
                     + (f"; turns at {sweep['turns_at'][kind]} bits" if sweep["turns_at"][kind] else "; no turn")])
        rows.append(["float minus 16-bit weights, points",
                     f"{sweep['float_minus_w16'][kind]:+.2f} ± {sweep['float_minus_w16_error'][kind]:.2f}"])
    return table([f"{r['network']} on {r['task']}", "measured"], rows) + (
        f"\n\nFloat {r['accuracy']['float']:.2f} %, fixed point {r['accuracy']['fixed']:.2f} % of {r['examples']} "
        f"examples. The sweep trains the last layer for {sweep['steps']} steps at e = {sweep['eps']:g} of the largest "
        f"weight, {sweep['seeds']} seeds, emulated on the host. {r['cpu_seconds']:.0f} s of CPU.")


def networks_table(r):
    rows = []
    for x in r["rows"]:
        s, best = x["sweep"], x["recommended"]
        rows.append([x["task"], x["network"], f"{x['accuracy']['float']:.1f} / {x['accuracy']['fixed']:.1f}",
                     f"`{x['worst_layer']}` {x['worst_sqnr_db']:.1f}",
                     len(x["failed"]), x["warnings"], f"{best['eps']:g}, {best['pairs']}, {best['step']:g}",
                     ", ".join(f"{k} {s[k][1] - s[k][0]:+.1f}" for k in ("float", "w8", "w16") if k in s)])
    return table(["task", "network", "float / fixed, %", "worst layer, dB", "failures", "warnings", "e, m, step",
                  "sweep: points gained"], rows) + \
        "\n\nData folders: pre-trained for a few epochs only and measured with `--quick`."


def sim_speed_table(r):
    return table(["", "Mcycle/s", "MMAC/s", "of it model and comparison"],
                 [[x["what"], f"{x['cycles_per_second'] / 1e6:.2f}", f"{x['macs_per_second'] / 1e6:.0f}",
                   f"{100 * x['checking_share']:.1f} %" if "checking_share" in x else ""] for x in r["rows"]])


def campaign_table(r):
    rows = [[f"{x['rows']} x {x['cols']}, bus {x['bus_bytes']}", x["seed"], x["commands"], x["cycles"], x["compared"],
             x["differences"]] for x in r["sets"]]
    rows.append(["all", "", *(r[k] for k in ("commands", "cycles", "compared", "differences"))])
    return table(["array", "seed", "commands", "cycles", "values compared", "differences"], rows)


def systemc_table(r):
    loose, accurate, c = r["loose"], r.get("accurate"), r["embedded"]
    same = lambda p: "the same" if p["journal_equal"] and p["weights_equal"] else "DIFFERENT"
    rows = [["loosely timed, C++ model", loose["steps"], same(loose),
             f"{loose['steps_per_cpu_second']:.0f} steps/s, {loose['speed_ratio']:.2f} of the model alone",
             f"{100 * loose['cycles_difference']:+.2f} % (predicted)" if "cycles_difference" in loose else ""],
            ["the same, host in C", c["steps"], same(c), f"{c['steps_per_cpu_second']:.0f} steps/s", ""]]
    if accurate:
        rows.append(["cycle-accurate, RTL", accurate["steps"], same(accurate),
                     f"{accurate['cycles_per_cpu_second'] / 1000:.0f} kcycle/s, {accurate['speed_ratio']:.2f} of the "
                     f"RTL alone", f"{100 * accurate['cycles_difference']:+.3f} %"])
    text = table(["platform", "steps", "journal and weights", "speed (processor time)",
                  "NPU cycles against the RTL alone"], rows)
    tests = r.get("tests", {})
    if tests:
        p, f = tests["protocol-test"], tests["fault-test"]
        text += (f"\n\nProtocol check: {p.get('transactions', 0):,} random transactions, {p['failed']} failures. "
                 f"Faults: {f['passed']} of {f['passed'] + f['failed']} cases end as expected.")
    if c.get("rv32"):
        v = c["rv32"]
        text += (f" Host in C on {v['target']}: {v['code_bytes']} bytes of code and constants, "
                 f"{v['data_bytes'] + v['bss_bytes']} of variables, at most {v['stack_bytes']} of stack.")
    return text


def injection_table(r):
    rows = []
    for x in r["rows"]:
        n = x["samples"]
        by = ", ".join(f"{k} {v}" for k, v in sorted(x["by"].items(), key=lambda i: -i[1]))
        low, high = x["silent_interval"]
        share = {o: f"{100 * x[o] / n:.2f}" for o in ("masked", "detected", "hang", "activations", "weights")}
        rows.append([x["block"], x["kind"], f"{x['bits']:,}", share["masked"], share["detected"], by, share["hang"],
                     share["activations"], share["weights"],
                     f"{low:.2f} to {high:.2f}"])
    a = r["all"]
    bits = sum(x["bits"] for x in r["rows"])
    memories = sum(x["bits"] for x in r["rows"] if x["kind"] == "memories")
    text = table(["block", "state", "bits", "masked, %", "detected, %", "detected by (flips)", "hang, %",
                  "silent in activations, %", "silent in weights, %", "silent"], rows)
    flips = max(x["samples"] for x in r["rows"])
    text += (f"\n\nArray {r['array']}, seed {r['seed']}, {flips:,} flips per row, a step of {r['cycles']:,} cycles.\n\n"
             f"A flip anywhere in the {bits:,} bits: {a['masked']:.2f} % masked, {a['detected']:.2f} % detected, "
             f"{a['hang']:.2f} % hang, {a['silent']:.2f} % silent ({a['silent_weights']:.2f} % of all change weights). "
             "What protection would find of the silent ones:\n\n")

    def of_silent(value):
        return f"{100 * value / a['silent'] if a['silent'] else 0:.0f}"

    text += table(["protection", "finds, % of the silent flips", "costs"],
                  [["parity on memories", of_silent(a["silent_memories"]), f"a bit per word of {memories:,} bits"],
                   ["parity on registers", of_silent(a["silent_registers"]),
                    f"a bit and its tree per register of {bits - memories:,} bits"],
                   ["digest of the weights per command", f"{of_silent(a['silent_weights'])} at most: those in weights",
                    "a hash of what UPDATE reads and writes"],
                   ["watchdog and checks of the bus", f"none; they end {a['watchdog']:.2f} % of all flips", "there"]])
    return text


def formal_table(r):
    summary = []
    for x in r["proofs"]:
        of = [p for p in x["properties"] if p["method"] != "cover"]
        held = sorted(p["depth"] for p in of if p["result"] == "holds")
        covers = [p for p in x["properties"] if p["method"] == "cover"]
        reached = sum(p["result"] == "reached" for p in covers)
        failed = [p["property"] for p in x["properties"] if p["result"] not in ("proved", "holds", "reached")]
        summary.append([x["what"], len(of), sum(p["result"] == "proved" for p in of), len(held),
                        f"{held[0]} to {held[-1]}" if held else "", f"{reached} of {len(covers)}",
                        f"{x['seconds']:.0f}", ", ".join(f"**{f}**" for f in failed) or "none"])
    text = table(["block", "properties", "proved by induction", "hold to a depth", "cycles", "situations reached",
                  "seconds", "failed or not reached"], summary)
    for x in r["proofs"]:
        rows = [[f"`{p['property']}`", p["method"], "" if p["depth"] is None else p["depth"], f"{p['seconds']:.1f}",
                 p["result"]] for p in x["properties"]]
        text += f"\n\n{x['what'][0].upper()}{x['what'][1:]}:\n\n" + \
            table(["property", "method", "depth", "seconds", "result"], rows)
    text += "\n\nPlanted faults:\n\n" + table(
        ["planted in", "fault", "property that fails", "cycle", "result"],
        [[f"`{f['file'].split('/')[-1]}`", f["text"], f"`{f['property']}`", f["depth"], f["result"]]
         for f in r.get("faults", [])])
    return text + f"\n\nYosys {r['yosys']} and its ABC; seconds of wall-clock time."


TABLES = {
    "campaign": ("campaign.json", campaign_table),
    "bench": ("bench.json", bench_table),
    "formal": ("formal.json", formal_table),
    "fashion": ("campaign-fashion.json", fashion_table),
    "injection": ("fault-campaign.json", injection_table),
    "readouts": ("campaign-readouts.json", readouts_table),
    "networks": ("validate-networks.json", networks_table),
    "profile": ("profile.json", profile_table),
    "run": ("run.json", run_table),
    "simspeed": ("sim-speed.json", sim_speed_table),
    "speakers": ("campaign-speakers.json", speakers_table),
    "systemc": ("systemc.json", systemc_table),
    "timing": ("timing.json", timing_table),
    "utilisation": ("timing.json", utilisation_table),
    "validate": ("validate.json", validate_table),
    "widths": ("campaign-widths.json", widths_table),
}

# Tables that their own programs wrote as Markdown.
MARKDOWN = ["synth", "mutation", "coverage", "models_tiny", "models_imports",
            *(f"quantization_{x}" for x in ("ranges", "equalize", "faults"))]


def written(name):
    path = REPORTS / f"{name}.md"
    return path.read_text().strip() if path.exists() else None


def dieharder():
    path = REPORTS / "dieharder.md"
    return path.read_text().split("\n\n", 1)[1].strip() if path.exists() else None


# Where a table's report is not JSON: what its own program wrote.
PROSE = {"dieharder": dieharder, **{name: lambda name=name: written(name) for name in MARKDOWN}}
MARKER = re.compile(r"<!-- table (\w+) -->\n(.*?)<!-- end (\w+) -->", re.S)
# A number that a page quotes: [text](page#section "in TABLE"); the text stands in that table.
QUOTE = re.compile(r'\[([^\]]+)\]\([^)"]+"in (\w+)"\)')


def content(name):
    """The table from its report, None without one."""
    if name in PROSE:
        return PROSE[name]()
    file, make = TABLES[name]
    path = REPORTS / file
    return make(json.loads(path.read_text())) if path.exists() else None


def fill(text):
    def filled(marker):
        name, new = marker[1], content(marker[1])
        print(f"table {name}: " + ("its report is not in build/reports, left as it is" if new is None else "written"))
        return marker[0] if new is None else f"<!-- table {name} -->\n{new}\n<!-- end {name} -->"
    return MARKER.sub(filled, text)


def problems(texts):
    tables, found = {}, []
    for page, text in texts.items():
        for name, body, end in MARKER.findall(text):
            if name != end or name in tables:
                found.append(f"{page}: table {name} ends as {end}, or is there twice")
            if name not in TABLES and name not in PROSE:
                found.append(f"{page}: no program makes table {name}")
            tables[name] = body
        if len(re.findall(r"<!-- (?:table|end) \w+ -->", text)) != 2 * len(MARKER.findall(text)):
            found.append(f"{page}: a table without end, or an end without table")
    found += [f"no page has the table {name}" for name in [*TABLES, *PROSE] if name not in tables]
    for page, text in texts.items():
        for quoted, name in QUOTE.findall(text):
            if quoted not in tables.get(name, ""):
                found.append(f"{page}: {quoted!r} is not in table {name}")
    return found


def main():
    texts = {p: p.read_text() for p in PAGES}
    if sys.argv[1:] == ["--check"]:
        found = problems({p.relative_to(ROOT): t for p, t in texts.items()})
        print("\n".join(found), end="\n" if found else "")
        return 1 if found else 0
    for page, text in texts.items():
        page.write_text(fill(text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
