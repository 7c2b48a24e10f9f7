"""What kernels without one commit of the series do that no case shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from ksmactors.campaign.corpus import show, signature_of
from ksmactors.errors import Finding
from ksmactors.history import COMMITS
from ksmactors.history.cases import CASES
from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.const import EBUSY, ENOENT
from ksmactors.mm.content import Content
from ksmactors.mm.frame import KSM_WITHOUT_NODE
from tests.helpers.directed import Stage, perform


class TestBefore:
    """What a kernel without one commit does that no case shows, or not all of it."""

    def test_a_node_is_linked_before_it_is_filled(self) -> None:
        """S1: when a new stable node is linked it has no frame number yet; with the commit it has."""
        seen: list[bool] = []

        class Spy(Ksm):
            async def stable_tree_link(
                self, root: ContentTree[StableNode], node: StableNode, place: InsertPosition, content: Content
            ) -> None:
                seen.append(bool(node.kpfn))
                await super().stable_tree_link(root, node, place, content)

        async def play(s: Stage) -> None:
            for name in "AB":
                await s.process(name, 7)
            await s.scan(2)

        perform(play, layer=Spy)
        perform(play, layer=Spy, without=("trivial-tidyups",))
        assert seen == [True, False]

    @pytest.mark.parametrize(("without", "looks"), [((), 4), (("reorganize-check-stable-tree",), 8)])
    def test_how_often_the_trees_are_looked_at(self, without: tuple[str, ...], looks: int) -> None:
        """S2: two nodes to remove from tree 1, two live ones in tree 0: each removal costs a walk through tree 0."""
        seen: list[int] = []

        async def play(s: Stage) -> None:
            await s.set("merge_across_nodes", 0)
            for name in "AB":
                await s.process(name, 7, 8)
            gone = [await s.process(name, 7, 8, nid=1) for name in "CD"]
            await s.scan(2)
            pfns = s.kernel.memory_block(s.frame(gone[0], 0).pfn)
            for proc in gone:
                await s.exit(proc)
            s.kernel.node_listeners["checked"].append(lambda node: seen.append(node.nid))
            assert await s.kernel.offline_pages(pfns) == 0
            assert s.kernel.root_stable_tree[1].root is None

        watchers = ["naming", "trees"]
        perform(play, without=without, watchers=watchers)
        assert len(seen) == looks

    def test_the_classic_oops(self) -> None:
        """S4 and S6 undone: a node that has outlived run=2 is erased from the tree of the new rule, where it is not."""

        async def play(s: Stage) -> None:
            s.start_swap()
            a = await s.process("A", 7, nid=1)
            await s.process("B", 7, nid=1)
            await s.scan(2)
            await s.to_swap_cache(a, 0)
            assert await s.set("run", 2) == 0
            assert await s.set("merge_across_nodes", 0) == 0
            await s.swap_out()
            assert await s.set("run", 1) == 0
            await s.process("C", 7)
            await s.scan(2)

        watchers = ["shadow", "lifetime"]
        perform(play, watchers=watchers)
        perform(play, watchers=watchers, kernel="v3.9", without=("remove-old-stable-nodes",))
        with pytest.raises(Finding, match=r"is erased from root_stable_tree\[1\], in which it is not"):
            perform(
                play, watchers=watchers, kernel="v3.9",
                without=("remove-old-stable-nodes", "merge-across-nodes-migration"),
            )  # fmt: skip

    def test_the_old_page_forgets_nothing(self) -> None:
        """S5: ksm_migrate_page stores the new frame number, and leaves the old page's mapping alone."""

        async def play(s: Stage) -> None:
            a = await s.process("A", 7)
            await s.process("B", 7)
            await s.scan(2)
            kernel, old = s.kernel, s.frame(a, 0)
            node = old.stable_node
            assert isinstance(node, StableNode)
            new = await kernel.alloc_page(1)
            assert new is not None
            new.mapping = old.mapping
            await kernel.ksm_migrate_page(new, old)
            assert node.kpfn == new.pfn
            kept.append(old.mapping is node.mapping)
            assert kept[-1] or old.mapping is KSM_WITHOUT_NODE

        kept: list[bool] = []
        perform(play, watchers=())
        perform(play, without=("ksm-page-migration",), watchers=())
        assert kept == [False, True]

    def test_a_merged_page_is_not_visited(self) -> None:
        """S6: ksmd passes by pages that are merged already, wherever they are by now: nothing is ever exiled."""

        async def play(s: Stage) -> None:
            await s.set("merge_across_nodes", 0)
            a = await s.process("A", 7)
            await s.process("B", 7)
            await s.scan(2)
            await s.migrate(a, 0, 1)
            await s.scan(2)
            (node,) = [node for root in s.kernel.root_stable_tree for node in root]
            trees.append(node.nid)

        trees: list[int] = []
        perform(play, watchers=())
        perform(play, without=("merge-across-nodes-migration",), watchers=())
        assert trees == [1, 0]

    def test_who_may_migrate_a_ksm_page(self) -> None:
        """R4: nobody; hot-remove only if it is in the swap cache. A page that is no KSM page moves as ever."""

        async def play(s: Stage) -> None:
            s.start_swap()
            a = await s.process("A", 7, 9)
            await s.process("B", 7)
            await s.scan(2)
            page = s.frame(a, 0)
            assert await s.move(a, 0, 1) == -ENOENT
            assert await s.kernel.migrate_frame(page, 1) == -EBUSY
            assert await s.move(a, 1, 1) == 1
            assert await s.kernel.offline_pages(s.kernel.memory_block(page.pfn)) == -EBUSY
            assert s.frame(a, 0) is page
            await page.lock()
            await s.kernel.add_to_swap(page)
            await page.unlock()
            assert await s.kernel.migrate_frame(page, 1) == -EBUSY
            await s.kernel.lru_add_drain_all()
            await s.kernel.migrate_away(page)
            assert await s.read(a, 0) is s.kernel.contents.token(7)
            assert s.frame(a, 0) is not page

        perform(play, without=("enable-ksm-page-migration",))

    @pytest.mark.parametrize(("without", "held"), [((), False), (("stop-hotremove-lockdep-warning",), True)])
    def test_what_hot_remove_holds(self, without: tuple[str, ...], held: bool) -> None:
        """R5: ksm_thread_mutex, while it migrates; ksmd waits for it, in one way or the other."""
        seen: list[bool] = []

        async def play(s: Stage) -> None:
            a = await s.process("A", 7, nid=1)
            await s.scan()
            pfns = s.kernel.memory_block(s.frame(a, 0).pfn)
            s.kernel.pte_listeners.append(lambda *_: seen.append(s.kernel.ksm_thread_mutex.owner is not None))
            hotplug = s.start("hotplug", s.kernel.offline_pages(pfns))
            assert await s.finish(hotplug) == 0

        perform(play, without=without, watchers=())
        assert seen
        assert set(seen) == {held}

    def test_two_fields_instead_of_one(self) -> None:
        """R6: an rmap_item tells its unstable tree and its anon_vma at the same time; with the commit it cannot."""
        seen: list[tuple[int, bool]] = []

        async def play(s: Stage) -> None:
            for name in "AB":
                await s.process(name, 7)
            await s.scan(2)
            for node in s.kernel.root_stable_tree[0]:
                seen.extend((item.nid, item.anon_vma is not None) for item in node.hlist())

        perform(play, without=("shrink-rmap-item",))
        assert seen == [(0, True), (0, True)]
        with pytest.raises(Finding, match="nid is read while anon_vma is stored there"):
            perform(play)

    def test_all_trees_are_in_use(self) -> None:
        """R7: whatever the knob is, loops go over the trees of all nodes, and changing it needs no memory."""

        async def play(s: Stage) -> None:
            for value in (0, 1):
                assert s.kernel.ksm_nr_node_ids == 2
                assert await s.set("merge_across_nodes", value) == 0
            assert s.kernel.ksm_nr_node_ids == 2

        perform(play, without=("allocate-roots",))

    @pytest.mark.parametrize("name", ["S3", "S5", "S5e"])
    def test_without_migration_the_rest_is_not_missed(self, name: str) -> None:
        """Before the series nobody could migrate a KSM page, so what S3 and S5 guard against could not happen."""
        shown = trio.run(show, replace(CASES[name], with_=(), without=tuple(COMMITS)))

        assert signature_of(shown.outcome) == ""
