"""What becomes of findings when they are shrunk: every case of the corpus (commits undone, mutants, defects that a
kernel had) on its own litmus test, and on each of the big workloads.

To reach: the same signature always, every replay exact, and at most 25 departures left. Run a part of it with
`python -m tests.bench.shrinking --only NAME --seconds S`, where NAME is a case or a workload.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from statistics import median
from typing import Any, Final

import trio

from ksmactors.campaign.corpus import FAR_APART, signature_of, subject_of
from ksmactors.campaign.outcome import Outcome, Verdict
from ksmactors.campaign.preparing import Preparing
from ksmactors.campaign.schedule import run_schedule
from ksmactors.campaign.subject import Subject, make_subject
from ksmactors.diagnose.passes import READABLE_DEPARTURES
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.shrink import MAX_SCHEDULES, shrink
from ksmactors.errors import KsmActorsError, UsageError
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES as CORPUS

BIG: Final = (
    "vm_fleet", "numa_pingpong", "fork_storm", "exit_race", "swap_pressure", "hot_remove", "mremap_dance", "oom_kill",
    "pinned_pages", "knob_flip", "scenario",
)  # fmt: skip

LITMUS_SCHEDULES: Final = 5_000
"""Schedules in which a case must be found on its litmus test."""

BIG_SCHEDULES: Final = 60
"""Schedules in which something is looked for on a big workload. Many cases do not show on many workloads."""


def subjects(case: Case) -> Iterator[tuple[Subject, int]]:
    """What a case is looked for on, and in how many schedules: its litmus test, then the big workloads."""
    yield subject_of(case), LITMUS_SCHEDULES
    for name in BIG:
        try:
            yield (
                make_subject(name, kernel=case.kernel, without=case.without, with_=case.with_, inject=case.inject),
                BIG_SCHEDULES,
            )
        except UsageError:  # the workload does not go with the variants
            continue


async def first_found(case: Case, subject: Subject, schedules: int) -> Outcome | None:
    """The first schedule of the default strategy that finds something: on a case's own litmus test, the case."""
    preparing = Preparing(run_schedule)
    for seed in range(FAR_APART, FAR_APART + schedules):
        outcome = await run_schedule(subject, seed, "portfolio", preparing=preparing, keep=True)
        own = subject.name not in BIG
        if outcome.verdict is Verdict.FINDING and (not own or case.explains(signature_of(outcome))):
            return outcome
    return None


async def measure(case: Case, subject: Subject, schedules: int, seconds: float | None) -> dict[str, Any] | None:
    """What becomes of a case's first finding; None: nothing was found."""
    found = await first_found(case, subject, schedules)
    if found is None:
        return None
    then = recorded(found.schedule)
    started = time.monotonic()
    row: dict[str, Any] = {"case": case.name, "workload": subject.name, "signature": signature_of(found)}
    reached: list[int] = []

    def on_try(tried: int, left: int) -> None:
        if left <= READABLE_DEPARTURES and not reached:
            reached.append(tried)

    try:
        shrunk = await shrink(then, max_seconds=seconds, on_try=on_try)
    except KsmActorsError as error:
        return row | {"error": str(error), "same": False, "exact": False}
    small = recorded(shrunk.outcome.schedule)
    last = await run_schedule(small.subject, small.seed, small.strategy, replayed=small.schedule)
    return row | {
        "same": signature_of(last) == signature_of(shrunk.outcome) == signature_of(found),
        "exact": last.digest == shrunk.outcome.digest,
        "departures_of": shrunk.of,
        "departures": len(shrunk.departures),
        "steps_of": found.steps,
        "steps": shrunk.outcome.steps,
        "tried": shrunk.tried,
        "readable_after": reached[0] if reached else None,
        "seconds": round(time.monotonic() - started, 1),
        "stopped_by": shrunk.stopped_by,
    }


def figures(only: Iterable[str] = (), seconds: float | None = None) -> dict[str, Any]:
    """All cases that have something to find, or those of the cases and workloads named: a summary, and each.

    Prints a table to standard error on the way, since a whole run takes hours.
    """
    wanted = set(only)
    rows, silent = [], 0
    for case in (one for one in CORPUS.values() if one.watcher):
        for subject, schedules in subjects(case):
            if not wanted or case.name in wanted or subject.name in wanted:
                row = trio.run(partial(measure, case, subject, schedules, seconds))
                if row is None:
                    silent += 1
                else:
                    rows.append(row)
                    print(line(row), file=sys.stderr, flush=True)  # noqa: T201
    return {**summary(rows), "found_nothing": silent, "rows": rows}


def line(row: dict[str, Any]) -> str:
    """A finding as a line of the table."""
    head = f"{row['case']:12} {row['workload']:28} {row['signature']:60}"
    if "error" in row:
        return f"{head} {row['error']}"
    return (
        f"{head} {'same' if row['same'] else 'OTHER'} {row['departures_of']:6,} -> {row['departures']:4,} departures "
        f"{row['tried']:5,} schedules {row['seconds']:6.1f} s {row['stopped_by']}"
    )


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What all findings add up to."""
    done = [row for row in rows if "error" not in row]
    above = [row for row in rows if row.get("departures", READABLE_DEPARTURES + 1) > READABLE_DEPARTURES]
    return {
        "findings": len(rows),
        "same_signature": sum(row["same"] for row in rows),
        "replay_exact": sum(row["exact"] for row in rows),
        "departures_of_median": median([row["departures_of"] for row in done] or [0]),
        "departures_median": median([row["departures"] for row in done] or [0]),
        "departures_allowed": READABLE_DEPARTURES,
        "above": [f"{row['case']} on {row['workload']}: {row.get('departures', row.get('error'))}" for row in above],
        "tried_median": median([row["tried"] for row in done] or [0]),
        "tried_allowed": MAX_SCHEDULES,
        "seconds_worst": max((row["seconds"] for row in done), default=0),
    }


def main() -> None:
    """Run a part of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a case or a workload; repeatable")
    parser.add_argument("--seconds", type=float, metavar="S", help="most seconds for each finding")
    given = parser.parse_args()
    print(json.dumps(figures(given.only, given.seconds), indent=2))  # noqa: T201


CASES = {"shrinking": figures}

if __name__ == "__main__":
    main()
