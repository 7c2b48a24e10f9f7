"""Virtual time: the points passed so far, the clock that follows them, and timers."""

from __future__ import annotations

from bisect import insort
from typing import Final, TypeAlias

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.strategies.base import UNREACHED

STEP_NS: Final = 1_000
"""Virtual time of one point, ns: of the order of an uncontended atomic operation with its surroundings."""

Timer: TypeAlias = tuple[int, int, Actor]
"""When it is due (ns of virtual time), its number, and the actor that sleeps until then."""


class VirtualTime:
    """A counter of points, and a clock that advances by `STEP_NS` with each and jumps when no actor is ready.

    `_goal` is the step at which the counter `_left` reaches zero. `_due` is the step at which the first timer is due,
    unless the clock jumps before.
    """

    __slots__ = ("_due", "_goal", "_jumped_ns", "_left", "_timers", "_timers_set")
    """All of a conductor is in slots, since its methods are called at each step (see `Turns`)."""

    def __init__(self) -> None:
        self._goal = 1
        self._left = 1
        self._jumped_ns = 0
        self._timers: list[Timer] = []  # in order; few: no more than there are actors
        self._timers_set = 0
        self._due = UNREACHED

    @property
    def step(self) -> int:
        """Points passed so far."""
        return self._goal - self._left

    @property
    def now(self) -> int:
        """Virtual time, ns."""
        return self._jumped_ns + (self._goal - self._left) * STEP_NS

    @property
    def next_alarm(self) -> int | None:
        """When the next sleeper is due, ns of virtual time, or None without sleepers."""
        return self._timers[0][0] if self._timers else None

    def _set_timer(self, ns: int, actor: Actor) -> Timer:
        """Set a timer for a virtual duration; `_timers_set` has counted it."""
        timer = self.now + ns, self._timers_set, actor
        insort(self._timers, timer)
        self._find_due()
        return timer

    def _unset_timer(self, timer: Timer) -> None:
        self._timers.remove(timer)
        self._find_due()

    def _pop_timer(self) -> Timer | None:
        """Take out the first timer that is due; None if none is."""
        if self._goal - self._left < self._due:
            return None
        timer = self._timers.pop(0)
        self._find_due()
        return timer

    def _jump(self) -> None:
        """Advance the clock to the first timer, if it is not due yet."""
        self._jumped_ns += max(0, self._timers[0][0] - self.now)
        self._find_due()

    def _find_due(self) -> None:
        first = self._timers
        self._due = -((self._jumped_ns - first[0][0]) // STEP_NS) if first else UNREACHED  # rounded up
