"""What happens to processes from outside: signals, kills, and their own exec; and pages that they have pinned."""

from __future__ import annotations

from collections.abc import Callable
from errno import EINTR

import pytest

from ksmactors.workload import Host, Process, ProcessExited, Region

Perform = Callable[..., Host]


async def filled(process: Process, pages: int = 3) -> Region:
    """A mergeable region of equal pages."""
    region = await process.map(pages)
    await process.mergeable(region)
    for page in range(pages):
        await process.write(region, page, 7)
    return region


def test_a_kill_ends_the_threads(perform: Perform) -> None:
    """Its threads can do nothing more, and its memory goes; killing it twice is no more than once."""
    seen = []

    async def live(process: Process, host: Host) -> None:
        region = await filled(process)
        for _ in range(1000):
            await host.sleep(10)
            await process.write(region, 0, 8)
        seen.append("lived on")

    async def play(host: Host) -> None:
        process = host.process("A")
        thread = process.spawn(live, host)
        await host.sleep(500)
        await process.kill()
        await process.kill()
        await thread.join()
        assert process.exited
        assert process.mm.users == 0
        with pytest.raises(ProcessExited):
            await process.map(1)

    perform(play)
    assert seen == []


def test_a_signal_interrupts_unmerging(perform: Perform) -> None:
    """MADV_UNMERGEABLE under way answers -EINTR; a signal while nothing is under way is forgotten."""
    answers = []

    async def unmerge(process: Process, region: Region) -> None:
        answers.append(await process.unmergeable(region))

    async def play(host: Host) -> None:
        process = host.process("A")
        region = await filled(process, 40)
        await host.sleep(5_000)
        process.interrupt()
        thread = process.spawn(unmerge, region)
        await host.sleep(60)
        process.interrupt()
        await thread.join()
        answers.append(await process.unmergeable(region))

    perform(play)
    assert answers == [-EINTR, 0]


def test_the_writer_of_run_is_interrupted(perform: Perform) -> None:
    """run=2 answers -EINTR, and ksmd is stopped; without a writer there is nobody to interrupt."""
    answers = []

    async def unmerge(process: Process, host: Host) -> None:
        answers.append(await host.set("run", 2))

    async def play(host: Host) -> None:
        process = host.process("A")
        await filled(process, 40)
        await host.sleep(5_000)
        assert not host.interrupt_knob()
        thread = process.spawn(unmerge, host)
        await host.sleep(60)
        assert host.interrupt_knob()
        await thread.join()
        assert host.get("run") == "0"

    perform(play)
    assert answers == [-EINTR]


def test_exec_is_a_new_address_space(perform: Perform) -> None:
    """Nothing of the old one is left, its name stays; the other threads end at their next call, the process goes on."""
    seen = []

    async def other(process: Process, host: Host, region: Region) -> None:
        await host.sleep(3_000)
        await process.write(region, 0, 8)
        seen.append("wrote")

    async def play(host: Host) -> None:
        process = host.process("A")
        region = await filled(process)
        old = process.mm
        thread = process.spawn(other, host, region)
        await host.sleep(1_000)
        assert await process.exec() == 0
        assert old.users == 0
        assert process.name == "A"
        assert not process.mm.registered
        await thread.join()
        assert not process.exited
        await filled(process)

    perform(play)
    assert seen == []


def test_a_pin_outlives_its_process(perform: Perform) -> None:
    """A page under I/O is freed when that is over, after the address space; unpinning twice is once."""

    async def play(host: Host) -> None:
        process = host.process("A")
        region = await filled(process, 1)
        pin = await process.pin(region, 0, write=True)
        before = pin.page.refcount
        await process.unpin(pin)
        await process.unpin(pin)
        assert pin.page.refcount == before - 1
        pin = await process.pin(region, 0)
        await process.exit()
        assert pin.page.mapcount == 0

    perform(play)
