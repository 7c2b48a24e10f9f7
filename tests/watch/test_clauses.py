"""Clauses of the oracles that only one kind of defect breaks: each reports by itself, and acquits the right kernel."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE, READ
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.address_space import Vma
from ksmactors.mm.const import MADV_MERGEABLE, MADV_UNMERGEABLE, PAGE_SIZE
from tests.helpers import broken
from tests.helpers.directed import Play, Stage, about_to, perform
from workloads.litmus.migration import unmap_to_swap_cache


async def moved_in_the_swap_cache(s: Stage) -> None:
    """A KSM page moves while nobody maps it."""
    s.start_swap()
    a = await s.process("A", 1)
    await s.process("B", 1)
    await s.scan(2)
    await unmap_to_swap_cache(s, a, 0)
    await s.set("run", 1)  # takes the mutex


async def three_pages_on_two_nodes(s: Stage) -> None:
    """With merge_across_nodes=0 both unstable trees have entries."""
    await s.set("merge_across_nodes", 0)
    await s.process("A", 1, 2)
    await s.process("B", 3, nid=1)
    await s.scan()
    await s.batch(2)


async def advice_withdrawn_before_the_merge(s: Stage) -> None:
    """ksmd has found two equal pages; the process of the one that is to become the KSM page withdraws its advice."""
    await s.process("A", 1)
    b = await s.process("B", 1)
    await s.scan()
    await s.batch(1)
    ksmd = s.start("ksmd", s.batch(1))
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.unmergeable(b)
    await s.finish(ksmd)


async def unmerged_while_one_exits(s: Stage) -> None:
    """With merge_across_nodes=0, run=2 meets a page that an exiting process still maps, and in the other tree one that
    nobody maps but somebody holds; then the memory of an empty node goes."""
    await s.set("merge_across_nodes", 0)
    await s.set("run", 1)
    a = await s.process("A", 1)
    await s.process("B", 1)
    c = await s.process("C", 2, nid=1)
    await s.process("D", 2, nid=1)
    await s.scan(2)
    page = s.frame(c, 0)
    await page.get()
    leaving = s.start("exit", s.exit(a))
    await s.until(leaving, about_to(inside="exit_mmap"))
    assert await s.set("run", 2) == 0
    assert s.kernel.root_stable_tree[0].root is not None
    await s.finish(leaving)
    await page.put()
    assert await s.kernel.offline_pages(s.kernel.memory_block(2 * s.kernel.frames_per_node)) == 0


async def memory_goes_under_a_search(s: Stage) -> None:
    """ksmd is about to look whether a frame names its node when the frame's memory goes offline, if it can."""
    await s.set("merge_across_nodes", 0)
    leaving = [await s.process(name, 2, nid=1) for name in "AB"]
    await s.process("C", 3, nid=1, mergeable=False)
    await s.scan(2)
    frame = s.frame(leaving[0], 0)
    for proc in leaving:
        await s.exit(proc)
    await s.process("D", 2, nid=1)
    hotplug = s.start("hotplug", s.kernel.offline_pages(s.kernel.memory_block(frame.pfn)))
    await s.until(hotplug, about_to(inside="migrate_away"))
    ksmd = s.start("ksmd", s.scan())
    if await s.comes_to(ksmd, about_to(READ, frame, "mapping", inside="get_ksm_page")):
        await s.go(hotplug)
        await s.finish(ksmd)
        await s.finish(hotplug)
    else:
        await s.finish(hotplug)
        await s.finish(ksmd)


CONVICTED: tuple[tuple[str, type[Ksm], Play, int], ...] = (
    ("naming/not_mutual@mutex_unlock", broken.ForgetsKpfn, moved_in_the_swap_cache, 2),
    ("trees/wrong_tree@mutex_unlock", broken.LinksUnderAnotherNid, three_pages_on_two_nodes, 2),
    (
        "refinement/unlawful_merge@try_to_merge_with_ksm_page",
        broken.MergesWithoutAdvice, advice_withdrawn_before_the_merge, 2,
    ),
    ("unmerge/node_left@run_store", broken.StopsAtTheFirstMapped, unmerged_while_one_exits, 3),
    ("lifetime/use_after_free_frame@get_ksm_page", broken.NobodyWaits, memory_goes_under_a_search, 2),
)  # fmt: skip
"""Signature, broken kernel, program, nodes of the machine."""


@pytest.mark.parametrize(("signature", "layer", "play", "nodes"), CONVICTED, ids=[one[0] for one in CONVICTED])
def test_convicts(signature: str, layer: type[Ksm], play: Play, nodes: int) -> None:
    """The watcher alone reports the broken kernel."""
    with pytest.raises(Finding) as found:
        perform(play, layer=layer, watchers=(signature.partition("/")[0],), nodes=nodes)
    assert found.value.signature == signature


@pytest.mark.parametrize(("play", "nodes"), [one[2:] for one in CONVICTED], ids=[one[0] for one in CONVICTED])
def test_acquits(play: Play, nodes: int) -> None:
    """All watchers together are silent about the same program on the right kernel."""
    perform(play, nodes=nodes)


async def unmapped(s: Stage) -> None:
    a = await s.process("A", 1)
    await s.kernel.munmap(a.mm, a.start, PAGE_SIZE)


async def joined(s: Stage) -> None:
    """Two halves of a region, of which the upper one becomes a part of the lower one again."""
    a = await s.process("A", 1, 2)
    await s.kernel.madvise(a.mm, a.at(1), PAGE_SIZE, MADV_UNMERGEABLE)
    await s.kernel.madvise(a.mm, a.at(1), PAGE_SIZE, MADV_MERGEABLE)


async def exited(s: Stage) -> None:
    await s.exit(await s.process("A", 1))


@pytest.mark.parametrize("how", [unmapped, joined, exited])
def test_a_vma_that_is_gone(how: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever goes on with a vma that was unmapped, joined to another or torn down is reported, watched or not."""
    made: list[Vma] = []
    init = Vma.__init__

    def noted(self: Vma, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Vma, "__init__", noted)

    async def play(s: Stage) -> None:
        await how(s)
        vma = made[-1]
        await s.kernel.handle_mm_fault(vma.mm, vma, vma.start, False)

    with pytest.raises(Finding) as found:
        perform(play, watchers=())
    assert found.value.signature == "lifetime/use_after_free_vma@handle_mm_fault"
