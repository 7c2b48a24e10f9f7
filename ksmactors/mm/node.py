"""A NUMA node: owns frames, gives them out and takes them back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ksmactors.interleave.actor import RELEASE, YIELD, Actor
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor
    from ksmactors.mm.swap_device import SwapSlot


class Node:
    """pg_data_t. Frames come into being when they are first given out; the last one freed is the first reused."""

    def __init__(
        self,
        conductor: Conductor,
        nid: int,
        start_pfn: int,
        size: int,
        zero: Content,
        freed: Callable[[Frame], None],
        frame_class: type[Frame] = Frame,
    ) -> None:
        self.conductor, self.nid, self.start_pfn, self.size = conductor, nid, start_pfn, size
        self.name = f"node {nid}"
        self.frames: list[Frame] = []
        self.free_list: list[Frame] = []
        self.lock_waiters: dict[int, list[Actor]] = {}
        """By frame number, who waits for a page lock: few do at any time, and a frame is small without a queue."""
        self.swap_cache: dict[int, SwapSlot] = {}
        """By frame number, the slots of its pages in the swap cache (page->private with the SwapCache flag)."""
        self.mlocked: set[int] = set()
        """By frame number, the pages that mlock keeps in memory (the Mlocked flag); `mark_mlocked` changes it."""
        self.mlock_listeners: list[Callable[[Frame, bool], None]] = []
        """Called when a page gets the flag (True), or is to be without it from now on (False)."""
        self.poisoned: dict[int, int] = {}
        """The frames whose memory has failed (the HWPoison flag), with how many references memory_failure keeps on
        each. None of them is given out."""
        self.held_back: list[range] = []
        """Frame numbers that are not given out: isolated, or absent."""
        self.absent: list[range] = []
        """Those of them that have been taken away."""
        self._zero = zero
        self._freed = freed
        self._frame_class = frame_class

    def label(self, field: object) -> str:
        """How strategies call its fields: `free_list/NID`."""
        return f"{field}/{self.nid}"

    def shared(self, number: int) -> int:
        """The same number; where a frame has it, the very object that the frame has.

        A machine with a million pages has a million rmap_items, too: 32 bytes for each number of its own.

        Args:
            number: not negative.
        """
        place = number - self.start_pfn
        return self.frames[place].pfn if 0 <= place < len(self.frames) else number

    def take(self) -> Frame | None:
        """A frame with one reference and zeros in it, or None if the node has none left."""
        frame = self._next_free()
        if frame is None:
            return None
        self.conductor.touch(RELEASE, frame, "life")
        self.conductor.touch(RELEASE, frame, "refcount")
        frame.refcount = 1
        frame.content = self._zero
        frame.dirty, frame.writer, frame.getter = False, -1, -1
        return frame

    def _next_free(self) -> Frame | None:
        while self.free_list:
            frame = self.free_list.pop()
            if frame.pfn not in self.poisoned:  # check_new_page
                return frame
        if len(self.frames) >= self.size or (self.held_back and not self._skip_held_back()):
            return None
        return self._new_frame()

    def free(self, frame: Frame) -> None:
        """Take a frame back whose last reference has gone; only now an anonymous mapping is cleared."""
        self._freed(frame)
        self.conductor.touch(RELEASE, frame, "life")
        frame.mapping = None
        frame.writer = self.conductor.turn.number
        frame.lru = False
        self.mark_mlocked(frame, False)
        self.conductor.touch(RELEASE, self, "free_list")
        if not self.held_back or not self.holds_back(range(frame.pfn, frame.pfn + 1)):
            self.free_list.append(frame)

    def mark_mlocked(self, frame: Frame, mlocked: bool) -> None:
        """Give a frame the Mlocked flag, or take it away if it has it: an atomic, a part of the operation before."""
        if mlocked:
            self.mlocked.add(frame.pfn)
        else:
            self.mlocked.discard(frame.pfn)
        for listener in self.mlock_listeners:
            listener(frame, mlocked)

    def _new_frame(self) -> Frame:
        frame = self._frame_class(self.conductor, self, self.start_pfn + len(self.frames), self._zero)
        self.frames.append(frame)
        return frame

    # -- memory that goes offline ---------------------------------------------------------------------------------

    def isolate(self, pfns: range) -> None:
        """start_isolate_page_range: from now on none of these frames is given out."""
        self.conductor.touch(RELEASE, self, "free_list")
        self.held_back.append(pfns)
        self.free_list = [frame for frame in self.free_list if frame.pfn not in pfns]

    def take_away(self, pfns: range) -> None:
        """The frames of an isolated range, all free, are gone: absent."""
        self._end_of_life(pfns)
        self.absent.append(pfns)

    def put_back(self, pfns: range) -> None:
        """The frames of a range are there again and can be given out, the lowest first."""
        self.conductor.touch(RELEASE, self, "free_list")
        self._end_of_life(pfns)
        self.held_back.remove(pfns)
        if pfns in self.absent:
            self.absent.remove(pfns)
        self.free_list += [frame for frame in reversed(self._made(pfns)) if frame.refcount == 0]

    def is_absent(self, pfn: int) -> bool:
        """Whether a frame has been taken away."""
        return any(pfn in pfns for pfns in self.absent)

    def holds_back(self, pfns: range) -> bool:
        """Whether one of these frames is in an isolated or absent range."""
        return any(held.start < pfns.stop and pfns.start < held.stop for held in self.held_back)

    def in_use(self, pfns: range) -> list[Frame]:
        """The frames of a range that are not free; frozen ones are not."""
        frames = self._made(pfns)
        for frame in frames:
            self.conductor.touch(YIELD, frame, "refcount")
        return [frame for frame in frames if frame.refcount]

    def _end_of_life(self, pfns: range) -> None:
        """Notify observers that a struct page disappears or comes back: each access is before or after it."""
        for frame in self._made(pfns):
            self.conductor.touch(RELEASE, frame, frame.vital)

    def _made(self, pfns: range) -> list[Frame]:
        """The frames of a range that have come into being."""
        return self.frames[pfns.start - self.start_pfn : pfns.stop - self.start_pfn]

    def _skip_held_back(self) -> bool:
        """If the next frame that would come into being is held back, go on behind that range; False: it is the end."""
        while held := next((h for h in self.held_back if self.start_pfn + len(self.frames) in h), None):
            if held.stop >= self.start_pfn + self.size:
                return False
            while len(self.frames) < held.stop - self.start_pfn:
                self._new_frame()
        return True
