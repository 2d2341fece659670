# SPDX-License-Identifier: Apache-2.0
"""What the pages say about files: links and anchors lead somewhere, folders and files in their tables exist, and
sections of the contract that sources refer to are there."""
import os
import re

LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)(?: \"[^\"]*\")?\)")
FENCE = re.compile(r"^(```|~~~)")
# The first cell of a table row, as in `name` or `name.*` or `a`, `b`.
CELL = re.compile(r"^\| ((?:`[^`]+`(?:, )?)+) \|")
PATH = re.compile(r"^[\w./*-]+$")
NAME = r"[A-Z][a-z]+(?:'s)?(?::? (?!and )[a-z]+)*"
SECTIONS = re.compile(rf"CONTRACT\.md, (?:sections? )?({NAME}(?:(?:, | and ){NAME})*)[.;:)]")
CONTRACT = "cmodel/numeric/CONTRACT.md"
ENDINGS = ("", ".cpp", ".hpp", ".sv", ".py", ".c", ".h", ".toml", ".mk", ".*")


def anchors(text):
    """As GitHub makes them of headings."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.*)$", text, re.M):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


def prose(text):
    """(number, line) outside fenced blocks."""
    inside = False
    for n, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            yield n, line


def broken_links(root, page, text):
    found = []
    for n, line in prose(text):
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, anchor = target.partition("#")
            file = os.path.normpath(os.path.join(os.path.dirname(page), path)) if path else page
            if not (root / file).exists():
                found.append(f"{page}:{n}: the link to {target} leads nowhere")
            elif anchor and anchor not in anchors((root / file).read_text()):
                found.append(f"{page}:{n}: {file} has no section #{anchor}")
    return found


def exists(folder, name):
    """A file or folder of this name, whatever its ending; `a_*` and the like are patterns."""
    return any(any(folder.glob(name.rstrip("/").removesuffix(".*") + e)) for e in ENDINGS)


def missing_modules(root, page, text):
    """`npu_...` in diagrams and in the pages of the RTL: modules and files of the NPU have that name."""
    if not page.startswith("rtl/"):
        text = "".join(re.findall(r"^```mermaid$.*?^```$", text, re.M | re.S))
    stems = {p.stem for d in ("rtl", "cmodel", "sim", "tests") for p in (root / d).rglob("npu_*.*")} | {"npu"}
    return [f"{page}: there is no {name}" for name in sorted(set(re.findall(r"\bnpu_\w+", text)) - stems)]


def missing_files(root, page, text):
    """Tables whose head calls the first column a file, folder, block or `where`."""
    found, table = [], False
    folder = (root / page).parent
    for n, line in prose(text):
        if not line.startswith("|"):
            table = False
        elif re.match(r"\| (file|files|folder|where|by hand) \|", line):
            table = True
        elif table and (cell := CELL.match(line)):
            for name in re.findall(r"`([^`]+)`", cell[1]):
                if PATH.match(name) and not exists(folder, name):
                    found.append(f"{page}:{n}: there is no {name} in {folder.relative_to(root) or '.'}")
    return found


def missing_sections(root, sources):
    """Of the contract, named in comments. A group of sections in the page's list of contents has a name, too."""
    page = (root / CONTRACT).read_text()
    known = set(re.findall(r"^## (.*)$", page, re.M)) | set(re.findall(r"^- (\w+):", page, re.M))
    found = []
    for f in sources:
        joined = re.sub(r"\n\s*(?://|#) ?", " ", (root / f).read_text(errors="replace"))
        for names in SECTIONS.findall(joined):
            found += [f"{f}: the contract has no section {n}" for n in re.split(", | and ", names) if n not in known]
    return found


def problems(root, files, sources):
    found = missing_sections(root, sources)
    for page in files:
        text = (root / page).read_text()
        found += broken_links(root, page, text) + missing_files(root, page, text)
        found += missing_modules(root, page, text)
    return found
