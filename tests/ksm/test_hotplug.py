"""Memory hot-remove under KSM: pages move, nodes of gone frames go, ksmd and the knobs wait."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_OFFLINE, StableNode
from ksmactors.mm.const import EBUSY, EINVAL, PAGE_SIZE
from tests.helpers.directed import FULL_SCAN, Play, Proc, Stage, about_to, perform


def node_1(s: Stage) -> range:
    """All memory of node 1."""
    return s.kernel.memory_block(s.kernel.frames_per_node)


async def merged_on(s: Stage, nid: int, *tokens: int) -> Proc:
    """A process with each token twice, merged, on a node; with merge_across_nodes 0."""
    await s.set("merge_across_nodes", 0)
    proc = await s.process("A", *(token for token in tokens for _ in range(2)), nid=nid)
    await s.scan(2)
    return proc


def stable_nodes(s: Stage) -> list[tuple[StableNode, int]]:
    return [(node, root.nid) for root in s.kernel.root_stable_tree for node in root]


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
def test_everything_moves_away_and_comes_back(kernel: str) -> None:
    """KSM pages, ordinary ones and those in the swap cache; no counter changes, and all is read as it was."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a = await merged_on(s, 1, 5, 7)
        b = await s.process("B", 1, 2, nid=1, mergeable=False)
        await s.to_swap_cache(b, 1)
        before = s.counters
        assert await s.kernel.offline_pages(node_1(s)) == 0
        assert s.counters == before == (2, 2, 0, 0)
        assert [s.frame(a, index).nid for index in range(4)] == [0] * 4
        assert s.frame(b, 0).nid == 0
        assert await s.read(b, 1) is s.kernel.contents.token(2)
        assert s.frame(b, 1).nid == 0
        await s.scan(2)
        assert [nid for _, nid in stable_nodes(s)] == [0, 0]
        c = await s.process("C", 9, nid=1, mergeable=False)
        assert s.frame(c, 0).nid == 0
        assert await s.kernel.online_pages(node_1(s)) == 0
        await s.write(await s.process("D", nid=1, mergeable=False), 0, 9)
        await s.quiesce()
        await s.farewell()

    perform(play, kernel=kernel)


def test_nodes_of_gone_frames_go_with_them() -> None:
    """A stale node whose frame goes offline is removed with its items at once; one of the other node stays."""

    async def play(s: Stage) -> None:
        a = await merged_on(s, 1, 5, 6, 7)
        b = await s.process("B", 8, 8)
        await s.scan(2)
        for index in range(4):
            await s.write(a, index, 100 + index)
        for index in range(2):
            await s.write(b, index, 200 + index)
        assert s.counters == (4, 4, 0, 0)
        assert await s.kernel.offline_pages(node_1(s)) == 0
        assert s.counters == (2, 2, 0, 4)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_part_of_a_node_goes_and_its_frames_are_not_given_out() -> None:
    """Frames that exist and frames that never did are passed over until the range is online again."""

    async def play(s: Stage) -> None:
        first = s.kernel.frames_per_node
        a = await s.process("A", 1, 2, nid=1, mergeable=False)
        assert await s.kernel.offline_pages(range(first + 1, first + 5)) == 0
        assert [s.frame(a, index).pfn for index in range(2)] == [first, 1]
        b = await s.process("B", 3, nid=1, mergeable=False)
        assert s.frame(b, 0).pfn == first + 5
        assert s.kernel.absent_ranges() == [range(first + 1, first + 5)]
        assert await s.kernel.online_pages(range(first + 1, first + 5)) == 0
        c = await s.process("C", 4, 5, nid=1, mergeable=False)
        assert [s.frame(c, index).pfn for index in range(2)] == [first + 1, first + 2]
        await s.farewell()

    perform(play)


def test_what_cannot_be_taken_away() -> None:
    """The kernel's own frame, a range that is away already, one that reaches over two nodes, one that is none."""

    async def play(s: Stage) -> None:
        offline, size = s.kernel.offline_pages, s.kernel.frames_per_node
        assert await offline(s.kernel.memory_block(0)) == -EBUSY
        assert await offline(range(size - 1, size + 1)) == -EINVAL
        assert await offline(range(5, 5)) == -EINVAL
        assert await offline(range(2 * size, 2 * size + 1)) == -EINVAL
        assert await s.kernel.online_pages(node_1(s)) == -EINVAL
        assert await offline(node_1(s)) == 0
        assert await offline(range(size + 3, size + 4)) == -EINVAL
        assert s.kernel.ksm_run == 0

    perform(play)


def test_a_page_that_somebody_holds_cancels_it() -> None:
    """Everything is as it was but for the pages that moved; ksmd goes on."""

    async def play(s: Stage) -> None:
        a = await merged_on(s, 1, 5, 7)
        held = s.frame(a, 0)
        await held.get()
        assert await s.kernel.offline_pages(node_1(s)) == -EBUSY
        assert (s.kernel.ksm_run, s.kernel.absent_ranges(), s.frame(a, 0)) == (0, [], held)
        await held.put()
        await s.scan()
        assert await s.kernel.offline_pages(node_1(s)) == 0
        await s.quiesce()
        await s.farewell()

    perform(play)


async def batch_of_ksmd(s: Stage) -> None:
    """A full scan as the thread makes it: with the mutex, and not while memory goes."""
    await s.kernel.ksm_thread_mutex.lock()
    await s.kernel.wait_while_offlining()
    await s.kernel.ksm_do_scan(FULL_SCAN)
    await s.kernel.ksm_thread_mutex.unlock()


def test_ksmd_and_the_knobs_wait() -> None:
    """While offlining, run shows 5, a batch does not start, a write of run waits; faults and advice do not."""

    async def play(s: Stage) -> None:
        a = await merged_on(s, 1, 5)
        await s.set("run", 1)
        scanned = s.kernel.pages_scanned
        operator = s.start("operator", s.kernel.offline_pages(node_1(s)))
        await s.until(operator, about_to(WRITE, inside="migrate_page_copy"))
        assert s.kernel.sysfs_show("run") == "5"
        ksmd = s.start("ksmd", batch_of_ksmd(s))
        await s.blocks(ksmd)
        writer = s.start("writer", s.set("run", 2))
        await s.blocks(writer)
        await s.write(a, 0, 6)
        b = await s.process("B", 5, nid=1)
        assert s.frame(b, 0).nid == 0
        assert await s.finish(operator) == 0
        assert s.kernel.pages_scanned == scanned
        await s.finish(ksmd)
        assert s.kernel.pages_scanned == scanned + 3
        assert await s.finish(writer) == 0
        assert (s.counters, s.kernel.ksm_run) == ((0, 0, 0, 0), 2)

    perform(play, watchers=())


def test_going_offline_waits_for_the_batch() -> None:
    """The bit is set only when nobody holds ksm_thread_mutex."""

    async def play(s: Stage) -> None:
        await merged_on(s, 1, 5)
        await s.kernel.ksm_thread_mutex.lock()
        operator = s.start("operator", s.kernel.offline_pages(node_1(s)))
        await s.blocks(operator)
        assert not s.kernel.ksm_run & KSM_RUN_OFFLINE
        await s.kernel.ksm_thread_mutex.unlock()
        assert await s.finish(operator) == 0

    perform(play)


# -- without one of the protections -----------------------------------------------------------------------------------


async def stale_under_gone_memory(s: Stage) -> None:
    """Stale nodes of node 1 are still in tree 1 when its memory goes; then a page is merged on node 1 again."""
    a = await merged_on(s, 1, 5, 6, 7)
    await s.kernel.munmap(a.mm, a.start, 6 * PAGE_SIZE)
    assert await s.kernel.offline_pages(range(node_1(s).start, node_1(s).start + 32)) == 0
    b = await s.process("B", 6, nid=1)
    assert s.frame(b, 0).nid == 1
    await s.scan(3)
    await s.farewell()


async def stale_on_the_list(s: Stage) -> None:
    """S6e: a node on migrate_nodes names a frame that goes offline."""
    b = await s.process("B", 9, nid=1)
    a = await merged_on(s, 1, 5)
    await s.migrate(a, 0, 0)
    await s.write(b, 0, 5)
    await s.batch(1)  # B's page meets the misplaced node
    assert len(s.kernel.migrate_nodes) == 1
    await s.migrate(a, 0, 1)
    for proc, pages in ((a, 2), (b, 1)):
        await s.kernel.munmap(proc.mm, proc.start, pages * PAGE_SIZE)
    assert await s.kernel.offline_pages(node_1(s)) == 0
    await s.scan(3)
    await s.farewell()


async def batch_while_memory_goes(s: Stage) -> None:
    """R5': ksmd wakes up when the frames are gone and the trees have not been checked yet."""
    a = await merged_on(s, 1, 5, 6)
    await s.process("B", 6, nid=1)
    await s.kernel.munmap(a.mm, a.start, 2 * PAGE_SIZE)
    operator = s.start("operator", s.kernel.offline_pages(node_1(s)))
    await s.until(operator, about_to(READ, StableNode, "kpfn", inside="ksm_check_stable_tree"))
    assert node_1(s) in s.kernel.absent_ranges()
    assert any(node.kpfn in node_1(s) for node, _ in stable_nodes(s))
    ksmd = s.start("ksmd", batch_of_ksmd(s))
    await s.go(ksmd)
    await s.finish(operator)
    await s.finish(ksmd)


class ChecksNothing(Ksm):
    """S2b: the notifier does nothing at OFFLINE."""

    async def ksm_check_stable_tree(self, pfns: range) -> None:
        return


class ForgetsTheList(Ksm):
    """S6e: nodes on migrate_nodes are not looked at."""

    async def ksm_check_stable_tree(self, pfns: range) -> None:
        for nid in range(self.ksm_nr_node_ids):
            while await self.check_one_of(nid, pfns):
                pass


class LooksThroughTheKeyhole(Ksm):
    """S2d: get_ksm_page is asked whether a node is stale."""

    async def check_stable_entry(self, node: StableNode, pfns: range) -> bool:
        return await self.get_ksm_page(node, lock=False) is None


class GoesOnBehindTheFreed(Ksm):
    """S2a: after a removal the walk goes on with what it had listed before, freed or not."""

    async def check_stable_entry(self, node: StableNode, pfns: range) -> bool:
        removed = await super().check_stable_entry(node, pfns)
        node.must_be_alive()
        return removed


@pytest.mark.parametrize(
    ("signature", "layer", "play"),
    [
        ("lifetime/use_after_free_frame@pfn_to_page", ChecksNothing, stale_under_gone_memory),
        ("lifetime/use_after_free_frame@pfn_to_page", LooksThroughTheKeyhole, stale_under_gone_memory),
        ("lifetime/use_after_free_stable_node@check_stable_entry", GoesOnBehindTheFreed, stale_under_gone_memory),
        ("lifetime/use_after_free_frame@pfn_to_page", ForgetsTheList, stale_on_the_list),
    ],
)
def test_what_is_broken_is_convicted(signature: str, layer: type[Ksm], play: Play) -> None:
    """A node that names absent memory is found when somebody looks at it."""
    with pytest.raises(Finding) as found:
        perform(play, layer=layer, watchers=())
    assert found.value.signature == signature


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
@pytest.mark.parametrize("play", [stale_under_gone_memory, stale_on_the_list])
def test_what_is_not_broken_is_not(play: Play, kernel: str) -> None:
    """The same programs pass on the kernels as they are."""
    perform(play, kernel=kernel)


class DoesNotWait(Ksm):
    """R5': the bit is set, and ignored."""

    async def wait_while_offlining(self) -> None:
        return


def test_who_does_not_wait_touches_absent_memory() -> None:
    """Between the loss of the frames and the check of the trees a search meets a node of a frame that is gone."""
    with pytest.raises(Finding) as found:
        perform(batch_while_memory_goes, layer=DoesNotWait, watchers=())
    assert found.value.signature == "lifetime/use_after_free_frame@pfn_to_page"
    perform(batch_while_memory_goes, watchers=())
