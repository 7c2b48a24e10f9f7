"""Small workloads that do one thing each: for the tests of campaigns and of the command line."""

from __future__ import annotations

import trio

from ksmactors.interleave.locks import Mutex
from ksmactors.workload import Host, Int, Process, Workload


class Quiet(Workload):
    """two threads that draw and sleep"""

    pages = Int(1, "pages of each process", low=1, high=8)

    async def run(self, host: Host) -> None:
        for name in "AB":
            host.process(name).spawn(self._live, host)

    async def _live(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.write(region, 0, 1 + host.draw("content", 2))


class Crash(Workload):
    """raises with seed 3 and some others"""

    async def run(self, host: Host) -> None:
        if host.draw("crash", 4) == 3:
            raise KeyError("boom")


class Foreign(Workload):
    """awaits trio"""

    async def run(self, host: Host) -> None:
        await trio.sleep(1)


class Broken(Workload):
    """makes the emulator raise"""

    async def run(self, host: Host) -> None:
        await Mutex(host.machine.conductor, "nobody's").unlock()


class Deadlock(Workload):
    """takes a lock twice"""

    async def run(self, host: Host) -> None:
        mutex = Mutex(host.machine.conductor, "twice")
        await mutex.lock()
        await mutex.lock()


class Endless(Workload):
    """sleeps for ever"""

    async def run(self, host: Host) -> None:
        while True:
            await host.sleep(10)


class Interrupted(Workload):
    """Ctrl-C in the sixth schedule"""

    def prepare(self) -> None:
        self._schedules = 0

    async def run(self, host: Host) -> None:
        self._schedules += 1
        if self._schedules == 6:
            raise KeyboardInterrupt
