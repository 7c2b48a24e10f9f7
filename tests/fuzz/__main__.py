"""`python -m tests.fuzz [KIND...] --examples N` feeds mutated files; `python -m tests.fuzz signals --count N` signals.

Each kind has a process of its own, so that its peak memory is known.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.kinds import KINDS
from tests.fuzz.running import MEMORY_MAX, fuzz


def main() -> int:
    """Run the kinds that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}, or signals")
    parser.add_argument("--examples", type=int, default=2000, help="inputs of each kind")
    parser.add_argument("--count", type=int, default=200, help="signals")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    wrong = [kind for kind in asked.kinds if kind not in (*KINDS, "signals")]
    if wrong:
        parser.error(f"no kind {wrong[0]}; there are: {', '.join(KINDS)}, signals")
    if asked.kinds == ["signals"]:
        from tests.fuzz.signals import many

        return many(asked.count, asked.seed)
    if len(asked.kinds) == 1:
        return _one(asked.kinds[0], asked.examples, asked.seed)
    status = 0
    for kind in asked.kinds or KINDS:
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", kind, "--examples", str(asked.examples), "--seed", str(asked.seed)],
            check=False,
        )
        status = status or done.returncode
    return status


def _one(kind: str, examples: int, seed: int) -> int:
    with TemporaryDirectory(prefix="ksmactors-fuzz-") as place:
        figures = fuzz(kind, Path(place), examples, first_seed=seed)
    print(  # noqa: T201
        f"{kind}: {figures.inputs:,} inputs, {figures.accepted:,} accepted, the rest refused in one line each; "
        f"slowest {figures.slowest:.2f} s, peak {figures.peak >> 20} MiB",
        flush=True,
    )
    return int(figures.peak > MEMORY_MAX)


if __name__ == "__main__":
    sys.exit(main())
