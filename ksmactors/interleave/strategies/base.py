"""What a strategy is: five small methods, of which only `choose` must be written."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar, Protocol

from ksmactors.interleave.actor import Actor
from ksmactors.parameters import checked, parameters_of


class Stage(Protocol):
    """What strategies and tapes may see of the conductor that they serve."""

    @property
    def step(self) -> int: ...
    @property
    def actors(self) -> Sequence[Actor]: ...


class Strategy(ABC):
    """Decides who moves next. One object serves many schedules; `begin` starts each.

    A strategy draws from `rng` by `getrandbits` alone (`below` does), so that schedules do not depend on the
    Python version. It may look at an actor's `number`, `name` and `op` (its pending operation), and at nothing
    else: what it looked at must be the same in a replay. What it remembers of one schedule must not reach into
    the next: a schedule is a function of workload and seed.

    Parameters are declared as class attributes (`ksmactors.parameters`), and given to the constructor by name.

    Raises:
        UsageError: a parameter does not exist or has a wrong value; the message lists the right ones.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    stage: Stage
    """Set by the conductor."""

    def __init__(self, **values: Any) -> None:
        given = checked(type(self), f"strategy {self.name}", values)
        for name, parameter in parameters_of(type(self)).items():
            setattr(self, name, given.get(name, parameter.default))

    def begin(self, rng: Random) -> None:
        """Start a new schedule; `rng` is seeded for it."""
        self.rng = rng

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
