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
from ksmactors.interleave.schedule_string import decode, encode
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.run.outcome import Defect, Outcome, Verdict
from ksmactors.watch import WATCHERS

SCHEDULES_MAX: Final = 300
"""Schedules that are tried to shrink a finding before it is shown: some seconds' worth."""

STEPS_MAX: Final = 400_000
"""Steps that these schedules may take in all: of a long one, fewer are tried."""


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
    def defect(self) -> Defect | None:
        """What was found; None if it is only that the replay left the recording."""
        return self.outcome.defect if self.outcome.verdict is not Verdict.DIVERGED else None

    @property
    def broken(self) -> tuple[str, ...]:
        """The promise that broke, in words, a sentence each; empty if nothing was found."""
        defect = self.defect
        if defect is None:
            return ()
        watcher = WATCHERS.get(defect.watcher)
        promise = (f"{defect.watcher}: {watcher.summary}",) if watcher is not None else ()
        return tuple(filter(None, (*promise, defect.message, defect.cause, defect.found)))

    @property
    def difference(self) -> tuple[str, ...]:
        """What made the difference, in lines, if that is on record for what was found."""
        defect = self.defect
        return self.shown.difference if defect is not None and defect.signature == self.shown.signature else ()

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        defect = self.defect
        return {
            **self.table.as_json(),
            "signature": None if defect is None else defect.signature,
            "schedule": self.outcome.schedule or encode(self.shown.schedule),
            "shrunk_from": self.shrunk_from,
            "schedules_tried": self.tried,
            "notes": list(self.notes),
            "broken": list(self.broken),
            "made_the_difference": list(self.difference),
        }


async def explained(
    then: Recorded,
    outcome: Outcome,
    *,
    max_schedules: int = SCHEDULES_MAX,
    on_try: Callable[[int, int], None] = lambda _t, _l: None,
) -> Explained:
    """Shrink a recorded schedule that led to a finding, and look at it turn by turn. To be awaited in trio, outside of
    any other schedule.

    Args:
        then: what was recorded. One that `shrink` has written is not shrunk again.
        outcome: what its replay came to.
        max_schedules: the most schedules that are tried to shrink it; 0: it is shown as recorded.
        on_try: as for `shrink`.
    """
    shown, outcome, notes = await _fitting(then, outcome)
    of, tried = None, 0
    most = min(max_schedules, STEPS_MAX // max(outcome.steps, 1))
    wanted = outcome.verdict is Verdict.FINDING and max_schedules > 0 and not _is_shrunk(then)
    if wanted and not most:
        notes += (f"not shrunk, since it has {outcome.steps:,} steps: `ksmactors shrink` takes the time",)
    elif wanted:
        try:
            shrunk = await shrink(shown, max_schedules=most, on_try=on_try)
        except KsmActorsError as error:
            notes += (f"not shrunk: {error}",)
        else:
            of, tried, outcome = shrunk.of, shrunk.tried, shrunk.outcome
            shown = _instead(replace(shown, subject=shrunk.subject), outcome)
            if shrunk.stopped_by:
                notes += (f"shrinking was stopped by {shrunk.stopped_by}; `ksmactors shrink` goes on",)
    defect = outcome.defect
    if outcome.verdict is Verdict.FINDING and defect is not None and defect.broke is None:
        outcome = await explain(outcome, shown.subject)
    table = await interleaving(shown.subject, shown.seed, shown.schedule, outcome)
    return Explained(shown, outcome, table, of, tried, notes)


async def _fitting(then: Recorded, outcome: Outcome) -> tuple[Recorded, Outcome, tuple[str, ...]]:
    """A replay; where its steps do not fit, one by names, if that leads to a finding. And what must be said of it."""
    if then.fits(outcome):
        return then, outcome, ()
    diverged = f" from step {outcome.error.step} on" if isinstance(outcome.error, ReplayDiverged) else ""
    other = await by_names(then)
    if other.verdict is Verdict.FINDING and other.defect is not None and other.schedule:
        note = f"the table is not the recording{diverged}: {then.compare_by_names(other)}"
        return (
            _instead(
                replace(then, signature=other.defect.signature, difference=_of_the_same(then, other.defect.signature)),
                other,
            ),
            other,
            (note,),
        )
    if diverged:
        return then, outcome, (f"the table ends where the replay leaves the recording: {outcome.error}",)
    return then, outcome, (f"the table is not the recording: {then.compare(outcome)}",)


def _instead(then: Recorded, outcome: Outcome) -> Recorded:
    """What was recorded, with the schedule of an outcome."""
    return replace(then, strategy=outcome.strategy, schedule=decode(outcome.schedule), digest=outcome.digest.hex())


def _of_the_same(then: Recorded, signature: str) -> tuple[str, ...]:
    """What made the difference, if it is on record for a finding with that signature."""
    return then.difference if then.signature == signature else ()


def _is_shrunk(then: Recorded) -> bool:
    """Whether it was written by `shrink`, or has nothing to shrink."""
    return then.strategy.partition(":")[0] == ReplayByName.name or not then.schedule.departures
