"""Replay: the choices of a recorded schedule, checked one by one.

Each choice compares the whole ready set, not only that the chosen actor is ready, so a run that has diverged is
detected at once.

A recording may end before the run does: a shrinker cut it after its last departure from the default order, or it
stopped at a finding that the program no longer has. From there on the default order holds (the actor with the turn
continues; when it cannot, the lowest-numbered ready one runs), and every draw is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.errors import ReplayDiverged
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.schedule_string import Schedule, numbers
from ksmactors.interleave.strategies.base import Stage, Strategy
from ksmactors.interleave.tape import Tape

UNREACHED: Final = 1 << 62

STEPS_FREE: Final = 50_000
"""Steps accepted of a replay regardless of the length of its recording."""

STEPS_PER_CHOICE: Final = 8
"""Steps accepted of a replay for each recorded choice; an actor that runs alone takes steps without a choice."""


def steps_believed(choices: int) -> int:
    """Return how many steps a schedule with that many choices may take. A longer one has `steps` in its header."""
    return STEPS_FREE + STEPS_PER_CHOICE * choices


def steps_max(schedule: Schedule) -> int:
    """Return the steps after which a replay has left its recording for good.

    The recording may stop at a finding that the program no longer has, so a replay may continue for as long again.
    """
    steps = schedule.header.get("steps", 0)
    most = steps_believed(schedule.choices) + 2 * (steps if isinstance(steps, int) else 0)
    return most if schedule.ceiling is None else min(most, schedule.ceiling)


class ReplayTape(Tape):
    """A tape with the draws of a recorded schedule. Records like any other, so that both can be compared.

    `draw` raises ReplayDiverged if the draw differs from the recorded one in label or range.
    """

    def __init__(self, schedule: Schedule) -> None:
        super().__init__(0)
        self._recorded = schedule.draws

    @override
    def draw(self, label: str, n: int) -> int:
        place = len(self.draws)
        value = 0
        if place < len(self._recorded):
            recorded_label, recorded_n, value = self._recorded[place]
            if (recorded_label, recorded_n) != (label, n):
                raise ReplayDiverged(
                    len(self.turns), self.stage.step,
                    f"draw {place} of {recorded_label!r} from 0..{recorded_n - 1}", f"{label!r} from 0..{n - 1}",
                )  # fmt: skip
        return self._drawn(label, n, value)


class Replay(Strategy):
    """Follows a recorded schedule; its draws come from a ReplayTape of the same schedule.

    Raises ReplayDiverged at the first choice whose ready set is not the recorded one.
    """

    name: ClassVar[str] = "replay"
    summary: ClassVar[str] = "the choices of a recorded schedule"

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.thorough = bool(schedule.header.get("thorough"))
        self.steps_max: Final = steps_max(schedule)
        self._schedule = schedule
        self._runs = [*schedule.runs, (0, 0, UNREACHED)]

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._run = 0
        self._used = 0
        self._taken = 0

    def tape(self, _: int) -> ReplayTape:
        """The tape whose draws are the recorded ones, whatever the seed."""
        return ReplayTape(self._schedule)

    @property
    @override
    def fair(self) -> bool:  # type: ignore[override]  # what comes after the recording is in the default order
        return not self._ended

    @property
    def left(self) -> int:
        """Recorded choices that were not used: not 0 after a run that ended before its recording."""
        return 0 if self._ended else sum(points for _, _, points in self._runs[self._run : -1]) - self._used

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        mask, chosen, _ = self._runs[self._run]
        if self._ended:
            return ready[0] if current is None else current
        if mask != _mask(ready):
            recorded, now = _names(mask, self.stage), _names(_mask(ready), self.stage)
            raise ReplayDiverged(self._taken, self.stage.step, recorded, now)
        self.stayed(1)
        return next(actor for actor in ready if actor.number == chosen)

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        mask, chosen, points = self._runs[self._run]
        if self._ended:
            return UNREACHED
        if chosen != current.number or mask != _mask(ready):
            return 1
        return points - self._used + 1

    @override
    def stayed(self, points: int) -> None:
        self._taken += points
        self._used += points
        if self._used >= self._runs[self._run][2]:
            self._run += 1
            self._used = 0

    @property
    def _ended(self) -> bool:
        return self._run == len(self._runs) - 1


def _mask(ready: Sequence[Actor]) -> int:
    mask = 0
    for actor in ready:
        mask |= 1 << actor.number
    return mask


def _names(mask: int, stage: Stage) -> str:
    names = {actor.number: actor.name for actor in stage.actors}
    return "ready " + ", ".join(f"{number} {names.get(number, '(not started)')}" for number in numbers(mask))
