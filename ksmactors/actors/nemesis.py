"""What is injected and is no failure of a function: processes are killed, tasks are frozen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ksmactors.interleave.durations import NS_PER_US
from ksmactors.machine import Machine

DELAY_US: Final = 400
"""Within how many virtual microseconds after the call that brought it about it strikes: a step takes one, so it may
be in the middle of the call or long after."""

FROZEN_US: Final = 4_000
"""How long a frozen task does not move, at most: longer than most schedules take otherwise."""


class Nemesis:
    """Decides for each call of a process whether an actor is going to be killed or frozen, when, and which one.

    `kill` and `freeze` are bodies of actors, one for each stroke of misfortune.
    """

    def __init__(self, machine: Machine) -> None:
        self.conductor, self.injector = machine.conductor, machine.injector
        self.strokes = 0

    def fires(self, kind: str) -> bool:
        """Whether the call that begins now brings about a misfortune of a kind ("kill" or "freeze")."""
        if not self.injector.active or not self.injector.happens(kind):
            return False
        self.strokes += 1
        return True

    async def kill(self, victim: str, kill: Callable[[], Awaitable[None]]) -> None:
        """Kill a process, some time from now."""
        await self._wait()
        self.injector.tell("kill", victim)
        await kill()

    async def freeze(self) -> None:
        """Freeze one of those that could move, some time from now."""
        await self._wait()
        conductor = self.conductor
        victims = [actor for actor in conductor.ready if actor is not conductor.turn]
        if victims:
            victim = victims[conductor.draw("freeze.victim", len(victims))]
            self.injector.tell("freeze", victim.name)
            conductor.freeze(victim, (1 + conductor.draw("freeze.time", FROZEN_US)) * NS_PER_US)

    async def _wait(self) -> None:
        await self.conductor.sleep((1 + self.conductor.draw("misfortune.delay", DELAY_US)) * NS_PER_US)
