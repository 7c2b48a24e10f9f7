"""Migration: what it returns, the order of its stores, and whom it meets."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import ACQUIRE, READ, RELEASE, WRITE
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.const import EACCES, EAGAIN, EBUSY, ENOENT, ENOMEM, PAGE_SIZE
from ksmactors.mm.frame import KSM_WITHOUT_NODE, Frame
from ksmactors.mm.migrate import PASSES
from tests.helpers.directed import Proc, Puppet, Stage, about_to, perform


async def halfway(s: Stage, proc: Proc, *, nid: int = 1) -> Puppet:
    """A migration of a process's page that has unmapped it and looked at its references."""
    migration = s.start("migration", s.migrate(proc, 0, nid))
    await s.until(migration, about_to(WRITE, Frame, "content"))
    return migration


@pytest.mark.parametrize("writable", [True, False])
def test_an_ordinary_page(writable: bool) -> None:
    """The page is on the other node with content, permission and anon_vma as before; the old frame is free."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        b = await s.fork(a, "B")
        if writable:
            await s.kernel.munmap(b.mm, b.start, PAGE_SIZE)
            await s.write(a, 0, 2)
        old, mapping = s.frame(a, 0), s.frame(a, 0).mapping
        assert await s.migrate(a, 0, 1) == 1
        pte = s.kernel.page_at(a.mm, a.start)
        assert (pte.frame.nid, pte.write, pte.migration) == (1, writable, False)
        assert (pte.frame.mapping, pte.frame.index) == (mapping, a.start // PAGE_SIZE)
        assert (pte.frame.refcount, pte.frame.mapcount, pte.frame.lru) == ((1, 1, True) if writable else (2, 2, True))
        assert (old.refcount, old.mapcount, old.mapping, old.owner) == (0, 0, None, None)
        assert await s.read(a, 0) is s.kernel.contents.token(2 if writable else 1)
        assert await s.migrate(a, 0, 1) == 1, "it is there already"
        await s.farewell()

    perform(play)


def test_a_ksm_page_with_forks() -> None:
    """All mappings of a KSM page move together: those with an item, and that of a child without one."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        b = await s.process("B", 1)
        await s.scan(2)
        c = await s.fork(b, "C")
        node, counters = s.frame(a, 0).stable_node, s.counters
        assert await s.migrate(a, 0, 1) == 1
        page = s.frame(a, 0)
        assert s.frame(b, 0) is s.frame(c, 0) is page
        assert (page.nid, page.mapcount, page.stable_node) == (1, 3, node)
        assert isinstance(node, StableNode)
        assert (node.kpfn, s.counters) == (page.pfn, counters), "a migration changes no counter"

    perform(play)


async def nothing_there(s: Stage, a: Proc) -> int:
    await s.kernel.madvise(a.mm, a.start, PAGE_SIZE, 4)
    return await s.migrate(a, 0, 1)


async def not_mapped(s: Stage, a: Proc) -> int:
    return await s.migrate(a, 5, 1)


async def the_zero_page(s: Stage, a: Proc) -> int:
    await nothing_there(s, a)
    await s.read(a, 0)
    return await s.migrate(a, 0, 1)


async def shared_by_fork(s: Stage, a: Proc) -> int:
    await s.fork(a, "B")
    return await s.kernel.move_pages(a.mm, a.start, 1, False)


async def shared_but_there_already(s: Stage, a: Proc) -> int:
    await s.fork(a, "B")
    return await s.kernel.move_pages(a.mm, a.start, 0, False)


async def isolated_by_another(s: Stage, a: Proc) -> int:
    assert await s.kernel.isolate_lru_page(s.frame(a, 0))
    return await s.migrate(a, 0, 1)


async def referenced(s: Stage, a: Proc) -> int:
    await s.frame(a, 0).get()
    return await s.migrate(a, 0, 1)


async def no_frame_there(s: Stage, a: Proc) -> int:
    await s.process("H", *range(10, 14), nid=1, mergeable=False)
    return await s.migrate(a, 0, 1)


@pytest.mark.parametrize(
    ("situation", "status"),
    [
        (nothing_there, -ENOENT),
        (not_mapped, -ENOENT),
        (the_zero_page, -ENOENT),
        (shared_by_fork, -EACCES),
        (shared_but_there_already, 0),
        (isolated_by_another, -EBUSY),
        (referenced, -EAGAIN),
        (no_frame_there, -ENOMEM),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_status(situation: Any, status: int) -> None:
    """What move_pages says about a page that it does not move; the page is as it was, and on the LRU."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        assert await situation(s, a) == status
        if situation in (referenced, no_frame_there):
            assert s.frame(a, 0) is page
            assert page.lru
            assert await s.read(a, 0) is s.kernel.contents.token(1)

    perform(play, frames_per_node=4, watchers=())


def test_passes() -> None:
    """A page that stays busy is tried ten times; the passes are counted by the races they lose."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        await referenced(s, a)

    assert perform(play, watchers=()).machine.trace.counts[ev.RACE_MIGRATION_BUSY] == PASSES


def test_a_reference_that_goes_meanwhile() -> None:
    """A page that is busy for a while is moved by a later pass."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        await page.get()
        migration = s.start("migration", s.migrate(a, 0, 1))
        for _ in range(3):
            await s.until(migration, about_to(READ, page, "refcount", inside="migrate_page_move_mapping"))
        await page.put()
        assert await s.finish(migration) == 1
        await s.farewell()

    perform(play)


def test_blocks_on_the_page_lock_only_when_forced() -> None:
    """Three passes give up on a locked page at once, the fourth waits for the lock."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        await page.lock()
        migration = s.start("migration", s.migrate(a, 0, 1))
        await s.blocks(migration)
        assert s.machine.trace.counts[ev.RACE_MIGRATION_LOCKED] == 4
        assert migration.actor.waiting_on is page
        await page.unlock()
        assert await s.finish(migration) == 1

    perform(play)


def test_order_of_the_stores() -> None:
    """W0 before W3 before W5 before W7 before W8: at each step a reader through kpfn finds a page that names its node,
    or learns of the other one."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        old = s.frame(a, 0)
        node = old.stable_node
        assert isinstance(node, StableNode)
        migration = await halfway(s, a)
        new = s.kernel.nodes[1].frames[0]
        assert (new.mapping, old.mapping) == (node.mapping, node.mapping), "W0"
        assert node.kpfn == old.pfn
        await s.until(migration, about_to(WRITE, old, "mapping"))
        assert (node.kpfn, old.mapping) == (new.pfn, node.mapping), "W3"
        await s.until(migration, about_to(ACQUIRE, a.mm.page_table_lock))
        assert old.mapping is KSM_WITHOUT_NODE, "W5"
        assert s.kernel.page_at(a.mm, a.start).migration
        await s.until(migration, about_to(WRITE, old, "mapping"))
        assert s.kernel.page_at(a.mm, a.start).frame is new, "W7"
        assert (old.owner, new.owner) == (migration.actor, migration.actor), "both are locked to the end"
        assert await s.finish(migration) == 1
        assert old.mapping is None, "W8"

    perform(play)


def test_a_fault_waits_for_the_migration() -> None:
    """A thread that finds a migration entry waits until its page is unlocked; then it has the new page."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        migration = await halfway(s, a)
        assert await s.kernel.user_read(a.mm, a.start) is None
        reader = s.start("reader", s.read(a, 0))
        await s.blocks(reader)
        assert await s.finish(migration) == 1
        assert await s.finish(reader) is s.kernel.contents.token(1)
        assert s.machine.trace.counts[ev.MIGRATION_ENTRY_WAIT] == 1
        await s.farewell()

    perform(play)


def test_a_waiting_fault_makes_the_migration_back_off() -> None:
    """The reference that a waiting fault takes is noticed if the migration has not looked yet (C1)."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        migration = s.start("migration", s.migrate(a, 0, 1))
        await s.until(migration, about_to(READ, page, "refcount", inside="migrate_page_move_mapping"))
        reader = s.start("reader", s.read(a, 0))
        await s.blocks(reader)
        await s.until(migration, about_to(inside="remove_migration_ptes"))
        assert await s.finish(migration) == -EAGAIN
        assert await s.finish(reader) is s.kernel.contents.token(1)
        assert s.frame(a, 0) is page
        await s.farewell()

    perform(play)


def test_break_ksm_waits_for_the_migration() -> None:
    """Unmerging waits for a migration under way at the address, and breaks what it brought (D4)."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        migration = await halfway(s, a)
        unmerging = s.start("unmerging", s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, 13))
        await s.blocks(unmerging)  # the migration holds mmap_sem for read
        await s.finish(migration)
        assert await s.finish(unmerging) == 0
        assert not any(s.frame(a, i).is_ksm for i in range(2))

    async def by_compaction(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        migration = s.start("migration", s.kernel.migrate_frame(s.frame(a, 0), 1))
        await s.until(migration, about_to(WRITE, Frame, "content"))
        unmerging = s.start("unmerging", s.kernel.madvise(a.mm, a.start, 2 * PAGE_SIZE, 13))
        await s.blocks(unmerging)
        assert await s.finish(migration) == 0
        assert await s.finish(unmerging) == 0
        assert not any(s.frame(a, i).is_ksm for i in range(2))
        await s.farewell()

    perform(play)
    perform(by_compaction)


@pytest.mark.parametrize("ksm", [True, False])
def test_fork_during_migration(ksm: bool) -> None:
    """A child that copies a migration entry has it restored with the others: it is visited after its parent."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2 if ksm else 1)
        page = s.frame(a, 0)
        assert page.is_ksm is ksm
        migration = s.start("migration", s.kernel.migrate_frame(page, 1))
        await s.until(migration, about_to(WRITE, Frame, "content"))
        b = await s.fork(a, "B")
        assert s.kernel.page_at(b.mm, b.start).migration
        assert await s.finish(migration) == 0
        assert s.frame(b, 0) is s.frame(a, 0)
        assert s.frame(b, 0).mapcount == (4 if ksm else 2)
        await s.write(b, 0, 2)
        assert await s.read(a, 0) is s.kernel.contents.token(1)
        await s.farewell()

    perform(play)


def test_unmapped_during_migration() -> None:
    """A page whose last mapping goes while it is a migration entry is moved, and then freed."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        migration = s.start("migration", s.kernel.migrate_frame(s.frame(a, 0), 1))
        await s.until(migration, about_to(WRITE, Frame, "content"))
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await s.finish(migration)
        await s.kernel.lru_add_drain_all()
        assert not any(f.refcount for node in s.kernel.nodes for f in node.frames if f is not s.kernel.zero_page)

    perform(play)


def test_an_unmapped_ordinary_page_is_not_migrated() -> None:
    """Nothing keeps the anon_vma of a page that has lost its last mapping: the pass that locks such a page looks at
    it no further, and the next one finds that only the isolation is left."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        page = s.frame(a, 0)
        migration = s.start("migration", s.kernel.migrate_frame(page, 1))
        await s.until(migration, about_to(ACQUIRE, page, inside="unmap_and_move_locked"))
        assert await s.kernel.munmap(a.mm, a.start, PAGE_SIZE) == 0
        anon_vma = page.mapping
        assert isinstance(anon_vma, AnonVma)
        assert (page.mapcount, page.refcount, anon_vma.alive) == (0, 1, False)
        await s.until(migration, about_to(RELEASE, page))
        assert page.mapping is anon_vma
        await s.until(migration, about_to(READ, page, "refcount"))
        assert page.refcount == 1, "the first pass leaves it as it is"
        assert await s.finish(migration) == 0
        await s.kernel.lru_add_drain_all()
        assert page.refcount == 0
        assert [frame.refcount for frame in s.kernel.nodes[1].frames] == [0]
        await s.farewell()

    perform(play)


def test_freed_before_it_is_moved() -> None:
    """A page that nobody maps any more when it is isolated is just freed."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        page = s.frame(a, 0)
        migration = s.start("migration", s.kernel.migrate_frame(page, 1))
        await s.until(migration, about_to(inside="migrate_pages"))
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        assert await s.finish(migration) == 0
        await s.kernel.lru_add_drain_all()
        assert page.refcount == 0
        assert s.kernel.nodes[1].frames[0].refcount == 0
        assert await s.kernel.migrate_frame(page, 1) == -ENOENT, "a free frame has no page to move"

    perform(play)


def test_movable_frames() -> None:
    """Compaction looks at pages that are on the LRU: not the zero page, no free frames, none isolated already."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, mergeable=False)
        await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)
        await s.kernel.isolate_lru_page(s.frame(a, 1))
        assert s.kernel.movable_frames(0) == [s.frame(a, 2)]
        assert await s.kernel.migrate_frame(s.frame(a, 1), 1) == -EBUSY

    perform(play, watchers=())
