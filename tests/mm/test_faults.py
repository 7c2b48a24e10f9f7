"""Page faults: first touch, copy on write, and what happens when the entry changes under them."""

from __future__ import annotations

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.mm.const import EFAULT, ENOMEM, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, about_to, perform


def test_first_touch_by_reading() -> None:
    """A read of an untouched page maps the zero page, read-only, and takes no frame; a write then takes one."""

    async def play(s: Stage) -> None:
        a = await s.process("A", mergeable=False)
        assert await s.read(a, 0) is s.kernel.contents.zero
        assert s.frame(a, 0) is s.kernel.zero_page
        assert s.kernel.page_at(a.mm, a.start).write is False
        await s.write(a, 0, 5)
        assert s.frame(a, 0) is not s.kernel.zero_page
        assert await s.read(a, 0) is s.kernel.contents.token(5)
        assert s.kernel.zero_page.mapcount == 0
        await s.farewell()

    perform(play)


def test_first_touch_by_writing() -> None:
    """A write to an untouched page maps a page of the region's node, writable and dirty, of this vma's anon_vma."""

    async def play(s: Stage) -> None:
        a = await s.process("A", nid=1, mergeable=False)
        assert a.mm.vma_at(a.start).anon_vma is None
        await s.write(a, 0, 5)
        pte = s.kernel.page_at(a.mm, a.start)
        assert (pte.write, pte.dirty, pte.frame.nid) == (True, True, 1)
        assert (pte.frame.refcount, pte.frame.mapcount, pte.frame.lru) == (1, 1, True)
        assert pte.frame.mapping is a.mm.vma_at(a.start).anon_vma

    perform(play)


def test_full_node_and_full_machine() -> None:
    """Pages come from another node when the region's is full; when all are, the fault says -ENOMEM."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, nid=1, mergeable=False)
        assert [s.frame(a, i).nid for i in range(3)] == [1, 1, 0]
        b = await s.process("B", mergeable=False)
        assert await s.write(b, 0, 1) == -ENOMEM
        assert await s.read(b, 0) is s.kernel.contents.zero
        assert await s.write(b, 0, 1) == -ENOMEM  # copying the zero page fails, too
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        assert await s.write(b, 0, 1) == 0
        await s.farewell()

    perform(play, frames_per_node=2)


def test_nothing_mapped() -> None:
    """An access outside of all mappings is -EFAULT, for which a thread gets SIGSEGV."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        assert await s.read(a, 1) == -EFAULT
        assert await s.write(a, -1, 1) == -EFAULT

    perform(play)


def test_copy_on_write_after_fork() -> None:
    """The first of two who writes a shared page gets a copy from the region's node, the last one keeps the page."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        old = s.frame(a, 0)
        await s.migrate(a, 0, 1)
        moved = s.frame(a, 0)
        assert (old.nid, moved.nid) == (0, 1)
        b = await s.fork(a, "B")
        assert (moved.mapcount, moved.refcount) == (2, 2)
        await s.write(b, 0, 2)
        assert s.frame(b, 0).nid == 0, "the copy comes from the region's node, not from that of the page"
        assert s.frame(b, 0).mapping is b.mm.vma_at(b.start).anon_vma
        await s.write(a, 0, 3)
        assert s.frame(a, 0) is moved, "nobody else maps it: it is written in place"
        assert (moved.mapcount, moved.refcount) == (1, 1)
        contents = s.kernel.contents
        assert [await s.read(proc, 0) for proc in (a, b)] == [contents.token(3), contents.token(2)]
        await s.farewell()

    perform(play)


def test_last_user_takes_the_page_over() -> None:
    """A child that writes a page whose parent has gone keeps it; it belongs to the child's anon_vma from then on."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        b = await s.fork(a, "B")
        await s.kernel.mmput(a.mm)
        page = s.frame(b, 0)
        await s.write(b, 0, 2)
        assert s.frame(b, 0) is page
        assert page.mapping is b.mm.vma_at(b.start).anon_vma
        await s.farewell()

    perform(play)


def test_a_ksm_page_is_always_copied() -> None:
    """A KSM page is copied by a write even if nobody else maps it (v3.9 never reuses one)."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1, nid=1)
        await s.scan(2)
        kpage = s.frame(a, 0)
        await s.kernel.munmap(a.mm, a.at(1), PAGE_SIZE)
        assert (kpage.is_ksm, kpage.mapcount) == (True, 1)
        await s.write(a, 0, 2)
        assert s.frame(a, 0) is not kpage
        assert (kpage.refcount, s.frame(a, 0).nid) == (0, 1)
        await s.farewell()

    perform(play)


def test_two_faults_on_one_page() -> None:
    """Of two threads that touch a page first, one's page is thrown away, and both go on with the other's."""

    async def play(s: Stage) -> None:
        a = await s.process("A", mergeable=False)
        first = s.start("first", s.kernel.fault(a.mm, a.start, True))
        await s.until(first, about_to(ACQUIRE, a.mm.page_table_lock))  # it has its page
        await s.write(a, 0, 1)
        assert await s.finish(first) == 0
        assert await s.read(a, 0) is s.kernel.contents.token(1)
        assert sum(frame.refcount for frame in s.kernel.nodes[0].frames) == 2, "the zero page and one more"

    perform(play)


def test_copy_thrown_away_when_the_entry_changed() -> None:
    """A copy that was made while somebody else served the same fault is thrown away; the race is recorded."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        b = await s.fork(a, "B")
        slow = s.start("slow", s.kernel.fault(a.mm, a.start, True))
        await s.until(slow, about_to(inside="alloc_page"))
        await s.write(a, 0, 2)
        assert await s.finish(slow) == 0
        assert await s.read(a, 0) is s.kernel.contents.token(2)
        assert await s.read(b, 0) is s.kernel.contents.token(1)
        await s.farewell()

    stage = perform(play)
    assert stage.machine.trace.counts[ev.RACE_PTE_CHANGED] == 1


async def _write_while_locked(s: Stage, *, unmap: bool) -> tuple[Stage, Proc]:
    """A write fault meets a page that somebody has locked, and waits for it."""
    a = await s.process("A", 1, mergeable=False)
    b = await s.fork(a, "B")
    await s.kernel.munmap(b.mm, b.start, PAGE_SIZE)
    page = s.frame(a, 0)
    await page.lock()
    writer = s.start("writer", s.kernel.fault(a.mm, a.start, True))
    await s.blocks(writer)
    assert page.refcount == 2, "it holds a reference while it waits"
    if unmap:
        await s.kernel.zap_page_range(a.mm, a.start, a.at(1), PAGE_SIZE)
    await page.unlock()
    assert await s.finish(writer) == 0
    return s, a


def test_write_waits_for_the_page_lock() -> None:
    """A write fault on a locked ordinary page waits for its lock, then takes the page if it is still mapped there."""

    async def still_there(s: Stage) -> None:
        _, a = await _write_while_locked(s, unmap=False)
        assert s.kernel.page_at(a.mm, a.start).write

    async def gone(s: Stage) -> None:
        _, a = await _write_while_locked(s, unmap=True)
        assert s.kernel.page_at(a.mm, a.start) is None
        await s.farewell()

    perform(still_there)
    perform(gone)


def test_stores_need_a_writable_entry() -> None:
    """A store through a read-only or missing entry takes a fault; through a writable one it makes the entry dirty."""

    async def play(s: Stage) -> None:
        a = await s.process("A", mergeable=False)
        content = s.kernel.contents.token(4)
        assert await s.kernel.user_read(a.mm, a.start) is None
        assert not await s.kernel.user_write(a.mm, a.start, content)
        await s.read(a, 0)
        assert not await s.kernel.user_write(a.mm, a.start, content)
        await s.write(a, 0, 3)
        a.mm.ptes[a.start] = a.mm.ptes[a.start]._replace(dirty=False)
        assert await s.kernel.user_write(a.mm, a.start, content)
        assert s.kernel.page_at(a.mm, a.start).dirty

    perform(play)
