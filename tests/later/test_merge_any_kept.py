"""PR_SET_MEMORY_MERGE across exec, and across ksmd's dropping a process that has no mapping yet."""

from __future__ import annotations

import pytest

from ksmactors.later.merge_any import MergeAny
from ksmactors.later.merge_any_kept import MergeAnyKept
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EINVAL, PAGE_SIZE
from tests.helpers.directed import Proc, Stage, perform


async def executed(s: Stage) -> AddressSpace:
    """A process sets PR_SET_MEMORY_MERGE and executes a program: the new address space, still empty."""
    a = await s.process("A", 1, mergeable=False)
    assert await s.kernel.prctl_set_memory_merge(a.mm, True) == 0
    mm = await s.kernel.exec_mm(a.mm)
    assert isinstance(mm, AddressSpace)
    await s.kernel.mmput(a.mm)
    return mm


async def equal_pages(s: Stage, mm: AddressSpace) -> Proc:
    """The new program maps two pages and fills them alike."""
    proc = Proc(mm, await s.kernel.mmap(mm, 2, 0))
    for index in range(2):
        await s.write(proc, index, 7)
    return proc


def merges(s: Stage, mm: AddressSpace) -> bool:
    """PR_GET_MEMORY_MERGE."""
    assert isinstance(s.kernel, MergeAny)
    return s.kernel.merges_any(mm)


def test_it_survives_exec() -> None:
    """Since v6.7 the new program is registered, and what it maps is merged."""

    async def play(s: Stage) -> None:
        mm = await executed(s)
        assert merges(s, mm)
        assert mm.registered
        proc = await equal_pages(s, mm)
        await s.scan(3)
        assert s.frame(proc, 0) is s.frame(proc, 1)
        await s.farewell()

    perform(play, kernel="v6.12")


def test_exec_took_it_back() -> None:
    """Before v6.7 the new program merges nothing, and is not registered."""

    async def play(s: Stage) -> None:
        mm = await executed(s)
        assert not merges(s, mm)
        assert not mm.registered

    perform(play, kernel="v6.12", without=("merge-any-exec", "merge-any-kept"))


async def mapped_after_a_scan(s: Stage) -> None:
    """ksmd makes a whole scan between the exec and the first mapping."""
    mm = await executed(s)
    await s.scan(2)
    assert not mm.registered, "ksmd has dropped it"
    proc = await equal_pages(s, mm)
    await s.scan(3)
    kept = isinstance(s.kernel, MergeAnyKept)
    assert (s.frame(proc, 0) is s.frame(proc, 1)) == kept
    assert mm.registered == merges(s, mm) == kept
    await s.farewell()


@pytest.mark.parametrize("kernel", ["v6.12", "v6.18", "v7.3"])
def test_it_outlives_ksmd(kernel: str) -> None:
    """The next mmap registers a process again that ksmd has dropped (590c03ca6a3f)."""
    perform(mapped_after_a_scan, kernel=kernel)


def test_ksmd_took_it_back() -> None:
    """Without that, ksmd takes the setting away with the slot: whether a program merges is a race."""
    perform(mapped_after_a_scan, kernel="v6.12", without=("merge-any-kept",))


@pytest.mark.parametrize("kernel", ["series", "v3.9", "v6.1"])
def test_before_there_was_one(kernel: str) -> None:
    """Up to v6.3 the prctl is unknown, and changes nothing."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, mergeable=False)
        assert await s.kernel.prctl_set_memory_merge(a.mm, True) == -EINVAL
        assert not a.mm.registered
        assert not a.mm.vma_at(a.start + PAGE_SIZE - 1).mergeable

    perform(play, kernel=kernel)
