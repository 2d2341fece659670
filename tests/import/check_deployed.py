#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""deployed.py on models that are tiny, and the speed of ResNet-8 at batch 1.

usage: check_deployed.py LASTMILE DEPLOYED      ends with `N passed, N failed`
"""
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/profile"))

from checks import Checks  # noqa: E402
from deployed import CLOCK, FLOOR  # noqa: E402

PROGRAM, TOOL = sys.argv[1:3]
check = Checks()


def deployed(tool, models, reports, *args):
    r = subprocess.run([sys.executable, ROOT / "tests/import/deployed.py", PROGRAM, tool, models, "--reports", reports,
                        "--small", "--inputs", "20", "--sets", "4x4-s16384", "16x16", *args], cwd=ROOT,
                       capture_output=True, text=True)
    return r.returncode, r.stdout + r.stderr


def whole(folder):
    models, reports = folder / "models", folder / "reports"
    models.mkdir()
    subprocess.run([TOOL, "tiny", models], check=True)
    onnx = models / "tiny.onnx"
    code, said = deployed(TOOL, models, reports)
    check("a tiny model: exit code", code == 0, said)
    report = json.loads((reports / "models.json").read_text())
    tiny = report["tiny"][0]
    check("a tiny model: the interpreter's bytes", tiny["equal"] and tiny["inputs"] == 20, str(tiny))
    check("a tiny model: both arrays", [x["array"] for x in tiny["arrays"]] == ["4x4-s16384", "16x16"])
    for x in tiny["arrays"]:
        parts = sum(x["losses"].values()) + x["useful"] * x["cycles"]
        check(f"{x['array']}: what multiplies and what does not are all cycles", abs(parts / x["cycles"] - 1) < 1e-6,
              f"{parts} {x['cycles']}")
        check(f"{x['array']}: inferences per second", abs(x["per_second"] * x["cycles"] / (CLOCK * 1e6) - 1) < 1e-9)
        check(f"{x['array']}: energy", 0 < x["energy_uj"]["low"] <= x["energy_uj"]["value"] <= x["energy_uj"]["high"])
        check(f"{x['array']}: memory", x["memory"]["weights"] >= tiny["weights"] and x["memory"]["activations"] > 0)
    check("the larger array takes fewer cycles", tiny["arrays"][1]["cycles"] < tiny["arrays"][0]["cycles"])
    names = [x["name"] for x in report["imports"]]
    check("imports: every file", names == ["tiny", *(["tiny"] if onnx.exists() else [])], str(names))
    for x in report["imports"]:
        steps = x["steps"]
        wrong = {k: v for k, v in steps.items() if "error" in v}
        check(f"{x['name']}, {x['type']}: nothing is refused", not wrong, str(wrong))
        check(f"{x['name']}, {x['type']}: costs", "profile" in steps and all(
            v["kilobytes"] > 1000 for v in steps.values() if "kilobytes" in v), str(steps))
        check(f"{x['name']}, {x['type']}: outputs on the RTL, where it is built", x.get("equal", True))
    for name in ("tiny", "imports"):
        text = (reports / f"models_{name}.md").read_text()
        check(f"table {name}", text.count("\n| ") > 1 and "`tiny" in text, text)


def broken(folder):
    """What must not pass."""
    liar = folder / "liar"
    liar.write_text("#!/bin/sh\necho 0123456789abcdef\n")
    liar.chmod(0o755)
    code, said = deployed(liar, folder / "models", folder / "liar-reports", "--only", "tiny")
    check("other bytes fail", code == 1 and "FAILED: tiny.tflite on the model" in said, said)
    code, said = deployed(TOOL, folder / "nothing", folder / "no-reports", "--only", "tiny")
    check("no models: said, and nothing is written", code == 0 and "SKIPPED: no .tflite file" in said and
          not (folder / "no-reports/models_tiny.md").exists(), said)
    (folder / "bad").mkdir()
    (folder / "bad/bad.tflite").write_bytes(b"nothing")
    code, said = deployed(TOOL, folder / "bad", folder / "bad-reports", "--only", "imports")
    check("what is refused is in the table", "`bad`, import: exit code 3" in
          (folder / "bad-reports/models_imports.md").read_text(), said)


def resnet(folder):
    r = subprocess.run([PROGRAM, "profile", "--inference", "--predict", "--batch", "1", "--no-compare", "--networks",
                        "resnet8", "--weights", "w8", "--json", "--quiet", "--reports", folder / "resnet"], cwd=ROOT,
                       capture_output=True, text=True)
    check("profile --inference", r.returncode == 0, r.stderr)
    n = json.loads(r.stdout)["networks"][0]
    check("profile --inference: no steps, no loss", n["steps"] == {} and not any(
        x["opcode"] in ("LOSS", "UPDATE") for x in n["inference"]["commands"]), str(n["steps"].keys()))
    rate = CLOCK * 1e6 / n["inference"]["cycles"]
    check(f"ResNet-8, 16 x 16, {CLOCK} MHz: {FLOOR} inferences per second", rate >= FLOOR, f"{rate:.0f}")


def main():
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        whole(folder)
        broken(folder)
        resnet(folder)
    check.finish()


main()
