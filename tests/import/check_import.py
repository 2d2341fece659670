#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The program with models of other tools: every command that takes --network takes them; what is wrong is said at once.

usage: check_import.py PROGRAM      ends with `N passed, N failed`

The ONNX files are written here, byte by byte, so that nothing but Python is needed.
"""
import os
import pathlib
import random
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/cli"))

from harness import (INPUT, USAGE, Checks, Program, Workspace, error_line, matches, state,  # noqa: E402
                     write_idx_folder)

SIDE, CLASSES, FILTERS = 12, 3, 4  # of the images that write_idx_folder draws
DATA = ["--data", "img", "--adapt-examples", 32]
INT, STRING, INTS = 2, 3, 7  # AttributeProto.AttributeType


def varint(v):
    out = bytearray()
    while v > 127:
        out.append(v & 127 | 128)
        v >>= 7
    return bytes(out + bytes([v]))


def field(number, value):
    """One field of a protocol buffer: an integer, a text, or bytes of a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (1 << 64) - 1)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def tensor(name, dims, values=None, outside=None):
    """A float tensor with raw data, or with data in another file."""
    t = b"".join(field(1, d) for d in dims) + field(2, 1) + field(8, name)
    if outside:
        return t + field(13, field(1, "location") + field(2, outside)) + field(14, 1)
    return t + field(9, struct.pack(f"<{len(values)}f", *values))


def node(op, inputs, outputs, name="", **attributes):
    n = b"".join(field(1, i) for i in inputs) + b"".join(field(2, o) for o in outputs) + field(3, name) + field(4, op)
    for key, value in attributes.items():
        kind = INTS if isinstance(value, list) else STRING if isinstance(value, str) else INT
        body = b"".join(field(8, v) for v in value) if kind == INTS else field(4 if kind == STRING else 3, value)
        n += field(5, field(1, key) + body + field(20, kind))
    return n


def value_info(name, dims):
    shape = b"".join(field(1, field(2, d) if isinstance(d, str) else field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def model(nodes, tensors, dims=("N", 1, SIDE, SIDE), opset=13, ir=7, output="y"):
    graph = b"".join(field(1, n) for n in nodes) + field(2, "g") + b"".join(field(5, t) for t in tensors)
    graph += field(11, value_info("x", dims)) + field(12, value_info(output, ["N", CLASSES]))
    return field(1, ir) + field(7, graph) + field(8, field(1, "") + field(2, opset))


def weights(n, seed, size):
    r = random.Random(seed)
    return [r.uniform(-size, size) for _ in range(n)]


def parts(classes=CLASSES, side=SIDE, name="fc", outside=None):
    """A convolution, a rectifier and a dense layer, as PyTorch exports them, and their tensors."""
    flat = FILTERS * (side // 2) ** 2
    nodes = [node("Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
             node("Relu", ["c"], ["r"], "relu"), node("Flatten", ["r"], ["f"], "flatten", axis=1),
             node("Gemm", ["f", "v", "d"], ["y"], name, transB=1)]
    tensors = [tensor("w", [FILTERS, 1, 3, 3], weights(FILTERS * 9, 1, 0.5), outside),
               tensor("b", [FILTERS], weights(FILTERS, 2, 0.1)),
               tensor("v", [classes, flat], weights(classes * flat, 3, 0.2)),
               tensor("d", [classes], weights(classes, 4, 0.1))]
    return nodes, tensors


class Suite:
    def __init__(self, program, folder):
        self.p, self.dir, self.checks = program, folder, Checks()
        write_idx_folder(folder / "img")
        (folder / "m.onnx").write_bytes(model(*parts()))

    def fails(self, code, patterns, *args):
        """The command ends with `code`, says `patterns`, and changes no file."""
        before = state(self.dir)
        r = self.p.run(*args, cwd=self.dir)
        assert r.returncode == code, f"exit code {r.returncode}, expected {code}: {r.stderr.strip()!r}"
        # Lists take several lines.
        at = r.stderr.find("lastmile: ")
        matches(r.stderr[at:] if at >= 0 else error_line(r), patterns)
        assert r.stdout == "", f"stdout is {r.stdout[:200]!r}, expected nothing"
        assert state(self.dir) == before, "a failed command changed files"

    def bad(self, name, content, patterns, command=("import",), file="bad.onnx"):
        (self.dir / file).write_bytes(content)
        args = [*command, file] if command == ("import",) else command
        self.checks.case(name, self.fails, INPUT, [file.replace(".", r"\."), *patterns], *args)
        (self.dir / file).unlink()

    def eval(self, *args):
        return self.p.json("eval", *DATA, *args, cwd=self.dir)

    def errors(self):
        nodes, tensors = parts()
        good = model(nodes, tensors)
        both = [node("Elu", ["x"], ["e"], "first"), node("Sigmoid", ["e"], ["s"], "second"),
                node("Conv", ["x", "w"], ["c"], "third", kernel_shape=[3, 3], auto_pad="SOMEHOW"),
                node("Add", ["s", "c"], ["y"], "fourth")]
        self.bad("all that is unsupported is listed", model(both, tensors),
                 ["3 things are not supported", r'node 0 "first", Elu: the operator is not supported',
                  r'node 1 "second", Sigmoid: the operator', r"\nsupported are Add, AveragePool",
                  r'node 2 "third", Conv: auto_pad is "SOMEHOW", expected NOTSET'])
        self.bad("a truncated file", good[:len(good) // 2], ["not a valid ONNX file"])
        self.bad("an empty file", b"", ["not a valid ONNX file"])
        self.bad("a new opset", model(nodes, tensors, opset=99), ["opset is 99, expected 7 to 21"])
        self.bad("a new IR", model(nodes, tensors, ir=99), ["IR version is 99, expected 3 to 10"])
        self.bad("a cycle", model([node("Relu", ["y"], ["z"]), node("Relu", ["z"], ["y"])], []), ["cycle"])
        self.bad("a wrong count of elements", model(nodes, [tensor("w", [FILTERS, 1, 3, 3], [0.0]), *tensors[1:]]),
                 [r'node 0 "conv", Conv: tensor "w" has 4 bytes, expected 144'])
        self.bad("data outside its folder", model(*parts(outside="../secret.bin")),
                 [r'tensor "w": its data are in "\.\./secret\.bin", expected a file in the model\'s folder'])
        self.bad("a cyclic TensorFlow Lite file", b"\x00" * 4 + b"TFL3" + b"\xff" * 64,
                 ["not a valid TensorFlow Lite file"], file="bad.tflite")
        self.bad("another format as .tflite", good, ["not a valid TensorFlow Lite file.*TFL3"], file="bad.tflite")
        self.bad("another number of classes", model(*parts(classes=5)), ["classes is 5, expected 3 of the data"],
                 ("eval", *DATA, "--network", "bad.onnx"))
        self.bad("another input", model(*parts(side=14), dims=("N", 1, 14, 14)),
                 ["input is 14 x 14 x 1, expected 12 x 12 x 1 of the data"],
                 ("quantize", *DATA, "--network", "bad.onnx", "--output", "x.lmq"))
        for command in (["quantize", "--output", "x.lmq"], ["adapt", "--journal", "x.lmj"], ["eval"]):
            self.checks.case(f"{command[0]}: no weights", self.fails, USAGE,
                             ["is missing: network small-cnn comes without weights"], *command)
        self.checks.case("adapt: bad options leave nothing", self.fails, USAGE, ["pairs is 9"], "adapt", *DATA,
                         "--network", "m.onnx", "--journal", "x.lmj", "--pairs", 9)
        for command in (["adapt", *DATA, "--journal", "x.lmj", "--input"], ["infer", "--random", 2, "--network"],
                        ["replay", "--journal", "there.lmj", "--base"]):
            (self.dir / "there.lmj").write_bytes(b"any file: the base is looked at first")
            self.checks.case(f"{command[0]}: a float model where integers belong", self.fails, INPUT,
                             [r"m\.onnx: its numbers are floating point"], *command, "m.onnx")

    def files(self):
        def shape():
            before = state(self.dir)
            j = self.p.json("import", "m.onnx", cwd=self.dir)
            assert (j["input"], j["classes"], j["type"], j["files"]) == ([SIDE, SIDE, 1], CLASSES, "float", []), j
            assert state(self.dir) == before, "nothing was to be written"
            assert [x["name"] for x in self.p.json("info", "m.onnx", cwd=self.dir)["layers"]] == ["conv", "fc"]
        self.checks.case("import says what is in a model", shape)

        def same():
            self.p.ok("import", "m.onnx", "--output", "mine", cwd=self.dir)
            direct, files = self.eval("--network", "m.onnx"), self.eval("--network", "mine.toml", "--input", "mine.npz")
            assert direct == files and direct["source"]["loss"] > 0, (direct, files)
            names = [t["name"] for t in self.p.json("info", "mine.npz", cwd=self.dir)["tensors"]]
            assert names == ["conv/weights", "conv/bias", "fc/weights", "fc/bias"], names
        self.checks.case("the files of an import are the model", same)

    def stages(self):
        adapt = [*DATA, "--steps", 6, "--batch", 8, "--evaluations", 0]

        def one_command():
            self.p.ok("quantize", *DATA, "--network", "m.onnx", "--output", "q.lmq", cwd=self.dir)
            one = self.p.json("adapt", *adapt, "--network", "m.onnx", "--journal", "one.lmj", cwd=self.dir)
            two = self.p.json("adapt", *adapt, "--input", "q.lmq", "--journal", "two.lmj", cwd=self.dir)
            assert one["weights_hash"] == two["weights_hash"]
            again = self.p.json("replay", "--base", "one.base.lmq", "--journal", "one.lmj", cwd=self.dir)
            assert again["weights_hash"] == one["weights_hash"]
            more = self.p.json("adapt", *adapt, "--network", "m.onnx", "--journal", "one.lmj", "--resume", cwd=self.dir)
            assert more["weights_hash"] == one["weights_hash"]
        self.checks.case("adapt takes the model itself", one_command)

        def run():
            r = self.p.json("run", *adapt, "--network", "m.onnx", "--no-backprop", "--no-float", "--method",
                            "forward-gradient", "--out", "out", "--reports", "rep", cwd=self.dir)
            assert r["accuracy"]["float_source"] == self.eval("--network", "m.onnx")["source"]["accuracy"]
            assert not (self.dir / "out/float.lmc").exists(), "nothing was to be trained in floating point"
        self.checks.case("run starts from the model's weights", run)

        def validate():
            r = self.p.run("validate", *DATA, "--network", "m.onnx", "--quick", "--no-signal", "--no-sweep",
                           "--reports", "val", "--json", "--quiet", cwd=self.dir)
            assert r.returncode == 0 or r.returncode >= 32, r.stderr
            assert '"network": "m"' in r.stdout, r.stdout[:200]
        self.checks.case("validate", validate)

        def profile():
            r = self.p.json("profile", "--networks", "m.onnx", "--batch", 4, "--no-compare", "--reports", "prof",
                            cwd=self.dir)
            assert [n["name"] for n in r["networks"]] == ["m"], str(r)[:300]
        self.checks.case("profile", profile)

    def exports(self):
        def float_form():
            self.p.ok("export", "m.onnx", "--output", "again.onnx", cwd=self.dir)
            self.p.ok("export", "m.onnx", "--output", "again.npz", cwd=self.dir)
            self.p.ok("export", "m.onnx", "--output", "again.toml", cwd=self.dir)
            self.p.ok("export", "again.npz", "--network", "again.toml", "--output", "third.onnx", cwd=self.dir)
            first = self.eval("--network", "m.onnx")
            assert first == self.eval("--network", "again.onnx") == self.eval("--network", "third.onnx")
            assert first == self.eval("--network", "again.toml", "--input", "again.npz")
        self.checks.case("export: a float model is the same as .onnx, .npz and .toml", float_form)

        def adapted():
            for bits in ("w8", "w16"):
                self.p.ok("quantize", *DATA, "--network", "m.onnx", "--weights", bits, "--output", "qe.lmq",
                          cwd=self.dir)
                self.p.ok("adapt", *DATA, "--input", "qe.lmq", "--steps", 4, "--batch", 8, "--evaluations", 0,
                          "--journal", f"e{bits}.lmj", "--output", "ad.lmq", cwd=self.dir)
                self.p.ok("export", "ad.lmq", "--output", "ad.onnx", cwd=self.dir)
                assert self.eval("--network", "ad.onnx") == self.eval("--input", "ad.lmq"), bits
                content = (self.dir / "ad.onnx").read_bytes()
                assert b"class_names" in content and b'["0","1","2"]' in content, "classes have no names"
                self.p.ok("export", "ad.lmq", "--output", "ad.npz", cwd=self.dir)
                names = [t["name"] for t in self.p.json("info", "ad.npz", cwd=self.dir)["tensors"]]
                assert names == ["conv/weights", "conv/bias", "fc/weights", "fc/bias"], names
        self.checks.case("export: adapted integers are the same as .onnx", adapted)

        def bad(name, code, patterns, *args):
            self.checks.case(f"export: {name}", self.fails, code, patterns, "export", *args)
        bad("another kind of file", USAGE, [r"--output is x\.bin, expected a name that ends in \.onnx, \.npz"],
            "m.onnx", "--output", "x.bin")
        bad("the input is the output", USAGE, ["are one file"], "m.onnx", "--output", "m.onnx")
        os.link(self.dir / "m.onnx", self.dir / "other.onnx")
        bad("the input under another name", USAGE, ["are one file"], "m.onnx", "--output", "other.onnx")
        (self.dir / "other.onnx").unlink()
        bad("integers of a float model", USAGE, [r"--form qdq: m\.onnx is floating point"], "m.onnx", "--form", "qdq",
            "--output", "x.onnx")
        bad("weights without a network", USAGE, ["--network is missing", "weights alone"], "mine.npz", "--output",
            "x.onnx")
        bad("a network beside a whole one", USAGE, ["--network is given"], "m.onnx", "--network", "mine.toml",
            "--output", "x.onnx")
        bad("a form of what has none", USAGE, [r"--form and --result are of \.onnx"], "m.onnx", "--form", "float",
            "--output", "x.npz")
        bad("a .tflite of nothing", USAGE, ["--like is missing"], "qe.lmq", "--output", "x.tflite")
        bad("a .tflite as .onnx", USAGE, [r"--like is of \.tflite"], "qe.lmq", "--like", "m.onnx", "--output", "x.onnx")
        bad("no .tflite to go back into", INPUT, ["not a valid TensorFlow Lite file"], "qe.lmq", "--like", "m.onnx",
            "--output", "x.tflite")

    def deployed(self):
        models = pathlib.Path(os.environ.get("SHARED") or ROOT / "../shared") / "models"
        for file in ("kws_ref_model.tflite", "pretrainedResnet_quant.tflite"):
            if not (models / file).exists():
                print(f"SKIPPED: no model {models / file} (set SHARED)")
                continue

            def same(path):
                assert self.p.json("import", path, "--output", "deployed", cwd=self.dir)["type"] == "int8"
                runs = [self.p.json("infer", "--network", n, "--random", 5, "--batch", b, cwd=self.dir)
                        for n, b in ((path, 5), (path, 2), ("deployed.lmq", 5))]
                assert runs[0]["examples"] == 5 and runs[0] == runs[1] == runs[2], runs
            self.checks.case(f"{file}: the same bytes from the model and its files", same, (models / file).resolve())

            def back(path):
                self.p.ok("export", "deployed.lmq", "--like", path, "--output", "back.tflite", cwd=self.dir)
                assert (self.dir / "back.tflite").read_bytes() == path.read_bytes()
            self.checks.case(f"{file}: its integers go back into it", back, (models / file).resolve())

    def all(self):
        for group in (self.errors, self.files, self.stages, self.exports, self.deployed):
            group()
        self.checks.finish()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = Program(sys.argv[1])
    with Workspace() as workspace:
        (workspace / "m.onnx").write_bytes(model(*parts()))
        probe = program.run("import", "m.onnx", cwd=workspace)
        if "built without ONNX" in probe.stderr:
            print("SKIPPED: the program was built without ONNX (libonnx-dev, libprotobuf-dev)\n0 passed, 0 failed")
            sys.exit(0)
        Suite(program, workspace).all()
