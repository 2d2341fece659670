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


FORWARD_GRADIENT = ["--method", "forward-gradient"]


def run_all(folder, jobs, workers):
    """jobs: key -> arguments of `lastmile run`; results by key, in order."""
    def one(item):
        key, args = item
        return key, once(folder, key, lambda: json.loads(lastmile(
            "run", "--json", "--quiet", "--threads", 1, *([] if "--method" in args else FORWARD_GRADIENT),
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


def readouts(folder, options):
    data = ["--data", options.data]
    start = checkpoint(folder, data)
    jobs = {}
    for shift in READOUT_SHIFTS:
        for examples in READOUT_EXAMPLES:
            for seed in range(1, options.seeds + 1):
                common = [*data, "--checkpoint", start, "--method", "readout", "--shift", shift, "--adapt-examples",
                          examples, "--seed", seed]
                # Few examples: as many steps of backpropagation as they need, or it is no opponent.
                common += ["--backprop-epochs", 100] if examples < 1000 else []
                jobs[f"{shift}-{examples}-head-{seed}"] = [*common, "--taps", "none", "--no-float", "--no-backprop"]
                jobs[f"{shift}-{examples}-taps-{seed}"] = common
                jobs[f"{shift}-{examples}-w8-{seed}"] = [*common, "--weights", "w8,head=w16", "--no-float",
                                                         "--no-backprop"]
    results = run_all(folder, jobs, options.workers)
    rows = []
    for shift in READOUT_SHIFTS:
        for examples in READOUT_EXAMPLES:
            head, taps, w8 = ([results[f"{shift}-{examples}-{kind}-{seed}"] for seed in range(1, options.seeds + 1)]
                              for kind in ("head", "taps", "w8"))
            accuracy = {key: statistic([r["accuracy"][key] for r in taps])
                        for key in ("shifted", "readout", "readout_float", "backprop")}
            accuracy["head"] = statistic([r["accuracy"]["readout"] for r in head])
            accuracy["w8"] = statistic([r["accuracy"]["readout"] for r in w8])
            accuracy["fixed_minus_float"] = statistic([r["accuracy"]["readout"] - r["accuracy"]["readout_float"]
                                                       for r in taps])
            accuracy["readout_minus_backprop"] = statistic([r["accuracy"]["readout"] - r["accuracy"]["backprop"]
                                                            for r in taps])
            work = {name: {key: mean([r["methods"][name][key] for r in taps]) for key in ("passes", "mmac")}
                    for name in ("readout", "backprop")}
            rows.append({"shift": shift, "examples": examples, "accuracy": accuracy, "work": work,
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
