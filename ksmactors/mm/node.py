"""A NUMA node: owns frames, gives them out and takes them back."""

from __future__ import annotations

from collections.abc import Callable

from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame


class Node:
    """pg_data_t. Frames come into being when they are first given out; the last one freed is the first reused."""

    def __init__(
        self, conductor: Conductor, nid: int, start_pfn: int, size: int, zero: Content, freed: Callable[[Frame], None]
    ) -> None:
        self.conductor, self.nid, self.start_pfn, self.size = conductor, nid, start_pfn, size
        self.name = f"node {nid}"
        self.frames: list[Frame] = []
        self.free_list: list[Frame] = []
        self.lock_waiters: dict[int, list[Actor]] = {}
        """By frame number, who waits for a page lock: few do at any time, and a frame is small without a queue."""
        self._zero = zero
        self._freed = freed

    def take(self) -> Frame | None:
        """A frame with one reference and zeros in it, or None if the node has none left."""
        if self.free_list:
            frame = self.free_list.pop()
        elif len(self.frames) < self.size:
            frame = Frame(self.conductor, self, self.start_pfn + len(self.frames), self._zero)
            self.frames.append(frame)
        else:
            return None
        frame.refcount = 1
        frame.content = self._zero
        frame.dirty, frame.writer, frame.getter = False, -1, -1
        return frame

    def free(self, frame: Frame) -> None:
        """Take a frame back whose last reference has gone; only now an anonymous mapping is cleared."""
        self._freed(frame)
        frame.mapping = None
        frame.writer = self.conductor.turn.number
        frame.lru = False
        self.free_list.append(frame)
