"""Shrinking: the same finding with the fewest departures from the default order, then drawn values of 0, the smallest
parameters and the fewest steps; and the story that is left.

Whatever is tried is a schedule like any other: its finding has the same signature, or it does not count. `trying` has
the frame and the budgets, `passes` what is tried. What is returned has led to the signature that was given,
with all watchers, and has been replayed from its schedule string unless a second Ctrl-C prevented that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import trio

from ksmactors.diagnose import passes
from ksmactors.diagnose.replaying import Recorded, by_names
from ksmactors.diagnose.story import ScheduleNarrator
from ksmactors.diagnose.trying import Candidate, Stop, Trials
from ksmactors.errors import NotShownAgain, UsageError
from ksmactors.interleave.schedule_string import Departure, Schedule, decode, departures
from ksmactors.interleave.strategies.burst import Burst
from ksmactors.interleave.strategies.delay import Delay
from ksmactors.interleave.strategies.portfolio import SHARES, Portfolio
from ksmactors.interleave.strategies.replay import Replay, ReplayTape
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.interleave.strategies.urw import Urw
from ksmactors.interleave.tape import ActorTape, draws_of_actors
from ksmactors.quantity import quantity
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject

T = TypeVar("T")

MAX_SCHEDULES: Final = 1_000
"""Schedules that are tried by default: with a big workload, about a minute's worth."""


SAMPLED: Final = (Portfolio.name, *(one.name for _, one in SHARES), Burst.name, Delay.name, Urw.name)
"""Strategies of recordings with which other schedules are looked for."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The smallest schedule that was found.

    Attributes:
        subject: what is run, with the smallest parameters found.
        outcome: of the smallest schedule; its string replays it.
        departures: of that schedule, in order.
        story: how it goes, a line for each turn, and what is found.
        tried: how many schedules were run.
        of: how many departures there were at first.
        stopped_by: the budget that ended it, or "Ctrl-C"; empty if nothing was left to try.
        verified: whether it was replayed from its schedule string; a second Ctrl-C can prevent that.
    """

    subject: Subject
    outcome: Outcome
    departures: tuple[Departure, ...]
    story: tuple[str, ...]
    tried: int
    of: int
    stopped_by: str = ""
    verified: bool = True

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C or SIGTERM ended it."""
        return self.stopped_by == INTERRUPT

    @property
    def left(self) -> str:
        """How far it got, in words."""
        return f"{len(self.departures):,} of {quantity(self.of, 'departure')} left"


INTERRUPT: Final = "Ctrl-C"


@trio.lowlevel.enable_ki_protection
async def shrink(
    recorded: Recorded,
    *,
    max_schedules: int | None = MAX_SCHEDULES,
    max_seconds: float | None = None,
    enough: int | None = None,
    on_try: Callable[[int, int], None] = lambda _tried, _left: None,
) -> Shrunk:
    """Shrink a recorded finding. To be awaited in trio, outside of any other schedule. Ctrl-C ends it early.

    Args:
        recorded: what is to be shrunk.
        max_schedules: the most schedules that are tried; None: no limit.
        max_seconds: after so many seconds it ends with the smallest so far; None: no limit. With it, the result
            depends on how fast the machine is.
        enough: end as soon as no more departures than this are left; None: go on until nothing helps.
        on_try: called after each confirmation with the schedules tried and the departures left.

    Raises:
        UsageError: the recording finds nothing.
        NotShownAgain: the signature on record is not found again, or not by any schedule that was tried.
        KeyboardInterrupt: before the finding was seen again.
    """
    trials = await _seen_again(recorded)
    trials.max_schedules, trials.max_seconds, trials.enough = max_schedules, max_seconds, enough
    trials.on_try = on_try
    of, first = len(trials.departures), trials.outcome
    stopped_by = await _try_everything(trials)
    if trials.outcome is first and not stopped_by:
        raise NotShownAgain(
            f"{trials.signature} is not found again by its departures, nor by any of {trials.tried} other schedules: "
            "it cannot be shrunk; `ksmactors replay` shows it as it was recorded"
        )
    verified = False
    story: tuple[str, ...] = ()
    try:
        interrupted, _ = await _insisting(partial(_verify, trials))
        verified = True
        interrupted_too, story = await _insisting(partial(_story, trials))
    except* KeyboardInterrupt:  # twice: return what is confirmed at once
        interrupted = interrupted_too = True
    if interrupted or interrupted_too:
        stopped_by = INTERRUPT
    return Shrunk(trials.best.subject, trials.outcome, trials.departures, story, trials.tried, of, stopped_by, verified)


async def _try_everything(trials: Trials) -> str:
    """Make it smaller until nothing helps, or something stops it. Return the budget that did, or `INTERRUPT`."""
    stopped_by = ""
    try:
        await trials.consider(trials.best)  # by its departures, not by its ready sets
        await trials.confirm()
        await passes.everything(trials)
    except* Stop as stops:
        stopped_by = str(stops.exceptions[0])
    except* KeyboardInterrupt:
        stopped_by = INTERRUPT
    interrupted = True
    try:
        interrupted, _ = await _insisting(partial(_settle, trials))
    except* KeyboardInterrupt:  # twice: what was confirmed before is kept
        trials.go_back()
    return INTERRUPT if interrupted else stopped_by


async def _settle(trials: Trials) -> None:
    """Confirm the smallest so far, or go back to what was."""
    try:
        await trials.confirm()
    except* Stop:
        trials.go_back()


async def _insisting(step: Callable[[], Awaitable[T]]) -> tuple[bool, T]:
    """Do something that the result needs, which takes a schedule or two: once more if Ctrl-C ends it. Return whether
    it did, and what came of it. The second Ctrl-C goes through."""
    try:
        return False, await step()
    except* KeyboardInterrupt:
        pass
    return True, await step()


async def _seen_again(recorded: Recorded) -> Trials:
    """Replay a recording, by names where its steps do not fit any more, and start from there."""
    outcome, tape = await _replay(recorded.subject, recorded.seed, recorded.strategy, recorded.schedule)
    why = ""
    if not recorded.fits(outcome):
        why = f" ({outcome.error})" if outcome.verdict is Verdict.DIVERGED else ""
        outcome = await by_names(recorded)
        if outcome.schedule:
            outcome, tape = await _replay(recorded.subject, recorded.seed, outcome.strategy, decode(outcome.schedule))
    if outcome.defect is None:
        ended = f"the replay ended with {outcome.verdict.value}{why}"
        if recorded.signature:
            raise NotShownAgain(f"{recorded.signature} is not found again: {ended}")
        raise UsageError(f"there is nothing to shrink: {ended}")
    if recorded.signature and outcome.defect.signature != recorded.signature:
        raise NotShownAgain(
            f"{recorded.signature} is not found again: the replay found {outcome.defect.signature}{why}"
        )
    best = Candidate(recorded.subject, tuple(departures(tape)), draws_of_actors(tape))
    return Trials(recorded.seed, outcome.defect.signature, best, outcome, _sampled(recorded.strategy))


def _sampled(strategy: str) -> str:
    """The strategy of a recording, if it is one of ours that needs no rehearsals and no files; else nothing."""
    return strategy if strategy.partition(":")[0] in SAMPLED else ""


async def _replay(subject: Subject, seed: int, strategy: str, schedule: Schedule) -> tuple[Outcome, ReplayTape]:
    tape = ReplayTape(schedule)
    return await run_schedule(subject, seed, strategy, deciding=Replay(schedule), tape=tape), tape


async def _verify(trials: Trials) -> None:
    """Replay what is left from its schedule string, as `ksmactors replay` does.

    Raises:
        NotShownAgain: it does not lead to the signature.
    """
    schedule = decode(trials.outcome.schedule)
    again, _ = await _replay(trials.best.subject, trials.seed, trials.outcome.strategy, schedule)
    if again.defect is None or again.defect.signature != trials.signature:
        raise NotShownAgain(
            f"what is left of {trials.signature} does not replay; is the workload a function of its draws alone?"
        )


async def _story(trials: Trials) -> tuple[str, ...]:
    """The smallest schedule, followed once more and described; empty if its departures alone do not lead there."""
    chronicle, best = ScheduleNarrator(), trials.best
    outcome = await run_schedule(
        best.subject, trials.seed, ReplayByName.name,
        deciding=chronicle.follower(best.departures), tape=ActorTape(best.draws), observing=chronicle,
    )  # fmt: skip
    if outcome.defect is None or outcome.defect.signature != trials.signature:
        return ()
    return chronicle.story(outcome.defect, getattr(outcome.error, "about", ()))


def as_json(shrunk: Shrunk) -> dict[str, Any]:
    """What `shrink --json` adds."""
    return {
        "departures": len(shrunk.departures),
        "departures_of": shrunk.of,
        "steps_of": shrunk.outcome.steps,
        "schedules_tried": shrunk.tried,
        "stopped_by": shrunk.stopped_by or None,
        "story": list(shrunk.story),
    }
