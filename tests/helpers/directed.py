"""A machine whose actors move only when the test says so.

The test is the first actor. It starts others as puppets and says how far each one goes: until it is about to do some
operation, as far as it can, to its end. While the test itself calls into the kernel nobody else moves, unless the test
is blocked.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import trio

from ksmactors import watch
from ksmactors.errors import StepLimit
from ksmactors.events.trace import Trace
from ksmactors.interleave.actor import ACQUIRE, RELEASE, Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.interleave.strategies.directed import END, Checkpoint, Directed, Place, ScriptStep
from ksmactors.interleave.tape import Tape, strategy_rng
from ksmactors.ksm.kernel import Ksm
from ksmactors.litmus import FULL_SCAN, Proc, Scene
from ksmactors.machine import Machine
from ksmactors.mm.hardware import DEFAULT_FRAMES_PER_NODE, Hardware

__all__ = ["FULL_SCAN", "Directed", "Place", "Proc", "Puppet", "Stage", "about_to", "perform"]


def about_to(kind: int | None = None, obj: object = None, field: object = None, *, inside: str = "") -> Place:
    """The place where an actor is about to do an operation: its kind, its object (or class), its field, and a
    function that the actor is in; what is not given does not matter."""
    return Checkpoint(kind, obj, field, inside).reached


ANYWHERE = Checkpoint().reached
"""Wherever an actor is about to do an operation."""


class Puppet:
    """An actor of the test's: `ended`, and then `result` is what its coroutine gave."""

    def __init__(self, conductor: Conductor, name: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        self.conductor, self.name, self.coroutine = conductor, name, coroutine
        self.ended = False
        self.result: Any = None
        self.actor: Actor

    async def live(self) -> None:
        self.result = await self.coroutine
        self.ended = True
        self.conductor.touch(RELEASE, self, "result")


class Stage(Scene):
    """A machine, and what a test does on it: what litmus tests do, and puppets."""

    def __init__(self, machine: Machine, strategy: Strategy) -> None:
        super().__init__(machine, "test")
        self.strategy = strategy
        self.puppets: list[Puppet] = []

    # -- puppets --------------------------------------------------------------------------------------------------

    def start(self, name: str, coro: Coroutine[Any, Any, Any]) -> Puppet:
        """A new actor, which does not move yet."""
        assert all(one.ended for one in self.puppets if one.name == name), f"there is a puppet {name!r} already"
        puppet = Puppet(self.conductor, name, coro)
        self.puppets.append(puppet)
        puppet.actor = self.conductor.spawn(name, puppet.live())
        return puppet

    async def until(self, puppet: Puppet, place: Place) -> None:
        """Let a puppet go until it is about to do something, which it must."""
        assert await self._drive(puppet, place), f"{puppet.name} never comes there: {self._whereabouts(puppet)}"

    async def comes_to(self, puppet: Puppet, place: Place) -> bool:
        """The same, if it comes there; False: it has ended or is blocked."""
        return await self._drive(puppet, place)

    async def step(self, puppet: Puppet) -> None:
        """Let a puppet do one operation, if it can."""
        await self._drive(puppet, ANYWHERE, times=2)

    async def go(self, puppet: Puppet) -> None:
        """Let a puppet go until it ends or is blocked."""
        await self._drive(puppet, None)

    async def blocks(self, puppet: Puppet) -> None:
        """Let a puppet go until it is blocked, which it must be."""
        await self._drive(puppet, None)
        assert not puppet.ended, f"{puppet.name} is not blocked, but has ended"

    async def finish(self, puppet: Puppet) -> Any:
        """Let a puppet go to its end, where it must come; its result."""
        await self._drive(puppet, None)
        assert puppet.ended, f"{puppet.name} does not end: {self._whereabouts(puppet)}"
        return puppet.result

    async def join(self, *puppets: Puppet, every: int) -> None:
        """Wait until they have ended, in a schedule that is not the test's: it looks every so many microseconds."""
        for puppet in puppets:
            while not puppet.ended:
                await self.conductor.sleep(every)
            self.conductor.touch(ACQUIRE, puppet, "result")

    async def _drive(self, puppet: Puppet, place: Place | None, times: int = 1) -> bool:
        """Lead a puppet to a place, or as far as it can; whether it is there."""
        assert isinstance(self.strategy, Directed), "only a directed schedule has puppets that wait"
        strategy, actor = self.strategy, puppet.actor
        strategy.lead(ScriptStep(puppet.name, END if place is None else "place", place, times))
        while strategy.left and actor in self.conductor.ready:
            await self.conductor.relax()
        reached = place is not None and not strategy.left
        strategy.left.clear()
        if puppet.ended:
            self.conductor.touch(ACQUIRE, puppet, "result")  # what the test does from here on comes after
        return reached

    @staticmethod
    def _whereabouts(puppet: Puppet) -> str:
        if puppet.ended:
            return f"it has ended with {puppet.result!r}"
        return f"in {puppet.actor.functions()}, waiting for {puppet.actor.waiting_on}, about to do {puppet.actor.op}"


Play = Callable[[Stage], Coroutine[Any, Any, None]]


def perform(
    play: Play,
    *,
    layer: type[Ksm] | None = None,
    kernel: str = "series",
    without: Iterable[str] = (),
    with_: Iterable[str] = (),
    nodes: int = 2,
    frames_per_node: int = DEFAULT_FRAMES_PER_NODE,
    watchers: Iterable[str] = tuple(watch.WATCHERS),
    strategy: Strategy | None = None,
    seed: int = 0,
    max_steps: int = 500_000,
) -> Stage:
    """Run one schedule whose first actor is `play(stage)`; raises what it raises, and gives its stage.

    `layer` is put on top of the kernel: a subclass of Ksm that does something wrong. Without a strategy, the test
    directs.
    """
    who = strategy or Directed(director=True)
    who.begin(strategy_rng(seed))
    conductor = Conductor(who, Tape(seed), max_steps=max_steps)
    machine = Machine(
        conductor, Trace(conductor), nodes=nodes, frames_per_node=frames_per_node, kernel=kernel,
        without=without, with_=with_,
    )  # fmt: skip
    if layer is not None:
        broken = type(layer.__name__, (layer, type(machine.kernel)), {})
        machine.kernel = broken(Hardware(conductor, machine.trace, nodes, frames_per_node))
    watch.attach(machine, watchers)
    stage = Stage(machine, who)
    try:
        trio.run(conductor.run, "test", lambda: play(stage))
    except StepLimit as limit:
        raise watch.classified(machine, limit) from None
    finally:
        for puppet in stage.puppets:  # the schedule may have ended before one of them began
            puppet.coroutine.close()
    return stage
