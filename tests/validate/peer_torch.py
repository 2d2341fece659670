#!/ usr / bin / env python3
""
    "The golden float model against PyTorch, on the three networks: `make peer-torch`.

    usage : peer_torch.py LASTMILE[NETWORK...]

`lastmile validate-- peer DIR` writes a network with random numbers,
    its outputs and its gradients;
this script computes the same with PyTorch
    .Bounds
    : every
          layer's output 1e-5 relative in float32 and 1e-10 in float64; gradients and loss 1e-6 in float64. Differences are
              relative to the largest magnitude of the tensor.Exit status 1 if one is exceeded; a line `SKIPPED: ...` where PyTorch is missing.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

#The distribution 's PyTorch belongs to the distribution' s interpreter.
DISTRIBUTION = "/usr/bin/python3"


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
        ones = f.pad(torch.ones_like(x), (left, right, top, bottom))
        x = f.pad(x, (left, right, top, bottom))
        if op == "global_average_pool":
            kernel, stride = layer["in"][:2], [1, 1]
        y = f.avg_pool2d(x, kernel, stride) / f.avg_pool2d(ones, kernel, stride)
    elif op == "add":
        y = inputs[0] + inputs[1]
    elif op == "softmax":
        y = f.softmax(x.flatten(1), 1)[:, :, None, None]
    else:
        raise ValueError(f"operator {op} is not known here")
    if layer["batch_norm"]:
        if training:
            y = f.batch_norm(y, None, None, p["gamma"], p["beta"], True, 0, epsilon)
        else:
            y = f.batch_norm(y, p["mean"], p["variance"], p["gamma"], p["beta"], False, 0, epsilon)
    return {"none": lambda v: v, "relu": f.relu, "relu6": f.relu6}[layer["activation"]](y)


def run(torch, case, params, x, training):
    outputs = []
    for layer in case["layers"]:
        inputs = [x if i < 0 else outputs[i] for i in layer["inputs"]]
        outputs.append(layer_output(torch, layer, inputs, params[layer["name"]], training, case["batch_norm_epsilon"]))
    return outputs


def compare(lastmile, network):
    import numpy
    import torch
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([lastmile, "validate", "--network", network, "--peer", folder], check=True, stdout=subprocess.DEVNULL)
        case = json.loads((pathlib.Path(folder) / "peer.json").read_text())
        data = numpy.fromfile(pathlib.Path(folder) / "peer.bin", "<f8")

    def array(name):
        first, count = case["arrays"][name]
        return data[first:first + count]

    def to_torch(layer, kind, values):
        kh, kw = layer["kernel"]
        if kind == "weights" and layer["op"] == "conv2d":  # OHWI
            values = values.reshape(layer["filters"], kh, kw, -1).transpose(0, 3, 1, 2)
        elif kind == "weights" and layer["op"] == "depthwise_conv2d":  # HWO
            values = values.reshape(kh, kw, 1, -1).transpose(3, 2, 0, 1)
        elif kind == "weights":
            values = values.reshape(layer["filters"], -1)
        return numpy.ascontiguousarray(values)

    def parameters(dtype, grad):
        out = {}
        for layer in case["layers"]:
            out[layer["name"]] = {
                kind: torch.tensor(to_torch(layer, kind, array(f"{layer['name']}/{kind}")), dtype=dtype)
                .requires_grad_(grad and kind not in ("mean", "variance"))
                for kind in ("weights", "bias", "gamma", "beta", "mean", "variance")
                if f"{layer['name']}/{kind}" in case["arrays"]}
        return out

    h, w, c = case["input"]
    nhwc = array("x").reshape(case["examples"], h, w, c).transpose(0, 3, 1, 2)
    worst = {"float32": 0.0, "float64": 0.0, "gradient": 0.0}

    def note(kind, ours, theirs):
        scale = max(numpy.abs(theirs).max(), 1e-30)
        worst[kind] = max(worst[kind], float(numpy.abs(ours - theirs).max() / scale))

    for kind, dtype, suffix in (("float32", torch.float32, "out32"), ("float64", torch.float64, "out64")):
        with torch.no_grad():
            outputs = run(torch, case, parameters(dtype, False), torch.tensor(nhwc.copy(), dtype=dtype), False)
        for layer, y in zip(case["layers"], outputs):
            theirs = y.permute(0, 2, 3, 1).double().numpy().ravel()
            note(kind, array(f"{layer['name']}/{suffix}"), theirs)

    params = parameters(torch.float64, True)
    outputs = run(torch, case, params, torch.tensor(nhwc.copy(), dtype=torch.float64), True)
    last = len(case["layers"]) - 1
    if case["layers"][last]["op"] == "softmax":
        last = case["layers"][last]["inputs"][0]
    labels = torch.tensor(array("y").astype("int64"))
    loss = torch.nn.functional.cross_entropy(outputs[last].flatten(1), labels)
    loss.backward()
    note("gradient", numpy.array([case["loss"]]), numpy.array([loss.item()]))
    for layer in case["layers"]:
        for kind, p in params[layer["name"]].items():
            name = f"{layer['name']}/gradient/{kind}"
            if p.grad is not None and name in case["arrays"]:
                note("gradient", to_torch(layer, kind, array(name)), p.grad.numpy())
    return worst


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        import torch
#noqa : F401 except ImportError : if sys.executable !=
        DISTRIBUTION and pathlib.Path(DISTRIBUTION).exists() and
    subprocess.run([ DISTRIBUTION, "-c", "import torch" ], stderr = subprocess.DEVNULL)
            .returncode ==
        0 : sys.exit(subprocess.run([DISTRIBUTION] + sys.argv).returncode) print(
            "SKIPPED: PyTorch is not installed (Debian package python3-torch)") return limits = {
    "float32" : 1e-5, "float64" : 1e-10,
    "gradient" : 1e-6 } failed =
        0 for network in sys.argv
        [2 : ] or
         ["small-cnn",
          "resnet8",
          "ds-cnn"] : worst =
              compare(sys.argv[1], network)
                  bad =
                      [k for k in
                           limits if not worst
                       [k] <=
                        limits[k]] failed +=
                        bool(bad) print(
                            f
                            "{'FAIL' if bad else 'ok  '} {network}: " +
                            ", ".join(f "{k} {worst[k]:.2g} (limit {limits[k]:g})" for k in limits))
                            print(
                                f
                                "{3 - failed if len(sys.argv) == 2 else len(sys.argv) - 2 - failed} passed, {failed} failed")
                                sys.exit(1 if failed else 0)

                                    main()
