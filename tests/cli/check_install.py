#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What `make install` puts somewhere works from there: program, data, backends, manual, completions, library.

usage: check_install.py MAKE OUT      ends with `N passed, N failed`
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/cli"))
sys.path.insert(0, str(ROOT / "tests"))

from harness import Checks  # noqa: E402

CONSUMER = """\
#include <cstdio>
#include "cmodel/device/model_device.hpp"
#include "sw/graph/reader.hpp"
int main(int, char** argv) {
  const lastmile::Network n = lastmile::read_network(argv[1], lastmile::TaskShape{{28, 28, 1}, 10, false});
  std::printf("%s %zu\\n", n.name.c_str(), n.layers.size());
}
"""
WIDTH = 80


def run(*args, cwd=None, env=None):
    r = subprocess.run([str(a) for a in args], cwd=cwd, env=env, capture_output=True, text=True)
    assert r.returncode == 0, f"{args}: exit code {r.returncode}\n{r.stdout}{r.stderr}"
    return r.stdout


class Suite:
    def __init__(self, make, out, folder):
        self.make, self.out, self.dir, self.checks = make, out, folder, Checks()
        self.root = folder / "stage/opt/lm"
        self.program = self.root / "bin/lastmile"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}

    def target(self, name, *args):
        return run(*self.make.split(), "--no-print-directory", f"OUT={self.out}", name, "PREFIX=/opt/lm",
                   f"DESTDIR={self.dir}/stage", *args, cwd=ROOT, env=self.env)

    def installs(self):
        said = self.target("install")
        assert "files below" in said, said
        listed = (self.root / "share/lastmile/installed").read_text().split()
        found = sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if not p.is_dir())
        assert listed == found, set(listed) ^ set(found)

    def runs(self):
        """From an empty folder, with nothing of the source tree beside it."""
        empty = self.dir / "empty"
        empty.mkdir()
        said = run(self.program, "--version", cwd=empty)
        assert said.startswith("lastmile ") and "backends: cmodel" in said, said
        said = run(self.program, "profile", "--predict", "--no-compare", "--networks", "small-cnn", "--reports", "r",
                   "--quiet", cwd=empty)
        assert (empty / "r/profile.json").exists(), said
        backends = run(self.program, "--version").split("backends: ")[1]
        if "lockstep" in backends and (self.root / "lib/lastmile/rtl/16x16-b16-s65536-a512-q8-t1").is_dir():
            run(self.program, "cosim", "--batch", 4, "--adapt-examples", 200, "--epochs", 1, "--steps", 1, "--quiet",
                "--out", "c", "--report", "c.json", cwd=empty)

    def manuals(self):
        pages = sorted((self.root / "share/man/man1").iterdir())
        commands = run(self.program, "--help").split("Subcommands:")[1]
        assert len(pages) > 15 and all(p.name.split(".")[0][len("lastmile-"):] in commands for p in pages), pages
        for page in pages:
            text = page.read_text()
            assert text.startswith(".TH LASTMILE") and ".SH NAME" in text and ".SH EXIT STATUS" in text, text
        if shutil.which("man"):
            for page in pages:
                r = subprocess.run(["man", "--warnings", "-l", str(page)], capture_output=True, text=True,
                                   env={**self.env, "MANWIDTH": "80", "LC_ALL": "C"})
                assert r.returncode == 0 and not r.stderr, (page.name, r.stderr)
        adapt = (self.root / "share/man/man1/lastmile-adapt.1").read_text()
        assert "\\-\\-journal TEXT" in adapt and "\\-\\-estimator" in adapt, adapt

    def completes(self):
        script = self.root / "share/bash-completion/completions/lastmile"
        ask = ('source "$1"; COMP_WORDS=("${@:2}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _lastmile; '
               'printf "%s\\n" "${COMPREPLY[@]}"')

        def said(*words):
            return run("bash", "-c", ask, "ask", script, *words).split()
        assert said("lastmile", "ad") == ["adapt"], said("lastmile", "ad")
        assert said("lastmile", "adapt", "--jou") == ["--journal"], said("lastmile", "adapt", "--jou")
        assert "--networks" not in said("lastmile", "adapt", "--"), said("lastmile", "adapt", "--")
        for shell, name in (("zsh", "share/zsh/site-functions/_lastmile"),
                            ("fish", "share/fish/vendor_completions.d/lastmile.fish")):
            if shutil.which(shell):
                run(shell, "-n", self.root / name)
            text = (self.root / name).read_text()
            assert "--journal" in text or "-l journal" in text, shell

    def library(self):
        """A program of somebody else's, with what pkg-config says."""
        pc = (self.root / "lib/pkgconfig/lastmile.pc").read_text()
        fields = dict(line.split(": ", 1) for line in pc.splitlines() if ": " in line)
        staged = {"${includedir}": str(self.root / "include/lastmile"), "${libdir}": str(self.root / "lib")}
        for name, path in staged.items():
            fields = {k: v.replace(name, path) for k, v in fields.items()}
        (self.dir / "consumer.cpp").write_text(CONSUMER)
        run("g++", *fields["Cflags"].split(), "-isystem", "/usr/include/eigen3", "consumer.cpp",
            *fields["Libs"].split(), "-o", "consumer", cwd=self.dir)
        said = run("./consumer", self.root / "share/lastmile/networks/small-cnn.toml", cwd=self.dir)
        assert said.startswith("small-cnn "), said

    def fits(self):
        """Help in 80 columns, of every command."""
        commands = [line.split()[0] for line in run(self.program, "--help").split("Subcommands:")[1].splitlines()
                    if line.startswith("  ") and not line.startswith("   ")]
        assert {"run", "adapt", "validate", "man", "completion"} <= set(commands), commands
        for args in ([], *([c] for c in commands)):
            text = run(self.program, *args, "--help")
            long = [line for line in text.splitlines() if len(line) > WIDTH]
            assert not long, (args, long)
        text = run(self.program, "adapt", "--help")
        for heading in ("Data and network:", "Adaptation:", "Readouts:"):
            assert f"\n{heading}\n" in text, text
        assert "[default: cmodel]" in text and "[required]" in text, text

    def goes(self):
        others = self.root / "share/man/man1/other.1"
        others.write_text("somebody's\n")
        self.target("uninstall")
        left = sorted(str(p.relative_to(self.root)) for p in self.root.rglob("*") if not p.is_dir())
        assert left == ["share/man/man1/other.1"], left

    def all(self):
        for name in ("installs", "runs", "manuals", "completes", "library", "fits", "goes"):
            self.checks.case(f"install: {name}", getattr(self, name))
        self.checks.finish()


def main():
    with tempfile.TemporaryDirectory() as folder:
        Suite(sys.argv[1], sys.argv[2], pathlib.Path(folder)).all()


main()
