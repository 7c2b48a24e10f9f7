"""Run one `stress` command in this process and print what it took.

This is a file of its own that uses only the command line: it also runs in the tree of an older commit, whose modules
have other names.

`python probe.py WARM... -- WORDS...`: the first command imports what is imported late, the second is timed.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stdout, suppress
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

from ksmactors.cli import main


def run(words: list[str]) -> str:
    """The standard output of a command that must end with 0, or with 1: something was found."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="utf-8", write_through=True)
    with redirect_stdout(out):
        status = main(words)
    if status not in (0, 1):
        raise SystemExit(f"{' '.join(words)} ended with {status}")
    return raw.getvalue().decode()


def cpu_seconds() -> float:
    """CPU time of this process and of those it has waited for: a campaign may have workers."""
    used = [getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def timed(words: list[str]) -> dict[str, object]:
    """Schedules, steps and digest of a campaign, and the CPU time of it, garbage collection included."""
    start = cpu_seconds()
    answer = json.loads(run(words))
    taken = cpu_seconds() - start
    return {"schedules": answer["schedules"], "steps": answer["steps"], "digest": answer["digest"], "cpu": taken}


if __name__ == "__main__":
    split = sys.argv.index("--")
    with suppress(ImportError):  # what `python -m ksmactors` does as well, since there is such a thing
        from ksmactors.garbage import collect_seldom

        collect_seldom()
    run(sys.argv[1:split])
    print(json.dumps(timed(sys.argv[split + 1 :])))  # noqa: T201
