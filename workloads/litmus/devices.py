"""Devices at pages that are merged, unmapped or written: direct I/O, and the swap device."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_FREE, PAGE_SIZE
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from workloads.litmus.keyhole import isolated, try_to_move

STORES = (8, 9)
"""What the device stores, one after the other."""


class MergeMeetsDma(Litmus):
    """ksmd comes to a page that is pinned for a device, which stores to it at moments of its own."""

    name = "litmus.merge_meets_dma"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("B", 7, 7)
        await scene.scan(2)
        a = await scene.process("A", 7)
        pin = await scene.kernel.start_io(a.mm, a.start, True)
        assert isinstance(pin, IoPin)
        await self._after_pin(scene, a)
        await scene.concurrent({"ksmd": scene.scan(2), "dma": self._store(scene, pin)})
        await scene.kernel.end_io(pin)

    async def _after_pin(self, scene: Scene, a: Proc) -> None:
        """What happens to the page between its pin and the first store."""

    async def _store(self, scene: Scene, pin: IoPin) -> None:
        for token in STORES:
            await scene.kernel.device_write(pin, scene.kernel.contents.token(token))


class SwappedMergeMeetsDma(MergeMeetsDma):
    """ksmd comes to a page that is pinned for a device, and has gone to the swap cache and come back since."""

    name = "litmus.swapped_merge_meets_dma"

    @override
    async def _after_pin(self, scene: Scene, a: Proc) -> None:
        scene.start_swap()
        await scene.to_swap_cache(a, 0)
        await scene.read(a, 0)


class WritebackMeetsMerge(Litmus):
    """A page is written by its process, and becomes a KSM page, while the swap device writes what it was before."""

    name = "litmus.writeback_meets_merge"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        b = await scene.process("B", 8)
        a = await scene.process("A", 8)
        await scene.scan()
        await scene.write(a, 0, 7)
        await scene.to_swap_cache(a, 0)
        scene.start_swap()
        await scene.concurrent({"thread/A": scene.store(a, 0, 8), "ksmd": scene.scan()})
        await scene.swap_out()
        for proc in (a, b):
            await scene.read(proc, 0)


class ForkMeetsPin(Litmus):
    """A process forks while a device pins one of its pages, stores to it, and is done with it."""

    name = "litmus.fork_meets_pin"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        came = await scene.concurrent({"thread/A": scene.fork(a, "B"), "dma": use_for_io(scene, a)})
        for proc in (a, came["thread/A"]):
            if proc is not None:
                await scene.store(proc, 0, 9)


class ForkMeetsUnpin(Litmus):
    """A process forks again and again; meanwhile a device lets its page go, which then moves to another node."""

    name = "litmus.fork_meets_unpin"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7, mergeable=False)
        page = await isolated(scene, a)
        pin = await scene.kernel.start_io(a.mm, a.start, False, dma=True)
        assert isinstance(pin, IoPin)
        await scene.concurrent({"thread/A": self._fork(scene, a), "dma": self._let_go(scene, page, pin)})

    async def _fork(self, scene: Scene, a: Proc) -> None:
        for name in "BCDEFG":
            await scene.kernel.fork(a.mm, name)

    async def _let_go(self, scene: Scene, page: Frame, pin: IoPin) -> None:
        await scene.kernel.end_io(pin)
        await try_to_move(scene, page, 1)
        await scene.kernel.lru_add_drain_all()  # which holds the old page, too


class ForkMeetsPinnedMove(Litmus):
    """A process forks while a page moves that a device has pinned; the device stores to it, and the process does."""

    name = "litmus.fork_meets_pinned_move"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        page = await isolated(scene, a)
        pin = await scene.kernel.start_io(a.mm, a.start, True, dma=True)
        assert isinstance(pin, IoPin)
        await scene.concurrent({"thread/A": self._fork(scene, a), "migrationd/1": try_to_move(scene, page, 1)})
        await scene.store(a, 0, 9)
        await scene.kernel.device_write(pin, scene.kernel.contents.token(8))
        await scene.kernel.end_io(pin)
        await scene.read(a, 0)

    async def _fork(self, scene: Scene, a: Proc) -> None:
        for name in "BC":
            await scene.kernel.fork(a.mm, name)


class WriteMeetsPin(Litmus):
    """A device pins a page to read it that a process shares with its child, while the process writes to it."""

    name = "litmus.write_meets_pin"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.fork(a, "B")
        await scene.concurrent({"thread/A": scene.store(a, 0, 8), "dma": self._read(scene, a)})

    async def _read(self, scene: Scene, a: Proc) -> None:
        pin = await scene.kernel.start_io(a.mm, a.start, False, dma=True)
        if isinstance(pin, IoPin):
            await scene.kernel.device_read(pin)
            await scene.kernel.end_io(pin)


class ReclaimOfFreedMeetsDma(Litmus):
    """Reclaim drops a page that a process has given up, while a device stores to it."""

    name = "litmus.reclaim_of_freed_meets_dma"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        await scene.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_FREE)
        await scene.concurrent({"kswapd/0": scene.to_swap_cache(a, 0), "dma": use_for_io(scene, a)})
        await scene.read(a, 0)


async def use_for_io(scene: Scene, a: Proc) -> None:
    """A device pins a page, stores to it, and is done with it."""
    pin = await scene.kernel.start_io(a.mm, a.start, True, dma=True)
    if isinstance(pin, IoPin):
        await scene.kernel.device_write(pin, scene.kernel.contents.token(8))
        await scene.kernel.end_io(pin)
