"""The repair `kpfn-aba`, where a KSM page is on its way back into the frame that ksmd is about to look at."""

from __future__ import annotations

import pytest

from ksmactors.errors import Finding
from ksmactors.interleave.actor import READ, WRITE
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.frame import Frame
from tests.helpers.directed import Stage, about_to, perform


async def looked_at_before_it_is_copied(s: Stage) -> None:
    """ksmd has read kpfn; the page goes to another node; the frame that it left names the node again, but is empty."""
    a = await s.process("A", 1, 1)
    await s.scan(2)
    pfn = s.frame(a, 0).pfn
    await s.process("B", 1)
    ksmd = s.start("ksmd", s.scan())
    await s.until(ksmd, about_to(READ, Frame, "mapping", inside="get_ksm_page"))
    await s.migrate(a, 0, 1)
    back = s.start("migration", s.move(a, 0, 0))
    await s.until(back, about_to(WRITE, Frame, "content", inside="migrate_page_copy"))
    assert s.kernel.pfn_to_page(pfn).is_ksm, "the frame freed last is the first to be used again"
    await s.go(ksmd)
    await s.finish(back)
    await s.finish(ksmd)
    await s.quiesce()


def test_a_frame_is_not_compared_before_it_has_the_content() -> None:
    """Without the repair ksmd compares its page with a frame that a migration is about to copy the KSM page into."""
    with pytest.raises(Finding) as found:
        perform(looked_at_before_it_is_copied, without=("kpfn-aba",))
    assert found.value.signature == "happens_before/data_race@migrate_page_copy+stable_tree_walk"
    assert perform(looked_at_before_it_is_copied).counters == (1, 2, 0, 0)


def test_the_frame_is_locked_when_its_lock_was_waited_for() -> None:
    """Who waits for the lock of such a frame has it when the migration is over: nothing needs to be asked again."""

    async def play(s: Stage) -> None:
        a = await s.process("A", 1, 1)
        await s.scan(2)
        node, pfn = s.frame(a, 0).stable_node, s.frame(a, 0).pfn
        assert isinstance(node, StableNode)
        looking = s.start("look", s.kernel.get_ksm_page(node, lock=True))
        await s.until(looking, about_to(READ, Frame, "mapping"))
        await s.migrate(a, 0, 1)
        back = s.start("migration", s.move(a, 0, 0))
        await s.until(back, about_to(WRITE, Frame, "content", inside="migrate_page_copy"))
        await s.blocks(looking)
        await s.finish(back)
        assert (await s.finish(looking)).pfn == pfn

    perform(play)
