# SPDX-License-Identifier: Apache-2.0
"""Fields of a JSON report that a README documents: `a.b[].{c,d}.*` in the first column of its table."""
import itertools
import re


def section(path, heading):
    """Text of a section of a page, without those below it."""
    text = path.read_text()
    begin = text.index(f"\n{heading}\n") + len(heading) + 2
    return text[begin:].split("\n## ", 1)[0]


def alternatives(path):
    """Every path that `{a,b}` stands for."""
    parts = re.split(r"\{([^{}]*)\}", path)
    choices = [p.split(",") if i % 2 else [p] for i, p in enumerate(parts)]
    return ["".join(p) for p in itertools.product(*choices)]


def documented(text):
    """Paths of the first column of the section's tables."""
    out = []
    for line in text.splitlines():
        if line.startswith("| `"):
            for path in re.findall(r"`([^`]+)`", line.split("|")[1]):
                out += alternatives(path)
    return out


def found(value, path):
    """Whether a report has the path: `[]` is any element of a list, `*` any member."""
    keys = re.findall(r"\[\]|[^.\[\]]+", path)
    values = [value]
    for key in keys:
        if key == "[]":
            values = [x for v in values if isinstance(v, list) for x in v]
        elif key == "*":
            values = [x for v in values if isinstance(v, dict) for x in v.values()]
        else:
            values = [v[key] for v in values if isinstance(v, dict) and key in v]
    return bool(values)


def absent(report, text):
    """Documented paths that the report does not have."""
    return [p for p in documented(text) if not found(report, p)]


def unsaid(names, text):
    """Names that stand nowhere in the section."""
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", text))))
    return sorted(set(names) - words)
