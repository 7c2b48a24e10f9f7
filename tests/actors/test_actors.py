"""The kernel's own actors: who they are, whom they answer, and what stays concurrent with what."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINVAL, ENODEV, ENOENT, ESRCH
from typing import Any

from ksmactors.events import catalogue as ev
from ksmactors.workload import Host, Process, Region

Perform = Callable[..., Host]


async def twins(host: Host, *, pages: int = 2, nodes: tuple[int, int] = (0, 0)) -> list[tuple[Process, Region]]:
    """Two processes whose pages all hold the same."""
    made = []
    for name, node in zip("AB", nodes, strict=True):
        process = host.process(name, node=node)
        region = await process.map(pages)
        await process.mergeable(region)
        for page in range(pages):
            await process.write(region, page, 7)
        made.append((process, region))
    return made


async def merged(host: Host, sharing: int) -> None:
    """Wait until so many pages are saved."""
    while host.machine.kernel.ksm_pages_sharing < sharing:
        await host.sleep(50)


class TestCrew:
    def test_who_is_there(self, perform: Perform) -> None:
        """A machine boots with ksmd, a migration daemon for each node, the unmerge worker and the admin."""

        async def play(host: Host) -> None:
            pass

        actors = perform(play, nodes=3).machine.conductor.actors

        assert [(actor.name, actor.node) for actor in actors] == [
            ("main", 0), ("ksmd", 0), ("migrationd/0", 0), ("migrationd/1", 1), ("migrationd/2", 2),
            ("unmerged/sysfs", 0), ("admin", 0),
        ]  # fmt: skip
        assert [actor.daemon for actor in actors] == [False] + [True] * 6

    def test_each_thread_has_a_fault_handler_of_its_own(self, perform: Perform) -> None:
        """Who faults gets a handler, named after it and running where it runs; who does not, gets none."""

        async def touch(process: Process) -> None:
            await process.write(await process.map(1), 0, 1)

        async def idle(process: Process) -> None:
            pass

        async def play(host: Host) -> None:
            process = host.process("A", node=1)
            for body in (touch, idle, touch):
                process.spawn(body)

        actors = {actor.name: actor for actor in perform(play).machine.conductor.actors}

        assert {name for name in actors if name.startswith("fault/")} == {"fault/A.0", "fault/A.2"}
        assert (actors["fault/A.2"].node, actors["fault/A.2"].cpu) == (actors["A.2"].node, actors["A.2"].cpu) == (1, 6)

    def test_faults_are_served_concurrently(self, perform: Perform) -> None:
        """While one thread's fault waits for a page lock, another's is served."""
        order = []

        async def blocked(process: Process, region: Region) -> None:
            await process.write(region, 0, 2)
            order.append("blocked")

        async def free(process: Process, region: Region) -> None:
            await process.write(region, 1, 2)
            order.append("free")

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(2)
            await process.write(region, 0, 1)
            child = await process.fork("B")  # its pages are read-only now: a write has to lock the page
            assert isinstance(child, Process)
            pte = host.machine.kernel.page_at(process.mm, region.address(0))
            assert pte is not None
            await pte.frame.lock()
            threads = [process.spawn(blocked, region), process.spawn(free, region)]
            await threads[1].join()
            await pte.frame.unlock()

        perform(play)

        assert order == ["free", "blocked"]


class TestAdmin:
    def test_a_waiting_knob_does_not_hold_up_another(self, perform: Perform) -> None:
        """run=2 waits for ksm_thread_mutex in the unmerge worker; meanwhile the admin turns other knobs."""
        order = []

        async def turn(process: Process, host: Host, knob: str, value: int) -> None:
            assert await host.set(knob, value) == 0
            order.append(knob)

        async def play(host: Host) -> None:
            operator = host.process("operator")
            mutex = host.machine.kernel.ksm_thread_mutex
            await mutex.lock()
            operator.spawn(turn, host, "run", 2)
            await host.sleep(20)
            await operator.spawn(turn, host, "pages_to_scan", 5).join()
            await mutex.unlock()

        perform(play)

        assert order == ["pages_to_scan", "run"]

    def test_errnos_come_back(self, perform: Perform) -> None:
        """A value that the kernel refuses is answered with its errno, whichever actor writes the knob."""
        got = []

        async def play(host: Host) -> None:
            got.extend([await host.set("run", 7), await host.set("pages_to_scan", "many"), host.get("run")])

        perform(play)

        assert got == [-EINVAL, -EINVAL, "1"]


class TestMigrationDaemon:
    def test_a_request_moves_a_page(self, perform: Perform) -> None:
        """A request is answered with the node that the page is on now, or with an errno; contents stay."""
        got: list[Any] = []

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(2)
            await process.write(region, 0, 5)
            got.append(await host.migrate(process, region, 0, 1))
            pte = host.machine.kernel.page_at(process.mm, region.address(0))
            got.append(pte.frame.nid if pte else None)
            got.append(await process.read(region, 0) is host.machine.kernel.contents.token(5))
            got.append(await host.migrate(process, region, 1, 1))
            got.append(await host.migrate(process, region, 0, 2))
            await process.exit()
            got.append(await host.migrate(process, region, 0, 0))

        perform(play)

        assert got == [1, 1, True, -ENOENT, -ENODEV, -ESRCH]

    def test_a_request_does_not_wait_for_the_daemons_nap(self, perform: Perform) -> None:
        """A daemon that sleeps between moves of its own wakes for a request."""
        took = []

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(1)
            await process.write(region, 0, 5)
            before = host.machine.conductor.now
            await host.migrate(process, region, 0, 1)
            took.append(host.machine.conductor.now - before)

        perform(play, balance_us=1_000_000)

        assert took[0] < 5_000_000

    def test_it_keeps_moving_pages_until_the_workload_is_over(self, perform: Perform) -> None:
        """Without any request pages move between nodes while the workload runs, and not while ksmd comes to rest."""
        moved = []

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(3)
            for page in range(3):
                await process.write(region, page, page)
            await host.sleep(3000)
            moved.append(host.machine.trace.counts[ev.MIGRATE_PAGE])

        host = perform(play, balance_us=100)

        assert moved[0] >= 5
        assert host.machine.trace.counts[ev.MIGRATE_PAGE] <= moved[0] + 2  # what was under way

    def test_an_exit_during_a_request_is_survived(self, perform: Perform) -> None:
        """The process may exit while its page is moved: the daemon then tears its page tables down."""

        ended: list[str] = []

        async def ask(_: Process, host: Host, process: Process, region: Region) -> None:
            await host.migrate(process, region, 0, 1)
            ended.append("request")

        async def play(host: Host) -> None:
            asker = host.process("asker")
            for number in range(20):
                process = host.process(f"P{number}")
                region = await process.map(1)
                await process.write(region, 0, 5)
                thread = asker.spawn(ask, host, process, region)
                await host.sleep(number)
                await process.exit()
                ended.append("exit")
                await thread.join()

        host = perform(play)

        assert ["exit", "request"] in (ended[:2], *(ended[place : place + 2] for place in range(0, 40, 2)))
        assert [process.mm.users for process in host.processes.values() if process.name != "asker"] == [0] * 20


class TestUnmergeWorker:
    def test_sweeps_are_concurrent_with_run_2(self, perform: Perform) -> None:
        """Each process has a sweeper of its own, beside the one for the knobs; all pages are private afterwards."""

        async def sweep(process: Process, region: Region) -> None:
            assert await process.unmergeable(region) == 0

        async def play(host: Host) -> None:
            both = await twins(host)
            await merged(host, 3)
            for process, region in both:
                process.spawn(sweep, region)
            assert await host.set("run", 2) == 0
            await host.join()
            kernel = host.machine.kernel
            assert (kernel.ksm_pages_shared, kernel.ksm_pages_sharing) == (0, 0)
            for process, region in both:
                for page in range(2):
                    pte = kernel.page_at(process.mm, region.address(page))
                    assert pte is not None
                    assert not pte.frame.is_ksm

        names = [actor.name for actor in perform(play).machine.conductor.actors]

        assert {"unmerged/sysfs", "unmerged/A", "unmerged/B"} <= set(names)
