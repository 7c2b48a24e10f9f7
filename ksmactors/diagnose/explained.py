"""A recorded schedule explained: shrunk if it can be, as rows, with the promise that broke: `replay --explain`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ksmactors.diagnose.explain import explain
from ksmactors.diagnose.interleaving import Interleaving, interleaving
from ksmactors.diagnose.replaying import Recorded, by_names
from ksmactors.diagnose.shrink import shrink
from ksmactors.errors import KsmActorsError, ReplayDiverged
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.watch import WATCHERS

SCHEDULES_MAX: Final = 300
"""Schedules that are tried to shrink a finding before it is shown: some seconds' worth."""


@dataclass(frozen=True, slots=True)
class Explained:
    """A schedule that was looked at.

    Attributes:
        shown: what is explained; its schedule is the smallest that was found.
        outcome: what it came to, explained if it is a finding.
        table: its rows.
        shrunk_from: the departures it had before it was shrunk; None if it was not.
        tried: schedules run to shrink it.
        notes: what a reader must know about it, a sentence each: whether it is not the recording, or not shrunk.
    """

    shown: Recorded
    outcome: Outcome
    table: Interleaving
    shrunk_from: int | None = None
    tried: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def broken(self) -> tuple[str, ...]:
        """The promise that broke, in words, a sentence each; empty if nothing was found."""
        defect = self.outcome.defect
        if defect is None:
            return ()
        watcher = WATCHERS.get(defect.watcher)
        promise = (f"{defect.watcher}: {watcher.summary}",) if watcher is not None else ()
        known = defect.explanation
        why = () if known is None else (known.cause, known.found)
        return tuple(filter(None, (*promise, defect.message, *why)))

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        defect = self.outcome.defect
        return {
            **self.table.as_json(),
            "signature": None if defect is None else defect.signature,
            "schedule": self.outcome.schedule,
            "shrunk_from": self.shrunk_from,
            "schedules_tried": self.tried,
            "notes": list(self.notes),
            "broken": list(self.broken),
            "made_the_difference": list(self.shown.difference),
        }


async def explained(
    then: Recorded, *, max_schedules: int = SCHEDULES_MAX, on_try: Callable[[int, int], None] = lambda _t, _l: None
) -> Explained:
    """Replay a recorded schedule, shrink it if it is a finding, and look at it turn by turn. To be awaited in trio,
    outside of any other schedule.

    Args:
        then: what was recorded. One that `shrink` has written is not shrunk again.
        max_schedules: the most schedules that are tried to shrink it; 0: it is shown as recorded.
        on_try: as for `shrink`.
    """
    shown, outcome, notes = await _replayed(then)
    of, tried = None, 0
    if outcome.verdict is Verdict.FINDING and max_schedules and not _is_shrunk(shown):
        try:
            shrunk = await shrink(then, max_schedules=max_schedules, on_try=on_try)
        except KsmActorsError as error:
            notes += (f"not shrunk: {error}",)
        else:
            of, tried, outcome = shrunk.of, shrunk.tried, shrunk.outcome
            shown = _instead(replace(then, subject=shrunk.subject), outcome)
            if shrunk.stopped_by:
                notes += (f"shrinking was stopped by {shrunk.stopped_by}; `ksmactors shrink` goes on",)
    if outcome.verdict is Verdict.FINDING:
        outcome = await explain(outcome, shown.subject)
    table = await interleaving(shown.subject, shown.seed, shown.schedule, outcome)
    return Explained(shown, outcome, table, of, tried, notes)


async def _replayed(then: Recorded) -> tuple[Recorded, Outcome, tuple[str, ...]]:
    """Replay what was recorded; by names where its steps do not fit, if that leads to a finding."""
    outcome = await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule), keep=True)
    if then.fits(outcome):
        return then, outcome, ()
    fits_until = f"up to step {outcome.error.step}" if isinstance(outcome.error, ReplayDiverged) else ""
    other = await by_names(then)
    if other.verdict is Verdict.FINDING and other.schedule:
        note = f"the table is the recording {fits_until or 'in its departures'} only: {then.compare_by_names(other)}"
        return _instead(then, other), other, (note,)
    if fits_until:
        note = f"the table is the recording {fits_until}, where it ends: {outcome.error}"
    else:
        note = f"the table is not the recording: {then.compare(outcome)}"
    return then, outcome, (note,)


def _instead(then: Recorded, outcome: Outcome) -> Recorded:
    """What was recorded, with the schedule of an outcome."""
    return replace(then, strategy=outcome.strategy, schedule=decode(outcome.schedule), digest=outcome.digest.hex())


def _is_shrunk(then: Recorded) -> bool:
    """Whether it was written by `shrink`, or has nothing to shrink."""
    return then.strategy.partition(":")[0] == ReplayByName.name or not then.schedule.departures
