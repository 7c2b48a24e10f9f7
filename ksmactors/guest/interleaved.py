"""The operations of interleavings in a guest: hold, bg, release, disarm, signal, settle."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

from typing_extensions import override

from ksmactors.conformance.btf import LayoutError
from ksmactors.conformance.forms import KERNEL_TASKS
from ksmactors.conformance.kernel_memory import KernelMemory
from ksmactors.conformance.language import Operation, Scenario
from ksmactors.conformance.live_ksm import WAKING
from ksmactors.conformance.transcript import REST, WHOLE_SCAN, ScenarioEnded, bare_word, unmet_line
from ksmactors.guest.background import OTHERS, Background, BackgroundTask, BackgroundThread
from ksmactors.guest.kernel_places import KernelPlaces
from ksmactors.guest.own_machine import OWN_OPERATIONS, OwnMachine, OwnPerformer, write

Ask = Callable[..., dict[str, Any]]
"""Asks the host, which holds tasks."""

KSMD: Final = "ksmd"


class InterleavedPerformer(OwnPerformer):
    """Performs a scenario whose tasks are held. `places` has the kernels' names of the places in it."""

    def __init__(
        self, scenario: Scenario, own: OwnMachine, written: Callable[[str], None] | None, ask: Ask,
        places: dict[str, list[str]],
    ) -> None:  # fmt: skip
        super().__init__(scenario, own, written)
        self.ask, self.places = ask, places
        workers = {name: BackgroundThread(OTHERS) for name in dict.fromkeys(KERNEL_TASKS.values()) if name != KSMD}
        self.tasks = Background(self._held, self._begins, self._mutex_owner, workers=workers)
        self.kernel: KernelPlaces | None = None
        self._log: list[str] = []
        self._unmet: list[str] = []

    def _held(self) -> tuple[dict[str, str], list[str]]:
        answer = self.ask(ask="held")
        self._log += answer["log"]
        self._unmet = answer["unmet"]
        return answer["held"], answer["leaving"]

    def _begins(self, name: str, pid: int) -> None:
        self.ask(ask="begins", task=name, pid=pid)

    def _mutex_owner(self) -> int:
        return 0 if self.inside is None else self.inside.mutex_owner()

    @override
    def run(self) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: None)  # ends a system call
        try:
            super().run()
        finally:
            self.ask(ask="end")

    @override
    async def perform(self, operation: Operation) -> list[str]:
        interleaving = INTERLEAVINGS.get(operation.name)
        if interleaving is not None:
            return interleaving(self, operation)
        if not self.tasks.running:
            return await super().perform(operation)
        if operation.name == "set":
            return [self._set(operation)]
        own = OWN_OPERATIONS.get(operation.name)
        work = own(self, operation) if own is not None else self.operation(operation)
        return await self.unless_killed(operation, work)

    @override
    def finish(self) -> None:
        self._held()
        if self._unmet:
            self.write(unmet_line(self._unmet))

    def _pid(self, task: str) -> int:
        """Return the task that a name stands for; 0 for one that will be started."""
        if task == KSMD:
            return self.ksm.ksmd_pid
        running = self.tasks.running.get(task)
        if running is not None:
            return running.pid
        process = self.world.living.get(task)
        return 0 if process is None else process.pid

    def _hold(self, operation: Operation) -> list[str]:
        try:
            if self.kernel is None:
                self.kernel = KernelPlaces(KernelMemory(), os.uname().release, os.uname().version, self._decode)
                self.ask(ask="kernel", **self.kernel.needed)
        except LayoutError as error:
            self.write(f"= skip: no holds here: {error}")
            raise ScenarioEnded from None
        caller = operation.value
        spot = self.kernel.spot(self.places[operation.word], self.places[caller] if caller else None)
        if spot is None:
            self.write(f"= skip: no function {operation.word} here")
            raise ScenarioEnded
        task = operation.task
        after = "after" in operation.flags
        self.tasks.mention(task)
        self.ask(
            ask="hold", task=task, pid=self._pid(task), where=f"{'after' if after else 'at'} {operation.word}",
            address=spot.address, caller=spot.caller, times=operation.number, after=after,
        )  # fmt: skip
        return ["ok"]

    def _decode(self, code: bytes, rule: str, member: int, nth: int) -> int | None:
        """Have the host look for an instruction."""
        found: int | None = self.ask(ask="instruction", code=code.hex(), rule=rule, member=member, nth=nth)["offset"]
        return found

    # -- in the background ------------------------------------------------------------------------------------------

    def _bg(self, operation: Operation) -> list[str]:
        inner, name = operation.done, operation.task
        process = self._process(inner) if inner.process else None
        if name == KSMD:
            self._begin_batches(inner)
        else:
            self._drain()
            own = process is not None and name not in KERNEL_TASKS.values()
            drains, self.draining = self.draining, False
            self.tasks.start(name, lambda: self._done_by(name, inner), process.pid if own and process else 0)
            self.draining = drains
        return self._settled()

    def _done_by(self, name: str, operation: Operation) -> str:
        """Do an operation, in a thread."""
        if operation.name == "set":
            return self._set(operation)
        own = OWN_OPERATIONS.get(operation.name)
        done = own(self, operation) if own is not None else self.operation(operation)
        work = self.unless_killed(operation, done)
        try:
            work.send(None)
        except StopIteration as ended:
            return " ".join(ended.value)
        raise AssertionError("an operation of a live kernel was waited for in an event loop")

    def _set(self, operation: Operation) -> str:
        """Write a knob as it is: ksmd may be held, so nothing is waited for."""
        if operation.word not in self.ksm.knobs:
            return "absent"
        error = write(self.ksm.sysfs / operation.word, operation.value)
        return f"{bare_word(error)} now={self.ksm.show(operation.word)}"

    def _begin_batches(self, operation: Operation) -> None:
        """`bg step N`; or `bg scan N`: N batches, each to the end of its scan."""
        whole = operation.name == "scan"
        self._drain()
        left = operation.number if whole else 1
        pages = WHOLE_SCAN if whole else operation.number
        scanned = self.ksm.scanned()
        before = self._wake(pages)

        def poll() -> str | None:
            nonlocal left, before
            if not self.ksm.sleeping():
                return None
            idle = self.ksm.switches() == before
            left -= 1
            if left > 0 and not idle:
                before = self._wake(pages)
                return None
            self.ksm.store("pages_to_scan", REST["pages_to_scan"])
            done = f"scanned={self.ksm.scanned() - scanned}" if self.counts_scanned() else ""
            return done + " idle" * idle

        self.tasks.add(KSMD, BackgroundTask(self.ksm.ksmd_pid, poll=poll))

    def _wake(self, pages: int) -> int:
        self.ksm.store("pages_to_scan", str(pages))
        before = self.ksm.switches()
        now = self.ksm.read("sleep_millisecs")
        self.ksm.store("sleep_millisecs", WAKING if now != WAKING else REST["sleep_millisecs"])
        return before

    def _release(self, operation: Operation) -> list[str]:
        if not self.ask(ask="release", task=operation.task)["released"]:
            return ["error not held"]
        self.tasks.forget_report(operation.task)
        return self._settled()

    def _disarm(self, operation: Operation) -> list[str]:
        self.ask(ask="disarm", task=operation.task)
        return ["ok"]

    def _signal(self, operation: Operation) -> list[str]:
        self.tasks.forget_report(operation.task)
        running = self.tasks.running.get(operation.task)
        if running is not None and running.thread is not None and operation.task in KERNEL_TASKS.values():
            signal.pthread_kill(running.thread.thread.ident or 0, signal.SIGUSR1)
        elif operation.task != KSMD and (pid := self._pid(operation.task)):
            os.kill(pid, signal.SIGUSR1)
        return ["ok", *self._settled()]

    def _settle(self, operation: Operation) -> list[str]:
        return self._settled()

    def _settled(self) -> list[str]:
        news = self.tasks.settle()
        log, self._log = self._log, []
        self.write(*log)
        return news


INTERLEAVINGS: Final[dict[str, Callable[[InterleavedPerformer, Operation], list[str]]]] = {
    "hold": InterleavedPerformer._hold,
    "bg": InterleavedPerformer._bg,
    "release": InterleavedPerformer._release,
    "disarm": InterleavedPerformer._disarm,
    "signal": InterleavedPerformer._signal,
    "settle": InterleavedPerformer._settle,
}
