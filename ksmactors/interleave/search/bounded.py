"""Iterative preemption bounding (Musuvathi et al.: Finding and Reproducing Heisenbugs, OSDI 2008).

First all schedules without preemptions: the actor with the turn continues until it blocks, spins or ends, and each
choice of the next one is a branch. Then all with one preemption, then with two. So the first schedule with a finding
has the fewest preemptions. If at some bound no branch had to be left out, all schedules have been explored.

Schedules with fewer preemptions than the bound lie on the way to those with as many, and are run again: `fresh` is
False for them. They are few in comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, ClassVar, Final

from typing_extensions import override

from ksmactors.errors import ScheduleFormatError
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.search.base import Search, Turn, mask_of, would_block
from ksmactors.parameters import Bool, Int

UNBOUNDED: Final = 1 << 30
"""A bound above all others."""


class BoundedSearch(Search):
    """Depth first, bound by bound."""

    name: ClassVar[str] = "bounded"
    summary: ClassVar[str] = "all schedules up to a number of preemptions, those with the fewest first"
    preemptions = Int(UNBOUNDED, "the last bound", high=UNBOUNDED)
    first = Int(0, "the first bound", high=UNBOUNDED)
    patient = Bool(True, "do not schedule an actor that would only wait for a lock")

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.bound = self.first
        self.left_out = False
        self._spent = 0
        self._over = False

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self._spent = 0
        self._moved = {0}

    @override
    def new_turn(self, ready: Sequence[Actor], current: Actor | None) -> Turn:
        enabled = mask_of([actor for actor in ready if not (self.patient and would_block(actor))]) or mask_of(ready)
        begins = current is not None and current.number not in self._moved  # it has not been chosen so far
        free = current is None or begins or not enabled >> current.number & 1
        chosen = (enabled & -enabled).bit_length() - 1 if current is None or free else current.number
        others = enabled & ~(1 << chosen)
        if not free and self._spent >= self.bound:
            self.left_out |= others != 0
            others = 0
        return Turn(mask_of(ready), enabled, chosen, self.signs(ready), todo=others, free=free)

    @override
    def taken(self, turn: Turn, place: int) -> None:
        self._moved.add(turn.chosen)
        self._spent += not turn.free and turn.done != 0  # the first branch continues the current actor

    @property
    @override
    def reached(self) -> int | None:
        if not self._over:
            return self.bound - 1
        return None if self.preemptions == UNBOUNDED else self.preemptions

    @property
    @override
    def fresh(self) -> bool:
        return self._spent == self.bound or self.bound == self.first

    @override
    def advance(self) -> bool:
        if super().advance():
            return True
        if not self.left_out or self.bound >= self.preemptions:
            self._over = True
            return False
        self.bound += 1
        self.left_out = False
        return True

    @override
    def state(self) -> dict[str, Any]:
        return {**super().state(), "bound": self.bound, "left_out": self.left_out}

    @override
    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        bound, left_out = state.get("bound"), state.get("left_out")
        if type(bound) is not int or not self.first <= bound <= self.preemptions or type(left_out) is not bool:
            raise ScheduleFormatError("the state of the search makes no sense (its bound)")
        self.bound, self.left_out = bound, left_out
