"""What is locked in memory: hand-overs and copies that the watcher reports, and such as only look like it."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.history.mutants.beyond import FlagIgnored, LockNotHandedOver
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Play, Proc, Stage, perform


async def locked(s: Stage, name: str, token: int) -> Proc:
    """A process whose page is locked in memory."""
    proc = await s.process(name, token)
    assert await s.kernel.mlock(proc.mm, proc.start, PAGE_SIZE, on=True) == 0
    return proc


async def merged_copied_and_forked(s: Stage) -> None:
    """A locked page is merged into a KSM page, copied by a write, shared by a fork, and copied again."""
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await locked(s, "A", 7)
    await s.scan(2)
    assert s.frame(a, 0).is_ksm
    await s.write(a, 0, 8)
    assert s.frame(a, 0).mlocked
    child = await s.fork(a, "C")
    await s.write(a, 0, 9)
    await s.write(child, 0, 7)
    await s.scan(2)
    await s.quiesce()
    await s.farewell()


async def merged_away_from_a_child(s: Stage) -> None:
    """A locked page that a child maps, too, is merged: the child, which has locked nothing, keeps it."""
    await s.process("B", 7, 7)
    await s.scan(2)
    a = await locked(s, "A", 7)
    await s.fork(a, "C")
    await s.scan(1)
    await s.quiesce()


async def moved_to_an_equal(s: Stage) -> None:
    """A locked KSM page moves to the node of an equal one, and is merged into it."""
    await s.set("merge_across_nodes", 0)
    for name in "BC":
        await s.process(name, 7, nid=1)
    d = await locked(s, "D", 7)
    await s.process("E", 7)
    await s.scan(3)
    kpage = s.frame(d, 0)
    assert kpage.is_ksm
    await s.migrate(d, 0, 1)
    new = s.frame(d, 0)
    await new.lock()  # as the next reclaim would: a migration of v3.9 loses the flag
    await s.kernel.mlock_vma_page(new)
    await new.unlock()
    await s.scan(3)
    assert s.frame(d, 0) is not new
    await s.quiesce()


class OldKept(Ksm):
    """The page that was replaced is locked in memory as before."""

    async def hand_mlock_over(self, page: Frame, kpage: Frame) -> Frame:
        await page.unlock()
        await kpage.lock()
        await self.mlock_vma_page(kpage)
        return kpage


class CopyUnlocked(Ksm):
    """A copy in a vma that is locked is not."""

    def page_add_new_anon_rmap(self, page: Frame, vma: Vma, address: int) -> None:
        super().page_add_new_anon_rmap(page, vma, address)
        page.node.mark_mlocked(page, False)


@pytest.mark.parametrize(
    ("layer", "play", "what"),
    [
        (LockNotHandedOver, merged_copied_and_forked, "not_handed_over@try_to_merge_one_page"),
        (LockNotHandedOver, moved_to_an_equal, "not_handed_over@try_to_merge_one_page"),
        (OldKept, merged_away_from_a_child, "old_page_kept@try_to_merge_one_page"),
        (CopyUnlocked, merged_copied_and_forked, "copy_not_locked@wp_page_copy"),
    ],
)
def test_convicts(layer: type[Ksm], play: Play, what: str) -> None:
    """Whoever forgets the flag where a page is replaced is reported."""
    with pytest.raises(Finding) as found:
        perform(play, layer=layer, watchers=("mlock",))
    assert found.value.signature == f"mlock/{what}"


@pytest.mark.parametrize("kernel", ["series", "v3.9", "v6.1", "v6.12", "v7.3"])
def test_acquits(kernel: str) -> None:
    """All kernels hand the flag over, and one whose reclaim does not go by it."""
    perform(merged_copied_and_forked, kernel=kernel, watchers=("mlock",))
    perform(merged_away_from_a_child, kernel=kernel, watchers=("mlock",))
    perform(merged_copied_and_forked, kernel=kernel, layer=FlagIgnored, watchers=("mlock",))


def test_a_ksm_page_hands_it_over() -> None:
    """A locked KSM page that is merged into another one hands the flag over, too (a repair of ours merges it)."""
    perform(moved_to_an_equal, watchers=("mlock",))


def test_who_unlocks_meanwhile_is_no_defect() -> None:
    """The flag that munlock has taken off the KSM page is not missed."""

    async def play(s: Stage) -> None:
        await s.process("B", 7, 7)
        await s.scan(2)
        a = await locked(s, "A", 7)
        await s.scan(2)
        kpage = s.frame(a, 0)
        assert kpage.mlocked
        assert await s.kernel.mlock(a.mm, a.start, PAGE_SIZE, on=False) == 0
        assert not kpage.mlocked
        await s.quiesce()

    perform(play, watchers=("mlock",))
