"""Merges that must not happen, or not now: what ksmd finds changed at each step."""

from __future__ import annotations

import pytest

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, WRITE
from ksmactors.ksm.structs import STABLE_FLAG
from ksmactors.mm.const import MADV_DONTNEED, MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers.directed import Stage, about_to, perform


def test_referenced_page() -> None:
    """A page to which somebody else holds a reference is not merged, and stays writable; later it is."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 1), await s.process("B", 1)
        pinned = s.frame(b, 0)
        await pinned.get()
        await s.scan(3)
        assert (s.frame(b, 0) is pinned, pinned.is_ksm, s.kernel.page_at(b.mm, b.start).write) == (True, False, True)
        assert s.machine.trace.counts[ev.RACE_PAGE_PINNED] > 0
        await pinned.put()
        await s.quiesce()
        assert s.frame(a, 0) is s.frame(b, 0)

    perform(play)


@pytest.mark.parametrize("kernel", ["series", "v3.9"])
def test_advice_taken_back_meanwhile(kernel: str) -> None:
    """A page whose advice is taken back after ksmd has found its equal is not merged."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 1)
        b = await s.process("B", 2)
        await s.scan(2)
        await s.write(b, 0, 1)
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
        await s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_UNMERGEABLE)
        await s.finish(ksmd)
        assert not s.frame(b, 0).is_ksm
        assert s.counters == (1, 1, 0, 1)
        await s.farewell()

    perform(play, kernel=kernel)


def test_dropped_between_protection_and_replacement() -> None:
    """An entry that is emptied between write_protect_page and replace_page stays empty."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 1)
        b = await s.process("B", 2)
        await s.scan(2)
        await s.write(b, 0, 1)
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, b.mm.page_table_lock, inside="replace_page"))
        await s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_DONTNEED)
        await s.finish(ksmd)
        assert s.kernel.page_at(b.mm, b.start) is None
        assert await s.read(b, 0) is s.kernel.contents.zero
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_locked_page() -> None:
    """ksmd never waits for the lock of a page that it wants to merge: it comes back another time."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 1)
        await s.scan(2)
        b = await s.process("B", 1)
        page = s.frame(b, 0)
        await page.lock()
        await s.finish(s.start("ksmd", s.scan()))
        assert s.frame(b, 0) is page
        assert s.machine.trace.counts[ev.RACE_TRYLOCK_LOST] == 1
        await page.unlock()
        await s.scan()
        assert s.counters == (1, 2, 0, 0)

    perform(play)


def test_freed_and_reused_before_the_reference() -> None:
    """GK5: a frame that is freed and used again between the look at its mapping and the reference is not the node's."""

    async def play(s: Stage) -> None:
        k = await s.process("K", 3, 3)
        b = await s.process("B", 4)
        await s.scan(2)
        await s.write(b, 0, 3)
        kpage = s.frame(k, 0)
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(WRITE, kpage, "refcount", inside="stable_tree_walk"))
        await s.kernel.munmap(k.mm, k.start, 2 * PAGE_SIZE)
        h = await s.process("H", 9, mergeable=False)
        assert s.frame(h, 0) is kpage
        await s.finish(ksmd)
        assert s.kernel.root_stable_tree[0].root is None, "the node is stale, and gone"
        assert (kpage.refcount, kpage.is_ksm) == (1, False)
        await s.farewell()

    perform(play)


def test_moved_since_it_went_into_the_unstable_tree() -> None:
    """With merge_across_nodes=0, an equal page that is on another node by now is no partner; nothing is inserted."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        a, b = await s.process("A", 1), await s.process("B", 1)
        await s.scan()
        await s.batch(1)
        await s.migrate(a, 0, 1)
        await s.scan()
        assert (s.counters, s.machine.trace.counts[ev.RACE_UNSTABLE_MOVED]) == ((0, 0, 1, 1), 1)
        assert (s.frame(a, 0).nid, s.frame(b, 0).nid) == (1, 0)

    perform(play)


def test_gone_from_the_unstable_tree() -> None:
    """An entry on the way that is unmapped, or has lost its advice, ends the search; nothing is inserted."""

    async def play(s: Stage) -> None:
        a, _ = await s.process("A", 1), await s.process("B", 2)
        await s.scan()
        await s.batch(1)
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await s.scan()
        assert (s.counters, s.machine.trace.counts[ev.RACE_UNSTABLE_GONE]) == ((0, 0, 1, 1), 1)

    perform(play)


def test_reached_twice_through_a_fork() -> None:
    """A page that is in the unstable tree through its parent is not inserted again, nor merged with itself."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        b = await s.fork(a, "B")
        await s.scan(3)
        assert s.counters == (0, 0, 1, 1)
        assert s.frame(a, 0) is s.frame(b, 0)
        assert not s.frame(a, 0).is_ksm

    perform(play)


def test_moved_mapping_goes_back() -> None:
    """A mapping that cannot be moved to the equal page this time goes back to its node (series), and is moved later."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        a = await s.process("A", 1, 1)
        await s.process("B", 1, 1, nid=1)
        await s.scan(2)
        await s.migrate(a, 0, 1)
        page = s.frame(a, 0)
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="merge_with_found"))
        await page.lock()
        await s.blocks(ksmd)
        await page.unlock()
        await s.until(ksmd, about_to(inside="scan_get_next_rmap_item"))
        assert s.counters == (2, 2, 0, 0)
        assert [item.flag for item in page.stable_node.hlist()] == [STABLE_FLAG] * 2
        await s.finish(ksmd)
        await s.quiesce()
        assert s.counters == (1, 3, 0, 0)

    perform(play)


def test_exit_moves_the_slot_behind_the_cursor() -> None:
    """A process that exits with items is next after the cursor's; one without items leaves the list at once."""

    async def play(s: Stage) -> None:
        await s.process("A", 1, 2)
        await s.process("B", 3)
        c = await s.process("C", 4)
        await s.scan()
        d = await s.process("D", 5)
        await s.batch(1)
        await s.kernel.mmput(d.mm)
        await s.kernel.mmput(c.mm)
        slot, names = s.kernel.ksm_mm_head.next, ""
        while slot.mm is not None:
            names += slot.mm.name
            slot = slot.next
        assert (names, d.mm.alive, c.mm.alive) == ("ACB", False, True)
        await s.scan()
        assert not c.mm.alive

    perform(play)


def test_registration_ends_without_advice() -> None:
    """A process without any advised region leaves the list at the end of its next complete pass, and may come back."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2)
        await s.scan()
        await s.batch(1)
        await s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, MADV_UNMERGEABLE)
        await s.scan()
        assert a.mm.registered, "the pass was under way"
        await s.scan()
        assert (a.mm.registered, a.mm.count, s.kernel.ksm_rmap_items) == (False, 1, 0)
        await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, MADV_MERGEABLE)
        assert (a.mm.registered, a.mm.count) == (True, 2)

    perform(play)
