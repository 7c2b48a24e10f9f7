"""A step of ksmd and a step of another actor over a KSM page that one process maps, small enough to be enumerated.

Where the other litmus tests run whole scans beside whole migrations, here the host prepares all that can be
prepared, and the actors do only what the protocol between them is about, with the locks that they do it under. So all
schedules can be gone through. The migrations try once: each of the ten tries of `migrate_pages` is like the others.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import closing
from typing import Any

from typing_extensions import override

from ksmactors.ksm.structs import RmapItem, StableNode
from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import EAGAIN, PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.parameters import Int
from workloads.litmus.migration import give_swap_slot, unmap_to_swap_cache
from workloads.litmus.nodes import ByNode


async def merged(scene: Scene) -> Proc:
    """A process with a KSM page that no other process maps any more; ksmd is about to start a scan."""
    a = await scene.process("A", 7)
    b = await scene.process("B", 7)
    await scene.scan(2)
    await scene.exit(b)
    await scene.scan()
    return a


def node_of(scene: Scene, proc: Proc) -> StableNode:
    """The stable node of a process's page."""
    node = scene.frame(proc, 0).stable_node
    assert isinstance(node, StableNode), "it is a KSM page"
    return node


def item_of(scene: Scene, proc: Proc) -> RmapItem:
    """The rmap_item of a process's page."""
    item = scene.kernel.mm_slots_hash[proc.mm.number].rmap_list
    assert item is not None, "ksmd has come past"
    return item


async def isolated(scene: Scene, proc: Proc) -> Frame:
    """A process's page, off the LRU as migrations want it."""
    page = scene.frame(proc, 0)
    is_isolated = await scene.kernel.isolate_lru_page(page)
    assert is_isolated
    return page


async def try_to_move(scene: Scene, page: Frame, nid: int) -> None:
    """The last try of `migrate_pages`, which waits for the page lock, on an isolated page."""
    if await scene.kernel.unmap_and_move(page, nid, force=True, exactly=True) == -EAGAIN:
        await scene.kernel.putback_lru_page(page)


async def isolate_and_move(scene: Scene, page: Frame, nid: int) -> None:
    """The same, from the start."""
    if not await page.get_unless_zero():
        return
    mine = await scene.kernel.isolate_lru_page(page)
    await page.put()
    if mine:
        await try_to_move(scene, page, nid)


async def meet_locked_move(scene: Scene, proc: Proc, name: str, part: Coroutine[Any, Any, Any]) -> None:
    """Run `part` beside the part of a migration to node 1 that holds the page lock; the host does the rest."""
    kernel = scene.kernel
    with closing(part):  # the schedule may end before it runs
        page = await isolated(scene, proc)
        new = await kernel.alloc_page(1, exactly=True)
        assert new is not None, "there is plenty"
        came = await scene.concurrent({name: part, "migrationd/1": kernel.unmap_and_move_locked(page, new, True)})
    await kernel.putback_lru_page(page)
    if came["migrationd/1"]:
        await new.put()
    else:
        await kernel.putback_lru_page(new)


class GetPageMeetsMigration(Litmus):
    """get_ksm_page meets a migration of that page."""

    name = "litmus.get_page_meets_migration"

    lock = Int(0, "whether it is to lock the page", high=1)
    swap_cache = Int(0, "whether the page is in the swap cache, and nowhere mapped", high=1)

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        node = node_of(scene, a)
        if self.swap_cache:
            page = await unmap_to_swap_cache(scene, a, 0)
            is_isolated = await scene.kernel.isolate_lru_page(page)
            assert is_isolated
        else:
            page = await isolated(scene, a)
        await scene.concurrent(
            {"ksmd": self._look(scene, node), "migrationd/1": try_to_move(scene, page, 1 - page.nid)},
        )

    async def _look(self, scene: Scene, node: StableNode) -> None:
        kernel = scene.kernel
        await kernel.ksm_thread_mutex.lock()
        page = await kernel.get_ksm_page(node, lock=bool(self.lock))
        if page is not None:
            if self.lock:
                await page.unlock()
            await page.put()
        await kernel.ksm_thread_mutex.unlock()


class TakingOffMeetsMigration(Litmus):
    """An rmap_item is taken off its stable node while the page moves to another node."""

    name = "litmus.taking_off_meets_migration"

    swap_cache = Int(0, "whether the page is in the swap cache, and nowhere mapped", high=1)

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        item = item_of(scene, a)
        if self.swap_cache:
            page = await unmap_to_swap_cache(scene, a, 0)
            is_isolated = await scene.kernel.isolate_lru_page(page)
            assert is_isolated
        else:
            page = await isolated(scene, a)
        await scene.concurrent(
            {"ksmd": self._take_off(scene, item), "migrationd/1": try_to_move(scene, page, 1 - page.nid)},
        )

    async def _take_off(self, scene: Scene, item: RmapItem) -> None:
        await scene.kernel.ksm_thread_mutex.lock()
        await scene.kernel.remove_rmap_item_from_tree(item)
        await scene.kernel.ksm_thread_mutex.unlock()


class VisitMeetsMigration(Litmus):
    """ksmd comes to one page, which is equal to a KSM page that moves to another node."""

    name = "litmus.visit_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        await scene.process("C", 7)
        await scene.batch(1)
        await meet_locked_move(scene, a, "ksmd", scene.batch(1))


class SearchMeetsMove(Litmus):
    """ksmd looks for the equal of a page that a write has just parted from a KSM page, while that one moves away.

    Later kernels search at the first visit only if the checksum is the one that they know, as it is here.
    """

    name = "litmus.search_meets_move"

    @override
    async def run(self, scene: Scene) -> None:
        a = await scene.process("A", 7)
        c = await scene.process("C", 7)
        await scene.scan(2)
        await scene.write(c, 0, 7)
        item, page = item_of(scene, c), scene.frame(c, 0)
        await scene.kernel.remove_rmap_item_from_tree(item)
        await page.get()
        await meet_locked_move(scene, a, "ksmd", self._search(scene, item, page))
        await page.put()

    async def _search(self, scene: Scene, item: RmapItem, page: Frame) -> None:
        await scene.kernel.ksm_thread_mutex.lock()
        await scene.kernel.cmp_and_merge_page(page, item)
        await scene.kernel.ksm_thread_mutex.unlock()


class ReturnMeetsMigration(ByNode):
    """ksmd comes back to a KSM page while it moves to another node."""

    name = "litmus.return_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        await meet_locked_move(scene, a, "ksmd", scene.batch(1))


class PairMeetsMigration(Litmus):
    """ksmd makes a KSM page of two equal ones while one of them moves to another node."""

    name = "litmus.pair_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("A", 7)
        b = await scene.process("B", 7)
        await scene.scan()
        await scene.batch(1)
        page = scene.frame(b, 0)
        await scene.concurrent({"ksmd": scene.batch(1), "migrationd/1": isolate_and_move(scene, page, 1)})


class BreakingMeetsMigration(Litmus):
    """Everything is unmerged while the only KSM page moves to another node."""

    name = "litmus.breaking_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        await meet_locked_move(scene, a, "unmerged/sysfs", scene.set("run", 2))


class BreakingMeetsUnmapping(Litmus):
    """Everything is unmerged while reclaim unmaps the only KSM page, which is in the swap cache."""

    name = "litmus.breaking_meets_unmapping"

    @override
    async def run(self, scene: Scene) -> None:
        scene.has_swap = True  # a device without writes: what is left in the cache is freed at the end
        a = await merged(scene)
        await give_swap_slot(scene, a, 0)
        page = scene.frame(a, 0)
        await page.get()  # the reference of who has isolated it
        await scene.concurrent({"unmerged/sysfs": scene.set("run", 2), "kswapd/0": self._unmap(scene, page)})
        await page.put()

    async def _unmap(self, scene: Scene, page: Frame) -> None:
        await page.lock()
        await scene.kernel.try_to_unmap(page, reclaim=True)
        await page.unlock()


class BreakingMeetsFault(Litmus):
    """Everything is unmerged while a process touches the only KSM page, which is in the swap cache."""

    name = "litmus.breaking_meets_fault"

    @override
    async def run(self, scene: Scene) -> None:
        scene.has_swap = True  # a device without writes: what is left in the cache is freed at the end
        a = await merged(scene)
        await unmap_to_swap_cache(scene, a, 0)
        await scene.concurrent(
            {"unmerged/sysfs": scene.set("run", 2), "fault/A": scene.kernel.fault(a.mm, a.start, False)}
        )


class PruningMeetsExit(ByNode):
    """get_ksm_page of a page that has moved to another node meets the exit of the only process that maps it."""

    name = "litmus.pruning_meets_exit"

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        node = node_of(scene, a)
        await scene.migrate(a, 0, 1)
        await scene.concurrent({"ksmd": self._prune(scene, node), "exit/A": scene.exit(a)})

    async def _prune(self, scene: Scene, node: StableNode) -> None:
        await scene.kernel.ksm_thread_mutex.lock()
        page = await scene.kernel.get_ksm_page(node, lock=False)
        if page is not None:
            await page.put()
        await scene.kernel.ksm_thread_mutex.unlock()


class MovingMeetsMigration(Litmus):
    """A process moves its mapping of the only KSM page in its address space while the page moves to another node."""

    name = "litmus.moving_meets_migration"

    @override
    async def run(self, scene: Scene) -> None:
        a = await merged(scene)
        await meet_locked_move(scene, a, "thread/A", scene.kernel.mremap(a.mm, a.start, PAGE_SIZE))
