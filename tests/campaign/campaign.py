#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a list of experiments with the `lastmile` program, two at a time, and summarizes them.

usage: campaign.py fashion DATA [--seeds N]      fixed against float forward gradient and backpropagation, head and all
       campaign.py widths  [DATA]                w8 against w16 over the perturbation size
       campaign.py speakers DATA [--seeds N]     adaptation to each held-out speaker
       campaign.py readouts DATA [--seeds N]     readouts of inner layers against backpropagation, on three shifts

One run is one JSON file in build/campaign/NAME; a run that is there already is not repeated, so a campaign can be
interrupted and continued. Summary: build/reports/campaign-NAME.json, from which readme.py makes the tables of the
README. Needs Python 3.11, nothing else.
"""
import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = pathlib.Path(os.environ.get("LASTMILE", ROOT / "build" / "lastmile"))
lock = threading.Lock()
started = time.monotonic()


def say(text):
    with lock:
        print(f"[{time.monotonic() - started:6.0f} s] {text}", file=sys.stderr, flush=True)


def lastmile(*args):
    done = subprocess.run([PROGRAM, *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"lastmile {' '.join(map(str, args))}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def once(folder, key, make):
    """The result `key` of the campaign, made only if its file is not there."""
    path = folder / f"{key}.json"
    if not path.exists():
        say(f"{key}: running")
        value = make()
        path.with_suffix(".tmp").write_text(json.dumps(value))
        path.with_suffix(".tmp").rename(path)
        say(f"{key}: done")
    return json.loads(path.read_text())


# The method itself, on all examples, as the float reference and the paper have it.
FORWARD_GRADIENT = ["--method", "forward-gradient", "--hold-out", 0]


def run_all(folder, jobs, workers):
    """jobs: key -> arguments of `lastmile run`; results by key, in order."""
    def one(item):
        key, args = item
        return key, once(folder, key, lambda: json.loads(lastmile(
            "run", "--resume", "--json", "--quiet", "--threads", 1, *([] if "--method" in args else FORWARD_GRADIENT),
            "--out", folder / "work" / key, "--reports", folder / "work" / key, *args)))
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return dict(pool.map(one, jobs.items()))


def mean(values):
    return sum(values) / len(values)


def standard_error(values):
    if len(values) < 2:
        return float("nan")
    m = mean(values)
    return math.sqrt(sum((v - m) ** 2 for v in values) / (len(values) - 1) / len(values))


def statistic(values):
    return {"mean": mean(values), "standard_error": standard_error(values), "values": values}


def checkpoint(folder, data):
    path = folder / "float.lmc"
    if not path.exists():
        say("pre-training")
        lastmile("pretrain", "--quiet", *data, "--output", path)
    return path


def curve(result):
    return [{"forward_passes": p["forward_passes"], "accuracy": p["accuracy"]} for p in result["loss_curve"]
            if "accuracy" in p]


# Settings found by float pilots and confirmed in fixed point; `lastmile run` takes the same names.
FASHION = {
    "head": ["--layers", "head", "--steps", 20000, "--step", 0.5],
    "all": ["--layers", "all", "--steps", 30000, "--step", 0.6, "--inner", 0.12],
}


def fashion(folder, options):
    data = ["--data", options.data]
    start = checkpoint(folder, data)
    jobs = {}
    for subset, settings in FASHION.items():
        for seed in range(1, options.seeds + 1):
            jobs[f"{subset}-{seed}"] = [*data, "--checkpoint", start, "--seed", seed, *settings]
    results = run_all(folder, jobs, options.workers)
    summary = {"data": pathlib.Path(options.data).name, "seeds": options.seeds, "subsets": {}}
    for subset, settings in FASHION.items():
        runs = [results[f"{subset}-{seed}"] for seed in range(1, options.seeds + 1)]
        value = {key: statistic([r["accuracy"][key] for r in runs]) for key in ("source", "shifted", "fixed", "float",
            "backprop")}
        value["fixed_minus_float"] = statistic([r["accuracy"]["fixed"] - r["accuracy"]["float"] for r in runs])
        summary["subsets"][subset] = {
            "settings": " ".join(map(str, settings)), "trained_weights": runs[0]["trained_weights"],
            "forward_passes": runs[0]["forward_passes"],
            "accuracy": value, "curve": curve(runs[0]), "seconds": statistic([r["adapt_seconds"] for r in runs])}
    return summary


# Domains that image networks meet, and how many examples of them there are.
READOUT_SHIFTS = ("rotate=25", "rotate=60", "blur=0.7,contrast=0.4,noise=0.15")
READOUT_EXAMPLES = (4000, 200)
NO_REFERENCE = ["--no-float", "--no-backprop"]
# What is compared on each domain: arguments after those of the domain. Statistics come with backpropagation from the
# same start, so that it has them, too.
READOUT_KINDS = {"head": ["--taps", "none", *NO_REFERENCE], "taps": [],
                 "w8": ["--weights", "w8,head=w16", *NO_REFERENCE],
                 "statistics": ["--statistics", "on", "--no-float"],
                 "both": ["--method", "both", "--layers", "all", *NO_REFERENCE]}


def readout_domains(folder, data):
    """name, examples, arguments: the shifts of an image set, and the drawn digits under their own."""
    start = checkpoint(folder, data)
    for shift in READOUT_SHIFTS:
        for examples in READOUT_EXAMPLES:
            # Few examples: as many epochs of backpropagation as they need, or it is no opponent.
            few = ["--backprop-epochs", 100] if examples < 1000 else []
            yield shift, examples, [*data, "--checkpoint", start, "--shift", shift, "--adapt-examples", examples, *few]
    (folder / "digits").mkdir(exist_ok=True)
    yield "drawn digits", 4000, ["--checkpoint", checkpoint(folder / "digits", [])]


def readouts(folder, options):
    domains = list(readout_domains(folder, ["--data", options.data]))
    seeds = range(1, options.seeds + 1)
    jobs = {f"{name}-{examples}-{kind}-{seed}": [*([] if "--method" in args else ["--method", "readout"]), *args,
                                                 *common, "--seed", seed]
            for kind, args in READOUT_KINDS.items() for name, examples, common in domains for seed in seeds}
    results = run_all(folder, jobs, options.workers)
    rows = []
    for name, examples, _ in domains:
        def of(kind, key, less=None):
            runs = [results[f"{name}-{examples}-{kind}-{seed}"]["accuracy"] for seed in seeds]
            return statistic([r[key] - (r[less] if less else 0) for r in runs])
        accuracy = {key: of("taps", key) for key in ("shifted", "readout", "readout_float", "backprop")}
        accuracy |= {"head": of("head", "readout"), "w8": of("w8", "readout"), "both": of("both", "both"),
                     "statistics": of("statistics", "statistics"), "statistics_readout": of("statistics", "readout"),
                     "statistics_backprop": of("statistics", "backprop"),
                     "fixed_minus_float": of("taps", "readout", "readout_float"),
                     "readout_minus_backprop": of("taps", "readout", "backprop"),
                     "statistics_minus_backprop": of("statistics", "readout", "backprop")}
        taps = [results[f"{name}-{examples}-taps-{seed}"] for seed in seeds]
        both = [results[f"{name}-{examples}-both-{seed}"] for seed in seeds]
        work = {m: {key: mean([r["methods"][m][key] for r in runs]) for key in ("passes", "mmac")}
                for m, runs in (("readout", taps), ("backprop", taps), ("both", both))}
        rows.append({"shift": name, "examples": examples, "accuracy": accuracy, "work": work,
                     "taps": taps[0]["methods"]["readout"]["taps"]})
    return {"data": pathlib.Path(options.data).name, "seeds": options.seeds, "rows": rows}


WIDTHS = {"steps": 1500, "eps": (0.001, 0.01, 0.05)}


def widths(folder, options):
    data = ["--data", options.data] if options.data else []
    start = checkpoint(folder, data)
    jobs = {}
    for weights in ("w8", "w16"):
        for eps in WIDTHS["eps"]:
            for seed in range(1, options.seeds + 1):
                jobs[f"{weights}-{eps}-{seed}"] = [*data, "--checkpoint", start, "--weights", weights, "--unit",
                                                   "rms", "--eps", eps, "--seed", seed,
                                                   "--steps", WIDTHS["steps"], "--step", 0.02, "--estimator", "sign",
                                                   "--no-backprop", "--evaluations", 0]
    results = run_all(folder, jobs, options.workers)
    rows = []
    for weights in ("w8", "w16"):
        for eps in WIDTHS["eps"]:
            runs = [results[f"{weights}-{eps}-{seed}"] for seed in range(1, options.seeds + 1)]
            rows.append({"weights": weights, "eps": eps, **{k: statistic([r["accuracy"][k] for r in runs])
                                                            for k in ("shifted", "fixed", "float")}})
    return {"data": pathlib.Path(options.data).name if options.data else "glyphs", "seeds": options.seeds,
            "steps": WIDTHS["steps"], "rows": rows}


def speakers(folder, options):
    data = ["--data", options.data]
    trained = {"head": ["--backprop-rate", 0.03, "--backprop-epochs", 100],
               "all": ["--steps", 2000, "--inner", 0.1, "--backprop-rate", 0.001, "--backprop-epochs", 20]}
    jobs = {f"ds-cnn-{layers}-{seed}": [*data, "--layers", layers, *args, "--seed", seed, "--no-float",
                                        "--evaluations", 0]
            for layers, args in trained.items() for seed in range(1, options.seeds + 1)}
    results = run_all(folder, jobs, options.workers)
    def of(layers):
        runs = [r for key, r in results.items() if key.startswith(f"ds-cnn-{layers}-")]
        return {"accuracy": {k: statistic([r["accuracy"][k] for r in runs])
                             for k in ("source", "shifted", "fixed", "backprop")},
                "speakers": [{"name": d["name"], **{k: statistic([r["domains"][i]["accuracy"][k] for r in runs])
                                                    for k in ("shifted", "fixed", "backprop")}}
                             for i, d in enumerate(runs[0]["domains"])]}

    return {"data": pathlib.Path(options.data).name, "seeds": options.seeds, "network": "ds-cnn",
            **{layers: of(layers) for layers in trained}}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("fashion", "widths", "speakers", "readouts"))
    parser.add_argument("data", nargs="?", default="")
    parser.add_argument("--seeds", type=int, default=0, help="0: as many as the campaign needs")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    options.seeds = options.seeds or {"fashion": 5, "widths": 3, "speakers": 1, "readouts": 5}[options.name]
    if options.name != "widths" and not options.data:
        parser.error(f"{options.name} needs the folder of its data set")
    folder = ROOT / "build" / "campaign" / options.name
    folder.mkdir(parents=True, exist_ok=True)
    campaigns = {"fashion": fashion, "widths": widths, "speakers": speakers, "readouts": readouts}
    summary = campaigns[options.name](folder, options)
    report = ROOT / "build" / "reports" / f"campaign-{options.name}.json"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(json.dumps(summary, indent=2) + "\n")
    print(f"{report.relative_to(ROOT)} written; `make readme` puts it into the README")


if __name__ == "__main__":
    main()
