# SPDX-License-Identifier: Apache-2.0
"""The arrays of sim/arrays.mk by name, in the spellings of make, Verilator and the program."""
import pathlib
import re

LIST = pathlib.Path(__file__).resolve().parent.parent / "sim" / "arrays.mk"
NAMES = ["ROWS", "COLS", "BUS_BYTES", "ACT_BYTES", "ACC_DEPTH", "RQ_LANES", "TRAINING"]


def named():
    """{name: {parameter: value}} in the order of the file; training is not part of a name's line."""
    found = {}
    for name, settings in re.findall(r"^ARRAY_(\S+)\s*:=\s*(.*)$", LIST.read_text(), re.M):
        values = {k: int(v) for k, v in (s.split("=") for s in settings.split())}
        if list(values) != NAMES[:-1]:
            raise ValueError(f"{LIST}: array {name}: expected {' '.join(NAMES[:-1])} in this order")
        found[name] = values
    return found


def parse(text):
    """Parameters of `16x16`, `16x16-inference` or `rows=8,cols=8,...`; ValueError names what is known."""
    arrays = named()
    name = text.removesuffix("-inference")
    if name in arrays:
        return {**arrays[name], "TRAINING": 0 if text.endswith("-inference") else 1}
    values = {**next(iter(arrays.values())), "TRAINING": 1}
    for setting in text.split(","):
        key, _, value = setting.partition("=")
        if key.upper() not in values or not value.isdigit():
            raise ValueError(f"array {text!r}: {setting!r} is neither name=number nor one of {', '.join(arrays)}")
        values[key.upper()] = int(value)
    return values


def settings(values):
    """As for make and Verilator: ROWS=8 COLS=16 ..."""
    return [f"{k}={values[k]}" for k in NAMES]


def hardware(values):
    """As for --hardware and the checks' programs: rows=8,cols=16,..."""
    return ",".join(s.lower() for s in settings(values))


def folder(values):
    """Of its Verilated NPU, under build/rtl."""
    return "{ROWS}x{COLS}-b{BUS_BYTES}-s{ACT_BYTES}-a{ACC_DEPTH}-q{RQ_LANES}-t{TRAINING}".format(**values)
