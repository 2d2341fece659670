#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The golden float model against PyTorch, on the three networks: `make peer-torch`.

usage: peer_torch.py LASTMILE [NETWORK...]

`lastmile validate --peer DIR` writes a network with random numbers, its outputs and its gradients; this script
computes the same with PyTorch. Bounds: every layer's output 1e-5 relative in float32 and 1e-10 in float64; gradients
and loss 1e-6 in float64. Differences are relative to the largest magnitude of the tensor. Exit status 1 if one is
exceeded; a line `SKIPPED: ...` where PyTorch is missing.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

DISTRIBUTION = "/usr/bin/python3"  # the distribution's PyTorch belongs to the distribution's interpreter
LIMITS = {"float32": 1e-5, "float64": 1e-10, "gradient": 1e-6}
STATISTICS = ("mean", "variance")


def layer_output(torch, layer, inputs, p, training, epsilon):
    """One layer on NCHW tensors."""
    f = torch.nn.functional
    x, op = inputs[0], layer["op"]
    top, bottom, left, right = layer["pad"]
    stride, kernel, dilation = layer["stride"], layer["kernel"], layer["dilation"]
    if op == "fully_connected":
        y = f.linear(x.permute(0, 2, 3, 1).flatten(1), p["weights"], p.get("bias"))[:, :, None, None]
    elif op in ("conv2d", "depthwise_conv2d"):
        groups = layer["groups"] if op == "conv2d" else layer["in"][2]
        y = f.conv2d(f.pad(x, (left, right, top, bottom)), p["weights"], p.get("bias"), stride, 0, dilation, groups)
    elif op == "max_pool2d":
        y = f.max_pool2d(f.pad(x, (left, right, top, bottom), value=-float("inf")), kernel, stride)
    elif op in ("average_pool2d", "global_average_pool"):
        if op == "global_average_pool":
            kernel, stride = layer["in"][:2], [1, 1]
        ones = f.pad(torch.ones_like(x), (left, right, top, bottom))
        y = f.avg_pool2d(f.pad(x, (left, right, top, bottom)), kernel, stride) / f.avg_pool2d(ones, kernel, stride)
    elif op == "add":
        y = inputs[0] + inputs[1]
    elif op == "softmax":
        y = f.softmax(x.flatten(1), 1)[:, :, None, None]
    else:
        raise ValueError(f"operator {op} is not known here")
    if layer["batch_norm"]:
        mean, variance = (None, None) if training else (p["mean"], p["variance"])
        y = f.batch_norm(y, mean, variance, p["gamma"], p["beta"], training, 0, epsilon)
    return {"none": lambda v: v, "relu": f.relu, "relu6": f.relu6}[layer["activation"]](y)


class Case:
    """What `lastmile validate --peer` wrote."""

    def __init__(self, numpy, torch, lastmile, network):
        self.numpy, self.torch = numpy, torch
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run([lastmile, "validate", "--network", network, "--peer", folder], check=True,
                           stdout=subprocess.DEVNULL)
            self.info = json.loads((pathlib.Path(folder) / "peer.json").read_text())
            self.data = numpy.fromfile(pathlib.Path(folder) / "peer.bin", "<f8")
        self.layers = self.info["layers"]

    def has(self, name):
        return name in self.info["arrays"]

    def array(self, name):
        first, count = self.info["arrays"][name]
        return self.data[first:first + count]

    def tensor(self, layer, kind, name):
        """An array in PyTorch's layout."""
        values = self.array(name)
        kh, kw = layer["kernel"]
        if kind == "weights" and layer["op"] == "conv2d":  # OHWI
            values = values.reshape(layer["filters"], kh, kw, -1).transpose(0, 3, 1, 2)
        elif kind == "weights" and layer["op"] == "depthwise_conv2d":  # HWO
            values = values.reshape(kh, kw, 1, -1).transpose(3, 2, 0, 1)
        elif kind == "weights":
            values = values.reshape(layer["filters"], -1)
        return self.numpy.ascontiguousarray(values)

    def parameters(self, dtype, grad):
        out = {}
        for layer in self.layers:
            out[layer["name"]] = {
                kind: self.torch.tensor(self.tensor(layer, kind, f"{layer['name']}/{kind}"), dtype=dtype)
                .requires_grad_(grad and kind not in STATISTICS)
                for kind in ("weights", "bias", "gamma", "beta") + STATISTICS if self.has(f"{layer['name']}/{kind}")}
        return out

    def run(self, params, dtype, training):
        h, w, c = self.info["input"]
        x = self.array("x").reshape(self.info["examples"], h, w, c).transpose(0, 3, 1, 2)
        x = self.torch.tensor(x.copy(), dtype=dtype)
        outputs = []
        for layer in self.layers:
            inputs = [x if i < 0 else outputs[i] for i in layer["inputs"]]
            outputs.append(layer_output(self.torch, layer, inputs, params[layer["name"]], training,
                                        self.info["batch_norm_epsilon"]))
        return outputs


def compare(lastmile, network):
    import numpy
    import torch
    torch.set_num_threads(1)
    case = Case(numpy, torch, lastmile, network)
    worst = dict.fromkeys(LIMITS, 0.0)

    def note(kind, ours, theirs):
        scale = max(numpy.abs(theirs).max(), 1e-30)
        worst[kind] = max(worst[kind], float(numpy.abs(ours - theirs).max() / scale))

    for kind, dtype, suffix in (("float32", torch.float32, "out32"), ("float64", torch.float64, "out64")):
        with torch.no_grad():
            outputs = case.run(case.parameters(dtype, False), dtype, False)
        for layer, y in zip(case.layers, outputs):
            note(kind, case.array(f"{layer['name']}/{suffix}"), y.permute(0, 2, 3, 1).double().numpy().ravel())

    params = case.parameters(torch.float64, True)
    outputs = case.run(params, torch.float64, True)
    last = len(case.layers) - 1
    if case.layers[last]["op"] == "softmax":
        last = case.layers[last]["inputs"][0]
    labels = torch.tensor(case.array("y").astype("int64"))
    loss = torch.nn.functional.cross_entropy(outputs[last].flatten(1), labels)
    loss.backward()
    note("gradient", numpy.array([case.info["loss"]]), numpy.array([loss.item()]))
    compared = 0
    for layer in case.layers:
        for kind, p in params[layer["name"]].items():
            if kind in STATISTICS:
                continue
            note("gradient", case.tensor(layer, kind, f"{layer['name']}/gradient/{kind}"), p.grad.numpy())
            compared += 1
    return worst, len(case.layers), compared


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        import torch  # noqa: F401
    except ImportError:
        here = pathlib.Path(DISTRIBUTION)
        if sys.executable != DISTRIBUTION and here.exists() and \
                subprocess.run([DISTRIBUTION, "-c", "import torch"], stderr=subprocess.DEVNULL).returncode == 0:
            sys.exit(subprocess.run([DISTRIBUTION] + sys.argv).returncode)
        print("SKIPPED: PyTorch is not installed (Debian package python3-torch)")
        return
    networks = sys.argv[2:] or ["small-cnn", "resnet8", "ds-cnn"]
    failed = 0
    for network in networks:
        worst, layers, tensors = compare(sys.argv[1], network)
        bad = [k for k in LIMITS if not worst[k] <= LIMITS[k]]
        failed += bool(bad)
        print(f"{'FAIL' if bad else 'ok  '} {network}, {layers} layers, {tensors} gradients: " +
              ", ".join(f"{k} {worst[k]:.2g} (limit {LIMITS[k]:g})" for k in LIMITS))
    print(f"{len(networks) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
