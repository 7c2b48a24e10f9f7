"""Compaction (mm/compaction.c), as far as it asks for migrations."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.interleave.actor import YIELD
from ksmactors.mm.const import EBUSY, ENOENT
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam


class Compaction(MmCore):
    """Which pages of a node can be moved, and the move of one of them."""

    @override
    def movable_frames(self, nid: int) -> list[Frame]:
        """The frames of a node that a compaction scan would try to isolate, by frame number."""
        frames = self.nodes[nid].frames
        for frame in frames:
            self.conductor.touch(YIELD, frame, "lru")
            self.conductor.touch(YIELD, frame, "refcount")
        return [frame for frame in frames if frame.lru and frame.refcount > 0]

    @seam
    async def migrate_frame(self, page: Frame, nid: int) -> int:
        """Move a frame's page to a node as compaction does, holding no lock: 0 or -errno."""
        if not await page.get_unless_zero():
            return -ENOENT
        isolated = await self.isolate_lru_page(page)
        await page.put()
        return await self.migrate_pages(page, nid) if isolated else -EBUSY
