#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From the same quantized network, the same bits: any build, number of threads, hardware, cached features or not.

usage: check_determinism.py PROGRAM...      ends with `N passed, N failed`

The first program makes the networks once (float results may differ between compilers, so only files are compared from
there on). Every program then adapts them in several settings; journal (with every loss), adapted weights and
accuracies must be those of the first program with one thread and the default hardware.
"""
import pathlib
import sys

from harness import Checks, Program, Workspace, write_idx_folder

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import arrays

# Every operator that trains or moves data, and shapes that no tile divides.
MIX = """\
name = "mix"
input = "task"
classes = "task"

[[layer]]
name = "conv1"
op = "conv2d"
filters = 10
kernel = 3
padding = "same"
activation = "relu6"

[[layer]]
name = "dw"
op = "depthwise_conv2d"
kernel = 3
padding = "same"
activation = "relu"

[[layer]]
name = "grouped"
op = "conv2d"
filters = 10
kernel = 3
groups = 2
dilation = 2
padding = "same"

[[layer]]
name = "sum"
op = "add"
inputs = ["grouped", "conv1"]
activation = "relu"

[[layer]]
name = "max"
op = "max_pool2d"
kernel = 2

[[layer]]
name = "conv2"
op = "conv2d"
filters = 18
kernel = 3
stride = 2
padding = "same"
batch_norm = true
activation = "relu"

[[layer]]
name = "avg"
op = "average_pool2d"
kernel = 2
stride = 1

[[layer]]
name = "fc"
op = "fully_connected"
units = "classes"
"""

# Relative to the tensors' RMS, and large enough for w8 to move; or measured by the program.
RMS = ["--unit", "rms", "--eps", 0.05, "--step", 0.1]
CURVATURE = ["--unit", "curvature", "--eps", 3, "--step", 0.5]

SETTINGS = {
    "w16, signs": ["w16.lmq"],
    "w16, Gaussian, m=3, keep 0.1": ["w16.lmq", "--distribution", "gaussian", "--pairs", 3, "--keep", 0.1,
                                     "--mask-seed", 5],
    "w16, scaled": ["w16.lmq", "--estimator", "scaled"],
    "w16, head": ["w16.lmq", "--layers", "head"],
    "w8, signs, keep 0.1": ["w8.lmq", "--keep", 0.1],
    "w8, Gaussian": ["w8.lmq", "--distribution", "gaussian"],
    "w16, amplitudes by curvature": ["w16.lmq", *CURVATURE],
}

# Labels drawn at random teach nothing: held-out examples would choose the start. The built-in data holds some out.
KEPT = ["--hold-out", 0]


def hardware(name):
    return arrays.hardware(arrays.parse(name))


VARIANTS = {
    "1 thread": ["--threads", 1],
    "2 threads": ["--threads", 2],
    "5 threads, the smallest NPU": ["--threads", 5, "--hardware", hardware("smallest")],
    "1 thread, the largest NPU": ["--threads", 1, "--hardware", hardware("largest")],
    "2 threads, another NPU": ["--threads", 2, "--hardware", hardware("8x16-deep")],
    "2 threads, features not cached": ["--threads", 2, "--no-feature-cache"],
}


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    programs = [Program(p) for p in sys.argv[1:]]
    checks = Checks()
    with Workspace() as folder:
        (folder / "mix.toml").write_text(MIX)
        write_idx_folder(folder / "img", train=240, test=45)
        data = ["--network", "mix.toml", "--data", "img", "--adapt-examples", 40]

        def adapt(program, network, *options, task=data, steps=5):
            r = program.json("adapt", *task, "--input", network, "--journal", "x.lmj", "--overwrite",
                             "--output", "x.lmq", "--steps",
                             steps, "--batch", 19,
                             "--evaluations", 0, *(KEPT if task is data else []),
                             *([] if "--unit" in options else RMS),
                             *([] if "--estimator" in options else ["--estimator", "sign"]), *options, cwd=folder)
            del r["seconds"]
            return r, (folder / "x.lmj").read_bytes(), (folder / "x.lmq").read_bytes()

        def same(found, expected):
            for what, a, b in zip(("accuracies or hash", "journal", "adapted network"), found, expected):
                assert a == b, f"another {what}: {a} instead of {b}" if isinstance(a, dict) else f"another {what}"

        def float_files(program):
            """Float stages: the same bits for any number of threads of one build."""
            for threads in (1, 2):
                program.ok("pretrain", *data, "--epochs", 2, "--output", f"t{threads}.lmc", "--quiet", "--threads",
                           threads, cwd=folder)
                program.ok("quantize", *data, "--checkpoint", "t1.lmc", "--output", f"t{threads}.lmq", "--threads",
                           threads, cwd=folder)
            for kind in ("lmc", "lmq"):
                assert (folder / f"t1.{kind}").read_bytes() == (folder / f"t2.{kind}").read_bytes(), (
                    f"another .{kind} with 2 threads")

        first = programs[0]
        for program in programs:
            checks.case(f"{program.name}: pretrain and quantize with 1 and 2 threads", float_files, program)
        first.ok("pretrain", *data, "--epochs", 2, "--output", "mix.lmc", "--quiet", cwd=folder)
        for width in ("w16", "w8"):
            first.ok("quantize", *data, "--checkpoint", "mix.lmc", "--weights", width, "--output", f"{width}.lmq",
                     cwd=folder)

        hashes = {}
        for setting, (network, *options) in SETTINGS.items():
            reference = adapt(first, network, *options, *VARIANTS["1 thread"])
            hashes[setting] = reference[0]["weights_hash"]
            (folder / "ref.lmj").write_bytes(reference[1])
            start = first.json("info", network, cwd=folder)["weights_hash"]

            def moved():
                assert hashes[setting] != start, "the weights did not move"
            checks.case(f"{setting}: weights move", moved)
            for program in programs:
                for variant, extra in VARIANTS.items():
                    checks.case(f"{program.name}, {setting}, {variant}",
                                lambda: same(adapt(program, network, *options, *extra), reference))

                def replayed():
                    found = program.json("replay", "--base", network, "--journal", "ref.lmj",
                                         cwd=folder)["weights_hash"]
                    assert found == hashes[setting], f"{found} instead of {hashes[setting]}"
                checks.case(f"{program.name}, {setting}, replay", replayed)

        def distinct():
            assert len(set(hashes.values())) == len(hashes), f"settings that should differ do not: {hashes}"
        checks.case("settings differ", distinct)

        # The built-in data is drawn by the program: the journal holds its digest.
        task = ["--network", "mix.toml", "--adapt-examples", 64]
        first.ok("pretrain", *task, "--epochs", 1, "--output", "g.lmc", "--quiet", cwd=folder)
        first.ok("quantize", *task, "--checkpoint", "g.lmc", "--output", "g.lmq", cwd=folder)
        reference = adapt(first, "g.lmq", "--threads", 1, task=task, steps=3)
        for program in programs:
            checks.case(f"{program.name}, built-in data",
                        lambda: same(adapt(program, "g.lmq", "--threads", 2, task=task, steps=3), reference))
    checks.finish()


if __name__ == "__main__":
    main()
