# SPDX-License-Identifier: Apache-2.0
"""The networks of sw/networks for the peers of `make bench`: layers with shapes, an ONNX file of each, random weights.

Batch normalization is folded into the convolution before it, as everywhere in the comparison.
"""
import pathlib
import random
import struct
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# height, width, channels, classes
INPUTS = {"small-cnn": (28, 28, 1, 10), "ds-cnn": (49, 10, 1, 12), "resnet8": (32, 32, 3, 10)}


def pair(value):
    return list(value) if isinstance(value, list) else [value, value]


def layers(name):
    """[{op, name, inputs, weights: shape, stride, pads: [top, left, bottom, right], groups, relu, out: (h, w, c)}]"""
    h, w, c, classes = INPUTS[name]
    shapes, found, last = {"input": (h, w, c)}, [], "input"
    for layer in tomllib.loads((ROOT / f"sw/networks/{name}.toml").read_text())["layer"]:
        inputs = layer.get("inputs", [layer.get("input", last)])
        h, w, c = shapes[inputs[0]]
        op = layer["op"]
        one = {"op": op, "name": layer["name"], "inputs": inputs, "relu": layer.get("activation") == "relu"}
        if op in ("conv2d", "depthwise_conv2d", "max_pool2d"):
            kernel = pair(layer["kernel"])
            stride = pair(layer.get("stride", layer["kernel"] if op == "max_pool2d" else 1))
            same = layer.get("padding", "valid") == "same"
            out, pads = [], [0, 0, 0, 0]
            for axis, size in enumerate((h, w)):
                if same:
                    out.append(-(-size // stride[axis]))
                    total = max(0, (out[-1] - 1) * stride[axis] + kernel[axis] - size)
                    pads[axis], pads[axis + 2] = total // 2, total - total // 2
                else:
                    out.append((size - kernel[axis]) // stride[axis] + 1)
            filters = layer["filters"] if op == "conv2d" else c
            groups = c if op == "depthwise_conv2d" else 1
            one |= {"kernel": kernel, "stride": stride, "pads": pads, "groups": groups,
                    "weights": [filters, c // groups, *kernel]}
            shapes[layer["name"]] = (*out, filters)
        elif op == "global_average_pool":
            shapes[layer["name"]] = (1, 1, c)
        elif op == "fully_connected":
            one["weights"] = [classes, h * w * c]
            shapes[layer["name"]] = (1, 1, classes)
        elif op == "add":
            shapes[layer["name"]] = (h, w, c)
        else:
            raise SystemExit(f"{name}: layer {layer['name']}: operator {op} is unknown here")
        one["out"] = shapes[layer["name"]]
        found.append(one)
        last = layer["name"]
    return found


# ---- ONNX, as bytes: fields of protocol buffers by their numbers in onnx.proto ----

def varint(n):
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def number(field, n):
    return varint(field << 3) + varint(n)


def part(field, data):
    data = data.encode() if isinstance(data, str) else data
    return varint(field << 3 | 2) + varint(len(data)) + data


def node(op, inputs, output, **attributes):
    text = b"".join(part(1, i) for i in inputs) + part(2, output) + part(3, output) + part(4, op)
    for name, value in attributes.items():
        many = isinstance(value, list)
        values = b"".join(number(8, v) for v in value) if many else number(3, value)
        text += part(5, part(1, name) + values + number(20, 7 if many else 2))
    return part(1, text)


def tensor(name, shape, seed):
    count = 1
    for n in shape:
        count *= n
    rng = random.Random(seed)
    raw = struct.pack(f"<{count}f", *(rng.uniform(-0.1, 0.1) for _ in range(count)))
    return part(5, b"".join(number(1, n) for n in shape) + number(2, 1) + part(8, name) + part(9, raw))


def value(field, name, shape):
    dims = b"".join(part(1, number(1, n)) for n in shape)
    return part(field, part(1, name) + part(2, part(1, number(1, 1) + part(2, dims))))


def onnx(name, batch):
    """The network as an ONNX model: input `input`, batch x channels x height x width; output `output`."""
    nodes, weights, produced = b"", b"", {"input": "input"}
    found = layers(name)
    for i, layer in enumerate(found):
        inputs = [produced[n] for n in layer["inputs"]]
        out = layer["name"]
        here = out + "/linear" if layer["relu"] else out
        if "weights" in layer and layer["op"] != "max_pool2d":
            weights += tensor(out + "/w", layer["weights"], 2 * i)
            weights += tensor(out + "/b", layer["weights"][:1], 2 * i + 1)
        if layer["op"] in ("conv2d", "depthwise_conv2d"):
            nodes += node("Conv", [inputs[0], out + "/w", out + "/b"], here, kernel_shape=layer["kernel"],
                          strides=layer["stride"], pads=layer["pads"], group=layer["groups"])
        elif layer["op"] == "max_pool2d":
            nodes += node("MaxPool", inputs, here, kernel_shape=layer["kernel"], strides=layer["stride"],
                          pads=layer["pads"])
        elif layer["op"] == "global_average_pool":
            nodes += node("GlobalAveragePool", inputs, here)
        elif layer["op"] == "add":
            nodes += node("Add", inputs, here)
        else:
            nodes += node("Flatten", inputs, out + "/flat", axis=1)
            nodes += node("Gemm", [out + "/flat", out + "/w", out + "/b"], here, transB=1)
        if layer["relu"]:
            nodes += node("Relu", [here], out)
        produced[out] = out
    h, w, c, classes = INPUTS[name]
    graph = nodes + part(2, name) + weights + value(11, "input", [batch, c, h, w])
    graph += value(12, found[-1]["name"], [batch, classes])
    return number(1, 8) + part(8, number(2, 13)) + part(7, graph)
