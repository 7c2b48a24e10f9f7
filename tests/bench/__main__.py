"""Run the benchmarks and print one JSON object: case -> figures.

Every module of this folder that has a `CASES` (name -> function without arguments that returns figures) takes part.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

Case = Callable[[], dict[str, Any]]


def cases() -> dict[str, Case]:
    """All cases, module by module in the order of their names."""
    found: dict[str, Case] = {}
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        found |= getattr(import_module(f"tests.bench.{path.stem}"), "CASES", {})
    return found


def main(names: list[str]) -> int:
    """Run the named cases, or all."""
    known = cases()
    wrong = [name for name in names if name not in known]
    if wrong:
        print(f"no case {', '.join(wrong)}; there are: {', '.join(known)}", file=sys.stderr)  # noqa: T201
        return 2
    figures = {}
    for name in names or known:
        print(f"{name} ...", file=sys.stderr)  # noqa: T201
        figures[name] = known[name]()
    print(json.dumps(figures, indent=2))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
