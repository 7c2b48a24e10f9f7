"""max_page_sharing: what chains do that the recordings do not show."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.ksm.structs import StableNode
from ksmactors.later.chain_nodes import Chain, ChainNodes, DupNode
from ksmactors.mm.const import EBUSY, EINVAL, ERANGE, MADV_UNMERGEABLE, PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.watch import WATCHERS
from tests.helpers.directed import Stage, about_to, perform

LATER = ["v6.1", "v6.12", "v7.3"]


def entries(s: Stage, nid: int = 0) -> list[StableNode]:
    return list(s.kernel.root_stable_tree[nid])


def lengths(s: Stage, nid: int = 0) -> list[int]:
    """How many items the dups of the only entry have."""
    (entry,) = entries(s, nid)
    assert isinstance(entry, Chain)
    return [dup.rmap_hlist_len for dup in entry.dups]


async def tight(s: Stage, limit: int = 2, *, prune: bool = True) -> None:
    """Set the limit, run with all features that a recording has off."""
    assert isinstance(s.kernel, ChainNodes)
    assert await s.set("max_page_sharing", limit) == 0
    assert await s.set("stable_node_chains_prune_millisecs", 0 if prune else 1_000_000_000) == 0
    if "smart_scan" in s.kernel.sysfs_files():
        assert await s.set("smart_scan", 0) == 0


@pytest.mark.parametrize("kernel", LATER)
def test_equal_pages_stand_in_a_chain(kernel: str) -> None:
    """Six equal pages at a limit of 2 are three frames on one chain, and the watchers agree with every step."""

    async def play(s: Stage) -> None:
        await tight(s)
        await s.process("A", *[7] * 6)
        await s.scan(6)
        assert lengths(s) == [2, 2, 2]
        assert s.counters == (3, 3, 0, 0)
        assert s.kernel.sysfs_show("stable_node_chains") == "1"
        assert s.kernel.sysfs_show("stable_node_dups") == "3"
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


def unmerged_to_one_dup(kernel: str, *, prune: bool, touch: bool) -> list[str]:
    """What is in the tree when all but one dup of a chain have gone, and a search has met it since."""
    seen: list[str] = []

    async def play(s: Stage) -> None:
        await tight(s, prune=prune)
        proc = await s.process("A", *[7] * 4)
        await s.scan(4)
        keep = s.frame(proc, 0)
        for index in range(4):
            if s.frame(proc, index) is not keep:
                await s.kernel.madvise(proc.mm, proc.at(index), PAGE_SIZE, MADV_UNMERGEABLE)
        await s.scan(2)
        if touch:
            await s.process("B", 9)
            await s.scan(3)
        seen.extend(type(entry).__name__ for entry in entries(s))
        await s.quiesce()

    perform(play, kernel=kernel)
    return seen


@pytest.mark.parametrize(
    ("kernel", "prune", "seen"),
    [("v6.1", True, ["Chain"]), ("v6.1", False, ["Chain"]), ("v6.12", True, ["DupNode"]),
     ("v6.12", False, ["DupNode"])],
)  # fmt: skip
def test_who_collapses_a_chain_with_one_full_dup(kernel: str, prune: bool, seen: list[str]) -> None:
    """v6.1 keeps the chain, since no dup is usable; v6.12 puts the dup in its place, pruning or not."""
    assert unmerged_to_one_dup(kernel, prune=prune, touch=True) == seen


def test_a_chain_that_no_search_meets_stays() -> None:
    """Losing its dups does not change a chain."""
    assert unmerged_to_one_dup("v6.12", prune=True, touch=False) == ["Chain"]


def test_an_empty_chain_goes_with_the_search_that_meets_it() -> None:
    """All pages were written: the next walk past the chain frees its stale dups and the chain, and starts again."""

    async def play(s: Stage) -> None:
        await tight(s)
        proc = await s.process("A", *[7] * 4)
        await s.scan(4)
        for index in range(4):
            await s.write(proc, index, 20 + index)
        await s.scan(3)
        assert entries(s) == []
        assert s.kernel.sysfs_show("stable_node_chains") == "0"
        assert s.kernel.sysfs_show("stable_node_dups") == "0"
        await s.quiesce()

    perform(play, kernel="v6.12")


@pytest.mark.parametrize("kernel", LATER)
def test_a_knob_that_tears_down_stops_at_the_first_busy_dup(kernel: str) -> None:
    """max_page_sharing is EBUSY while a dup is mapped; dups before it on the chain are gone, the chain is not."""

    async def play(s: Stage) -> None:
        await tight(s)
        proc = await s.process("A", *[7] * 4)
        await s.scan(4)
        (chain,) = entries(s)
        assert isinstance(chain, Chain)
        front, back = chain.dups
        await s.kernel.mmput(proc.mm)  # their frames are gone; the mapping below is another process's
        mapped = await s.kernel.alloc_page(0)
        assert mapped is not None
        mapped.mapping, mapped.mapcount = back.mapping, 1
        back.kpfn = mapped.pfn
        await s.scan(1)
        assert await s.set("max_page_sharing", 9) == -EBUSY
        assert chain.alive
        assert not front.alive
        assert chain.dups == [back]
        assert s.kernel.sysfs_show("max_page_sharing") == "2"

    perform(play, kernel=kernel, watchers=())


@pytest.mark.parametrize(
    ("text", "result"),
    [("1", -EINVAL), ("-3", -EINVAL), ("x", -EINVAL), ("2147483648", -ERANGE), ("-2147483649", -ERANGE), ("+3\n", 0)],
)
def test_what_max_page_sharing_takes(text: str, result: int) -> None:
    """A signed number from 2 on; what does not fit 32 bits is ERANGE."""

    async def play(s: Stage) -> None:
        assert await s.kernel.sysfs_store("max_page_sharing", text) == result
        assert s.kernel.sysfs_show("max_page_sharing") == ("3" if result == 0 else "256")

    perform(play, kernel="v6.1")


@pytest.mark.parametrize("kernel", LATER)
def test_a_locked_page_is_left_for_the_next_scan(kernel: str) -> None:
    """A search that meets the lock of the equal KSM page ends without merging, waiting, or the unstable tree."""

    async def play(s: Stage) -> None:
        await tight(s, limit=9)
        one = await s.process("A", 7, 7)
        await s.scan(3)
        kpage = s.frame(one, 0)
        two = await s.process("B", 7)
        if kernel != "v6.1":
            await s.batch(3)  # B's page is looked at a first time
        holder = s.start("holder", hold(s, kpage))
        await s.until(holder, about_to(obj=kpage, field="content"))
        ksmd = s.start("ksmd", s.scan(2))
        await s.finish(ksmd)
        assert s.frame(two, 0) is not kpage
        assert s.counters == (1, 1, 0, 1)
        await s.finish(holder)
        await s.scan(1)
        assert s.frame(two, 0) is kpage
        await s.quiesce()

    perform(play, kernel=kernel)


async def hold(s: Stage, page: Frame) -> None:
    """Somebody who has the page's lock for a while."""
    await page.lock()
    await page.read_content()
    await page.unlock()


def test_before_v5_1_ksmd_waited_for_it() -> None:
    """Without `trylock-search` the search blocks on the lock."""

    async def play(s: Stage) -> None:
        await tight(s, limit=9)
        one = await s.process("A", 7, 7)
        await s.scan(3)
        kpage = s.frame(one, 0)
        await s.process("B", 7)
        holder = s.start("holder", hold(s, kpage))
        await s.until(holder, about_to(obj=kpage, field="content"))
        ksmd = s.start("ksmd", s.scan(2))
        await s.blocks(ksmd)
        assert "stable_tree_search" in ksmd.actor.functions()
        await s.finish(holder)
        await s.finish(ksmd)

    perform(play, kernel="v6.1", without=("trylock-search",))


@pytest.mark.parametrize("kernel", LATER)
def test_offline_takes_the_dups_whose_frames_go(kernel: str) -> None:
    """The check of the trees removes a chain's dups in the range, then the chain that is empty; others stay."""

    async def play(s: Stage) -> None:
        await tight(s)
        await s.process("A", *[7] * 4)
        await s.process("B", *[9] * 4)
        await s.scan(5)
        seven, nine = entries(s)
        assert isinstance(seven, Chain)
        assert isinstance(nine, Chain)
        gone = {dup.kpfn for dup in seven.dups} | {nine.dups[0].kpfn}
        kept = nine.dups[1]
        for pfn in sorted(gone):
            await s.kernel.ksm_check_stable_tree(range(pfn, pfn + 1))
        assert entries(s) == [nine]
        assert nine.dups == [kept]
        assert s.kernel.sysfs_show("stable_node_dups") == "1"

    perform(play, kernel=kernel, watchers=())


def test_a_chain_that_cannot_be_allocated_costs_nothing() -> None:
    """Without memory for a chain the new KSM page is undone, and the tree is as it was."""

    class NoChains(ChainNodes):
        def new_stable_node_chain(self) -> Chain | None:
            return None

    async def play(s: Stage) -> None:
        await tight(s)
        proc = await s.process("A", *[7] * 4)
        await s.scan(4)
        (entry,) = entries(s)
        assert isinstance(entry, DupNode)
        assert entry.rmap_hlist_len == 2
        assert len({s.frame(proc, index).pfn for index in range(4)}) == 3
        await s.quiesce()
        await s.farewell()

    watchers = [name for name in WATCHERS if name != "convergence"]  # it would say that ksmd tries for ever
    perform(play, kernel="v6.12", layer=NoChains, watchers=watchers)


@pytest.mark.parametrize("with_", [(), ("ksm-into-ksm",)])
@pytest.mark.parametrize("kernel", LATER)
def test_a_moved_page_is_lost_while_the_equal_one_is_full(kernel: str, with_: tuple[str, ...]) -> None:
    """A KSM page with one mapping comes to where its equal has no room: its mapping is taken off, and goes to the
    unstable tree of every scan, KSM page as it is; reverse mapping does not find it, so the page cannot be moved. This
    is not the failed merge of one KSM page into another: there is no merge to be tried."""

    async def play(s: Stage) -> None:
        await s.set("merge_across_nodes", 0)
        await tight(s)
        one = await s.process("A", 7, 7)
        await s.process("B", 7, 7, nid=1)
        await s.scan(3)
        await s.write(one, 1, 8)
        assert await s.migrate(one, 0, 1) == 1
        for _ in range(3):
            await s.scan(2)
            (lost,) = s.kernel.migrate_nodes
            assert list(lost.hlist()) == []
            assert s.frame(one, 0).stable_node is lost
            assert s.counters == (1, 1, 2, 0)
            assert await s.migrate(one, 0, 0) < 0
        with pytest.raises(Finding, match="reverse mapping does not find it"):
            await s.quiesce()

    perform(play, kernel=kernel, with_=with_)
