"""The page allocator (mm/page_alloc.c): frames by preference and fallback."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.mm.address_space import entries_mapping
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import WRONG_MAPCOUNT, kernel_function
from ksmactors.seams import part, seam


class PageAlloc(MmCore):
    """A page comes from the node that was asked for, or from the next one that has room."""

    @override
    @seam
    async def alloc_page(self, nid: int, *, exactly: bool = False) -> Frame | None:
        """alloc_page_vma: a frame of zeros with one reference, from `nid` or, unless `exactly`, the next nodes.

        Returns None when there is no memory. Others may move before.
        """
        self.conductor.might_sleep("memory")
        if self.inject("alloc_page"):
            return None
        count = len(self.nodes)
        for candidate in [nid] if exactly else [(nid + step) % count for step in range(count)]:
            await self.conductor.point(WRITE, self.nodes[candidate], "free_list")
            frame = self.nodes[candidate].take()
            if frame is not None:
                return frame
        return None

    @override
    @part
    def frame_freed(self, frame: Frame) -> None:
        if frame.mapcount:
            raise self._freed_while_mapped(frame)
        if frame.swap is not None:
            raise self.freed_in_use(frame, "in_swap_cache", "in the swap cache")
        if frame.owner is not None:  # bad_page: PG_locked is one of PAGE_FLAGS_CHECK_AT_FREE
            raise self.freed_in_use(frame, "locked", f"while {frame.owner.name} holds its lock")
        if frame.is_ksm:
            self.ksm_epoch += 1
        self.emit(ev.FREE_PAGE, frame.pfn, frame.nid)

    def _freed_while_mapped(self, frame: Frame) -> Finding:
        """Say whether there are mappings, or the map count is wrong."""
        entries = entries_mapping(frame, self.address_spaces)
        message = f"with {frame.mapcount} mapping{'' if frame.mapcount == 1 else 's'}"
        if entries == frame.mapcount:
            return self.freed_in_use(frame, "mapped", message)
        message += f", but {entries or 'no'} entr{'y maps' if entries == 1 else 'ies map'} it"
        return self.freed_in_use(frame, "mapped", message, names=(WRONG_MAPCOUNT,))

    @staticmethod
    def freed_in_use(frame: Frame, use: str, message: str, *, names: tuple[tuple[str, str], ...] = ()) -> Finding:
        """The finding for a frame whose last reference went too early."""
        message = f"pfn {frame.pfn} is freed {message}"
        return Finding("references", f"freed_while_{use}", kernel_function(), message, about=(frame,), names=names)
