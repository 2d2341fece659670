#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: write_onnx.py BATCH FOLDER      the networks of peer_networks.py as FOLDER/NETWORK.onnx"""
import pathlib
import sys

import peer_networks

folder = pathlib.Path(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
for network in peer_networks.INPUTS:
    (folder / f"{network}.onnx").write_bytes(peer_networks.onnx(network, int(sys.argv[1])))
