"""A walk down a tree while another actor changes what it compares: the frame behind an entry, or the current page."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.structs import RmapItem
from ksmactors.litmus import Litmus, Proc, Scene
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame
from workloads.litmus.keyhole import item_of


async def shared(scene: Scene, token: int, *names: str) -> list[Proc]:
    """New processes that map a new KSM page."""
    procs = [await scene.process(name, token) for name in names]
    await scene.scan(2)
    return procs


class InsertionMeetsReuse(Litmus):
    """ksmd looks for the place of a new KSM page, while the frame of another one is freed and used again.

    The stable tree has a page of 50 at its root, between pages of 40 and 60. E's page of 30 has become a KSM page, and
    is to get its node. The page of 50 has no mappings any more; G has isolated it, for a migration, say, and gives it
    back. Its frame is the first to be used again: G gets it, full of zeros.
    """

    name = "litmus.insertion_meets_reuse"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        kernel = scene.kernel
        mapped = [await scene.process("A", 50), await scene.process("B", 50, 40, 40, 60, 60)]
        await scene.scan(2)
        e = await scene.process("E", 30)
        await scene.scan()
        page = scene.frame(mapped[0], 0)
        await page.get()
        for proc in mapped:
            await kernel.munmap(proc.mm, proc.start, PAGE_SIZE)
        kpage, item = scene.frame(e, 0), item_of(scene, e)
        await kernel.ksm_thread_mutex.lock()
        await kpage.get()
        error = await kernel.try_to_merge_with_ksm_page(item, kpage, None)
        assert not error
        await kernel.ksm_thread_mutex.unlock()
        came = await scene.concurrent({"ksmd": self._insert(scene, item, kpage), "thread/G": self._reuse(scene, page)})
        if scene.frame(e, 0).mapping is KSM_WITHOUT_NODE:  # no memory for a node, nor to undo the merge: H7, not this
            await scene.write(e, 0, 30)
        new = came["thread/G"]
        assert new is not None, "there was a page for it"
        await new.put()

    async def _insert(self, scene: Scene, item: RmapItem, kpage: Frame) -> None:
        """The second half of a merge, as ksmd does it for the page in hand."""
        kernel = scene.kernel
        await kernel.ksm_thread_mutex.lock()
        await kpage.lock()
        node = await kernel.stable_tree_insert(kpage)
        if node is not None:
            await kernel.stable_tree_append(item, node)
        await kpage.unlock()
        if node is None:
            await kernel.break_cow(item)
        await kpage.put()
        await kernel.ksm_thread_mutex.unlock()

    async def _reuse(self, scene: Scene, page: Frame) -> Frame:
        await page.put()
        new = await scene.kernel.alloc_page(page.nid)
        assert new is not None, "there is plenty"
        return new


class SearchMeetsWrite(Litmus):
    """A process writes the page that ksmd looks for in the stable tree, while ksmd is on its way down.

    The tree has pages of 3, 5 and 7. When ksmd last came to E's page it was 4, as F's is; it is 8 when the search
    begins, and 4 again before it has ended.
    """

    name = "litmus.search_meets_write"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        for token, names in ((5, "AB"), (3, "CD"), (7, "GH")):
            await shared(scene, token, *names)
        await scene.process("F", 4)
        e = await scene.process("E", 4)
        await scene.scan()
        await scene.batch(7)
        await scene.store(e, 0, 8)
        await scene.concurrent({"ksmd": scene.batch(1), "thread/E": scene.store(e, 0, 4)})


class InsertionMeetsEntryWrite(Litmus):
    """A process writes a page of the unstable tree that lies on ksmd's way to another entry.

    The tree has pages of 5, 3, 7 and 4, and ksmd comes to B's page, which is 4, too. D, whose page is 3, writes 6 while
    ksmd is on its way down: then ksmd goes to the left there, and A's page of 4 is on the right. C's page is the third
    of 4.
    """

    name = "litmus.insertion_meets_entry_write"
    least_nodes = 1

    @override
    async def run(self, scene: Scene) -> None:
        await scene.process("E", 5)
        d = await scene.process("D", 3)
        for name, token in (("F", 7), ("A", 4), ("B", 4), ("C", 4)):
            await scene.process(name, token)
        await scene.scan()
        await scene.batch(4)
        await scene.concurrent({"ksmd": scene.batch(1), "thread/D": scene.store(d, 0, 6)})
        await scene.scan(2)
