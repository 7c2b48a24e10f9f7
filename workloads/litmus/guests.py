"""Guests, which reach memory through secondary mappings, at pages that are merged."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import MADV_DONTNEED, MADV_FREE, PAGE_SIZE

STORES = (7, 7, 8)
"""What the guest stores, one after the other: the page stays equal to others for a while."""

LOADS = 6
"""How often the guest reads its page: some reads find it mapped, others fault."""


class MergeMeetsGuest(Litmus):
    """ksmd merges a page that a guest has mapped, and that it writes meanwhile."""

    name = "litmus.merge_meets_guest"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("B", 7, 7)
        await scene.scan(2)
        a = await scene.process("A", 7)
        await self._boot(scene, a)
        await scene.concurrent({"ksmd": scene.scan(2), "vcpu/A": self._guest(scene, a)})
        await scene.guest_load(a, 0)
        await scene.read(a, 0)

    async def _boot(self, scene: Scene, a: Proc) -> None:
        """What the guest has done before ksmd comes past."""
        await scene.guest_store(a, 0, 7)

    async def _guest(self, scene: Scene, a: Proc) -> None:
        """What the guest does while ksmd comes past."""
        for token in STORES:
            await scene.guest_store(a, 0, token)


class MergeMeetsGuestFault(MergeMeetsGuest):
    """ksmd merges a page while a guest faults it in, to read it."""

    name = "litmus.merge_meets_guest_fault"

    @override
    async def _boot(self, scene: Scene, a: Proc) -> None:
        """Nothing: the guest has no mapping yet."""

    @override
    async def _guest(self, scene: Scene, a: Proc) -> None:
        for _ in range(LOADS):
            await scene.guest_load(a, 0)


class ForkMeetsGuest(MergeMeetsGuest):
    """A process forks while its guest writes to a page."""

    name = "litmus.fork_meets_guest"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await self._boot(scene, a)
        came = await scene.concurrent({"thread/A": scene.fork(a, "B"), "vcpu/A": self._guest(scene, a)})
        for proc in (a, came["thread/A"]):
            if proc is not None:
                await scene.read(proc, 0)


class RemapMeetsGuest(MergeMeetsGuest):
    """A process gives a page up, writes another, and moves it, while its guest writes there."""

    name = "litmus.remap_meets_guest"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await self._boot(scene, a)
        await scene.concurrent({"thread/A": self._remap(scene, a), "vcpu/A": self._guest(scene, a)})

    async def _remap(self, scene: Scene, a: Proc) -> None:
        await scene.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_DONTNEED)
        await scene.store(a, 0, 8)
        await scene.kernel.mremap(a.mm, a.start, PAGE_SIZE)


class ReclaimOfFreedMeetsGuest(MergeMeetsGuest):
    """Reclaim drops a page that a process has given up, while its guest writes to it."""

    name = "litmus.reclaim_of_freed_meets_guest"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        await self._boot(scene, a)
        await scene.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_FREE)
        await scene.concurrent({"kswapd/0": scene.to_swap_cache(a, 0), "vcpu/A": self._guest(scene, a)})
        await scene.guest_load(a, 0)
        await scene.read(a, 0)


class WriteMeetsGuest(MergeMeetsGuestFault):
    """A process writes to a page that it shares with its child, while its guest reads it."""

    name = "litmus.write_meets_guest"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.fork(a, "B")
        await scene.concurrent({"thread/A": scene.store(a, 0, 8), "vcpu/A": self._guest(scene, a)})
        await scene.read(a, 0)
