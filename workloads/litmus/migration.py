"""ksmd and a migration meet over one KSM page."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.parameters import Int


async def give_swap_slot(scene: Scene, proc: Proc, index: int) -> None:
    """A page is in the swap cache and mapped: reclaim has given it a slot, then it was accessed."""
    page = scene.frame(proc, index)
    await page.lock()
    await scene.kernel.add_to_swap(page)
    await page.unlock()


async def unmap_to_swap_cache(scene: Scene, proc: Proc, index: int) -> Frame:
    """A page of node 0 is nowhere mapped, and in the swap cache, on node 1 now: where it is."""
    await give_swap_slot(scene, proc, index)
    slot = scene.frame(proc, index).swap
    assert slot is not None, "it has just been given one"
    await scene.migrate(proc, index, 1)  # which leaves swap entries
    assert slot.page is not None, "swap entries name it"
    return slot.page


class ScanMeetsMigration(Litmus):
    """ksmd looks for the page of a stable node while the page moves to another node."""

    name = "litmus.scan_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        await scene.process("C", 7)
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": scene.move(a, 0, 1)})


class SearchMeetsMigration(Litmus):
    """ksmd has come to a page that is equal to a KSM page, and that moves to another node."""

    name = "litmus.search_meets_migration"

    swap_cache = Int(0, "whether the KSM page is in the swap cache, and nowhere mapped", high=1)

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        await scene.process("C", 7)
        await scene.batch(2)
        page = await unmap_to_swap_cache(scene, a, 0) if self.swap_cache else scene.frame(a, 0)
        migration = scene.kernel.migrate_frame(page, 1 - page.nid)
        await scene.concurrent({"ksmd": scene.batch(1), "migrationd/1": migration})


class RemovalMeetsMigration(Litmus):
    """ksmd passes over a mapping of a KSM page that is on its way to another node, or unmapped by that."""

    name = "litmus.removal_meets_migration"

    swap_cache = Int(0, "whether the KSM page is in the swap cache", high=1)

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7, 9)
        await scene.process("B", 7)
        await scene.scan(2)
        if self.swap_cache:
            await give_swap_slot(scene, a, 0)
        await scene.concurrent({"ksmd": scene.batch(1), "migrationd/1": scene.move(a, 0, 1)})


class FirstMergeMeetsMigration(Litmus):
    """ksmd makes a KSM page of two equal ones while the page moves to another node."""

    name = "litmus.first_merge_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan()
        await scene.batch(1)
        await scene.concurrent({"ksmd": scene.batch(1), "migrationd/1": scene.move(b, 0, 1)})


class UnmergeMeetsMigration(Litmus):
    """Everything is unmerged while the KSM page moves to another node."""

    name = "litmus.unmerge_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        page = scene.frame(a, 0)
        await scene.concurrent(
            {"unmerged/sysfs": scene.set("run", 2), "migrationd/1": scene.kernel.migrate_frame(page, 1)}
        )


class UnstableMeetsMigration(Litmus):
    """ksmd has come to a page whose place in the unstable tree lies behind a page that moves to another node."""

    name = "litmus.unstable_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 5)
        await scene.process("B", 7)
        await scene.scan()
        await scene.batch(1)
        page = scene.frame(a, 0)
        await scene.concurrent({"ksmd": scene.batch(1), "migrationd/1": scene.kernel.migrate_frame(page, 1)})


class MremapMeetsMigration(Litmus):
    """A process moves a mapping in its address space while the KSM page there moves to another node."""

    name = "litmus.mremap_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        await scene.scan(2)
        page = scene.frame(a, 0)
        mremap = scene.kernel.mremap(a.mm, a.start, PAGE_SIZE)
        await scene.concurrent({"thread/A": mremap, "migrationd/1": scene.kernel.migrate_frame(page, 1)})


class MunmapMeetsMigration(Litmus):
    """A process unmaps its only page while compaction moves it."""

    name = "litmus.munmap_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        page = scene.frame(a, 0)
        munmap = scene.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await scene.concurrent({"thread/A": munmap, "migrationd/0": scene.kernel.migrate_frame(page, 1)})
