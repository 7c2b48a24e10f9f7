"""Processes and threads as a workload sees them."""

from __future__ import annotations

from collections.abc import Callable
from errno import EFAULT

import pytest

from ksmactors.errors import WorkloadCrashed
from ksmactors.workload import EmulatedFault, Host, Process, ProcessExited, Region, SegmentationFault

Perform = Callable[..., Host]


class TestMemory:
    def test_a_process_reads_what_it_wrote(self, perform: Perform) -> None:
        """Tokens, bytes and contents can be written; untouched pages are zero; fork copies, and writes stay apart."""

        async def play(host: Host) -> None:
            contents = host.machine.kernel.contents
            process = host.process("A")
            region = await process.map(4)
            await process.write(region, 0, 5)
            await process.write(region, 1, b"x" * 4096)
            await process.write(region, 2, contents.token(6))
            child = await process.fork("B")
            assert isinstance(child, Process)
            await child.write(region, 0, 8)
            assert [(await process.read(region, page)).data[7:9] for page in range(4)] == [
                b"\x05\0", b"xx", b"\x06\0", b"\0\0",
            ]  # fmt: skip
            assert await child.read(region, 0) is contents.token(8)
            assert await child.read(region, 1) is contents.of(b"x" * 4096)

        perform(play)

    def test_unmapped_memory(self, perform: Perform) -> None:
        """An access to what is not mapped is a SegmentationFault, which the workload may catch."""

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(3)
            assert await process.munmap(region, 1, 2) == 0
            with pytest.raises(SegmentationFault, match="A: nothing is mapped at"):
                await process.read(region, 1)
            with pytest.raises(SegmentationFault):
                await process.write(region, 1, 1)
            await process.write(region, 2, 1)

        perform(play)

    def test_mremap(self, perform: Perform) -> None:
        """mremap moves contents to a new region; the old one is gone; of nothing it is an errno."""

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(2)
            await process.write(region, 1, 5)
            moved = await process.mremap(region)
            assert isinstance(moved, Region)
            assert (await process.read(moved, 1)).data[7] == 5
            assert await process.mremap(region) == -EFAULT

        perform(play)

    def test_dontneed(self, perform: Perform) -> None:
        """After MADV_DONTNEED a page is zero again."""

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(2)
            await process.write(region, 1, 5)
            assert await process.dontneed(region, 1) == 0
            assert await process.read(region, 1) is host.machine.kernel.contents.zero

        perform(play)

    @pytest.mark.parametrize("index", [-1, 2])
    def test_pages_outside_of_a_region(self, perform: Perform, index: int) -> None:
        """A page that its region does not have is a mistake of the workload, not an emulated fault."""

        async def play(host: Host) -> None:
            process = host.process("A")
            await process.read(await process.map(2), index)

        with pytest.raises(WorkloadCrashed, match=f"ValueError: a region of 2 pages has no page {index}"):
            perform(play)

    @pytest.mark.parametrize("content", [b"short", -1, 1 << 64])
    def test_what_is_no_content(self, perform: Perform, content: object) -> None:
        """A content that is no page and no token is a mistake of the workload."""

        async def play(host: Host) -> None:
            process = host.process("A")
            await process.write(await process.map(1), 0, content)  # type: ignore[arg-type]

        with pytest.raises(WorkloadCrashed, match=r"ValueError: a (page|token) "):
            perform(play)


class TestExit:
    def test_exit_ends_the_threads(self, perform: Perform) -> None:
        """After exit no thread of the process gets another call through, and nobody misses them."""
        after = []

        async def live(process: Process, host: Host) -> None:
            region = await process.map(1)
            await host.sleep(500)
            await process.write(region, 0, 1)
            after.append("written")

        async def play(host: Host) -> None:
            process = host.process("A")
            process.spawn(live, host)
            await host.sleep(200)
            await process.exit()
            await process.exit()
            assert process.mm.users == 0
            with pytest.raises(ProcessExited):
                await process.map(1)

        perform(play)

        assert after == []

    def test_a_thread_that_faults_takes_its_process_with_it(self, perform: Perform) -> None:
        """A SegmentationFault that a thread does not catch ends the process, not the schedule."""

        async def stray(process: Process) -> None:
            region = await process.map(1)
            await process.munmap(region)
            await process.read(region, 0)

        async def play(host: Host) -> None:
            process = host.process("A")
            await process.spawn(stray).join()
            assert process.exited

        perform(play)

    def test_exit_waits_for_calls_under_way(self, perform: Perform) -> None:
        """The address space stays until the last call has ended, whoever made it."""
        order = []

        async def write(process: Process, region: Region) -> None:
            for page in range(region.pages):
                await process.write(region, page, 1)
                order.append(page)

        async def play(host: Host) -> None:
            process = host.process("A")
            region = await process.map(5)
            process.spawn(write, region)
            while not order:
                await host.sleep(1)
            await process.exit()
            order.append("exit")

        perform(play)

        assert order[-1] == "exit"
        assert len(order) > 1


class TestNames:
    def test_names_are_taken_once(self, perform: Perform) -> None:
        """Two processes cannot have one name, neither new nor forked."""

        async def play(host: Host) -> None:
            process = host.process("A")
            with pytest.raises(ValueError, match="there is a process A already"):
                host.process("A")
            with pytest.raises(ValueError, match="there is a process A already"):
                await process.fork("A")

        assert list(perform(play).processes) == ["A"]


class TestCrashes:
    def test_an_exception_of_the_workload(self, perform: Perform) -> None:
        """What the workload's code raises becomes WorkloadCrashed with place and cause, in `run` as in a thread."""

        async def thread(process: Process) -> None:
            raise KeyError("lost")

        async def play(host: Host) -> None:
            host.process("A").spawn(thread)

        for crash in (play, thread):
            with pytest.raises(
                WorkloadCrashed, match=r"workload played raised KeyError: 'lost' \(test_process.py:"
            ) as caught:
                perform(crash)
            assert isinstance(caught.value.__cause__, KeyError)

    def test_an_uncaught_fault(self, perform: Perform) -> None:
        """A SegmentationFault that leaves `run` itself is a crash of the workload."""

        async def play(host: Host) -> None:
            raise SegmentationFault("A: nothing there")

        with pytest.raises(WorkloadCrashed, match="does not catch SegmentationFault: A: nothing there") as caught:
            perform(play)
        assert isinstance(caught.value.__cause__, EmulatedFault)

    def test_an_error_of_the_emulator_is_not_blamed_on_the_workload(self, perform: Perform) -> None:
        """What the emulator itself raises comes out as it is."""

        async def play(host: Host) -> None:
            host.machine.kernel.contents.of(b"short")

        with pytest.raises(ValueError, match="a page has 4096 bytes"):
            perform(play)
