"""Who holds what hung tasks wait for, and since which step: a replay in which waits and locks are noted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Final, NamedTuple

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.observer import Observer
from ksmactors.interleave.reports import holders_of, idle, name_of
from ksmactors.interleave.schedule_string import decode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.machine import Machine
from ksmactors.run.outcome import Break, Defect, Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject

HUNG_TASK: Final = "hung_task"
"""The kind of such a finding."""


class _HeldLock(NamedTuple):
    """A lock that an actor holds, the step at which it was taken, and the function."""

    lock: object
    step: int
    function: str


class _Waits(Observer):
    """Since when actors wait, and since when they hold their locks."""

    selective: ClassVar[bool] = True

    def __init__(self) -> None:
        self.conductor: Conductor | None = None
        self.since: dict[int, int] = {}
        self.taken: dict[int, list[_HeldLock]] = {}

    def watch(self, machine: Machine) -> None:
        """Take the conductor of the machine, which counts the steps."""
        self.conductor = machine.conductor

    def _step(self) -> int:
        return self.conductor.step if self.conductor is not None else 0

    @override
    def blocked(self, actor: Actor, on: object) -> None:
        self.since[actor.number] = self._step()

    @override
    def acquired(self, actor: Actor, lock: object, shared: bool, tried: bool) -> None:
        self.taken.setdefault(actor.number, []).append(_HeldLock(lock, self._step(), actor.place))

    @override
    def released(self, actor: Actor, lock: object, shared: bool) -> None:
        self.taken[actor.number] = [one for one in self.taken.get(actor.number, ()) if one.lock is not lock]

    def lines(self, defect: Defect) -> Iterator[str]:
        """Yield a sentence for each actor that hangs."""
        actors = {actor.name: actor for actor in (self.conductor.actors if self.conductor is not None else ())}
        for name, function in zip(defect.actors, defect.functions, strict=True):
            actor = actors[name]
            on = actor.waiting_on
            holders = " and ".join(self._holder(one, on) for one in holders_of(on))
            yield (
                f"{name} has waited since step {self.since.get(actor.number, 0)} in {function} for {name_of(on)}, "
                f"{holders or 'and nothing has woken it'}"
            )

    def _holder(self, holder: Actor, on: object) -> str:
        """What an actor does that must go on first."""
        taken = next((one for one in self.taken.get(holder.number, ()) if one.lock is on), None)
        since = f" since step {taken.step} in {taken.function}" if taken is not None else ""
        how = "held by" if getattr(on, "waker", None) is None else "which is up to"
        without = f", a daemon without work since step {self.since.get(holder.number, 0)}" if idle(holder) else ""
        return f"{how} {holder.name}{since}{without}"


async def explain_hung(outcome: Outcome, defect: Defect, subject: Subject) -> Defect:
    """Return the defect of hung tasks with what they wait for as its cause. As it was if it does not come out the same
    a second time. To be awaited in trio, outside of any other schedule."""
    waits = _Waits()
    again = await run_schedule(
        subject, outcome.seed, outcome.strategy, deciding=Replay(decode(outcome.schedule)), observing=waits,
        on_machine=waits.watch,
    )  # fmt: skip
    if not isinstance(again.error, Finding) or again.digest != outcome.digest:
        return defect
    return replace(defect, broke=Break(waits=tuple(waits.lines(defect))))
