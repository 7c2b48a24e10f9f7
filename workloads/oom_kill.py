"""Processes are killed in the middle of everything."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.workload import Host, Int, Process, Region, Workload


class OomKill(Workload):
    """Processes map and fill more and more memory, give advice and take it back, and fork; a killer comes now and then
    and ends one of them, wherever its threads and ksmd happen to be: waiting for a fault, half through unmerging, in a
    fork. Another takes its place. An admin turns the knobs, and is killed by a signal in the middle of run=2.

    It is meant for `--inject`: then there is no memory, either.
    """

    name: ClassVar[str] = "oom_kill"
    summary: ClassVar[str] = "processes are killed, and the writer of run=2, in the middle of merging and unmerging"
    expect_marks: ClassVar[tuple[str, ...]] = ("killed", "unmerge_interrupted")

    processes = Int(3, "processes at the same time, dealt to the nodes in turn", low=1, high=64)
    threads = Int(2, "threads of each process", low=1, high=8)
    pages = Int(3, "pages of each region", low=1, high=1000)
    rounds = Int(3, "things that each thread does")
    kills = Int(3, "times that a process is killed")
    unmerges = Int(2, "times that the operator unmerges everything")
    balance_us = Workload.balance_us.with_default(300)

    @override
    async def run(self, host: Host) -> None:
        for number in range(self.processes):
            self._start(host, f"P{number}", number)
        operator = host.process("operator")
        operator.spawn(self._turn_knobs, host)
        for number in range(self.kills):
            await host.sleep(1 + host.draw("oom_kill.pause", 700))
            victims = [process for process in host.processes.values() if not process.exited and process is not operator]
            if victims:
                await victims[host.draw("oom_kill.victim", len(victims))].kill()
                host.mark("killed")
                self._start(host, f"N{number}", number)

    def _start(self, host: Host, name: str, node: int) -> None:
        process = host.process(name, node=node)
        for _ in range(self.threads):
            process.spawn(self._work, host)

    async def _work(self, process: Process, host: Host) -> None:
        region = await process.map(self.pages)
        await process.mergeable(region)
        for page in range(self.pages):
            await process.write(region, page, 1 + page // 2)
        for number in range(self.rounds):
            await host.sleep(1 + host.draw("oom_kill.think", 500))
            await self._act(process, host, region, number)

    async def _act(self, process: Process, host: Host, region: Region, number: int) -> None:
        action = host.draw("oom_kill.action", 6)
        if action == 0:
            name = f"{process.name}f{region.start:x}.{number}"
            child = await process.fork(name)
            if isinstance(child, Process):
                child.spawn(self._touch, host, region)
        elif action == 1:
            await process.unmergeable(region)
        elif action == 2:
            await process.mergeable(region)
        else:
            await self._touch(process, host, region)

    async def _touch(self, process: Process, host: Host, region: Region) -> None:
        page = host.draw("oom_kill.page", self.pages)
        await process.write(region, page, 1 + host.draw("oom_kill.content", 3))

    async def _turn_knobs(self, operator: Process, host: Host) -> None:
        for _ in range(self.unmerges):
            await host.sleep(1 + host.draw("oom_kill.wait", 900))
            operator.spawn(self._interrupt, host)
            if await host.set("run", 2):
                host.mark("unmerge_interrupted")
            await host.set("run", 1)

    async def _interrupt(self, operator: Process, host: Host) -> None:
        await host.sleep(1 + host.draw("oom_kill.signal", 150))
        host.interrupt_knob()
