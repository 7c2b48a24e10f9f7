"""KSM pages in swap: stable nodes whose page is on its way out, and what a fault makes of what comes back."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.mm.migrate import Migration
from tests.helpers.directed import Play, Stage, about_to, perform
from tests.helpers.swapping import (
    advice_taken_back_while_swapped_out,
    fault_across_run_2,
    merged_pair,
    moved_while_swapped_out,
    slot_of,
)


def stable_nodes(s: Stage) -> list[StableNode]:
    return [node for root in s.kernel.root_stable_tree for node in root]


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
def test_a_swapped_out_ksm_page_counts_until_ksmd_passes(kernel: str) -> None:
    """No counter changes when all its mappings go to swap and its frame is freed; the next scan frees the items."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        await s.swap_out()
        assert s.counters == (1, 1, 0, 0)
        assert slot_of(s, a, 0) is slot_of(s, b, 0)
        await s.scan()
        assert (s.counters, stable_nodes(s)) == ((0, 0, 0, 0), [])
        await s.farewell()

    perform(play, kernel=kernel)


def test_what_comes_back_from_the_device_is_the_first_faulters() -> None:
    """It is an ordinary page of his, the others get copies, and all of it merges anew."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        await s.swap_out()
        await s.read(a, 0)
        await s.read(b, 0)
        assert not s.frame(a, 0).is_ksm
        assert s.frame(a, 0) is not s.frame(b, 0)
        await s.scan(3)
        assert s.counters == (1, 1, 0, 0)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_ksm_page_in_the_swap_cache_is_mapped_as_such() -> None:
    """The node lives as long as the page does; a mapping that comes back is appended at ksmd's next visit."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        frame = s.frame(a, 0)
        await s.to_swap_cache(a, 0)
        assert (frame.mapcount, frame.is_ksm, frame.swap is not None) == (0, True, True)
        await s.scan()  # takes the items of what is not present
        assert (s.counters, len(stable_nodes(s))) == ((0, 0, 0, 0), 1)
        for proc in (a, b):
            assert await s.read(proc, 0) is s.kernel.contents.token(1)
            assert s.frame(proc, 0) is frame
        await s.scan()
        assert s.counters == (1, 1, 0, 0)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_write_to_a_swapped_out_ksm_page_copies() -> None:
    """A KSM page is never reused, in the swap cache either."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        await s.to_swap_cache(a, 0)
        await s.write(a, 0, 2)
        assert not s.frame(a, 0).is_ksm
        assert await s.read(b, 0) is s.kernel.contents.token(1)
        assert s.frame(b, 0).is_ksm
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_while_unmerging_a_fault_copies() -> None:
    """S4c: while run is 2 nobody gets a KSM page back from the swap cache, node or no node."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, _ = await merged_pair(s)
        await s.to_swap_cache(a, 0)
        await s.set("run", 2)
        assert stable_nodes(s) == []
        assert await s.read(a, 0) is s.kernel.contents.token(1)
        assert not s.frame(a, 0).is_ksm
        await s.set("run", 1)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_ksm_page_without_a_node_is_copied_for_good() -> None:
    """remove_stable_node leaves an unmapped page of the swap cache a KSM page that names no node."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        frame = s.frame(a, 0)
        await s.to_swap_cache(a, 0)
        await s.set("run", 2)
        await s.set("run", 0)
        assert (frame.is_ksm, frame.stable_node) == (True, None)
        await s.read(a, 0)
        await s.read(b, 0)
        assert frame not in (s.frame(a, 0), s.frame(b, 0))
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_swapoff_gives_everybody_his_own() -> None:
    """What was a KSM page and has left memory serves its first anon_vma, and others copies of it."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        await s.swap_out()
        assert await s.kernel.swapoff() == 0
        assert s.frame(a, 0) is not s.frame(b, 0)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_page_in_the_swap_cache_can_be_merged() -> None:
    """C5: the cache's reference is no obstacle; merged away, the page leaves the cache."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 1, 2)
        await s.swap_out()
        for index in (0, 1):
            await s.read(a, index)
        page = s.frame(a, 0)
        assert page.swap is not None
        await s.process("B", 1)
        await s.process("C", 1)
        await s.scan(3)
        assert s.counters[:2] == (1, 2)
        assert page.is_ksm or page.refcount == 0
        await s.quiesce()
        await s.farewell()

    perform(play)


# -- the keyhole reader against frozen pages --------------------------------------------------------------------------


async def looked_up_while_frozen(s: Stage) -> None:
    """S5c: ksmd looks up a KSM page of the swap cache while a migration has frozen its references."""
    s.start_swap()
    a, _ = await merged_pair(s)
    frame = s.frame(a, 0)
    await s.to_swap_cache(a, 0)
    await s.conductor.sleep(1_000_000)
    migration = s.start("migration", s.kernel.migrate_frame(frame, 1))
    await s.until(migration, about_to(WRITE, frame, "refcount", inside="migrate_page_move_mapping"))
    await s.until(migration, lambda _op, _functions: frame.refcount < 0)
    await s.process("C", 1)
    ksmd = s.start("ksmd", s.scan(2))
    await s.until(ksmd, lambda _op, functions: "get_when_unfrozen" in functions or not stable_nodes(s))
    await s.finish(migration)
    await s.finish(ksmd)
    assert await s.read(a, 0) is s.kernel.contents.token(1)
    await s.quiesce()
    await s.farewell()


async def forgotten_too_early(s: Stage) -> None:
    """S5f: ksmd stands between "the count is 0" and its look at the SwapCache flag while the migration goes on."""
    s.start_swap()
    a, _ = await merged_pair(s)
    frame = s.frame(a, 0)
    await s.to_swap_cache(a, 0)
    await s.conductor.sleep(1_000_000)
    migration = s.start("migration", s.kernel.migrate_frame(frame, 1))
    await s.until(migration, about_to(WRITE, frame, "refcount", inside="migrate_page_move_mapping"))
    await s.until(migration, lambda _op, _functions: frame.refcount < 0)
    await s.process("C", 1)
    ksmd = s.start("ksmd", s.scan(2))
    await s.until(ksmd, about_to(READ, frame, "swap_cache"))
    await s.until(migration, about_to(WRITE, StableNode, "kpfn"))
    await s.until(ksmd, lambda op, _: op[2] == "refcount" or not stable_nodes(s))
    await s.finish(migration)
    await s.finish(ksmd)
    assert await s.read(a, 0) is s.kernel.contents.token(1)
    await s.farewell()


async def looked_up_while_reclaimed(s: Stage) -> None:
    """Reclaim has taken the page out of the cache, and its frame has not gone back yet: the node is stale."""
    s.start_swap()
    a, _ = await merged_pair(s)
    frame = s.frame(a, 0)
    await s.to_swap_cache(a, 0)
    await s.conductor.sleep(1_000_000)
    reclaim = s.start("reclaim", s.kernel.shrink_list([frame]))
    await s.until(reclaim, about_to(WRITE, frame, "refcount", inside="free_frozen"))
    assert frame.mapping is stable_nodes(s)[0].mapping
    await s.process("C", 1)
    ksmd = s.start("ksmd", s.scan())
    await s.finish(ksmd)
    assert stable_nodes(s) == []
    await s.finish(reclaim)
    await s.quiesce()
    await s.farewell()


class ZeroIsStale(Ksm):
    """S5c: a page without references is taken for gone, frozen or not."""

    async def get_when_unfrozen(self, page: Frame, node: StableNode) -> bool:
        return False


class ForgetsTooEarly(Ksm):
    """S5f: the old page's SwapCache flag is cleared before the stable node is told."""

    async def migrate_page_copy(self, new: Frame, page: Frame) -> None:
        if page.swap is not None:
            await self.clear_page_swap_cache(page)
        await Migration.migrate_page_copy(self, new, page)


@pytest.mark.parametrize(
    ("layer", "play"), [(ZeroIsStale, looked_up_while_frozen), (ForgetsTooEarly, forgotten_too_early)]
)
def test_a_live_node_is_not_freed(layer: type[Ksm], play: Play) -> None:
    """Who takes a frozen page for a stale one frees a node that a migration is about to write to."""
    with pytest.raises(Finding) as found:
        perform(play, layer=layer, watchers=())
    assert found.value.signature == "lifetime/use_after_free_stable_node@ksm_migrate_page"


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
@pytest.mark.parametrize("play", [looked_up_while_frozen, forgotten_too_early, looked_up_while_reclaimed])
def test_the_reader_spins_or_prunes(play: Play, kernel: str) -> None:
    """A frozen page is waited for; one that reclaim has taken ends its node."""
    perform(play, kernel=kernel)


# -- what v3.9 leaves behind (see tests/later) -------------------------------------------------------------------------


@pytest.mark.parametrize("play", [fault_across_run_2, advice_taken_back_while_swapped_out, moved_while_swapped_out])
def test_nothing_is_left_behind(play: Play) -> None:
    """What v3.9 does with KSM pages that come back at the wrong time or place, `series` does not."""
    perform(play)


def test_advice_unshares_what_fork_shares_in_swap() -> None:
    """Of two that share a swap entry one takes its advice back: each gets a page of its own, and nothing is lost."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await s.process("A", 7)
        await s.swap_out()
        b = await s.fork(a, "B")
        assert await s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_UNMERGEABLE) == 0
        await s.process("C", 7)
        await s.read(a, 0)
        await s.quiesce()
        assert s.frame(a, 0).is_ksm
        assert not s.frame(b, 0).is_ksm
        assert await s.kernel.madvise(b.mm, b.start, PAGE_SIZE, MADV_MERGEABLE) == 0
        await s.quiesce()
        assert s.frame(b, 0) is s.frame(a, 0)
        await s.farewell()

    perform(play)


def test_all_mms_leave_swap_behind_them() -> None:
    """Exit frees swap entries, and with the last one the slot and the cached KSM page."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        await s.to_swap_cache(a, 0)
        await s.conductor.sleep(1_000_000)
        mms: list[AddressSpace] = [a.mm, b.mm]
        for mm in mms:
            await s.kernel.mmput(mm)
        assert s.kernel.swap.used == {}
        await s.farewell()

    perform(play)
