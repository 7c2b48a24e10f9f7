"""What the operations find by themselves, with no watcher watching: uses after free, misused links, deadlocks."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE, READ, WRITE
from ksmactors.ksm.index import ContentTree, InsertPosition
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import STABLE_FLAG, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.mm.const import MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Play, Stage, about_to, perform


async def merged_and_gone(s: Stage) -> None:
    """Pages are merged; one process writes, one exits, what is left is scanned."""
    a = await s.process("A", 1, 2)
    b = await s.process("B", 1, 2)
    c = await s.process("C", 1, 2)
    await s.scan(3)
    await s.write(a, 0, 5)
    await s.scan(1)
    await s.kernel.mmput(b.mm)
    await s.scan(1)
    await s.migrate(c, 1, 1)
    await s.farewell()


async def migrated_and_met(s: Stage) -> None:
    """With merge_across_nodes=0 merged pages move to the other node, and are met there by private ones and stale."""
    await s.set("merge_across_nodes", 0)
    b = await s.process("B", 9)
    a = await s.process("A", 1, 1, 2, 2, 3, 3)
    await s.scan(3)
    await s.migrate(a, 0, 1)
    await s.migrate(a, 2, 1)
    await s.write(b, 0, 2)  # meets the misplaced page before ksmd comes to A's
    await s.scan(2)
    await s.migrate(a, 4, 1)
    await s.kernel.munmap(a.mm, a.at(4), 2 * PAGE_SIZE)
    await s.process("C", 3)
    await s.scan(2)
    await s.farewell()


async def exit_at_the_cursor(s: Stage) -> None:
    """A process exits while the cursor is inside it."""
    a = await s.process("A", 1, 2)
    await s.process("B", 1, 2)
    await s.batch(1)
    await s.kernel.mmput(a.mm)
    await s.scan(1)


async def moved_away_between_two_looks(s: Stage) -> None:
    """S5a: a KSM page is migrated after ksmd has read kpfn and before it looks at the page's mapping."""
    a = await s.process("A", 1)
    await s.process("B", 1)
    await s.scan(2)
    await s.process("C", 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(READ, Frame, "mapping", inside="get_ksm_page"))
    await s.migrate(a, 0, 1)
    await s.finish(ksmd)
    await s.scan(1)


async def moved_away_between_two_stores(s: Stage) -> None:
    """S5b: ksmd looks a KSM page up between the two stores of a migration, whatever their order is."""
    a = await s.process("A", 1)
    await s.process("B", 1)
    await s.scan(2)
    await s.process("C", 1)
    migration = s.start("migration", s.migrate(a, 0, 1))
    await s.until(migration, about_to(WRITE, inside="ksm_migrate_page"))
    await s.until(migration, about_to(WRITE, inside="ksm_migrate_page"))
    ksmd = s.start("ksmd", s.scan())
    await s.go(ksmd)
    await s.finish(migration)
    await s.finish(ksmd)


async def locked_by_a_migration(s: Stage) -> None:
    """S3a: ksmd gets the lock of a KSM page that has just been migrated, while the new one is migrated again."""
    await s.process("Z", 1)
    a = await s.process("A", 1, 2)
    b = await s.process("B", 1)
    await s.scan(2)
    await s.kernel.munmap(a.mm, a.at(0), PAGE_SIZE)
    await s.batch(1)  # past Z
    migration = s.start("migration", s.migrate(b, 0, 1))
    await s.until(migration, about_to(WRITE, Frame, "content"))  # it has looked at the references
    ksmd = s.start("ksmd", s.scan())
    await s.blocks(ksmd)
    await s.finish(migration)
    again = s.start("again", s.migrate(b, 0, 0))
    await s.until(again, about_to(ACQUIRE, b.mm.page_table_lock, inside="try_to_unmap"))
    await s.go(ksmd)
    await s.finish(again)
    await s.finish(ksmd)


async def item_removed_during_a_migration(s: Stage) -> None:
    """S3b: ksmd passes over a mapping that is a migration entry at the moment, and takes its item off the node."""
    a = await s.process("A", 1, 2)
    await s.process("B", 1)
    await s.scan(2)
    migration = s.start("migration", s.migrate(a, 0, 1))
    await s.until(migration, about_to(WRITE, Frame, "content"))
    ksmd = s.start("ksmd", s.scan())
    await s.go(ksmd)
    await s.finish(migration)
    await s.finish(ksmd)
    assert await s.read(a, 0) is s.kernel.contents.token(1)


async def advice_during_a_scan(s: Stage) -> None:
    """A process gives advice while ksmd is about to take its mmap_sem."""
    a = await s.process("A", 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem))
    adviser = s.start("adviser", s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_UNMERGEABLE))
    await s.go(adviser)
    await s.go(ksmd)


async def exit_during_a_scan(s: Stage) -> None:
    """A process exits while ksmd is inside its page tables, and then another."""
    a = await s.process("A", 1)
    b = await s.process("B", 2)
    await s.scan(1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.page_table_lock))
    for proc in (a, b):
        await s.go(s.start("exit", s.kernel.mmput(proc.mm)))
    await s.go(ksmd)


class PutsTwice(Ksm):
    async def merge_with_found(self, item: RmapItem, page: Frame, kpage: Frame, node: StableNode | None) -> None:
        await super().merge_with_found(item, page, kpage, node)
        await page.put()


class StaleAtFirstMismatch(Ksm):
    async def get_ksm_page(self, node: StableNode, *, lock: bool) -> Frame | None:
        page = self.pfn_to_page((await self.read_kpfn(node))[0])
        if await self.get_page_if_of_node(page, node, lock):
            return page
        await self.remove_node_from_stable_tree(node)
        return None


class StoresInTheWrongOrder(Ksm):
    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        node = newpage.stable_node
        if isinstance(node, StableNode):
            self.ksm_epoch += 1
            await oldpage.set_mapping(None)
            await self.conductor.point(WRITE, node, "kpfn")
            node.must_be_alive()
            node.kpfn = newpage.pfn


class NoCheckAfterLocking(Ksm):
    async def get_page_if_of_node(self, page: Frame, node: StableNode, lock: bool) -> bool:
        taken = await super().get_page_if_of_node(page, node, False)
        if taken and lock:
            await page.lock()
        return taken


class NoLockWhenLeaving(Ksm):
    async def leave_stable_node(self, item: RmapItem) -> None:
        node = item.head
        assert node is not None
        page = await self.get_ksm_page(node, lock=False)
        if page is not None:
            node.hlist_del(item)
            await page.put()
            self.ksm_pages_sharing -= node.first is not None
            self.ksm_pages_shared -= node.first is None
            item.anon_vma.put()
            item.flag = 0
            self.item_left_node(item)


class FreedOnItsNode(Ksm):
    async def remove_rmap_item_from_tree(self, item: RmapItem) -> None:
        if item.flag != STABLE_FLAG:
            await super().remove_rmap_item_from_tree(item)


class ExitIgnoresTheCursor(Ksm):
    async def ksm_exit(self, mm: AddressSpace) -> None:
        slot = self.mm_slots_hash.pop(mm.number)
        slot.unlink()
        self.free_mm_slot(slot)
        self.mmdrop(mm)


class SlotHoldsNothing(Ksm):
    async def ksm_enter(self, mm: AddressSpace) -> int:
        failed = await super().ksm_enter(mm)
        mm.count -= 1
        return failed


class ItemHoldsNothing(Ksm):
    async def stable_tree_append(self, item: RmapItem, node: StableNode | None) -> None:
        await super().stable_tree_append(item, node)
        item.anon_vma.put()


class AppendsToNoNode(Ksm):
    async def page_stable_node(self, page: Frame) -> StableNode | None:
        return None


class RootByKpfn(Ksm):
    async def stable_tree_erase(self, node: StableNode) -> None:
        root = self.root_stable_tree[self.get_kpfn_nid(node.kpfn)]
        await self.conductor.point(WRITE, root)
        root.unlink(node, self.ksm_epoch)


class MovedWhileLinked(Ksm):
    async def stable_tree_erase(self, node: StableNode) -> None:
        await self.conductor.point(WRITE, self.root_stable_tree[node.nid])


class TakenOffTwice(Ksm):
    async def stable_node_from_migrate_nodes(self, node: StableNode) -> None:
        await super().stable_node_from_migrate_nodes(node)
        await super().stable_node_from_migrate_nodes(node)


class ReplacesTheErased(Ksm):
    async def replace_misplaced(
        self, root: ContentTree[StableNode], entry: StableNode, page: Frame, page_node: StableNode | None
    ) -> Frame | None:
        root.unlink(entry, self.ksm_epoch)
        root.replace(entry, StableNode(99))
        return None


class LinksTwice(Ksm):
    async def take_tree_position(
        self, root: ContentTree[StableNode], place: InsertPosition, page: Frame, page_node: StableNode | None
    ) -> Frame | None:
        taken = await super().take_tree_position(root, place, page, page_node)
        if page_node is not None:
            root.link(page_node, place, page.content, self.ksm_epoch)
        return taken


class AnonVmaOverNid(Ksm):
    """P6 with V9's overlay (D2): the anon_vma is stored while the item is still in the unstable tree."""

    async def try_to_merge_one_page(self, vma: Vma, page: Frame, kpage: Frame | None) -> int:
        result = await super().try_to_merge_one_page(vma, page, kpage)
        for root in self.root_unstable_tree:
            for item in root:
                if result == 0 and vma.anon_vma is not None and item.mm is vma.mm:
                    item.anon_vma = vma.anon_vma
        return result


class AdviceTakesTheMutex(Ksm):
    """L1 broken: the mutex inside mmap_sem."""

    async def ksm_madvise(self, vma: Vma, start: int, end: int, advice: int) -> tuple[int, bool]:
        await self.ksm_thread_mutex.lock()
        result = await super().ksm_madvise(vma, start, end, advice)
        await self.ksm_thread_mutex.unlock()
        return result


class ExitSleepsUnderTheListLock(Ksm):
    """L5 broken."""

    async def ksm_exit(self, mm: AddressSpace) -> None:
        await self.ksm_mmlist_lock.lock()
        await mm.down_write()
        await mm.up_write()
        await self.ksm_mmlist_lock.unlock()
        await super().ksm_exit(mm)


CONVICTED: list[tuple[str, type[Ksm], Play]] = [
    ("lifetime/use_after_free_frame@ksm_do_scan", PutsTwice, merged_and_gone),
    ("lifetime/use_after_free_stable_node@cmp_and_merge_page", StaleAtFirstMismatch, moved_away_between_two_looks),
    ("lifetime/use_after_free_stable_node@ksm_migrate_page", StoresInTheWrongOrder, moved_away_between_two_stores),
    ("lifetime/use_after_free_rmap_item@rmap_walk_ksm", NoCheckAfterLocking, locked_by_a_migration),
    ("structure/stranded_migration_entry@migration_entry_to_page", NoLockWhenLeaving, item_removed_during_a_migration),
    ("lifetime/use_after_free_rmap_item@rmap_walk_ksm", FreedOnItsNode, merged_and_gone),
    ("lifetime/use_after_free_mm_slot@scan_get_next_rmap_item", ExitIgnoresTheCursor, exit_at_the_cursor),
    ("lifetime/use_after_free_mm@scan_get_next_rmap_item", SlotHoldsNothing, exit_at_the_cursor),
    ("lifetime/use_after_free_anon_vma@remove_rmap_item_from_tree", ItemHoldsNothing, merged_and_gone),
    ("lifetime/null_dereference@stable_tree_append", AppendsToNoNode, merged_and_gone),
    ("structure/rb_erase_of_nonmember@stable_tree_erase", RootByKpfn, migrated_and_met),
    ("structure/union_misuse@stable_node_to_migrate_nodes", MovedWhileLinked, migrated_and_met),
    ("structure/list_del_of_nonmember@stable_node_from_migrate_nodes", TakenOffTwice, migrated_and_met),
    ("structure/rb_replace_of_nonmember@stable_tree_search", ReplacesTheErased, migrated_and_met),
    ("structure/linked_twice@stable_tree_search", LinksTwice, migrated_and_met),
    ("structure/union_misuse@unstable_tree_erase", AnonVmaOverNid, merged_and_gone),
    ("deadlock/deadlock@ksm_madvise+scan_get_next_rmap_item", AdviceTakesTheMutex, advice_during_a_scan),
    ("lock_order/sleeping_under_spinlock@ksm_exit", ExitSleepsUnderTheListLock, exit_during_a_scan),
]
"""A signature, a kernel that an operation reports by it, and in which program."""

PROGRAMS = sorted({program for _, _, program in CONVICTED}, key=lambda program: program.__name__)


@pytest.mark.parametrize(("signature", "layer", "program"), CONVICTED)
def test_convicts_unwatched(signature: str, layer: type[Ksm], program: Play) -> None:
    """The operation that meets the damage reports it although no watcher watches."""
    with pytest.raises(Finding) as found:
        perform(program, layer=layer, watchers=())
    assert found.value.signature == signature


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_silent(program: Play) -> None:
    """The same programs pass on the unbroken kernel, with all watchers watching."""
    perform(program)
