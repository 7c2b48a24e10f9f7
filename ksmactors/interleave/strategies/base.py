"""What a strategy is: a few small methods, of which only `choose` must be written."""

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
"""What nobody has counted."""

LOG_STEPS: Final = 16
"""A length that is not known lies below 2 to the power of this and one: the longest built-in workload does."""


class Stage(Protocol):
    """What strategies and tapes may see of the conductor that they serve."""

    @property
    def step(self) -> int: ...
    @property
    def own_step(self) -> int: ...
    @property
    def turn(self) -> Actor: ...
    @property
    def actors(self) -> Sequence[Actor]: ...


class Strategy(ABC):
    """Decides who moves next. One object serves many schedules; `begin` starts each.

    A strategy draws from `rng` by `getrandbits` alone (`below` does), so that schedules do not depend on the
    Python version. It may look at an actor's `number`, `name` and `op` (its pending operation), and at whether a lock
    that it is about to take is held (`locks.would_wait`), and at nothing else: what it looked at must be the same in a
    replay. What it remembers of one schedule must not reach into the next: a schedule is a function of workload and
    seed. Two things it may ask for, which keep it one: a `profile` of what is run, and a `warmup_seeds`.

    Parameters are declared as class attributes (`ksmactors.parameters`), and given to the constructor by name.

    Raises:
        UsageError: a parameter does not exist or has a wrong value; the message lists the right ones.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    wants_profile: bool = False
    """Whether `profile` should be there before `begin`. It is made once for what is run, whatever the seed."""
    profile: Profile = NO_PROFILE
    """Empty if nobody has made one, as on a bare conductor."""
    fair: bool = True
    """Whether, in a long schedule, everybody gets to move who can: if not, that somebody does not is nobody's fault."""
    thorough: bool = False
    """Whether actors must take every step even where nobody else could move: who compares operations needs them all."""
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
        """The seeds whose schedules a new object must play, in this order, before it plays that of `seed`.

        What it learns from those it may use: the schedule of a seed is a function of the seed all the same. A
        campaign does not play again what one object has played just now.
        """
        return ()

    def concluded(self) -> Mapping[str, int]:
        """Told that the schedule is over. Returns what it has counted there, by name; a campaign adds that up."""
        return {}

    @abstractmethod
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        """Choose among two or more ready actors, in ascending order of number.

        `current` has the turn and could go on; None if it cannot (it blocked, ended or yielded).
        """

    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        """How many points on the next decision is, if the ready set stays as it is (1: ask at each point).

        At each point before that, `choose` would have kept the turn with `current`.
        """
        return 1

    def stayed(self, points: int) -> None:
        """Told that the turn stayed for so many points, within the horizon."""

    def yielded(self, actor: Actor) -> None:
        """Told that an actor spins: priorities must let the others move, or it spins for ever."""


def below(rng: Random, n: int) -> int:
    """A number in 0..n-1, each equally likely, from whole random bits."""
    bits = n.bit_length()
    value = rng.getrandbits(bits)
    while value >= n:
        value = rng.getrandbits(bits)
    return value


def octaves(rng: Random, highest: int) -> int:
    """A number from 1 to 2**(highest+1) - 1, each octave equally likely: as often small as large, on every scale."""
    octave = 1 << below(rng, highest + 1)
    return octave + below(rng, octave)


def length(rng: Random, steps: int, profile: Profile) -> int:
    """About how many choices a schedule has: `steps` if not 0, else what the profile says, else of any size."""
    return steps or profile.total or octaves(rng, LOG_STEPS)


def distinct(rng: Random, count: int, steps: int) -> list[int]:
    """`count` different steps from 1 to `steps` (all of them, if there are fewer), the last one first."""
    drawn: list[int] = []
    while len(drawn) < min(count, steps):
        step = 1 + below(rng, steps)
        if step not in drawn:
            drawn.append(step)
    return sorted(drawn, reverse=True)
