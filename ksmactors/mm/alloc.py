"""Allocation: the machine's nodes, frames by preference and fallback (mm/page_alloc.c)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmactors.errors import Finding, UsageError
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE, YIELD
from ksmactors.mm.content import Contents
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.hooks import KsmHooks, MemoryObserver, PteListener
from ksmactors.mm.node import Node
from ksmactors.mm.reports import kernel_function, lifetime
from ksmactors.seams import part, seam


def never(kind: str) -> bool:  # noqa: ARG001  # what stands here when faults are injected wants to know
    """Nothing goes wrong that need not."""
    return False


class Allocation(KsmHooks):
    """The bottom of the kernel: what it runs on, and its memory.

    `memory_epoch` counts the changes by which a page that ksmd has looked at could look different now (writes,
    zaps, migrations, new mappings); `ksm_epoch` those by which a stable tree could have a stale or misplaced
    entry. While they stand still, an index by content tells what a walk of the tree would find.
    """

    frame_class: type[Frame] = Frame

    def __init__(self, hardware: Hardware) -> None:
        conductor, trace, nodes, frames_per_node = (
            hardware.conductor, hardware.trace, hardware.nodes, hardware.frames_per_node,
        )  # fmt: skip
        if nodes < 1:
            raise UsageError(f"a machine has at least 1 node, not {nodes}")
        self.conductor = conductor
        self.trace = trace
        self.emit = trace.emit
        self.inject: Callable[[str], bool] = never
        """Asked wherever something may fail for no reason of ours: whether it does, this time."""
        self.contents = Contents()
        self.observers: list[MemoryObserver] = []
        self.pte_listeners: list[PteListener] = []
        self.memory_epoch = 0
        self.ksm_epoch = 0
        self.nodes = [
            Node(
                conductor, nid, nid * frames_per_node, frames_per_node, self.contents.zero, self.frame_freed,
                self.frame_class,
            )
            for nid in range(nodes)
        ]  # fmt: skip
        self.frames_per_node = frames_per_node
        zero_page = self.nodes[0].take()
        if zero_page is None:
            raise UsageError("a node needs at least one frame")
        self.zero_page: Final = zero_page

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

    @seam
    async def trylock_page(self, page: Frame) -> bool:
        """trylock_page; somebody else may have had the lock for just that instant."""
        return not self.inject("trylock") and await page.trylock()

    def pfn_to_page(self, pfn: int) -> Frame:
        """The struct page of a frame number that is or was in use. It is a finding if the frame has been taken away."""
        node = self.nodes[pfn // self.frames_per_node]
        if node.absent and node.is_absent(pfn):
            raise lifetime("frame", f"pfn {pfn} is offline: there is no struct page to look at")
        frame = node.frames[pfn - node.start_pfn]
        self.conductor.touch(YIELD, frame, frame.vital)
        return frame

    @part
    def frame_freed(self, frame: Frame) -> None:
        if frame.mapcount:
            plural = "" if frame.mapcount == 1 else "s"
            raise self.freed_in_use(frame, "mapped", f"with {frame.mapcount} mapping{plural}")
        if frame.swap is not None:
            raise self.freed_in_use(frame, "in_swap_cache", "in the swap cache")
        if frame.is_ksm:
            self.ksm_epoch += 1
        self.emit(ev.FREE_PAGE, frame.pfn, frame.nid)

    @staticmethod
    def freed_in_use(frame: Frame, use: str, message: str) -> Finding:
        """The finding for a frame whose last reference went too early."""
        message = f"pfn {frame.pfn} is freed {message}"
        return Finding("references", f"freed_while_{use}", kernel_function(), message, about=(frame,))
