#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tells the compiler which branches of a Verilated design are the rare ones: what happens under a condition.

usage: layout.py FOLDER

What a simulated cycle costs is mostly fetching instructions, and in most cycles most conditions of a design are false.
With their bodies behind the code that runs instead of between it, a cycle needs fewer lines of the instruction cache.
Exceptions: reset is over, and what the main clock triggers runs in every cycle. Files are changed in place; all that
is added is VL_LIKELY and VL_UNLIKELY, and of the triggers of a function the main clock's is asked for first.
"""
import pathlib
import re
import sys

FUNCTION = re.compile(r"^VL_INLINE_OPT void \w+___nba_\w+\(\w+\* vlSelf\) \{$")
BRANCH = re.compile(r"^ +(?:\} else )?if \(")
RESET = re.compile(r"vlSelf->rst_ni$")
SCHEDULE = re.compile(r"^void \w+___eval_nba\(\w+\* vlSelf\) \{$")
TRIGGERS = re.compile(r"___eval_triggers__act\(\w+\* vlSelf\) \{\n(.*?)\n\}", re.S)
TRIGGER = re.compile(r"__VactTriggered\.at\((\w+)\) = (.*?);", re.S)
ASKED = re.compile(r"vlSelf->__VnbaTriggered\.at\((\w+)\)")
MAIN_CLOCK = re.compile(r"vlSelf->clk_i\b")


def condition_end(text, at):
    """Index of the parenthesis that closes the one before `at`."""
    depth = 1
    while depth:
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return at - 1


def scheduled(condition, steady):
    """The condition of a function that some triggers call; `steady`: those that are set in every cycle."""
    asked = ASKED.findall(condition)
    first = next((t for t in asked if t in steady), None)
    if not asked or first is None:
        return f"VL_UNLIKELY({condition})"
    others = " | ".join(f"vlSelf->__VnbaTriggered.at({t})" for t in asked if t != first)
    return f"VL_LIKELY(vlSelf->__VnbaTriggered.at({first}))" + (f" || ({others})" if others else "")


def hinted(text, steady):
    """The text with a hint at every branch of the functions that run in a cycle, and how many there are."""
    out, at, inside, schedule, count = [], 0, False, False, 0
    while at < len(text):
        end = text.find("\n", at)
        end = len(text) if end < 0 else end + 1
        line = text[at:end]
        if FUNCTION.match(line):
            inside = True
        elif SCHEDULE.match(line):
            inside = schedule = True
        elif line.startswith("}"):
            inside = schedule = False
        branch = BRANCH.match(line) if inside else None
        if branch and not line.startswith("    if (false"):
            begin = at + branch.end()
            close = condition_end(text, begin)
            condition = text[begin:close]
            if schedule:
                condition = scheduled(condition, steady)
            else:
                condition = f"{'VL_LIKELY' if RESET.match(condition) else 'VL_UNLIKELY'}({condition})"
            out += [text[at:begin], condition]
            count += 1
            at = close
            continue
        out.append(line)
        at = end
    return "".join(out), count


def main():
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    files = {f: f.read_text() for f in sorted(pathlib.Path(sys.argv[1]).glob("*.cpp")) if "Slow" not in f.name}
    steady = set()
    for text in files.values():
        for body in TRIGGERS.findall(text):
            steady |= {index for index, edge in TRIGGER.findall(body) if MAIN_CLOCK.search(edge)}
    count = 0
    for file, text in files.items():
        text, found = hinted(text, steady)
        if found:
            file.write_text(text)
        count += found
    print(f"layout: {count} branches")


if __name__ == "__main__":
    main()
