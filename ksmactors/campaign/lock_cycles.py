"""Lock order cycles that no schedule shows by itself: their edges come from different schedules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ksmactors.campaign.summary import Found, Summary
from ksmactors.run.outcome import Defect, Outcome, Verdict
from ksmactors.watch.lock_graph import describe, signature
from ksmactors.watch.lock_order import LockOrder


def cycles_closed_by(outcome: Outcome, tally: Summary) -> Iterator[Found]:
    """Add the lock order of a schedule to that of all before it, and return the cycles that this closes.

    Such a finding is a warning, since no actor was blocked, and nothing shows it in one run: there is no schedule to
    replay, and no file.
    """
    for cycle in tally.locks.merge(outcome.lock_edges, outcome.seed):
        defect = Defect(
            kind="lock_order_cycle",
            watcher=LockOrder.name,
            signature=signature(LockOrder.name, cycle),
            message=describe(cycle),
            step=outcome.steps,
            actors=tuple(edge.actor for edge in cycle),
            functions=tuple(edge.taken_in for edge in cycle),
            story=(),
        )
        if defect.signature not in tally.found:
            seeds = ", ".join(sorted({str(edge.seed) for edge in cycle}, key=int))
            yield Found(
                replace(outcome, verdict=Verdict.FINDING, schedule="", defect=defect, error=None),
                problem=f"no schedule shows this by itself: it was put together from those of seeds {seeds}",
            )
