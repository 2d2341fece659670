#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Puts the program and what belongs to it below a prefix, or takes it away: `make install`, `uninstall`, `deb`.

usage: install.py --prefix /usr/local [--destdir FOLDER] --out build/release-g++ --version 1.0.0 --libs "-lfmt ..."
       install.py --prefix ... --remove
       install.py --package FOLDER --version 1.0.0 --out ...      a .deb of what was installed there

A list of all files is kept in share/lastmile/installed; --remove takes those away and no others.
"""
import argparse
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HEADERS = ("sw", "cmodel")
SHELLS = {"bash": "share/bash-completion/completions/lastmile", "zsh": "share/zsh/site-functions/_lastmile",
          "fish": "share/fish/vendor_completions.d/lastmile.fish"}
LIST = "share/lastmile/installed"
PC = """\
prefix={prefix}
libdir=${{prefix}}/lib
includedir=${{prefix}}/include/lastmile

Name: lastmile
Description: Bit-accurate model of a neural accelerator that learns on the device
Version: {version}
Cflags: -std=c++20 -I${{includedir}}
Libs: -rdynamic -L${{libdir}} -Wl,--whole-archive -llastmile -Wl,--no-whole-archive {libs}
"""
CONTROL = """\
Package: lastmile
Version: {version}
Architecture: {arch}
Maintainer: {maintainer}
Depends: {depends}
Section: science
Priority: optional
Description: neural accelerator that learns on the device: model, compiler, trainer
 Adapts quantized networks by forward passes alone on a bit-accurate model of a
 fixed-point accelerator, validates quantization and profiles memory and energy.
"""


class Installation:
    def __init__(self, prefix, destdir):
        if not prefix.startswith("/"):
            sys.exit(f"install: PREFIX is '{prefix}', expected an absolute path")
        self.prefix = prefix
        self.root = pathlib.Path(destdir + prefix) if destdir else pathlib.Path(prefix)
        self.files = []

    def put(self, name, content, mode=0o644):
        """A file by its content or from a path; whole or not at all."""
        to = self.root / name
        to.parent.mkdir(parents=True, exist_ok=True)
        part = to.with_name(to.name + ".part")
        if isinstance(content, pathlib.Path):
            shutil.copyfile(content, part)
        else:
            part.write_text(content)
        part.chmod(mode)
        os.replace(part, to)
        self.files.append(name)

    def install(self, out, version, libs):
        out = ROOT / out
        program = out / "lastmile"

        def said(*args):
            return subprocess.run([program, *args], check=True, capture_output=True, text=True).stdout

        self.put("bin/lastmile", program, 0o755)
        for file in sorted((ROOT / "sw/share").glob("*/*.toml")):
            self.put(f"share/lastmile/{file.relative_to(ROOT / 'sw/share')}", file)
        self.put("share/doc/lastmile/copyright", ROOT / "LICENSE")
        for backend in sorted(out.glob("liblastmile_*.so")):
            self.put(f"lib/lastmile/{backend.name}", backend, 0o755)
        for npu in sorted((ROOT / "build/rtl").glob("*/npu.so")):
            if not npu.parent.name.endswith("-inject"):
                self.put(f"lib/lastmile/rtl/{npu.parent.name}/npu.so", npu, 0o755)
        commands = [line.split()[0] for line in said("--help").split("Subcommands:")[1].splitlines()
                    if line.startswith("  ") and not line.startswith("   ")]
        self.put("share/man/man1/lastmile.1", said("man"))
        for command in commands:
            self.put(f"share/man/man1/lastmile-{command}.1", said("man", command))
        for shell, name in SHELLS.items():
            self.put(name, said("completion", shell))
        self.put("lib/liblastmile.a", out / "liblastmile.a")
        for part in HEADERS:
            for header in sorted((ROOT / part).rglob("*.h*")):
                if header.suffix in (".h", ".hpp"):
                    self.put(f"include/lastmile/{header.relative_to(ROOT)}", header)
        self.put("lib/pkgconfig/lastmile.pc", PC.format(prefix=self.prefix, version=version, libs=libs))
        self.files.append(LIST)
        self.put(LIST, "".join(f"{name}\n" for name in sorted(set(self.files))))
        print(f"{len(set(self.files))} files below {self.root}: bin/lastmile, share/lastmile, share/man, lib, include")

    def remove(self):
        try:
            names = (self.root / LIST).read_text().splitlines()
        except FileNotFoundError:
            sys.exit(f"uninstall: no {self.root / LIST}: nothing was installed there")
        for name in names:
            (self.root / name).unlink(missing_ok=True)
        for folder in sorted({p for name in names for p in pathlib.PurePosixPath(name).parents}, reverse=True):
            if "lastmile" in str(folder):  # others' folders stay
                try:
                    (self.root / folder).rmdir()
                except OSError:
                    pass
        print(f"{len(names)} files removed below {self.root}")


def package(folder, version, out):
    folder = ROOT / folder
    arch = subprocess.run(["dpkg", "--print-architecture"], check=True, capture_output=True, text=True).stdout.strip()
    # Which packages the program's libraries come from, at least in the versions that are here.
    (folder / "debian").mkdir(exist_ok=True)
    (folder / "debian/control").write_text("Source: lastmile\n\nPackage: lastmile\n")
    try:
        r = subprocess.run(["dpkg-shlibdeps", "-O", "usr/bin/lastmile"], cwd=folder, check=True, capture_output=True,
                           text=True)
        depends = r.stdout.split("shlibs:Depends=", 1)[1].strip()
    except (FileNotFoundError, subprocess.CalledProcessError) as e:
        sys.exit(f"deb: dpkg-shlibdeps (package dpkg-dev) cannot say what the program depends on: {e}")
    finally:
        shutil.rmtree(folder / "debian")
    (folder / "DEBIAN").mkdir(exist_ok=True)
    (folder / "DEBIAN/control").write_text(CONTROL.format(
        version=version, arch=arch, depends=depends, maintainer="Lastmile <lastmile@localhost>"))
    deb = ROOT / f"build/lastmile_{version}_{arch}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", folder, deb], check=True, stdout=subprocess.DEVNULL)
    print(f"{deb.relative_to(ROOT)}: {deb.stat().st_size / 1e6:.1f} MB")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--prefix")
    a.add_argument("--destdir", default="")
    a.add_argument("--out")
    a.add_argument("--version")
    a.add_argument("--libs", default="")
    a.add_argument("--remove", action="store_true")
    a.add_argument("--package")
    o = a.parse_args()
    if o.package:
        return package(o.package, o.version, o.out)
    i = Installation(o.prefix, o.destdir)
    return i.remove() if o.remove else i.install(o.out, o.version, o.libs)


if __name__ == "__main__":
    main()
