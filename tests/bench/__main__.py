"""Print the figures of this version with the least each must come to, or run single cases.

Without names the table of `tests.bench.figures` is measured, which takes about half an hour; the exit code is 1 if a
figure misses its least. A NAME is a figure of the table, or a case: every module of this folder that has a `CASES`
(name -> function without arguments that returns figures) has some. What is printed on standard output is one JSON
object with `--json` or if a case is named, else a table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.bench import figures

Case = Callable[[], dict[str, Any]]


def cases() -> dict[str, Case]:
    """All cases, module by module in the order of their names."""
    found: dict[str, Case] = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        if path.stem not in {"probe", "test_bench"}:  # a script for any tree, and tests
            found |= getattr(import_module(f"tests.bench.{path.stem}"), "CASES", {})
    return found


def lines(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The table for people."""
    shown = [("figure", "value", "noise", "least", "goal", "unit")]
    for name, row in rows.items():
        value = "not measured" if row["value"] is None else f"{row['value']:,}"
        noise = "" if row.get("noise") is None else f"{row['noise']:.0%}"
        unit = row.get("not_measured") or row["unit"]
        shown.append((name, value, noise, f"{row['least']:,}", f"{row['goal']:,}", unit))
    widths = [max(len(line[column]) for line in shown) for column in range(5)]
    form = "{:<%d}  {:>%d}  {:>%d}  {:>%d}  {:>%d}  {}" % tuple(widths)  # noqa: UP031
    return [form.format(*line) for line in shown]


def main(words: Sequence[str]) -> int:
    """Run the named cases and figures, or the whole table; 1 if a least is missed, 2 for a name that is not there."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures of the table, or cases")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    parser.add_argument("--quick", action="store_true", help="medians of three, smaller sizes: for development")
    options = parser.parse_args(words)
    known, table = cases(), [figure.name for figure in figures.TABLE]
    wrong = [name for name in options.names if name not in known and name not in table]
    if wrong:
        print(f"no case or figure {', '.join(wrong)}; there are: {', '.join([*known, *table])}", file=sys.stderr)  # noqa: T201
        return 2
    answers: dict[str, Any] = {}
    for name in [name for name in options.names if name in known]:
        print(f"{name} ...", file=sys.stderr)  # noqa: T201
        answers[name] = known[name]()
    asked = [name for name in options.names if name in table]
    rows = {} if answers and not asked else figures.measured(figures.QUICK if options.quick else figures.FULL, asked)
    if options.json or answers:
        print(json.dumps(answers | rows, indent=2))  # noqa: T201
    else:
        print("\n".join(lines(rows)))  # noqa: T201
    for name in (missed := figures.missed(rows)):
        print(f"{name}: misses the least", file=sys.stderr)  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
