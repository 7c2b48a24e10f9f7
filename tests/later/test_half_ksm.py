"""The repair `half-ksm`: a merge that comes to nothing after a page has been made a KSM page."""

from __future__ import annotations

from typing import Any

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import ACQUIRE
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import KSM_WITHOUT_NODE
from tests.helpers.directed import Proc, Puppet, Stage, about_to, perform

WITHOUT: dict[str, Any] = {"kernel": "series", "without": ("half-ksm",)}


async def about_to_insert(s: Stage) -> tuple[Proc, Proc, Puppet]:
    """ksmd has made B's page a KSM page, for which there will be no node: by now it is equal to one that has one. A's
    page, the tree item's, is as B's is."""
    await s.process("C", 5)
    await s.process("D", 5)
    await s.scan(2)
    a, b = await s.process("A", 1), await s.process("B", 1)
    await s.scan()
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
    await s.write(a, 0, 5)
    await s.write(b, 0, 5)
    await s.until(ksmd, about_to(inside="stable_tree_insert"))
    assert s.frame(b, 0).mapping is KSM_WITHOUT_NODE
    return a, b, ksmd


@pytest.mark.parametrize("unmapped", ["A", "B", "neither"])
@pytest.mark.parametrize("parent", ["A", "B"])
def test_a_child_of_either_process(parent: str, unmapped: str) -> None:
    """One of the two processes forks before the insertion fails, and one may unmap its page before the merge is undone:
    the child maps an ordinary page of a living anon_vma, which can be moved and is merged later."""

    async def play(s: Stage) -> None:
        a, b, ksmd = await about_to_insert(s)
        child = await s.fork({"A": a, "B": b}[parent], "E")
        await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="break_cow"))
        if unmapped != "neither":
            gone = {"A": a, "B": b}[unmapped]
            await s.kernel.munmap(gone.mm, gone.start, PAGE_SIZE)
        await s.finish(ksmd)
        anon_vma = s.frame(child, 0).mapping
        assert isinstance(anon_vma, AnonVma)
        assert anon_vma.alive
        assert await s.migrate(child, 0, 1) == 1
        await s.quiesce()
        assert s.counters == (1, 4 if unmapped == "neither" else 3, 0, 0)
        await s.farewell()

    perform(play)


@pytest.mark.parametrize("parent", ["A", "B"])
def test_without_it_a_child_of_either_process_is_left_behind(parent: str) -> None:
    """v3.9 maps the page into both processes before it asks for a node: the child of either keeps a half KSM page."""

    async def play(s: Stage) -> None:
        a, b, ksmd = await about_to_insert(s)
        assert s.frame(a, 0) is s.frame(b, 0)
        child = await s.fork({"A": a, "B": b}[parent], "E")
        await s.finish(ksmd)
        assert s.frame(child, 0).mapping is KSM_WITHOUT_NODE
        await s.quiesce()

    with pytest.raises(Finding) as found:
        perform(play, **WITHOUT)
    assert found.value.signature == "rmap/half_ksm_page@rmap_walk_ksm"


def test_a_process_that_unmaps_before_the_merge_is_undone() -> None:
    """With no child either, the page is freed, and nothing is given back to it."""

    async def play(s: Stage) -> None:
        _, b, ksmd = await about_to_insert(s)
        page = s.frame(b, 0)
        await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="break_cow"))
        await s.kernel.munmap(b.mm, b.start, PAGE_SIZE)
        await s.finish(ksmd)
        assert (page.refcount, page.mapcount) == (0, 0)
        await s.quiesce()
        await s.farewell()

    perform(play)


def test_a_child_keeps_a_page_with_a_node() -> None:
    """The second process writes its page and the first forks, when the node is there: the child keeps a KSM page, which
    ksmd adds it to; until then the page stays where it is, and nothing is lost."""

    async def play(s: Stage) -> None:
        a, b = await s.process("A", 1), await s.process("B", 1)
        await s.scan()
        ksmd = s.start("ksmd", s.scan())
        await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
        await s.until(ksmd, about_to(ACQUIRE, a.mm.mmap_sem, inside="try_to_merge_with_ksm_page"))
        page = s.frame(b, 0)
        node = page.stable_node
        assert node is not None
        child = await s.fork(b, "C")
        await s.write(a, 0, 2)
        await s.until(ksmd, about_to(ACQUIRE, b.mm.mmap_sem, inside="break_mapping_of"))
        await s.kernel.munmap(b.mm, b.start, PAGE_SIZE)
        await s.finish(ksmd)
        await s.scan()
        assert (s.frame(child, 0), page.stable_node) == (page, node)
        assert await s.migrate(child, 0, 1) == 1
        await s.quiesce()
        assert s.counters == (1, 0, 1, 0)
        await s.farewell()

    perform(play)
