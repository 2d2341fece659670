#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The specification is the source: npu.toml changed in a copy changes generator, model and RTL.

usage: check_spec.py [--cxx CXX] [--program build/lastmile] [CHECK...]
checks (all unless named):
  refuses   a npu.toml that contradicts itself is an error that names the entry, and no file is written
  adds      the smallest counter, register, flag, field, operator, error and hardware parameter; all of them at once
            pass the RTL's lint
  places    the table of cmodel/spec/EXTENDING.md is what names an operator, and short
  forgotten a new opcode or operator without its lines does not compile, wherever that table says so
  network   a file of ours is a network
  backend   a shared object of ours is a backend
  svd       npu.svd is XML and holds every register with the offset, reset and fields of npu.toml
  arithmetic  every opcode has a rule with an example, every header of the contract vectors for benches
  follows   resets, places of fields, limits and offsets changed: the model's register file and npu_regs show them
Ends with `N passed, N failed`.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SOURCE = (ROOT / "cmodel/spec/npu.toml").read_text()
GENERATE = [sys.executable, str(ROOT / "cmodel/spec/generate.py")]
PACKAGE = "rtl/pkg/npu_pkg.sv"
GENERATED = {"cmodel/spec/npu_spec.hpp", "cmodel/spec/npu_identity.hpp", "cmodel/spec/npu_spec.h",
             "cmodel/spec/REFERENCE.md", "cmodel/spec/npu.svd", PACKAGE}
failures, passed = [], 0


def check(good, text):
    global passed
    if good:
        passed += 1
    else:
        failures.append(text)
        print(f"FAILED: {text}", flush=True)


def changed(*pairs):
    """npu.toml with each `old` replaced by `new`; `old` must be there once."""
    text = SOURCE
    for old, new in pairs:
        if text.count(old) != 1:
            sys.exit(f"check_spec.py: npu.toml has {text.count(old)} times {old!r}, expected one")
        text = text.replace(old, new)
    return text


def generate(folder, text):
    folder = pathlib.Path(folder)
    (folder / "npu.toml").write_text(text)
    return subprocess.run([*GENERATE, "--source", str(folder / "npu.toml"), "--root", str(folder)],
                          capture_output=True, text=True)


def line_of(pattern):
    """The line of npu.toml that begins so."""
    found = [line for line in SOURCE.splitlines() if re.match(pattern, line)]
    if len(found) != 1:
        sys.exit(f"check_spec.py: npu.toml has {len(found)} lines that begin with {pattern!r}, expected one")
    return found[0]


def after(start, *more):
    """A change that puts lines behind the one that begins with `start`."""
    line = line_of(start)
    return line + "\n", "\n".join([line, *more, ""])


def to(entry, key, value):
    """A change of one key of the entry: `value` as it stands in the file."""
    line = line_of(re.escape(entry) + r" *= \{")
    new, count = re.subn(rf"\b{key} = (\"[^\"]*\"|[^,}} ]+)", f"{key} = {value}", line, count=1)
    if count != 1:
        sys.exit(f"check_spec.py: {entry} of npu.toml has no key {key}")
    return line + "\n", new + "\n"


# What is changed, and what the error has to mention.
CONTRADICTIONS = [
    ("two fields on one bit", [to("tag", "lsb", 1)], ["field n", "of field tag"]),
    ("a field beyond the descriptor", [to("cout_group", "word", 99)], ["field cout_group", "word 99"]),
    ("a letter that no opcode has", [to("n", "ops", '"CDPAXL"')], ["field.n", "'X'"]),
    ("an unknown constant", [to("PAIR_SEED_LO", "count", '"MOST_PAIRS"')], ["register.PAIR_SEED_LO", "MOST_PAIRS"]),
    ("two registers at one offset", [to("STEP", "offset", "0x068")], ["register.STEP", "PAIRS"]),
    ("a misaligned register", [to("STEP", "offset", "0x06E")], ["register.STEP"]),
    ("fields of a register that overlap", [to("STEP.SHIFT", "lsb", 15)], ["register_field.STEP.SHIFT", "20:15"]),
    ("a reset that the host could not write", [to("IRQ_ENABLE", "access", '"rw", reset = 4')],
     ["register.IRQ_ENABLE", "0x4"]),
    ("an access that does not exist", [to("CTRL", "access", '"w0"')], ["register.CTRL", "'w0'"]),
    ("an enum that does not exist", [to("POLARITY.VALUE", "enum", '"sign"')], ["POLARITY", "'sign'"]),
    ("a gap between opcodes", [to("UPDATE", "value", 8)], ["opcode", "without a gap"]),
    ("two opcodes of one letter", [to("UPDATE", "letter", '"L"')], ["opcode", "letters"]),
    ("an engine that does not exist", [to("SOFTMAX", "engine", '"SOFTMIN"')], ["opcode.SOFTMAX", "SOFTMIN"]),
    ("an error without ERROR_INFO", [('QUEUE = "none"\n', "")], ["error_info", "QUEUE"]),
    ("two flags on one bit", [to("OUT_BATCH", "bit", 11)], ["flag", "11"]),
    ("a flag that excludes itself", [to("ERRORS", "without", '["ERRORS"]')], ["flag.ERRORS", "another flag"]),
    ("a flag that needs an unknown one", [to("W_BATCH", "needs", '["W_TURNED"]')], ["flag.W_BATCH", "W_TURNED"]),
    ("a key that nobody knows", [to("STEP.SHIFT", "lsb", "16, msb = 21")], ["STEP.SHIFT", "'msb'"]),
    ("a counter of no kind", [to("CYCLES", "kind", '"time"')], ["counter.CYCLES", "time"]),
    ("a parameter whose default is not allowed", [("[parameter.ROWS]\nvalue = 16", "[parameter.ROWS]\nvalue = 17")],
     ["parameter.ROWS", "17"]),
    ("no TOML at all", [("[flag]\n", "[flag\n")], ["npu.toml"]),
]


def refuses():
    for name, change, mentions in CONTRADICTIONS:
        with tempfile.TemporaryDirectory() as folder:
            r = generate(folder, changed(*change))
            written = [p for p in pathlib.Path(folder).rglob("*") if p.is_file() and p.name != "npu.toml"]
            missing = [m for m in mentions if m not in r.stderr]
            check(r.returncode == 1 and not missing and not written and "Traceback" not in r.stderr,
                  f"{name}: status {r.returncode}, without {missing}, {len(written)} files: {r.stderr.strip()}")


NOTE = 'NOTE = { offset = 0x100, access = "rw", reset = 7, doc = "kept for the host" }'
GAIN = 'gain = { word = 40, lsb = 0, width = 8, ops = "A", min = 1, max = 9, doc = "" }'
# The next opcode and the next engine, behind the last ones.
OPCODES, ENGINES = tomllib.loads(SOURCE)["opcode"], tomllib.loads(SOURCE)["enum"]["engine"]
ENGINES = {name: value for name, value in ENGINES.items() if isinstance(value, int)}
LAST_OPCODE, LAST_ENGINE = max(OPCODES, key=lambda n: OPCODES[n]["value"]), max(ENGINES, key=ENGINES.get)
NEXT = len(OPCODES)
NEGATE = f'NEGATE = {{ value = {NEXT}, letter = "@", engine = "NEGATE", layout = "ROWS", doc = "0 - x" }}'
# The smallest of each. Per entry: the change, and what the named files must hold then.
ADDITIONS = [
    ("counter", [after("BUS_WRITE_BEATS =", 'FLUSHES = { kind = "event", doc = "flushes of the write buffer" }')],
     {"cmodel/spec/npu_spec.hpp": ["flushes_ = 32,", '"flushes",', "kCounters = 33"],
      "rtl/pkg/npu_pkg.sv": ["CNT_FLUSHES = 32", "COUNTERS = 33"],
      "cmodel/spec/npu_spec.h": ["LM_COUNTER_FLUSHES 32u"],
      "cmodel/spec/REFERENCE.md": ["| 32 | `FLUSHES` |"]}),
    ("register", [after("EXAMPLES      =", NOTE), after("STEP.UNUSED", 'NOTE.LOW = { lsb = 0, width = 3, doc = "" }')],
     {"cmodel/spec/npu_spec.hpp": ["kNote = 0x100", 'kNoteLow = {"LOW", 0, 3'],
      "rtl/pkg/npu_pkg.sv": ["REG_NOTE = 12'h100", "RESET_NOTE = 32'h00000007, WRITTEN_NOTE = 32'h00000007",
                             "NOTE_LOW_LSB = 0, NOTE_LOW_WIDTH = 3"],
      "cmodel/spec/npu_spec.h": ["LM_REG_NOTE 0x100u", "LM_NOTE_LOW_MASK 0x7u"],
      "cmodel/spec/npu.svd": ["<name>NOTE</name>"]}),
    ("flag and field", [after("OUT_BATCH =", 'TWICE = { bit = 23, only = "A", doc = "twice the sum" }'),
                        after("cout_group ", GAIN)],
     {"cmodel/spec/npu_spec.hpp": ["kFlagTwice = 1u << 23", "std::uint32_t gain = 0;", "d.gain < 1u || d.gain > 9u",
                                   "if (has(kFlagTwice) && (op != Opcode::add_)) return true;"],
      "rtl/pkg/npu_pkg.sv": ["FLAG_TWICE = 23", "logic twice;", "F_GAIN = 1280, W_GAIN = 8",
                             "if (flags[FLAG_TWICE] && (!(op == npu_pkg::OPCODE_ADD)))"]}),
    ("operator", [after(rf"{LAST_OPCODE} +=.*letter", NEGATE),
                  after(rf"{LAST_ENGINE} = {ENGINES[LAST_ENGINE]}\b", f"NEGATE = {ENGINES[LAST_ENGINE] + 1}")],
     {"cmodel/spec/npu_spec.hpp": [f"negate_ = {NEXT},", "Engine::negate_, Layout::rows_", f"kOpcodes = {NEXT + 1}",
                                   f"v <= {NEXT}"],
      "rtl/pkg/npu_pkg.sv": [f"OPCODE_NEGATE = 8'd{NEXT}", f"OPCODES = {NEXT + 1}",
                             "opcode_engine = npu_pkg::ENGINE_NEGATE"],
      "cmodel/spec/REFERENCE.md": ["| `NEGATE` | @ | NEGATE |"]}),
    ("error", [("WATCHDOG = 11       #", "PARITY = 12\nWATCHDOG = 11       #"),
               ('WATCHDOG = "engine"', 'PARITY = "register"\nWATCHDOG = "engine"')],
     {"cmodel/spec/npu_spec.hpp": ["case Error::parity_:\n      return ErrorInfo::register_;"],
      "cmodel/spec/npu_spec.h": ["PARITY 12u"]}),
    ("hardware parameter", [after("doc = \"1: perturbation, loss", "[parameter.BANKS]", "value = 2", "allowed = [1, 2]",
                                  'doc = "halves of the scratchpad"')],
     {"cmodel/spec/npu_spec.hpp": ["int banks = 2;", 'p.banks != 1 && p.banks != 2) return "BANKS"'],
      "rtl/pkg/npu_pkg.sv": ["BANKS_DEFAULT = 2"]}),
]


def adds():
    for name, change, expected in ADDITIONS:
        with tempfile.TemporaryDirectory() as folder:
            r = generate(folder, changed(*change))
            check(r.returncode == 0 and len(r.stdout.splitlines()) == len(GENERATED), f"{name}: {r.stderr.strip()}")
            if r.returncode != 0:
                continue
            for path, texts in expected.items():
                found = (pathlib.Path(folder) / path).read_text()
                for text in texts:
                    check(text in found, f"{name}: {path} has no {text!r}")


def combined(folder):
    """The generated files with all additions, one behind the other."""
    text = SOURCE
    for _, change, _ in ADDITIONS:
        for old, new in change:
            if text.count(old) != 1:
                sys.exit(f"check_spec.py: additions exclude each other: {old!r}")
            text = text.replace(old, new)
    return generate(folder, text)


def lint(folder):
    """Verilator's warnings about the whole NPU with the package of `folder`."""
    files = [ROOT / f for f in (ROOT / "rtl/npu.f").read_text().split() if f.startswith("rtl/") and f != PACKAGE]
    return subprocess.run(["verilator", "--lint-only", "-Wall", "-sv", "--top-module", "npu",
                           str(ROOT / "rtl/lint.vlt"), f"{folder}/{PACKAGE}", *map(str, files)],
                          capture_output=True, text=True)


def adds_together():
    if shutil.which("verilator") is None:
        print("SKIPPED: verilator is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        r = combined(folder)
        check(r.returncode == 0, f"all additions: {r.stderr.strip()}")
        r = lint(folder)
        check(r.returncode == 0, f"all additions: the RTL does not take them:\n{r.stderr}")


# Operators are enums that `switch` reads without a default.
TABLE_ROW = re.compile(r"^\| `([^`]+)` \| [^|]* \|([^|]*)\|$", re.M)
# What names softmax without being a place of an operator of ours: see the page.
USES = ("sw/profile/backprop_cost.cpp", "sw/import/", "sw/export/")
MOST_PLACES = 25
# Rules that no hardware computes.
OF_THE_HOST = ("host_rule.hpp", "loss_units.hpp")


def code_of(path):
    """Without comments."""
    comment = r"#.*" if path.suffix in (".toml", ".py", ".mk") else r"//.*"
    return re.sub(comment, "", path.read_text())


def page_places():
    page = (ROOT / "cmodel/spec/EXTENDING.md").read_text().split("## An operator", 1)[1]
    return {path: found.strip() for path, found in TABLE_ROW.findall(page)}


def places():
    listed = page_places()
    kinds = {".cpp", ".hpp", ".h", ".c", ".sv", ".f", ".toml", ".py", ".mk"}
    named = set()
    for top in ("cmodel", "rtl", "sim", "sw"):
        for path in (ROOT / top).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            ours = path.is_file() and path.suffix in kinds and name not in GENERATED
            if ours and not name.startswith(USES):
                if "softmax" in code_of(path).lower():
                    named.add(name)
    check(named == set(listed), f"EXTENDING.md: {sorted(named - set(listed))} name softmax and are not in the table; "
          f"{sorted(set(listed) - named)} are and do not")
    check(len(listed) <= MOST_PLACES, f"EXTENDING.md: {len(listed)} places, at most {MOST_PLACES}")


def arithmetic():
    """Every opcode has a rule with an example that a test computes, every header of it scalar vectors for benches."""
    contract = (ROOT / "cmodel/numeric/CONTRACT.md").read_text().split("\n## Host's rule", 1)[0]
    sections = [s for s in contract.split("\n## ") if "**Rule.**" in s and "```example" in s]
    for name in tomllib.loads(SOURCE)["opcode"]:
        check(name == "END" or any(re.search(rf"\b{name}\b", s) for s in sections),
              f"CONTRACT.md: no rule of {name} with an example")
    emitted = (ROOT / "sw/vectors/emit.cpp").read_text()
    for header in (ROOT / "cmodel/numeric").glob("*.hpp"):
        name = header.relative_to(ROOT).as_posix()
        check(header.name in OF_THE_HOST or f'#include "{name}"' in emitted,
              f"{name}: no vectors in sw/vectors/emit.cpp")


def refused(cxx, folder, name, enumerator):
    """Does the compiler name the enumerator that the file forgot?"""
    r = subprocess.run([cxx, "-std=c++20", "-fsyntax-only", "-Werror=switch", f"-I{folder}", f"-I{ROOT}",
                        "-isystem", "/usr/include/eigen3", str(ROOT / name)], capture_output=True, text=True)
    return r.returncode != 0 and enumerator in r.stderr, r.stderr


def forgotten(cxx):
    by_compiler = [path for path, found in page_places().items() if found == "compiler"]
    check(len(by_compiler) >= 10, f"EXTENDING.md: {len(by_compiler)} places are found by the compiler")
    header = "sw/graph/network.hpp"
    text = (ROOT / header).read_text()
    end = text.index("\n};", text.index("enum class Op {"))
    with tempfile.TemporaryDirectory() as folder:
        r = combined(folder)
        check(r.returncode == 0, f"forgotten: {r.stderr.strip()}")
        (pathlib.Path(folder) / header).parent.mkdir(parents=True)
        (pathlib.Path(folder) / header).write_text(text[:end] + "\n  negate," + text[end:])
        jobs = []
        for name in by_compiler:
            enumerator = "negate_" if name.startswith(("cmodel/", "sw/compiler/program")) else "negate"
            source = "sw/graph/network.cpp" if name == header else name
            jobs.append((name, source, enumerator))
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (name, _, _), (good, said) in zip(
                    jobs, pool.map(lambda j: refused(cxx, folder, j[1], j[2]), jobs)):
                check(good, f"{name} compiles without the new operator: EXTENDING.md says that it does not\n{said}")


NETWORK = """name = "ours"
input = [4, 4, 1]
classes = 3

[[layer]]
name = "first"
op = "conv2d"
filters = 2
kernel = 3
bias = true

[[layer]]
name = "head"
op = "fully_connected"
units = "classes"
bias = true
"""


def run(program, folder, *args):
    return subprocess.run([str(program), *args], cwd=folder, capture_output=True, text=True)


def network(program):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "ours.toml"
        file.write_text(NETWORK)
        r = run(program, folder, "info", "ours.toml")
        found = json.loads(r.stdout) if r.returncode == 0 else {}
        ops = [layer["op"] for layer in found.get("layers", [])]
        check(ops == ["conv2d", "fully_connected"] and found["weights"] == 2 * 9 + 8 * 3,
              f"network: {r.returncode} {r.stdout}{r.stderr}")
        file.write_text(NETWORK.replace('"conv2d"', '"convolution"'))
        r = run(program, folder, "info", "ours.toml")
        check(r.returncode == 3 and "convolution" in r.stderr and "softmax" in r.stderr,
              f"network: an unknown operator: {r.returncode} {r.stderr}")


def softmax_case(expected):
    tensor = {"dtype": "int8", "shape": [1, 4]}
    return json.dumps({"name": "ours", "op": "softmax", "kind": "s8", "requant": "double32",
                       "params": {"input_multiplier": 1 << 30, "input_left_shift": 20, "diff_min": -100},
                       "tensors": {"input": {**tensor, "data": [5, 5, 5, 5]},
                                   "expected": {**tensor, "data": expected}}})


def backend(cxx, program):
    """Ours answers and computes nothing: what it leaves at the output is what memory held, zeros."""
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run([cxx, "-std=c++20", "-O0", "-shared", "-fPIC", f"-I{ROOT}", "-o",
                               f"{folder}/liblastmile_ours.so", str(ROOT / "tests/spec/backend.cpp")],
                              capture_output=True, text=True)
        check(made.returncode == 0, f"backend: {made.stderr}")
        ours = pathlib.Path(shutil.copy(program, f"{folder}/lastmile"))
        cases = {"zeros.json": [0, 0, 0, 0], "quarters.json": [-64, -64, -64, -64]}
        for name, expected in cases.items():
            (pathlib.Path(folder) / name).write_text(softmax_case(expected))
        for name, chosen in (("zeros.json", ["--backend", "ours"]), ("quarters.json", [])):
            r = run(ours, folder, "vectors", name, *chosen)
            check(r.returncode == 0 and r.stdout.splitlines()[-1] == "1 passed, 0 failed",
                  f"backend: {name} {chosen}: {r.returncode} {r.stdout}{r.stderr}")
        r = run(ours, folder, "vectors", "quarters.json", "--backend", "ours")
        check(r.stdout.splitlines()[-1:] == ["0 passed, 1 failed"],
              f"backend: the model answered: {r.stdout}{r.stderr}")


def svd():
    t = tomllib.loads(SOURCE)
    tree = xml.etree.ElementTree.parse(ROOT / "cmodel/spec/npu.svd")
    registers = {r.findtext("name").replace("%s", ""): r for r in tree.iter("register")}
    check(list(registers) == list(t["register"]), "npu.svd has not the registers of npu.toml")
    for name, keys in t["register"].items():
        r = registers[name]
        check(int(r.findtext("addressOffset"), 0) == keys["offset"], f"npu.svd: offset of {name}")
        check(int(r.findtext("resetValue"), 0) == keys.get("reset", 0), f"npu.svd: reset of {name}")
        fields = {f.findtext("name"): (int(f.findtext("bitOffset")), int(f.findtext("bitWidth")))
                  for f in r.iter("field")}
        expected = {n: (f["lsb"], f["width"]) for n, f in t["register_field"].get(name, {}).items()}
        check(fields == expected, f"npu.svd: fields of {name}")


# Every one of these values is in the register file, in npu_regs and in the field check.
FOLLOWED = [
    to("WATCHDOG", "reset", 4660),
    to("PAIRS", "offset", "0x0F8, reset = 1"),
    to("BATCH_ADDR", "offset", "0x104"),
    to("PAIR_COEF", "offset", "0x08C"),
    to("STEP.MANTISSA", "lsb", 8),
    to("STEP.SHIFT", "lsb", 0),
    (line_of(r"STEP.UNUSED ") + "\n", 'STEP.UNUSED = { lsb = 24, width = 8, doc = "" }\n'),
    to("CTRL.START", "lsb", 4),
    to("STATUS.DONE", "lsb", 9),
    to("IRQ_STATUS.DONE", "lsb", 5),
    to("IRQ_ENABLE.ERROR", "lsb", 7),
    to("HW0.ROWS", "lsb", 8),
    to("HW0.COLS", "lsb", 0),
    to("STEP_SHIFT_MAX", "value", 9),
    to("EXPONENT_MAX", "value", 28),
    ("WATCHDOG = 11       #", "WATCHDOG = 14       #"),
]
EXPECTED = [
    "reset WATCHDOG 0x03c 0x00001234", "reset MEM_LIMIT 0x038 0xffffffff", "reset PAIRS 0x0f8 0x00000001",
    "reset HW0 0x008 0x08101010",  # as many rows as columns: their swap shows in the header alone
    "ones STEP 0x06c 0xffffff3f",  # bits 7:6 have no field any more
    "ones IRQ_ENABLE 0x01c 0x00000081", "ones BATCH_ADDR 0x104 0xffffffff", "ones PAIR_COEF 0x0fc 0xffffffff",
    "start 1 0", "soft_reset 0 1", "step 0x1234 5",
    "finished STATUS 0x014 0x00000200", "finished IRQ_STATUS 0x018 0x00000020", "finished interrupt 0",
    "failed STATUS 0x014 0x00000004", "failed IRQ_STATUS 0x018 0x00000022", "failed ERROR_CODE 0x020 0x0000000e",
    "failed interrupt 1", "cleared IRQ_STATUS 0x018 0x00000020", "cleared interrupt 0",
    "exponent 28 none", "exponent 29 e1", "shift 9 NONE 0x0", "shift 10 REGISTER 0x6c",
]


def build(folder, cxx):
    """follow.cpp with the generated files of `folder` before those of the repository; what it prints."""
    command = ["verilator", "--cc", "--exe", "--build", "-j", "2", "-O1", "-sv", "--assert", "-Wall",
               "--top-module", "regs_follow", "-CFLAGS", f"-std=c++20 -O0 -I{folder} -I{ROOT}",
               "--Mdir", f"{folder}/obj", "-o", "follow",
               str(ROOT / "rtl/lint.vlt"), f"{folder}/rtl/pkg/npu_pkg.sv", str(ROOT / "rtl/pkg/npu_types.sv"),
               str(ROOT / "rtl/clock/npu_clock.sv"), str(ROOT / "rtl/control/npu_regs.sv"),
               str(ROOT / "tests/spec/regs_follow.sv"),
               str(ROOT / "tests/spec/follow.cpp"), str(ROOT / "cmodel/command/control.cpp"),
               str(ROOT / "cmodel/command/validate.cpp")]
    made = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CXX": cxx})
    if made.returncode != 0:
        return made.returncode, made.stdout + made.stderr
    run = subprocess.run([f"{folder}/obj/follow"], capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def follows(cxx):
    if shutil.which("verilator") is None:
        print("SKIPPED: verilator is not installed")
        return
    with tempfile.TemporaryDirectory() as folder:
        r = generate(folder, changed(*FOLLOWED))
        check(r.returncode == 0, f"follows: {r.stderr.strip()}")
        status, text = build(folder, cxx)
        check(status == 0, f"follows: model and RTL differ, or do not build:\n{text}")
        lines = text.splitlines()
        for line in EXPECTED if status == 0 else []:
            check(line in lines, f"follows: no line {line!r} in\n{text}")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cxx", default="g++")
    p.add_argument("--program", default=ROOT / "build/lastmile", type=pathlib.Path)
    p.add_argument("checks", nargs="*", metavar="CHECK")
    args = p.parse_args()
    program = args.program.resolve()
    checks = {"refuses": refuses, "adds": lambda: (adds(), adds_together()), "places": places,
              "forgotten": lambda: forgotten(args.cxx), "network": lambda: network(program),
              "backend": lambda: backend(args.cxx, program), "svd": svd, "arithmetic": arithmetic,
              "follows": lambda: follows(args.cxx)}
    for name in args.checks:
        if name not in checks:
            p.error(f"check is {name}, expected one of {', '.join(checks)}")
    for name in args.checks or checks:
        print(f"spec: {name}", flush=True)
        checks[name]()
    print(f"{passed} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
