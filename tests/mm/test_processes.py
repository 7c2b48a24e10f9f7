"""fork and exit."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import ENOMEM, PAGE_SIZE
from tests.helpers.directed import Stage, about_to, perform


def test_fork_copies_everything() -> None:
    """A child has the parent's regions, advice, policy and pages; pages are write-protected on both sides; an untouched
    page stays untouched, and of a region that was never written nothing is copied."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, 4, nid=1)
        await s.kernel.munmap(a.mm, a.at(3), PAGE_SIZE)
        empty = await s.kernel.mmap(a.mm, 2, 0)
        await s.kernel.fault(a.mm, empty, False)
        b = await s.fork(a, "B")
        assert [(v.start, v.end, v.pgoff, v.nid, v.mergeable) for v in b.mm.vmas.values()] == [
            (v.start, v.end, v.pgoff, v.nid, v.mergeable) for v in a.mm.vmas.values()
        ]
        assert b.mm.ptes == {address: pte for address, pte in a.mm.ptes.items() if address != empty}
        assert not any(pte.write for pte in b.mm.ptes.values())
        assert [s.frame(b, i).mapcount for i in range(3)] == [2, 2, 2]
        assert s.kernel.zero_page.mapcount == 0
        assert b.mm.registered
        assert b.mm.top == a.mm.top
        await s.farewell()

    perform(play)


def test_anon_vmas_of_a_fork() -> None:
    """A child's vma is in all anon_vmas of its parent's, after it, and has one of its own for new pages."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        b = await s.fork(a, "B")
        c = await s.fork(b, "C")
        first, second, third = (proc.mm.vma_at(proc.start) for proc in (a, b, c))
        assert first.anon_vma.vmas == [first, second, third]
        assert second.anon_vma.vmas == [second, third]
        assert third.anon_vma.vmas == [third]
        assert third.anon_vma.root is first.anon_vma
        await s.kernel.mmput(b.mm)
        assert first.anon_vma.vmas == [first, third]
        assert second.anon_vma.alive, "the grandchild's vma is still linked there"
        await s.kernel.mmput(c.mm)
        assert not second.anon_vma.alive

    perform(play)


def test_fork_without_registration() -> None:
    """The child of a process that is not registered is not registered."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        assert not (await s.fork(a, "B")).mm.registered

    perform(play)


class NoSlot(Ksm):
    """No memory for an mm_slot."""

    def alloc_mm_slot(self, mm: AddressSpace) -> MmSlot | None:
        return None if mm.name == "B" else super().alloc_mm_slot(mm)


def test_failed_fork() -> None:
    """If KSM cannot register the child, fork says -ENOMEM, and the child is gone."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        assert await s.kernel.fork(a.mm, "B") == -ENOMEM
        child = s.kernel.address_spaces[-1]
        assert (child.name, child.alive, s.frame(a, 0).mapcount) == ("B", False, 1)
        await s.farewell()

    perform(play, layer=NoSlot)


def test_users_and_holds() -> None:
    """The last user takes the page tables with him, the last hold the struct; ksmd's slot is a hold."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        await s.scan(1)
        s.kernel.mmget(a.mm)
        assert (a.mm.users, a.mm.count) == (2, 2)
        page = s.frame(a, 0)
        await s.kernel.mmput(a.mm)
        assert page.refcount == 1
        await s.kernel.mmput(a.mm)
        assert (page.refcount, a.mm.alive) == (0, True)
        await s.scan(1)
        assert not a.mm.alive

    perform(play)


@pytest.mark.parametrize("user", ["mmget", "mmput", "down_read"])
def test_nothing_after_the_end(user: str) -> None:
    """An address space without users gets none and loses none; a freed one is not locked."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        await s.kernel.mmput(a.mm)
        if user == "mmget":
            s.kernel.mmget(a.mm)
        elif user == "mmput":
            await s.kernel.mmput(a.mm)
        else:
            await a.mm.down_read()

    with pytest.raises(Finding) as found:
        perform(play)
    assert found.value.kind == "use_after_free_mm"


def test_exit_waits_for_ksmd() -> None:
    """An exit does not tear page tables down while ksmd is in them: it takes mmap_sem for write first."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1)
        await s.scan(1)
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, a.mm.page_table_lock))
        leaving = s.start("exit", s.kernel.mmput(a.mm))
        await s.blocks(leaving)
        assert a.start in a.mm.ptes
        await s.go(ksmd)  # out of the page tables, and for the next page behind the writer
        assert await s.finish(leaving) is None
        await s.finish(ksmd)
        assert not a.mm.alive

    perform(play)


def test_order_of_an_exit() -> None:
    """When the last user has gone, KSM is told first, then the page tables go; ksmd touches none in between."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2)
        await s.scan(1)
        leaving = s.start("exit", s.kernel.mmput(a.mm))
        await s.until(leaving, about_to(ACQUIRE, s.kernel.ksm_mmlist_lock))
        assert a.mm.users == 0
        assert len(a.mm.ptes) == 2
        await s.scan(1)
        assert (s.kernel.ksm_rmap_items, s.kernel.mm_slots_hash, a.mm.alive) == (0, {}, True)
        await s.finish(leaving)
        assert (a.mm.alive, len(a.mm.ptes)) == (False, 0)

    perform(play)
