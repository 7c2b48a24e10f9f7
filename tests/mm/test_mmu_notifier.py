"""Secondary mappings: what a guest reaches, and when it must fault again."""

from __future__ import annotations

from ksmactors.interleave.actor import READ
from ksmactors.mm.const import EFAULT
from ksmactors.mm.frame import Frame
from ksmactors.mm.secondary import SecondaryMmu
from tests.helpers.directed import Proc, Stage, about_to, perform


def kvm(proc: Proc) -> SecondaryMmu:
    """The guest of a process."""
    assert proc.mm.secondary is not None
    return proc.mm.secondary


def reaches(s: Stage, proc: Proc, index: int) -> bool | None:
    """Whether the guest may write to the page that its process maps; None: it has no mapping of it."""
    spte = kvm(proc).sptes.get(proc.at(index))
    if spte is None:
        return None
    assert spte.frame is s.frame(proc, index)
    return spte.write


def test_a_fault_of_a_guest() -> None:
    """A read maps the page read-only, a write writable; the mapping holds no reference. -EFAULT outside of all vmas."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 7, mergeable=False)
        before = s.frame(a, 0).refcount
        assert await s.guest_load(a, 0) is s.kernel.contents.token(7)
        assert reaches(s, a, 0) is False
        assert await s.guest_store(a, 0, 8) == 0
        assert reaches(s, a, 0) is True
        assert s.frame(a, 0).refcount == before
        assert await s.read(a, 0) is s.kernel.contents.token(8)
        assert await s.guest_load(a, 1) == -EFAULT
        await s.farewell()

    perform(play)


def test_what_changes_an_entry_takes_the_mapping() -> None:
    """munmap's way, fork, mremap, a copy on write, migration and reclaim: afterwards the guest faults."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 2, 3, mergeable=False)
        s.start_swap()
        for index in range(3):
            await s.guest_store(a, index, index + 1)
        await s.migrate(a, 0, 1)
        assert reaches(s, a, 0) is None
        await s.to_swap_cache(a, 1)
        assert a.at(1) not in kvm(a).sptes
        child = await s.fork(a, "C")
        assert kvm(a).sptes == {}
        assert child.mm.secondary is None
        assert await s.guest_load(a, 2) is s.kernel.contents.token(3)
        await s.write(a, 2, 4)
        assert reaches(s, a, 2) is None
        assert await s.guest_load(a, 2) is s.kernel.contents.token(4)
        assert await s.read(child, 2) is s.kernel.contents.token(3)
        await s.exit(a)
        assert kvm(a).sptes == {}
        await s.exit(child)
        await s.farewell()

    perform(play)


def test_what_a_guest_wrote_is_swapped_out() -> None:
    """The dirty bit of a secondary mapping makes the page dirty: reclaim writes what the guest has stored."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        s.start_swap()
        await s.swap_out()
        await s.swap_out()
        await s.guest_store(a, 0, 9)
        await s.swap_out()
        await s.swap_out()
        assert a.at(0) in a.mm.swap_ptes
        assert await s.guest_load(a, 0) is s.kernel.contents.token(9)
        await s.farewell()

    perform(play)


def test_a_fault_looks_again() -> None:
    """While ksmd write-protects a page an invalidation is in progress. A fault that has looked the page up before ksmd
    replaces it maps nothing, and looks again."""

    async def play(s: Stage) -> None:
        await s.process("B", 7, 7)
        await s.scan(2)
        a = await s.process("A", 7)
        await s.guest_store(a, 0, 7)
        ksmd = s.start("ksmd", s.scan(1))
        await s.until(ksmd, about_to(inside="write_protect_entry"))
        assert kvm(a).in_progress == 1
        assert kvm(a).sptes == {}
        await s.until(ksmd, about_to(READ, Frame, "content", inside="try_to_merge_one_page"))
        assert kvm(a).in_progress == 0
        guest = s.start("vcpu/A", s.guest_load(a, 0))
        await s.until(guest, about_to(inside="direct_map"))
        await s.finish(ksmd)
        assert s.frame(a, 0).is_ksm
        await s.finish(guest)
        assert guest.result is s.kernel.contents.token(7)
        assert reaches(s, a, 0) is False
        await s.quiesce()
        await s.farewell()

    perform(play)
