"""Holds: actors stop at named places and continue when they are released; another strategy decides the rest.

A *place* is a function, or an operation inside one. A hold `at` a place stops the actor before the operation that it
has declared there; for a function that is its first operation inside. A hold `after` a function stops it before its
first operation outside. The actor that drives the schedule (the *driver*) suspends the actors that the strategy has
stopped, so that sleeping and waking go on as usual without them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import ClassVar, Final, Protocol

from typing_extensions import override

from ksmactors.call_stack import running_frames
from ksmactors.interleave.actor import Actor, Operation
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.delegating import Delegating

UNDER_SPINLOCK: Final = "it holds a spinlock, so it must not sleep"
"""Why an actor at the place of a hold is not held."""


class Spot(Protocol):
    """A place, as one hold looks for it. Called once at each of the actor's points; `frames` are its functions,
    outermost first, and `op` its next operation."""

    def entered(self, frames: Sequence[FrameType], op: Operation) -> object:
        """Return a value that identifies this visit of the place, or None if the actor is not there."""

    def left(self, visit: object, frames: Sequence[FrameType], op: Operation) -> bool:
        """Whether a visit is over."""


@dataclass(eq=False, slots=True)
class Hold:
    """One hold: `task` is the name of the actor, `text` the place as written, `owner` the driver, the only one that can
    end it. `atomic` says why no actor can be held there, if so. `seen` are the visits that have been counted;
    `inside` is the one that must be over for `after`."""

    task: str
    text: str
    spot: Spot
    owner: Actor
    after: bool = False
    times: int = 1
    atomic: str = ""
    seen: list[object] = field(default_factory=list)
    inside: object = None
    actor: Actor | None = None
    """The held actor, once it has arrived."""

    @property
    def name(self) -> str:
        """The name shown for what the actor waits for."""
        return f"its release {self.where}"

    @property
    def where(self) -> str:
        """`at PLACE` or `after PLACE`."""
        return f"{'after' if self.after else 'at'} {self.text}"

    def arm(self, frames: Sequence[FrameType], op: Operation) -> None:
        """Count visits from now on: the place at which the actor already is does not count."""
        visit = self.spot.entered(frames, op)
        if visit is not None:
            self.seen.append(visit)

    def met(self, frames: Sequence[FrameType], op: Operation) -> bool:
        """Whether the actor, with next operation `op` in these functions, is to be held now."""
        if self.inside is not None:
            return self.spot.left(self.inside, frames, op)
        visit = self.spot.entered(frames, op)
        self.seen = [one for one in self.seen if not self.spot.left(one, frames, op)]
        if visit is None or any(visit is one for one in self.seen):
            return False
        self.seen.append(visit)
        self.times -= 1
        if self.times:
            return False
        if self.after:
            self.inside = visit
            return False
        return True


class Holding(Delegating):
    """Stops actors where holds say; `inner` decides among the others.

    While actors are `awaited`, the driver has the turn only if none of them can run.
    """

    name: ClassVar[str] = "holding"
    summary: ClassVar[str] = "actors are held at places that a scenario names; another strategy decides the rest"

    def __init__(self, inner: Strategy) -> None:
        super().__init__()
        self.inner = inner
        self.wants_profile = inner.wants_profile
        self.driver: Actor | None = None
        self.awaited: Callable[[Actor], bool] | None = None
        self.pending: dict[str, deque[Hold]] = {}
        """Holds not reached yet, by the name of their actor, in the order in which they must be reached."""
        self.held: dict[str, Hold] = {}
        """The hold of each actor that is held, by its name."""
        self.refuse: Callable[[Hold, str], None] = _ignore
        """Called with a hold that was reached where sleeping is not allowed, and the reason."""

    @override
    def begin(self, rng: Random) -> None:
        super().begin(rng)
        self.inner.begin(rng)

    def add(self, hold: Hold, actor: Actor | None) -> None:
        """Hold an actor when it comes to a place; `actor` is the one of that name, or None if it does not exist yet."""
        waiting = self.pending.setdefault(hold.task, deque())
        if not waiting and actor is not None:
            hold.arm(actor.call_chain(), actor.op)
        waiting.append(hold)

    def disarm(self, task: str) -> None:
        """Drop the holds of an actor that were not reached."""
        self.pending.pop(task, None)

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if current is not None and self.pending.get(current.name):
            self._look(current)
        free = [actor for actor in ready if actor.name not in self.held]
        if self.awaited is not None and any(self.awaited(actor) for actor in free if actor is not self.driver):
            free = [actor for actor in free if actor is not self.driver]
        if len(free) < 2:
            return free[0] if free else ready[0]
        return self.inner.choose(free, current if current in free else None)

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        if self.awaited is not None or self.held or any(self.pending.values()):
            return 1
        return self.inner.horizon(ready, current)

    def _look(self, actor: Actor) -> None:
        """Hold an actor that has come to the place of its next hold."""
        frames, pending = running_frames(), self.pending[actor.name]
        while pending and pending[0].met(frames, actor.op):
            hold = pending.popleft()
            if pending:
                pending[0].arm(frames, actor.op)
            reason = hold.atomic or (UNDER_SPINLOCK if actor.spin_depth else "")
            if not reason:
                self.held[actor.name] = hold
                hold.actor = actor
                return
            self.refuse(hold, reason)


def _ignore(hold: Hold, reason: str) -> None:
    """Default of `refuse`."""
