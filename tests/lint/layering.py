# SPDX-License-Identifier: Apache-2.0
"""Which part may include which. The rules are the tables of the READMEs (sw, cmodel, sim, tests) whose head is

    | folder | ... | may use |

A row is a folder (or the start of file names in one, such as `embedded/native`; the longest that fits a file counts;
the row "others" is of folders without one) and what it may include: rows above it, folders of other parts
(`cmodel/numeric`, or `cmodel` for all of it), "nothing" or "everything". What it may use, it may use with everything
that may use in turn. Rows only name rows above them, so that there is no circle in a part.
"""
import re

INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
PARTS = ("sw", "cmodel", "sim", "tests")
TOP = tuple(f"{p}/" for p in (*PARTS, "rtl"))


class Row:
    def __init__(self, name, where, text):
        self.name, self.where, self.text = name, where, text
        self.may = set()  # prefixes of paths, own one included

    def covers(self, path):
        # A row may name a folder, or the first part of a file's name.
        return path == self.name or path.startswith((f"{self.name}/", f"{self.name}."))


def rows_of(part, text):
    """Rows of the tables in a README, and errors of the tables themselves."""
    rows, found, column = [], [], None
    for n, line in enumerate(text.splitlines(), 1):
        cells = [c.strip() for c in line.strip().strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            column = None
        elif cells[0] == "folder" and "may use" in cells:
            column = cells.index("may use")
        elif column is not None and not set("".join(cells)) <= set("-: "):
            names = re.findall(r"`([^`]+)`", cells[0])
            if cells[0] == "others":
                names = [""]
            where = f"{part}/README.md:{n}"
            if not names or len(cells) <= column:
                found.append(f"{where}: a row without a folder or without what it may use: {line}")
                continue
            rows += [Row(f"{part}/{name}".strip("/"), where, cells[column]) for name in names]
    return rows, found


def read_rules(texts):
    """{part: text of its README} -> rows of all parts, errors. Rules of another part are those of its folders."""
    rows, found = [], []
    for part, text in texts.items():
        own, bad = rows_of(part, text)
        if not own:
            bad.append(f"{part}/README.md:1: no table with a column \"may use\"")
        rows, found = rows + own, found + bad
    by_name = {}
    for row in rows:
        if row.name in by_name:
            found.append(f"{row.where}: {row.name} has a row already ({by_name[row.name].where})")
        by_name[row.name] = row
    done, busy = set(), []

    def settle(row):
        if row.name in done:
            return
        if row in busy:
            circle = " -> ".join(r.name for r in [*busy[busy.index(row):], row])
            found.append(f"{row.where}: a circle: {circle}")
            return
        busy.append(row)
        row.may.add(row.name)
        part = row.name.split("/")[0]
        above = [r for r in rows[:rows.index(row)] if r.name.startswith(f"{part}/")]
        for word in (w.strip(" `") for w in row.text.split(",")):
            if word == "nothing":
                continue
            if word == "everything":
                named = [r for r in rows if r is not row]
            elif word in PARTS:
                named = [r for r in rows if r.name.startswith(f"{word}/")]
            else:
                name = word if word in by_name else f"{part}/{word}"
                if name not in by_name:
                    found.append(f"{row.where}: {row.name} may use \"{word}\", which is no row of these tables, no "
                                 "part (sw, cmodel, sim, tests), not \"nothing\" and not \"everything\"")
                    continue
                named = [by_name[name]]
                if name.startswith(f"{part}/") and named[0] not in above:
                    found.append(f"{row.where}: {row.name} may use {word}, whose row is not above its own")
                    continue
            for r in named:
                settle(r)
                row.may |= r.may
        busy.pop()
        done.add(row.name)

    for row in rows:
        settle(row)
    return rows, found


def row_for(rows, path):
    fitting = [r for r in rows if r.covers(path)]
    return max(fitting, key=lambda r: len(r.name), default=None)


def violations(root, files, texts=None):
    """Errors as file:line: text. `files`: paths relative to `root`; texts: other READMEs than those of `root`."""
    texts = texts or {p: (root / p / "README.md").read_text() for p in PARTS}
    rows, found = read_rules(texts)
    for r in rows:
        if not any(r.covers(f) for f in files):
            found.append(f"{r.where}: {r.name} has a row but no C or C++ file")
    missing = set()
    for f in files:
        row = row_for(rows, f)
        if row is None:
            folder = "/".join(f.split("/")[:2])
            if f.startswith(TOP) and f.count("/") > 1 and folder not in missing:
                missing.add(folder)
                found.append(f"{f}:1: {folder} has no row in {f.split('/')[0]}/README.md that says what it may use")
            if f.count("/") > 1:
                continue
        for n, line in enumerate((root / f).read_text(errors="replace").splitlines(), 1):
            m = INCLUDE.match(line)
            if not m or (included := m[1]).startswith("V"):  # V*.h: made by Verilator
                continue
            if not included.startswith(TOP):
                if f.startswith(TOP):
                    found.append(f"{f}:{n}: include \"{included}\" relative to the root of the repository")
            elif not (root / included).exists():
                found.append(f"{f}:{n}: no file {included}")
            elif row is not None:
                target = row_for(rows, included)
                if target is None or target.name not in row.may:
                    found.append(f"{f}:{n}: {row.name} must not include {included}: "
                                 f"{row.where} says it may use {row.text}")
    return found
