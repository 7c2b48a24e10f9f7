"""Every case of the corpus: what random schedules find of it replays exactly, and shrinks to a few departures."""

from __future__ import annotations

import trio

from ksmactors.campaign.corpus import FAR_APART, signature_of, subject_of
from ksmactors.campaign.outcome import Outcome
from ksmactors.campaign.preparing import Preparing
from ksmactors.campaign.replaying import recorded
from ksmactors.campaign.schedule import run_schedule
from ksmactors.campaign.shrink import BUDGET, shrink
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES

MOST = 5_000
"""Schedules in which a case must be found."""

DEPARTURES = 4
"""What a shrunk case may have."""


async def first_found(case: Case) -> Outcome | None:
    """The first schedule of the default strategy that finds a case."""
    subject, preparing = subject_of(case), Preparing(run_schedule)
    for seed in range(FAR_APART, FAR_APART + MOST):
        outcome = await run_schedule(subject, seed, "portfolio", preparing=preparing, keep=True)
        if case.explains(signature_of(outcome)):
            return outcome
    return None


async def measure(case: Case) -> tuple[bool, int, int, int] | None:
    """(it replays exactly, departures at first, departures left, schedules tried); None: not found."""
    found = await first_found(case)
    if found is None:
        return None
    then = recorded(found.schedule)
    again = await run_schedule(then.subject, then.seed, then.strategy, replayed=then.schedule)
    shrunk = await shrink(then)
    return again.digest == found.digest, shrunk.of, len(shrunk.departures), shrunk.tried


def report(names: list[str] | None = None) -> None:
    """Print a line for each case, and the worst of all."""
    print(f"corpus: replay and shrinking (at most {DEPARTURES} departures left, {BUDGET} schedules tried)")
    lines = []
    for case in CASES.values():
        if not case.watcher or (names and case.name not in names):
            continue
        line = trio.run(measure, case)
        if line is None:
            print(f"  {case.name:10} not found in {MOST:,} schedules")
            continue
        lines.append(line)
        replays, before, left, tried = line
        note = "" if left <= DEPARTURES else "  TOO MANY"
        print(f"  {case.name:10} replay {'exact' if replays else 'DIFFERS'}, {before:4} -> {left} departures, {tried} tried{note}")
    exact = sum(replays for replays, *_ in lines)
    print(f"  {len(lines)} found, {exact} replayed exactly, worst {max(left for *_, left, _ in lines)} departures, "
          f"{max(tried for *_, tried in lines)} tried")
