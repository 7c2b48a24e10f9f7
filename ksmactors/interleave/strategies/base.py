"""The interface of strategies: a few small methods, of which only `choose` must be written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Final, Protocol

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.profile import Profile
from ksmactors.parameters import checked, parameters_of

UNREACHED: Final = 1 << 62
"""More points than any schedule has."""

NO_PROFILE: Final = Profile()
"""The profile before calibration."""

LOG_STEPS: Final = 16
"""An unknown length is below 2 to the power of this plus one, as that of the longest built-in workload is."""


class Stage(Protocol):
    """The part of the conductor that strategies and tapes may use."""

    @property
    def step(self) -> int: ...
    @property
    def own_step(self) -> int: ...
    @property
    def turn(self) -> Actor: ...
    @property
    def actors(self) -> Sequence[Actor]: ...


class Strategy(ABC):
    """Chooses the next actor. One object serves many schedules; `begin` starts each.

    A strategy draws from `rng` only by `getrandbits` (`below` does), so that schedules do not depend on the Python
    version. It may use an actor's `number`, `name` and `op` (its pending operation), and whether the lock it is about
    to take is held (`locks.would_wait`): only these are the same in a replay. A schedule is a function of workload and
    seed, so no state may carry over from one schedule to the next. Two exceptions keep that property: a `profile` of
    the workload, and `warmup_seeds`.

    Parameters are declared as class attributes (`ksmactors.parameters`), and given to the constructor by name.

    Raises:
        UsageError: a parameter does not exist or has a wrong value; the message lists the right ones.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    wants_profile: bool = False
    """Whether `profile` must be set before `begin`. It is made once for a workload, whatever the seed."""
    profile: Profile = NO_PROFILE
    """Empty without a calibration, as on a bare conductor."""
    fair: bool = True
    """Whether every runnable actor runs eventually. Under an unfair strategy, starvation is not reported."""
    thorough: bool = False
    """Whether actors must take every step even where no other actor could run: comparing operations needs them all."""
    stage: Stage
    """Set by the conductor, after `begin`."""

    def __init__(self, **values: Any) -> None:
        given = checked(type(self), f"strategy {self.name}", values)
        for name, parameter in parameters_of(type(self)).items():
            setattr(self, name, given.get(name, parameter.default))

    def begin(self, rng: Random) -> None:
        """Start a new schedule; `rng` is seeded for it."""
        self.rng = rng

    def warmup_seeds(self, seed: int) -> Sequence[int]:
        """Return the seeds whose schedules a new object must run, in this order, before that of `seed`.

        It may learn from these: the schedule of a seed remains a function of the seed. A campaign does not repeat seeds
        that the same object has just run.
        """
        return ()

    def decider(self) -> tuple[Strategy, int]:
        """Return the strategy that decides the schedule that has begun, and up to which step.

        It is this one, unless this one would only forward the conductor's questions: that is a call for each of them.
        """
        return self, UNREACHED

    def concluded(self) -> Mapping[str, int]:
        """End the schedule. Returns counts by name, which a campaign adds up."""
        return {}

    @abstractmethod
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        """Choose among two or more ready actors, in ascending order of number.

        `current` has the turn and could continue; None if it cannot (it blocked, ended or yielded).
        """

    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        """Return the number of points until the next decision, if the ready set stays as it is (1: ask at each point).

        At each point before that, `choose` would have kept the turn with `current`.
        """
        return 1

    def stayed(self, points: int) -> None:
        """Count `points` at which the turn stayed, within the horizon."""

    def yielded(self, actor: Actor) -> None:
        """Called when an actor spins. Priorities must then let other actors run, or it spins for ever."""


def below(rng: Random, n: int) -> int:
    """Return a number in 0..n-1, each equally likely, from whole random bits."""
    bits = n.bit_length()
    value = rng.getrandbits(bits)
    while value >= n:
        value = rng.getrandbits(bits)
    return value


def octaves(rng: Random, highest: int) -> int:
    """Return a number from 1 to 2**(highest+1) - 1, each octave equally likely."""
    octave = 1 << below(rng, highest + 1)
    return octave + below(rng, octave)


def length(rng: Random, steps: int, profile: Profile) -> int:
    """Estimate the choices in a schedule: `steps` if not 0, else the profile's count, else a random size."""
    return steps or profile.total or octaves(rng, LOG_STEPS)


def distinct(rng: Random, count: int, steps: int) -> list[int]:
    """Return `count` different steps from 1 to `steps` (all of them, if there are fewer), in descending order."""
    drawn: list[int] = []
    while len(drawn) < min(count, steps):
        step = 1 + below(rng, steps)
        if step not in drawn:
            drawn.append(step)
    return sorted(drawn, reverse=True)
