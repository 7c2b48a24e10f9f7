"""What v3.9 still had: meetings that take some bad luck."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.litmus import Litmus, Scene
from ksmactors.mm.const import MADV_FREE, PAGE_SIZE
from ksmactors.mm.frame import Frame
from workloads.litmus.chains import limit_sharing
from workloads.litmus.exit import look_for_lost_mappings
from workloads.litmus.migration import unmap_to_swap_cache
from workloads.litmus.nodes import ByNode


class CollisionMeetsMigration(ByNode):
    """A KSM page moves to a node where an equal one is, while ksmd scans."""

    name = "litmus.collision_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        await scene.process("B", 7)
        for name in ("C", "D"):
            await scene.process(name, 7, nid=1)
        await scene.scan(2)
        await scene.concurrent({"ksmd": scene.scan(), "migrationd/1": scene.move(a, 0, 1)})


class SearchMeetsMigrations(Litmus):
    """ksmd searches the stable tree while the page that is in it moves to another node, and back into its old frame.

    The page is in the swap cache, and nowhere mapped: that makes a migration short. Each search looks at it once.
    """

    name = "litmus.search_meets_migrations"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.exit(b)
        await scene.scan()
        await scene.process("C", *range(10, 18))
        await scene.scan()  # their checksums are known: kernels since v6.12 search at the second visit only
        await scene.batch(1)
        to_and_fro = self._to_and_fro(scene, await unmap_to_swap_cache(scene, a, 0))
        await scene.concurrent({"ksmd": scene.batch(8), "migrationd/1": to_and_fro})

    async def _to_and_fro(self, scene: Scene, page: Frame) -> None:
        slot = page.swap
        for nid in (0, 1, 0, 1):
            assert slot is not None
            assert slot.page is not None, "it is in the swap cache all the time"
            await scene.kernel.migrate_frame(slot.page, nid)
            await scene.kernel.lru_add_drain_all()  # the frame that was left is the first to be used again


class ScanMeetsSwitchBack(ByNode):
    """merge_across_nodes becomes 0 again in the middle of a scan; a page of the other node has been unmapped."""

    name = "litmus.scan_meets_switch_back"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 2, nid=1)
        await scene.process("B", 1, 3, nid=1)
        await scene.scan(2)
        await scene.set("merge_across_nodes", 1)
        await scene.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await scene.concurrent({"ksmd": self._batches(scene), "admin": scene.set("merge_across_nodes", 0)})

    async def _batches(self, scene: Scene) -> None:
        await scene.batch(1)
        await scene.scan()


class ScanMeetsFailedUnmerge(Litmus):
    """Everything is to be unmerged in the middle of a scan, for which the memory does not suffice."""

    name = "litmus.scan_meets_failed_unmerge"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 1, 2, 2, 3)
        await scene.scan()
        await scene.batch(3)
        await scene.concurrent({"ksmd": scene.scan(), "unmerged/sysfs": scene.set("run", 2)})


class FreedNodeMeetsWrite(Litmus):
    """The last writes a page that was merged, while ksmd comes past and makes another KSM page.

    A had merged its page with B's. It has written it since, and forked a child, E, which ksmd comes to before A.
    """

    name = "litmus.freed_node_meets_write"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("D", 4)
        a = await scene.process("A", 7, 9)
        b = await scene.process("B", 7)
        await scene.scan(2)
        await scene.batch(2)
        await scene.write(a, 0, 4)
        await scene.fork(a, "E")  # is put before A, which the cursor is in
        await scene.batch(3)
        await scene.concurrent({"ksmd": scene.scan(2), "thread/B": scene.store(b, 0, 5)})


class AdviceMeetsScan(Litmus):
    """A process that has forked takes its advice back while ksmd comes to the child, which maps the same pages.

    The pages are equal, so ksmd makes a KSM page of one of them where it is, and the parent maps that, too.
    """

    name = "litmus.advice_meets_scan"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7, 7)
        await scene.fork(a, "B")
        await scene.scan()
        came = await scene.concurrent({"ksmd": scene.scan(), "thread/A": scene.unmergeable(a, pages=2)})
        if not came["thread/A"]:  # else there was no memory: A's mappings are still ksmd's to visit
            look_for_lost_mappings(scene)


class FullPageMeetsMigration(ByNode):
    """A KSM page with one mapping moves to a node whose equal page has no room, while ksmd scans."""

    name = "litmus.full_page_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        await limit_sharing(scene)
        a = await scene.process("A", 7, 7)
        await scene.process("B", 7, 7, nid=1)
        await scene.scan(3)
        await scene.write(a, 1, 8)
        await scene.concurrent({"ksmd": scene.scan(2), "migrationd/1": scene.move(a, 0, 1)})


class MergeMeetsReclaimOfFreed(Litmus):
    """A process gives up a KSM page that it alone maps, ksmd merges another one into it, and all is reclaimed."""

    name = "litmus.merge_meets_reclaim_of_freed"

    @override
    async def run(self, scene: Scene) -> None:
        scene.start_swap()
        a = await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan(3)
        await scene.exit(b)
        c = await scene.process("C", 7)
        giving_up = scene.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_FREE)
        await scene.concurrent({"ksmd": scene.scan(3), "thread/A": giving_up})
        await scene.swap_out()
        await scene.read(c, 0)
