#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every command of sw/import/FIVE_MINUTES.md in an empty folder, on a model.onnx written by python3-onnx.

usage: check_page.py PROGRAM      ends with `N passed, N failed`

The model is the shipped small CNN, trained here for one epoch on the drawn digits and written as PyTorch would export
it: channels first, batch norm as a node of its own, a flatten before the dense layer.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "sw/import/FIVE_MINUTES.md"
TIMEOUT = 600
LEAST_ACCURACY = 90.0  # per cent on the source domain, of float and fixed point


def write_onnx(weights, path):
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    w = np.load(weights)
    nodes, constants = [], []

    def constant(name, array):
        constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def conv(layer, before, stride, pads):
        """OHWI to OIHW; `pads` as TensorFlow's "same" gives them."""
        kernel = constant(f"{layer}.w", w[f"{layer}/weights"].transpose(0, 3, 1, 2))
        nodes.append(helper.make_node("Conv", [before, kernel], [f"{layer}.conv"], layer, strides=[stride, stride],
                                      pads=pads))
        norm = [constant(f"{layer}.{k}", w[f"{layer}/{k}"]) for k in ("gamma", "beta", "mean", "variance")]
        nodes.append(helper.make_node("BatchNormalization", [f"{layer}.conv", *norm], [f"{layer}.bn"],
                                      f"{layer}.norm", epsilon=1e-3))
        nodes.append(helper.make_node("Relu", [f"{layer}.bn"], [layer], f"{layer}.relu"))
        return layer

    def pool(name, before):
        nodes.append(helper.make_node("MaxPool", [before], [name], name, kernel_shape=[2, 2], strides=[2, 2]))
        return name

    x = pool("pool1", conv("conv1", "x", 1, [1, 1, 1, 1]))          # 8 x 8
    x = conv("conv2", x, 2, [0, 0, 1, 1])                           # 4 x 4
    x = pool("pool3", conv("conv3", x, 1, [1, 1, 1, 1]))            # 2 x 2
    nodes.append(helper.make_node("Flatten", [x], ["flat"], "flatten"))
    dense = w["fc/weights"].reshape(-1, 2, 2, 40).transpose(0, 3, 1, 2).reshape(-1, 160)
    nodes.append(helper.make_node("Gemm", ["flat", constant("fc.w", dense), constant("fc.b", w["fc/bias"])], ["y"],
                                  "fc", transB=1))
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 7
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    try:
        import numpy  # noqa: F401
        import onnx  # noqa: F401
    except ImportError as e:
        print(f"SKIPPED: {e.name} is not installed (python3-numpy, python3-onnx)")
        print("0 passed, 0 failed")
        return 0
    commands = [line.split()[1:] for line in PAGE.read_text().splitlines() if line.startswith("    lastmile ")]
    passed = failed = 0

    def check(what, fine, why=""):
        nonlocal passed, failed
        passed, failed = passed + fine, failed + (not fine)
        if not fine:
            print(f"FAILED: {what}: {why}")

    with tempfile.TemporaryDirectory() as folder:
        def run(arguments):
            return subprocess.run([str(program), *arguments], cwd=folder, capture_output=True, text=True,
                                  timeout=TIMEOUT)

        r = run(["pretrain", "--epochs", "2", "--output", "w.npz", "--quiet", "--network", "small-cnn"])
        check("pretrain", r.returncode == 0, r.stderr)
        write_onnx(f"{folder}/w.npz", f"{folder}/model.onnx")
        for c in commands:
            if c[0] == "cosim" and not (program.parent / "liblastmile_rtl.so").exists():
                print("SKIPPED: cosim (make rtl)")
                continue
            r = run([*c, "--quiet"])
            check(" ".join(c), r.returncode == 0, r.stderr[-2000:])
        # What was trained elsewhere is as good here.
        def accuracy(*arguments, domain="source"):
            r = run(["eval", *arguments, "--json", "--quiet"])
            return json.loads(r.stdout)[domain]["accuracy"] if r.returncode == 0 else 0
        before = accuracy("--network", "small-cnn", "--input", "w.npz")
        float_, fixed = accuracy("--network", "model.onnx", "--input", "mine.npz"), accuracy("--input", "quantized.lmq")
        print(f"source accuracy: trained {before:.2f} %, imported {float_:.2f} %, fixed point {fixed:.2f} %")
        check("the imported model is as accurate", abs(before - float_) < 0.05 and before > LEAST_ACCURACY)
        check("fixed point is within 0.5 points", abs(float_ - fixed) <= 0.5)
        # What goes out is what was adapted.
        adapted = accuracy("--input", "adapted.lmq", domain="shifted")
        out, real = (accuracy("--network", m, domain="shifted") for m in ("adapted.onnx", "adapted_float.onnx"))
        print(f"adapted, shifted domain: {adapted:.2f} %, exported as QDQ {out:.2f} %, as float {real:.2f} %")
        check("the exported integers are as accurate as the adapted ones", out == adapted)
        check("the exported float network is as accurate within 0.5 points", abs(real - adapted) <= 0.5)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
