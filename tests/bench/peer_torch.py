#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PyTorch as a peer of `make bench`: one thread, float32, the faster of its two layouts.

usage: peer_torch.py BATCH      says `ready VERSION` or `absent REASON`; then, per line `NETWORK CALLS` on
standard input, runs so many forward passes and says the CPU seconds that they took.
"""
import resource
import sys

import peer_networks

try:
    import torch
except ImportError as e:
    print(f"absent {e}", flush=True)
    sys.exit(0)


class Network(torch.nn.Module):
    def __init__(self, name):
        super().__init__()
        self.layers = peer_networks.layers(name)
        self.own = torch.nn.ModuleDict()
        for layer in self.layers:
            if layer["op"] in ("conv2d", "depthwise_conv2d"):
                filters, per_group, *kernel = layer["weights"]
                top, left, bottom, right = layer["pads"]
                even = (top, left) == (bottom, right)
                conv = torch.nn.Conv2d(per_group * layer["groups"], filters, kernel, layer["stride"],
                                       groups=layer["groups"], padding=(top, left) if even else 0)
                pad = torch.nn.Identity() if even else torch.nn.ZeroPad2d((left, right, top, bottom))
                self.own[layer["name"]] = torch.nn.Sequential(pad, conv)
            elif layer["op"] == "max_pool2d":
                self.own[layer["name"]] = torch.nn.MaxPool2d(layer["kernel"], layer["stride"])
            elif layer["op"] == "fully_connected":
                self.own[layer["name"]] = torch.nn.Linear(layer["weights"][1], layer["weights"][0])

    def forward(self, x):
        values = {"input": x}
        for layer in self.layers:
            inputs = [values[n] for n in layer["inputs"]]
            if layer["op"] == "add":
                y = inputs[0] + inputs[1]
            elif layer["op"] == "global_average_pool":
                y = inputs[0].mean((2, 3), keepdim=True)
            elif layer["op"] == "fully_connected":
                y = self.own[layer["name"]](inputs[0].flatten(1))
            else:
                y = self.own[layer["name"]](inputs[0])
            values[layer["name"]] = torch.relu(y) if layer["relu"] else y
        return y


def seconds(model, x, calls):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with torch.inference_mode():
        for _ in range(calls):
            model(x)
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime - before


def main():
    batch = int(sys.argv[1])
    torch.set_num_threads(1)
    ready = {}
    for name, (h, w, c, _) in peer_networks.INPUTS.items():
        candidates = []
        for layout in (torch.contiguous_format, torch.channels_last):
            model = Network(name).eval().to(memory_format=layout)
            x = torch.rand(batch, c, h, w).to(memory_format=layout)
            seconds(model, x, 3)
            candidates.append((min(seconds(model, x, 5) for _ in range(3)), len(candidates), model, x))
        ready[name] = min(candidates)[2:]
    print(f"ready PyTorch {torch.__version__}", flush=True)
    for line in sys.stdin:
        name, calls = line.split()
        print(seconds(*ready[name], int(calls)), flush=True)


main()
