#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes of npu.toml what model, RTL, host and reader take from it; `generator/` has one module per file.

usage: generate.py [--check] [--source TOML] [--root DIR]
  --check        compare with the files on disk, exit 1 on drift
  --source TOML  another npu.toml than the one beside this file
  --root DIR     write below DIR (or compare with what is there) instead of this repository
Needs Python 3.11 (tomllib), nothing else.
"""
import argparse
import pathlib
import sys
import tomllib

from generator import c_header, cpp_header, cpp_identity, page, source, sv_package, svd

HERE = pathlib.Path(__file__).resolve().parent
OUTPUTS = {
    "cmodel/spec/npu_spec.hpp": cpp_header,
    "cmodel/spec/npu_identity.hpp": cpp_identity,
    "cmodel/spec/npu_spec.h": c_header,
    "cmodel/spec/REFERENCE.md": page,
    "cmodel/spec/npu.svd": svd,
    "rtl/pkg/npu_pkg.sv": sv_package,
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--check", action="store_true")
    p.add_argument("--source", type=pathlib.Path, default=HERE / "npu.toml")
    p.add_argument("--root", type=pathlib.Path, default=HERE.parent.parent)
    args = p.parse_args()
    try:
        spec = source.read(args.source.read_bytes())
    except (source.SpecError, tomllib.TOMLDecodeError) as e:
        sys.exit(f"{args.source.name}: {e}")
    # Every text before the first write: a contradiction leaves no half of the files new.
    texts = {name: module.emit(spec) for name, module in OUTPUTS.items()}
    if args.check:
        drift = [n for n, t in texts.items() if not (args.root / n).exists() or (args.root / n).read_text() != t]
        for name in drift:
            print(f"{name} differs from what {args.source.name} says: run `make spec`", file=sys.stderr)
        sys.exit(1 if drift else 0)
    for name, text in texts.items():
        path = args.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {name}")


if __name__ == "__main__":
    main()
