"""Every case of the corpus: what random schedules find of it replays exactly, and shrinks to a few departures.

To reach: at most 4 departures left and at most 300 schedules tried for every case, and every replay exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import trio

from ksmactors.campaign.corpus import FAR_APART, signature_of, subject_of
from ksmactors.campaign.outcome import Outcome
from ksmactors.campaign.preparing import Preparing
from ksmactors.campaign.schedule import run_schedule
from ksmactors.diagnose.replaying import recorded
from ksmactors.diagnose.shrink import BUDGET, shrink
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES as CORPUS

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


async def measure(case: Case) -> dict[str, Any] | None:
    """How a case fares; None: not found."""
    found = await first_found(case)
    if found is None:
        return None
    then = recorded(found.schedule)
    again = await run_schedule(then.subject, then.seed, then.strategy, replayed=then.schedule)
    shrunk = await shrink(then)
    small = recorded(shrunk.outcome.schedule)
    last = await run_schedule(small.subject, small.seed, small.strategy, replayed=small.schedule)
    return {
        "replay_exact": again.digest == found.digest and last.digest == shrunk.outcome.digest,
        "departures_of": shrunk.of,
        "departures": len(shrunk.departures),
        "steps_of": found.steps,
        "steps": shrunk.outcome.steps,
        "tried": shrunk.tried,
    }


def figures(names: Iterable[str] = ()) -> dict[str, Any]:
    """All cases that have something to find, or those named: the worst of all, and each."""
    wanted = set(names)
    cases = [case for case in CORPUS.values() if case.watcher and (not wanted or case.name in wanted)]
    measured = {case.name: trio.run(partial(measure, case)) for case in cases}
    rows = {name: row for name, row in measured.items() if row is not None}
    return {
        "cases": len(cases),
        "not_found": [name for name in measured if name not in rows],
        "replay_exact": sum(row["replay_exact"] for row in rows.values()),
        "worst_departures": max((row["departures"] for row in rows.values()), default=0),
        "departures_allowed": DEPARTURES,
        "worst_tried": max((row["tried"] for row in rows.values()), default=0),
        "tried_allowed": BUDGET,
        "rows": rows,
    }


CASES = {"shrinking": figures}
