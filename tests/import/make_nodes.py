#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/import/nodes.json: cases of single ONNX operators, with what their definitions give.

usage: make_nodes.py [--check]      --check: says whether the file is what this script writes

A case is a list of nodes with their constants, an input of one example and the output, all in ONNX's own layout
(channels first). What the nodes compute is written down here once more, from the text of ONNX's operator definitions,
with lists of Python numbers alone. Numbers are quarters, so that nothing depends on how they are printed.
"""
import itertools
import json
import math
import pathlib
import sys

FILE = pathlib.Path(__file__).resolve().parent / "nodes.json"
cases = []


class Array:
    def __init__(self, dims, values):
        self.dims, self.values = list(dims), list(values)
        assert len(self.values) == math.prod(self.dims), (dims, len(self.values))

    def at(self, *index):
        k = 0
        for i, d in zip(index, self.dims):
            k = k * d + i
        return self.values[k]

    def indices(self):
        return itertools.product(*(range(d) for d in self.dims))

    def map(self, f):
        return Array(self.dims, [f(v) for v in self.values])


class Draw:
    """Quarters of -2 to 2."""

    def __init__(self, seed):
        self.state = seed * 2654435761 % 2**32 or 1

    def array(self, dims, low=-8, high=8):
        values = []
        for _ in range(math.prod(dims)):
            self.state = (1664525 * self.state + 1013904223) % 2**32
            values.append((low + (self.state >> 16) % (high - low + 1)) / 4)
        return Array(dims, values)


def window(sizes, kernel, strides, dilations, pads, auto_pad, ceil):
    """Per dimension: first position before the input, and the number of outputs."""
    begin, out = [], []
    for d, size in enumerate(sizes):
        reach = (kernel[d] - 1) * dilations[d] + 1
        if auto_pad.startswith("SAME"):
            n = -(-size // strides[d])
            total = max((n - 1) * strides[d] + reach - size, 0)
            before = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        else:
            before, after = (0, 0) if auto_pad == "VALID" else (pads[d], pads[d + len(sizes)])
            room = size + before + after - reach
            n = room // strides[d] + 1
            # One more where a window starts inside the input or the padding before it.
            if ceil and room % strides[d] and n * strides[d] < size + before:
                n += 1
        begin.append(-before)
        out.append(n)
    return begin, out


def slide(x, kernel, a, visit):
    """visit(channel of x or None, output index, [(kernel index, input index)]) for every output position."""
    rank = len(x.dims) - 2
    strides, dilations = a.get("strides", [1] * rank), a.get("dilations", [1] * rank)
    begin, out = window(x.dims[2:], kernel, strides, dilations, a.get("pads", [0] * 2 * rank),
                        a.get("auto_pad", "NOTSET"), a.get("ceil_mode", 0))
    for o in itertools.product(*(range(n) for n in out)):
        places = []
        for k in itertools.product(*(range(n) for n in kernel)):
            i = [begin[d] + o[d] * strides[d] + k[d] * dilations[d] for d in range(rank)]
            if all(0 <= i[d] < x.dims[2 + d] for d in range(rank)):
                places.append((k, i))
        visit(o, places)
    return out


def conv(a, x, w, b=None):
    group = a.get("group", 1)
    values, each = [], w.dims[1]
    for f in range(w.dims[0]):
        first = f // (w.dims[0] // group) * each

        def visit(_, places, f=f, first=first):
            values.append((b.values[f] if b else 0) + sum(x.at(0, first + c, *i) * w.at(f, c, *k)
                                                          for c in range(each) for k, i in places))
        out = slide(x, w.dims[2:], a, visit)
    return Array([1, w.dims[0], *out], values)


def pool(a, x, largest):
    values, kernel = [], a["kernel_shape"]
    for c in range(x.dims[1]):
        def visit(_, places, c=c):
            seen = [x.at(0, c, *i) for _, i in places]
            count = math.prod(kernel) if a.get("count_include_pad", 0) else len(seen)
            values.append(max(seen) if largest else sum(seen) / count)
        out = slide(x, kernel, a, visit)
    return Array([1, x.dims[1], *out], values)


def whole(x, f):
    size = math.prod(x.dims[2:])
    return Array([1, x.dims[1]] + [1] * (len(x.dims) - 2),
                 [f(x.values[c * size:(c + 1) * size]) for c in range(x.dims[1])])


def mean(values):
    return sum(values) / len(values)


def transpose(x, perm):
    y = Array([x.dims[p] for p in perm], x.values)
    y.values = [x.at(*[i[perm.index(d)] for d in range(len(perm))]) for i in y.indices()]
    return y


def matmul(x, w):
    rows = math.prod(x.dims[:-1])
    k, n = w.dims
    return Array([*x.dims[:-1], n], [sum(x.values[r * k + i] * w.at(i, c) for i in range(k))
                                     for r in range(rows) for c in range(n)])


def broadcast(a, b, f):
    """The shape of a; dimensions of b align at the end."""
    values = []
    for index in a.indices():
        at = [0 if b.dims[d] == 1 else index[d + len(a.dims) - len(b.dims)] for d in range(len(b.dims))]
        values.append(f(a.at(*index), b.at(*at) if b.dims else b.values[0]))
    return Array(a.dims, values)


def pad(x, pads):
    n = len(x.dims)
    y = Array([d + pads[i] + pads[n + i] for i, d in enumerate(x.dims)], [0] * math.prod(
        d + pads[i] + pads[n + i] for i, d in enumerate(x.dims)))
    values = []
    for index in y.indices():
        at = [index[d] - pads[d] for d in range(n)]
        values.append(x.at(*at) if all(0 <= at[d] < x.dims[d] for d in range(n)) else 0)
    return Array(y.dims, values)


def compute(op, a, xs):
    x, rest = xs[0], xs[1:]
    if op == "Conv":
        return conv(a, x, *rest)
    if op in ("MaxPool", "AveragePool"):
        return pool(a, x, op == "MaxPool")
    if op == "GlobalAveragePool" or op == "ReduceMean":
        y = whole(x, mean)
        return y if a.get("keepdims", 1) else Array(y.dims[:2], y.values)
    if op == "GlobalMaxPool":
        return whole(x, max)
    if op == "Gemm":
        w = transpose(rest[0], [1, 0]) if a.get("transB", 0) else rest[0]
        y = matmul(x, w).map(lambda v: a.get("alpha", 1.0) * v)
        return broadcast(y, rest[1], lambda v, c: v + a.get("beta", 1.0) * c) if len(rest) > 1 else y
    if op == "MatMul":
        return matmul(x, rest[0])
    if op == "BatchNormalization":
        size = math.prod(x.dims[2:])
        scale, shift, middle, variance = (r.values for r in rest)
        return Array(x.dims, [(v - middle[k // size]) / math.sqrt(variance[k // size] + a["epsilon"])
                              * scale[k // size] + shift[k // size] for k, v in enumerate(x.values)])
    if op == "Relu":
        return x.map(lambda v: max(v, 0))
    if op == "Clip":
        low = rest[0].values[0] if rest else a.get("min", -math.inf)
        high = rest[1].values[0] if len(rest) > 1 else a.get("max", math.inf)
        return x.map(lambda v: min(max(v, low), high))
    if op in ("Add", "Sub", "Mul", "Div"):
        f = {"Add": lambda p, q: p + q, "Sub": lambda p, q: p - q, "Mul": lambda p, q: p * q,
             "Div": lambda p, q: p / q}[op]
        if math.prod(x.dims) < math.prod(rest[0].dims):
            return broadcast(rest[0], x, lambda p, q: f(q, p))
        return broadcast(x, rest[0], f)
    if op == "Softmax":
        largest = max(x.values)
        e = [math.exp(v - largest) for v in x.values]
        return Array(x.dims, [v / sum(e) for v in e])
    if op == "Pad":
        return pad(x, [int(v) for v in rest[0].values] if rest else a["pads"])
    if op == "Concat":
        return Array([1, sum(r.dims[1] for r in xs)], [v for r in xs for v in r.values])
    if op in ("Identity", "Dropout"):
        return x
    if op == "Transpose":
        return transpose(x, a["perm"])
    if op == "Flatten":
        return Array([1, math.prod(x.dims)], x.values)
    if op == "Reshape":
        dims = [int(v) for v in rest[0].values]
        dims = [x.dims[i] if d == 0 else d for i, d in enumerate(dims)]
        if -1 in dims:
            dims[dims.index(-1)] = math.prod(x.dims) // -math.prod(dims)
        return Array(dims, x.values)
    axes = [int(v) for v in rest[0].values] if rest else a.get("axes")
    if op == "Squeeze":
        return Array([d for i, d in enumerate(x.dims) if i == 0 or (i not in axes if axes else d != 1)], x.values)
    if op == "Unsqueeze":
        dims = list(x.dims)
        for i in sorted(axes):
            dims.insert(i, 1)
        return Array(dims, x.values)
    raise ValueError(op)


class Case:
    """Nodes one behind the other."""

    def __init__(self, name, dims, opset=13):
        self.draw, self.case = Draw(len(cases) + 1), {"name": name, "opset": opset}
        self.values = {"x": self.draw.array([1, *dims])}
        self.case["input"] = self.export("x")
        self.case["constants"], self.case["nodes"] = [], []
        self.result = "x"
        cases.append(self.case)

    def export(self, name):
        v = self.values[name]
        return {"dims": v.dims, "values": v.values}

    def constant(self, array, integer=False):
        name = f"c{len(self.case['constants'])}"
        self.values[name] = array
        self.case["constants"].append({"name": name, "integer": integer, **self.export(name)})
        return name

    def random(self, *dims, low=-8, high=8):
        return self.constant(self.draw.array(dims, low, high))

    def integers(self, *values):
        return self.constant(Array([len(values)], values), True)

    def scalar(self, value):
        return self.constant(Array([], [value]))

    def node(self, op, *constants, inputs=None, **attributes):
        names = inputs or [self.result, *constants]
        result = f"y{len(self.case['nodes'])}"
        self.values[result] = compute(op, attributes, [self.values[n] for n in names])
        self.case["nodes"].append({"op": op, "inputs": names, "output": result, "attributes": attributes})
        self.result = result
        self.case["output"] = self.export(result)
        return self

    def dense(self, units=3):
        """Every element of a flat tensor, told apart."""
        k = self.values[self.result].dims[-1]
        return self.node("Gemm", self.random(units, k), transB=1)


def convolutions():
    def case(name, channels, size, filters, kernel, group=1, bias=True, opset=13, **a):
        c = Case(f"Conv {name}", [channels, *size], opset)
        constants = [c.random(filters, channels // group, *kernel)] + ([c.random(filters)] if bias else [])
        c.node("Conv", *constants, **({"group": group} if group > 1 else {}), **a)
    case("plain", 2, [4, 5], 3, [3, 2], bias=False)
    case("with a bias and pads", 2, [4, 5], 3, [3, 3], pads=[1, 0, 2, 1])
    case("with strides", 1, [7, 6], 2, [3, 2], strides=[2, 3], pads=[1, 1, 1, 1])
    case("with dilations", 2, [7, 7], 2, [2, 3], dilations=[3, 2])
    case("with groups", 4, [3, 3], 6, [2, 2], group=2)
    case("depthwise", 3, [4, 4], 3, [3, 3], group=3, pads=[1, 1, 1, 1])
    case("depthwise with a multiplier", 2, [4, 4], 4, [2, 2], group=2)
    case("of a line", 2, [7], 3, [3], strides=[2], pads=[1, 0])
    case("of a line with dilations", 2, [9], 2, [3], dilations=[2], bias=False)
    for kind in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        case(f"auto_pad {kind}", 1, [5, 6], 2, [2, 3], auto_pad=kind, strides=[2, 2])
    for opset in (7, 11, 17, 21):
        case(f"opset {opset}", 2, [3, 3], 2, [2, 2], opset=opset, kernel_shape=[2, 2])
    c = Case("Conv behind a Pad of its own", [1, 4, 4])
    c.node("Pad", c.integers(0, 0, 1, 0, 0, 0, 0, 1)).node("Conv", c.random(2, 1, 3, 3), pads=[0, 1, 0, 0])
    c = Case("Conv behind a Pad of opset 10", [1, 4, 4], 10)
    c.node("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], mode="constant").node("Conv", c.random(2, 1, 3, 3))


def pools():
    def case(op, name, size, opset=13, **a):
        Case(f"{op} {name}", [2, *size], opset).node(op, **a)
    for op in ("MaxPool", "AveragePool"):
        case(op, "plain", [4, 5], kernel_shape=[2, 3])
        case(op, "with strides and pads", [5, 5], kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
        case(op, "with ceil_mode", [5, 6], kernel_shape=[2, 3], strides=[2, 2], ceil_mode=1)
        case(op, "of a line", [7], kernel_shape=[3], strides=[2])
        for kind in ("SAME_UPPER", "SAME_LOWER", "VALID"):
            case(op, f"auto_pad {kind}", [5, 4], kernel_shape=[2, 3], strides=[2, 1], auto_pad=kind)
    case("AveragePool", "with count_include_pad", [4, 4], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    case("AveragePool", "with pads that do not count", [4, 4], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    case("GlobalAveragePool", "plain", [3, 4])
    case("GlobalMaxPool", "plain", [3, 4])
    case("ReduceMean", "of rows and columns", [3, 4], axes=[2, 3])
    case("ReduceMean", "from the end, without them", [3, 4], axes=[-1, -2], keepdims=0)
    c = Case("ReduceMean of opset 18", [2, 3, 4], 18)
    c.node("ReduceMean", c.integers(2, 3), keepdims=0)


def dense():
    c = Case("Gemm plain", [4])
    c.node("Gemm", c.random(4, 3))
    c = Case("Gemm with transB, alpha, beta and C", [4])
    c.node("Gemm", c.random(3, 4), c.random(3), transB=1, alpha=0.5, beta=2.0)
    c = Case("Gemm with one number as C", [4])
    c.node("Gemm", c.random(4, 3), c.random(1))
    c = Case("MatMul of a row", [5])
    c.node("MatMul", c.random(5, 2))
    c = Case("MatMul at every position", [3, 2, 4])
    c.node("Transpose", perm=[0, 2, 3, 1]).node("MatMul", c.random(3, 2))
    c = Case("Softmax of a row", [5])
    c.node("Gemm", c.random(5, 4)).node("Softmax", axis=1)
    c = Case("Softmax of opset 11", [5], 11)
    c.node("Gemm", c.random(5, 4)).node("Softmax")
    Case("Gemm behind Flatten", [2, 3, 4]).node("Flatten").dense()


def arithmetic():
    for op in ("Add", "Sub", "Mul", "Div"):
        c = Case(f"{op} of one number for each channel", [3, 2, 2])
        c.node(op, c.random(3, 1, 1, low=1))
        c = Case(f"{op} of one number", [3, 2, 2])
        c.node(op, c.scalar(1.5))
        c = Case(f"{op} behind a Conv, folded", [2, 3, 3])
        c.node("Conv", c.random(3, 2, 2, 2)).node(op, c.random(1, 3, 1, 1, low=1))
    c = Case("Sub from a constant", [3, 2, 2])
    c.node("Sub", inputs=[c.random(3, 1, 1), "x"])
    c = Case("Add of two tensors", [2, 3, 3])
    c.node("Conv", c.random(2, 2, 1, 1)).node("Add", inputs=["x", "y0"])
    for opset in (7, 9, 14, 15):
        c = Case(f"BatchNormalization of opset {opset}", [3, 2, 2], opset)
        c.node("BatchNormalization", c.random(3), c.random(3), c.random(3), c.random(3, low=1), epsilon=0.25)
    c = Case("BatchNormalization behind a Conv, folded", [2, 3, 3])
    c.node("Conv", c.random(3, 2, 2, 2), c.random(3))
    c.node("BatchNormalization", c.random(3), c.random(3), c.random(3), c.random(3, low=1), epsilon=0.25)
    Case("Relu alone", [2, 3, 3]).node("Relu")
    c = Case("Relu of a Conv that is read twice", [2, 3, 3])
    c.node("Conv", c.random(2, 2, 1, 1)).node("Relu").node("Add", inputs=["y0", "y1"])
    c = Case("Clip to 0..6", [2, 3, 3])
    c.node("Mul", c.scalar(8.0)).node("Clip", c.scalar(0.0), c.scalar(6.0))
    c = Case("Clip of opset 7", [2, 3, 3], 7)
    c.node("Conv", c.random(2, 2, 2, 2)).node("Clip", min=0.0, max=6.0)
    c = Case("Clip without an upper end", [2, 3, 3])
    c.node("Clip", c.scalar(0.0))


def views():
    Case("Identity and Dropout", [2, 2, 2]).node("Identity").node("Dropout").node("Flatten").dense()
    c = Case("Reshape to a row", [2, 3, 2])
    c.node("Reshape", c.integers(0, -1)).dense()
    c = Case("Reshape that joins rows and columns", [2, 3, 2])
    c.node("Conv", c.random(2, 2, 1, 1)).node("Reshape", c.integers(-1, 2, 6)).node("Transpose", perm=[0, 2, 1])
    c.node("Flatten").dense()
    c = Case("Transpose to channels last, flattened", [2, 3, 4])
    c.node("Transpose", perm=[0, 2, 3, 1]).node("Flatten").dense()
    c = Case("Squeeze of a pooled plane", [3, 2, 2])
    c.node("GlobalAveragePool").node("Squeeze", c.integers(2, 3)).dense()
    Case("Squeeze of opset 11", [3, 2, 2], 11).node("GlobalAveragePool").node("Squeeze", axes=[2, 3]).dense()
    c = Case("Unsqueeze of a row", [4])
    c.node("Gemm", c.random(4, 3)).node("Unsqueeze", c.integers(2, 3)).node("Conv", c.random(2, 3, 1, 1))
    c = Case("Concat of rows", [2, 2, 2])
    c.node("GlobalAveragePool").node("Flatten").node("GlobalMaxPool", inputs=["x"]).node("Flatten")
    c.node("Concat", inputs=["y1", "y3"], axis=1).dense()


def main():
    for group in (convolutions, pools, dense, arithmetic, views):
        group()
    text = "{\n\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n}\n"
    if sys.argv[1:] == ["--check"]:
        same = FILE.read_text() == text
        print(f"{FILE.name}: {'as written' if same else 'DIFFERS: run make_nodes.py'}")
        return not same
    FILE.write_text(text)
    print(f"{len(cases)} cases")
    return 0


if __name__ == "__main__":
    sys.exit(main())
