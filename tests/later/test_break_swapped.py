"""The repair `break-swapped`, when reclaim takes the page between its two looks."""

from __future__ import annotations

from ksmactors.interleave.actor import ACQUIRE
from ksmactors.mm.const import PAGE_SIZE
from tests.helpers.directed import Stage, about_to, perform
from tests.helpers.swapping import merged_pair


def test_reclaim_comes_in_between() -> None:
    """mremap is about to break a KSM page that is present when reclaim unmaps it: the swap entry is broken, too."""

    async def play(s: Stage) -> None:
        s.start_swap()
        a, b = await merged_pair(s)
        moving = s.start("thread", s.kernel.mremap(a.mm, a.start, PAGE_SIZE))
        await s.until(moving, about_to(ACQUIRE, a.mm.page_table_lock, inside="follow_page"))
        await s.to_swap_cache(b, 0)
        moved = a._replace(start=await s.finish(moving))
        assert await s.read(moved, 0) is s.kernel.contents.token(1)
        assert not s.frame(moved, 0).is_ksm, "a KSM page where no rmap_item is"
        await s.quiesce()
        await s.farewell()

    perform(play)
