"""What becomes of findings when they are shrunk: every case of the corpus (commits undone, mutants, defects that a
kernel had) on its own litmus test, and on each of the big workloads.

To reach: the same signature always, every replay exact, and at most 25 departures left within 60 s and 300 schedules,
whichever is later. Run a part of it with `python -m tests.bench.shrinking --only NAME --seconds S`, where NAME is a
case or a workload, and `--enough` to stop at 25 departures. Each finding is printed to standard error as it comes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from statistics import median
from typing import Any, Final

import trio

from ksmactors.campaign.corpus import FAR_APART, signature_of, subject_of
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.restarts import READABLE_DEPARTURES
from ksmactors.diagnose.shrink import MAX_SCHEDULES, shrink
from ksmactors.errors import KsmActorsError, UsageError
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES as CORPUS
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject

SCHEDULES_ALLOWED: Final = 300
SECONDS_ALLOWED: Final = 60
"""Schedules and seconds of processor time, whichever is later, in which a finding must become readable."""

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
    calibration = Calibration(run_schedule)
    for seed in range(FAR_APART, FAR_APART + schedules):
        deciding = await calibration.strategy(subject, seed, "portfolio")
        outcome = await run_schedule(subject, seed, "portfolio", deciding=deciding, keep=True)
        own = subject.name not in BIG
        if outcome.verdict is Verdict.FINDING and (not own or case.explains(signature_of(outcome))):
            return outcome
    return None


@dataclass(frozen=True, slots=True)
class Limits:
    """When a shrink ends: after so many seconds, and at so many departures; None: neither."""

    seconds: float | None = None
    enough: int | None = None


async def measure(case: Case, subject: Subject, schedules: int, limits: Limits) -> dict[str, Any] | None:
    """What becomes of a case's first finding; None: nothing was found."""
    found = await first_found(case, subject, schedules)
    if found is None:
        return None
    then = recorded(found.schedule)
    started = time.monotonic()
    row: dict[str, Any] = {"case": case.name, "workload": subject.name, "signature": signature_of(found)}
    reached: list[tuple[int, float]] = []

    def on_try(tried: int, left: int) -> None:
        if left <= READABLE_DEPARTURES and not reached:
            reached.append((tried, round(time.process_time() - processing, 1)))

    processing = time.process_time()
    try:
        shrunk = await shrink(then, max_seconds=limits.seconds, enough=limits.enough, on_try=on_try)
    except KsmActorsError as error:
        return row | {"error": str(error), "same": False, "exact": False}
    small = recorded(shrunk.outcome.schedule)
    last = await run_schedule(small.subject, small.seed, small.strategy, deciding=Replay(small.schedule))
    return row | {
        "same": signature_of(last) == signature_of(shrunk.outcome) == signature_of(found),
        "exact": last.digest == shrunk.outcome.digest,
        "departures_of": shrunk.of,
        "departures": len(shrunk.departures),
        "steps_of": found.steps,
        "steps": shrunk.outcome.steps,
        "tried": shrunk.tried,
        "readable_after": reached[0][0] if reached else None,
        "readable_after_cpu_seconds": reached[0][1] if reached else None,
        "seconds": round(time.monotonic() - started, 1),
        "stopped_by": shrunk.stopped_by,
    }


def figures(only: Iterable[str] = (), limits: Limits = Limits(), jobs: int = 1) -> dict[str, Any]:
    """All cases that have something to find, or those of the cases and workloads named: a summary, and each.

    Prints a table to standard error on the way, since a whole run takes hours. `jobs` processes share the work.
    """
    wanted = set(only)
    cases = [case for case in CORPUS.values() if case.watcher]
    pairs = [(case.name, place) for case in cases for place in _places(case, wanted)]
    rows, silent = [], 0
    with multiprocessing.Pool(jobs) as pool:
        for row in pool.imap(partial(_measured, limits=limits), pairs):
            if row is None:
                silent += 1
            else:
                rows.append(row)
                print(line(row), file=sys.stderr, flush=True)  # noqa: T201
    return {**summary(rows), "found_nothing": silent, "rows": rows}


def _places(case: Case, wanted: set[str]) -> list[int]:
    """Which of the case's subjects are wanted: all of them, or those that a name is given of."""
    named = (subject.name for subject, _ in subjects(case))
    return [place for place, name in enumerate(named) if not wanted or case.name in wanted or name in wanted]


def _measured(pair: tuple[str, int], limits: Limits) -> dict[str, Any] | None:
    """`measure` of a case on one of its subjects, in a process of its own: neither can be sent to one."""
    case = CORPUS[pair[0]]
    subject, schedules = next(islice(subjects(case), pair[1], None))
    return trio.run(partial(measure, case, subject, schedules, limits))


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
        "readable_in_time": sum(in_time(row) for row in done),
        "readable_after_median": median([row["readable_after"] for row in done if row["readable_after"]] or [0]),
        "readable_after_cpu_seconds_median": median(
            [row["readable_after_cpu_seconds"] for row in done if row["readable_after"]] or [0]
        ),
        "late": [
            f"{row['case']} on {row['workload']}: {row['readable_after']} schedules, "
            f"{row['readable_after_cpu_seconds']} s"
            for row in done
            if row["readable_after"] and not in_time(row)
        ],
        "above": [f"{row['case']} on {row['workload']}: {row.get('departures', row.get('error'))}" for row in above],
        "tried_median": median([row["tried"] for row in done] or [0]),
        "tried_allowed": MAX_SCHEDULES,
        "seconds_worst": max((row["seconds"] for row in done), default=0),
    }


def in_time(row: dict[str, Any]) -> bool:
    """Whether a finding came down to what can be read within what is allowed."""
    after, seconds = row["readable_after"], row["readable_after_cpu_seconds"]
    return after is not None and (after <= SCHEDULES_ALLOWED or seconds <= SECONDS_ALLOWED)


def main() -> None:
    """Run a part of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a case or a workload; repeatable")
    parser.add_argument("--seconds", type=float, metavar="S", help="most seconds for each finding")
    parser.add_argument(
        "--enough", type=int, nargs="?", const=READABLE_DEPARTURES, metavar="N",
        help=f"end each at N departures (default {READABLE_DEPARTURES})",
    )  # fmt: skip
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    given = parser.parse_args()
    limits = Limits(given.seconds, given.enough)
    print(json.dumps(figures(given.only, limits, given.jobs), indent=2))  # noqa: T201


CASES = {"shrinking": figures}

if __name__ == "__main__":
    main()
