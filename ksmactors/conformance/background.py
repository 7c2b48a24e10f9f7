"""Background tasks of a scenario on the emulator: started, held, released, and the state of each.

The actor that runs the scenario is the driver of the strategy `holding`. It starts an actor for each background
operation, lets all of them run until none can (`settle`), and reports new states.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from ksmactors.conformance.language import Operation
from ksmactors.conformance.places import Visits, atomic, inlined, place_named
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import RwSem
from ksmactors.interleave.reports import name_of
from ksmactors.interleave.strategies.holding import Hold, Holding
from ksmactors.mm.frame import Frame

PATIENCE_NS: Final = 1_000_000_000
"""Virtual time for which tasks may settle: enough for devices, less than ksmd's hour."""

SPINS_MAX: Final = 1_000
"""Turns that tasks may spend spinning while they settle."""


KSMD: Final = "ksmd"

SCANNING: Final = frozenset({"step", "scan", "trace", "tracescan"})
"""Operations of ksmd."""

MAPPED_ATOMICALLY: Final = "the page is mapped atomically there (kmap_atomic), so it must not sleep"
"""Why a task is not held at a place that is `atomic` in places.txt."""


@dataclass(slots=True)
class Task:
    """A background operation: its actor; `finish` returns its answer when it is over (`ended`)."""

    actor: Actor
    ended: Callable[[], bool]
    finish: Callable[[], Awaitable[str]]


class Tasks:
    """All tasks of one scenario, by name. Its methods are for the actor that runs the scenario."""

    def __init__(self, conductor: Conductor, holding: Holding, kernel_name: str) -> None:
        self.conductor, self.holding, self.kernel_name = conductor, holding, kernel_name
        self.named: list[str] = []
        """In the order in which they were first named."""
        self.running: dict[str, Task] = {}
        self.log: list[str] = []
        """Holds refused since `taken_log` was last called."""
        self._refused_holds: list[str] = []
        """Holds that were refused at their places."""
        self.awaited: Callable[[Actor], bool] = every_actor
        """Which runnable actors `settle` waits for."""
        self._reported: dict[str, str] = {}
        holding.refuse = self._refused

    def _refused(self, hold: Hold, reason: str) -> None:
        self._refused_holds.append(f"{hold.task} {hold.where}")
        self.log.append(f"# log {hold.task}: not held {hold.where}: {reason}")

    @property
    def active(self) -> bool:
        """Whether a task is in the background or a hold is pending: then every step counts."""
        return bool(self.running) or any(self.holding.pending.values())

    def mention(self, name: str) -> None:
        """Note that a task is named: reports list tasks in this order."""
        if name not in self.named:
            self.named.append(name)

    def hold(self, name: str, place: str, *, after: bool, times: int, caller: str, actor: Actor | None) -> None:
        """Hold a task when it comes to a place."""
        self.mention(name)
        spot = Visits(place_named(place), caller)
        reason = "" if after or place not in atomic(self.kernel_name) else MAPPED_ATOMICALLY
        hold = Hold(name, place, spot, self.conductor.turn, after=after, times=times, atomic=reason)
        self.holding.add(hold, actor)

    def start(self, name: str, work: Callable[[], Awaitable[list[str]]]) -> None:
        """Start an actor that does an operation in the background."""
        answers: list[str] = []

        async def body() -> None:
            answers.extend(await work())

        async def finish() -> str:
            return " ".join(answers)

        actor = self.conductor.spawn(name, body(), daemon=True)
        self.add(name, Task(actor, lambda: bool(answers), finish))

    def add(self, name: str, task: Task) -> None:
        """Add a background task."""
        self.mention(name)
        self._reported.pop(name, None)
        self.running[name] = task

    @property
    def unmet(self) -> list[str]:
        """The holds that no task has met, those first that were refused."""
        pending = [f"{hold.task} {hold.where}" for holds in self.holding.pending.values() for hold in holds]
        return [*self._refused_holds, *pending]

    def release(self, name: str) -> bool:
        """Release a task; False if it is not held."""
        hold = self.holding.held.pop(name, None)
        if hold is None or hold.actor is None:
            return False
        self._reported.pop(name, None)
        if hold.actor.waiting_on is hold:
            self.conductor.resume(hold.actor)
        return True

    def signal(self, name: str) -> None:
        """Send a signal to a task, which ends interruptible operations."""
        self._reported.pop(name, None)
        if name in self.running:
            self.running[name].actor.signal_pending = True

    async def settle(self) -> None:
        """Let all awaited tasks run until each is held, waits or has ended."""
        deadline = self.conductor.now + PATIENCE_NS
        self.holding.driver, self.holding.awaited = self.conductor.turn, self.awaited
        spins = 0
        while spins < SPINS_MAX:
            self._suspend()
            alarm = self.conductor.next_alarm
            others = [actor for actor in self.conductor.ready if actor is not self.conductor.turn]
            if not any(map(self.awaited, others)) and (others or alarm is None or alarm > deadline):
                break
            spins += bool(others)
            await self.conductor.relax()
        self.holding.awaited = None

    async def pass_on(self) -> bool:
        """Let another actor run; False if none can, not even after a while."""
        self._suspend()
        alarm = self.conductor.next_alarm
        if len(self.conductor.ready) == 1 and (alarm is None or alarm > self.conductor.now + PATIENCE_NS):
            return False
        await self.conductor.relax()
        self._suspend()
        return True

    def _suspend(self) -> None:
        """Suspend the actors that the strategy has stopped."""
        for actor in [actor for actor in self.conductor.ready if actor.name in self.holding.held]:
            self.conductor.suspend(actor, self.holding.held[actor.name])

    def needed_by(self, operation: Operation) -> str | None:
        """Return the task that does an operation, or None if no task does it."""
        if operation.name == "bg":
            return operation.task
        return KSMD if operation.name in SCANNING else operation.process or None

    async def news(self) -> list[str]:
        """Return the new states of tasks: lines."""
        lines: list[str] = []
        for name in self.named:
            task = self.running.get(name)
            if task is None:
                continue
            state = await self._state(name, task)
            if state != self._reported.get(name):
                self._reported[name] = state
                lines.append(f"{name}: {state}")
        return lines

    def taken_log(self) -> list[str]:
        """Return the holds refused since the last call: lines."""
        log, self.log = self.log, []
        return log

    def plight(self, actor: Actor) -> str:
        """Return why a task cannot continue."""
        hold = self.holding.held.get(actor.name)
        return f"is held {hold.where}" if hold is not None else f"waits: {self._waits_for(actor)}"

    async def _state(self, name: str, task: Task) -> str:
        hold = self.holding.held.get(name)
        if hold is not None:
            return f"held {hold.where}"
        if task.ended():
            del self.running[name]
            return f"done {await task.finish()}".rstrip()
        return f"blocked: {self._waits_for(task.actor)}"

    def _waits_for(self, actor: Actor) -> str:
        """Return what a blocked actor waits for, as in recordings."""
        waited = actor.waiting_on
        if isinstance(waited, Frame):
            return "migration entry" if "migration_entry_wait" in actor.functions() else "page lock"
        if isinstance(waited, RwSem):
            if not waited.name.startswith("mmap_sem"):
                return "anon_vma lock"
            if not set(inlined(self.kernel_name)).isdisjoint(actor.functions()):
                return "ksm_thread_mutex"  # its owner is on top of the stack, and locks are left out there
            write = any(one is actor and wants for one, wants in waited.queue)
            return f"mmap_lock ({'write' if write else 'read'})"
        return "spins" if waited is None else name_of(waited)


def every_actor(_: Actor) -> bool:
    """Default of `awaited`: all actors."""
    return True
