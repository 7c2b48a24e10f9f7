"""Directed schedules: a script says how far each actor runs, one after the other.

A script is a sequence of steps `ACTOR > PLACE`: the actor has the turn until its next operation is the one that the
place names (or until it is `blocked`, or at its `end`). `PLACE x2` is the second arrival there; `of NAME` after the
place demands that the object of the operation has NAME in its name. If the actor does not exist yet, or is blocked for
a while, the script waits: meanwhile the actors that no step has stopped run in the default order. After the last step
the default order holds: the actor with the turn continues, and when it cannot, the lowest-numbered ready one runs.

The first actor can be the director instead: it then runs whenever no step leads an actor, and adds the steps itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from typing_extensions import override

from ksmactors.call_stack import running_functions
from ksmactors.errors import UsageError, unknown
from ksmactors.interleave.actor import DONE, YIELD, Actor, Operation
from ksmactors.interleave.reports import name_of
from ksmactors.interleave.strategies.base import Strategy

END: Final = "end"
BLOCKED: Final = "blocked"


Place = Callable[[Operation, Sequence[str]], bool]
"""Whether an actor with this next operation, and these functions on its stack, is there."""


class Checkpoint(NamedTuple):
    """A place in the code: the next operation has this kind, on this field of this object, inside this function. A
    class stands for all its objects. Fields that are None or empty match anything."""

    kind: int | None = None
    obj: object = None
    field: object = None
    inside: str = ""

    def reached(self, op: Operation, functions: Sequence[str]) -> bool:
        """Whether an actor with these functions on its stack and the next operation `op` is there."""
        return (
            (self.kind is None or op[0] == self.kind)
            and (self.obj is None or op[1] is self.obj or (isinstance(self.obj, type) and isinstance(op[1], self.obj)))
            and (self.field is None or op[2] == self.field)
            and (not self.inside or self.inside in functions)
        )


class ScriptStep(NamedTuple):
    """One step of a script. `place` None: to the end if `to` is END, else until it is blocked."""

    actor: str
    to: str
    place: Place | None
    times: int = 1
    of: str = ""


_STEP: Final = re.compile(r"\s*(\S+)\s*>\s*(\S+?)(?:\s+of\s+(.+?))?(?:\s+x([0-9]{1,9}))?\s*")


def parse_script(script: Sequence[str], checkpoints: Mapping[str, Checkpoint]) -> list[ScriptStep]:
    """The steps that texts stand for.

    Raises:
        UsageError: one is no step, or names a place that does not exist; the message lists those that do.
    """
    steps = []
    for text in script:
        match = _STEP.fullmatch(text)
        if match is None:
            raise UsageError(f"step {text!r} of a script: write ACTOR > PLACE, with xN or of NAME behind it")
        actor, to, of, times = match.groups()
        if to not in (END, BLOCKED) and to not in checkpoints:
            raise UsageError(unknown("place", to, [*checkpoints, END, BLOCKED]))
        place = checkpoints[to].reached if to in checkpoints else None
        steps.append(ScriptStep(actor, to, place, int(times or 1), of or ""))
    return steps


class Directed(Strategy):
    """Follows a script. `left` has the steps that were not reached when the schedule ended.

    Args:
        steps: the script; `lead` adds to it.
        director: whether the first actor has the turn when no step leads an actor; else the default order holds.
    """

    name: ClassVar[str] = "directed"
    summary: ClassVar[str] = "a script says how far each actor runs"
    fair = False

    def __init__(self, steps: Sequence[ScriptStep] = (), *, director: bool = False) -> None:
        super().__init__()
        self.left: list[ScriptStep] = list(steps)
        self._led = {step.actor for step in steps}
        self._director = director
        self._met = 0
        self._going = ""
        self._halted: set[str] = set()

    def lead(self, step: ScriptStep) -> None:
        """Add a step to the end of the script."""
        self.left.append(step)
        self._led.add(step.actor)

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if not any(actor.name in self._led for actor in ready):
            return self._default(ready, current)  # set-up, or the script is over
        while self.left:
            step = self.left[0]
            actor = self._named(step.actor)
            if actor is not None and actor in ready and not self._there(step, actor, current):
                self._halted.discard(step.actor)
                self._going = step.actor
                return actor
            if actor is None or (actor not in ready and not self._done(step, actor)):
                break
            self._halted.add(step.actor)
            self.left.pop(0)
            self._met = 0
            self._going = ""
        return self._default(ready, current)

    def _named(self, name: str) -> Actor | None:
        """The latest actor of that name; None if there was none so far."""
        return next((actor for actor in reversed(self.stage.actors) if actor.name == name), None)

    def _there(self, step: ScriptStep, actor: Actor, current: Actor | None) -> bool:
        if step.to == BLOCKED:  # it was led and has lost the turn: it was blocked between two choices
            return self._going == actor.name and current is not actor
        if step.place is None or current is not actor or not step.place(actor.op, running_functions()):
            return False
        if step.of and step.of not in name_of(actor.op[1]):
            return False
        self._met += 1
        return self._met == step.times

    def _done(self, step: ScriptStep, actor: Actor) -> bool:
        """Whether an actor that cannot move has come as far as it should: it is blocked, or has ended."""
        spinning = actor.op[0] == YIELD and actor.op is not DONE
        return not spinning and step.to == (END if actor.waiting_on is None else BLOCKED)

    def _default(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        if self._director and self.stage.actors[0] in ready:
            return self.stage.actors[0]
        free = [actor for actor in ready if not self.left or actor.name not in self._halted]
        if not free:
            free = list(ready)
        return current if current in free else free[0]
