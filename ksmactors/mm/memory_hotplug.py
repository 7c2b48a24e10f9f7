"""Memory hot-remove (mm/memory_hotplug.c): a range of frames is emptied by migration and taken away."""

from __future__ import annotations

from typing import Final

from ksmactors.events import catalogue as ev
from ksmactors.interleave.locks import Mutex
from ksmactors.mm.const import EBUSY, EINVAL
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.node import Node
from ksmactors.seams import seam

MEM_GOING_OFFLINE: Final = "going_offline"

MEM_OFFLINE: Final = "offline"

MEM_CANCEL_OFFLINE: Final = "cancel_offline"

OFFLINE_PASSES: Final = 20
"""Passes over the range before offlining gives up. The kernel gives up after two minutes, or five failures in a row."""

OFFLINE_TIMER_NS: Final = 5_000_000_000
"""When the caller gets a signal, which ends it on kernels that do not give up by themselves."""

PASS_NS: Final = 50_000
"""How long it waits between two passes, for pages that are in use."""


class MemoryHotplug(MmCore):
    """Taking memory offline and bringing it back; frames that are away are absent: touching one is a finding."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.offline_timer_ns = OFFLINE_TIMER_NS
        self.memory_hotplug_lock: Final = Mutex(self.conductor, "memory hotplug lock")

    def memory_block(self, pfn: int) -> range:
        """The frames that go offline together with one: all of its node."""
        start = pfn - pfn % self.frames_per_node
        return range(start, start + self.frames_per_node)

    @seam
    async def offline_pages(self, pfns: range) -> int:
        """Take a range of frames of one node offline: 0, -EINVAL (no such range, or a part is offline already),
        -EBUSY (a page could not be moved away; nothing has changed then); later kernels -EINTR in its place.

        Their pages are migrated to the next nodes that have room. While this goes on everything else does, but for ksmd
        and the knobs, which wait. Source: offline_pages(), v3.9.
        """
        if not pfns or not 0 <= pfns.start < pfns.stop <= len(self.nodes) * self.frames_per_node:
            return -EINVAL
        node = self.nodes[pfns.start // self.frames_per_node]
        if pfns.stop > node.start_pfn + node.size:
            return -EINVAL
        await self.memory_hotplug_lock.lock()
        result = await self._offline(node, pfns)
        self.emit(ev.OFFLINE_PAGES, pfns.start, len(pfns), node.nid, result)
        await self.memory_hotplug_lock.unlock()
        return result

    async def _offline(self, node: Node, pfns: range) -> int:
        if node.holds_back(pfns):
            return -EINVAL
        if self.zero_page.pfn in pfns:
            return -EBUSY  # the kernel's own
        node.isolate(pfns)
        await self.ksm_memory_callback(MEM_GOING_OFFLINE, pfns)
        await self.lru_add_drain_all()
        failed, passes, began = 0, 0, self.conductor.now
        while not failed:
            busy = node.in_use(pfns)
            if not busy:
                node.take_away(pfns)
                await self.ksm_memory_callback(MEM_OFFLINE, pfns)
                return 0
            for page in busy:
                await self.migrate_away(page)
            await self.lru_add_drain_all()
            passes += 1
            failed = self.gives_up_offlining(passes, self.conductor.now - began)
            if node.in_use(pfns) and not failed:
                await self.conductor.sleep(self.pause_of_offlining(passes))
        await self.ksm_memory_callback(MEM_CANCEL_OFFLINE, pfns)
        node.put_back(pfns)
        return failed

    @seam
    def gives_up_offlining(self, passes: int, elapsed: int) -> int:
        """Why offlining is to end after so many passes and nanoseconds, as -errno; 0: it goes on."""
        return -EBUSY if passes >= OFFLINE_PASSES else 0

    @seam
    def pause_of_offlining(self, passes: int) -> int:
        """How many nanoseconds it waits after so many passes."""
        return PASS_NS

    @seam
    async def migrate_away(self, page: Frame) -> None:
        """do_migrate_range for one page: to the next node that has room, its own last; errors are for the next pass."""
        if not await page.get_unless_zero():
            return
        isolated = await self.isolate_lru_page(page)
        await page.put()
        if isolated:
            await self.migrate_pages(page, (page.nid + 1) % len(self.nodes), exactly=False)

    @seam
    async def online_pages(self, pfns: range) -> int:
        """Bring back a range that was taken offline as a whole: 0 or -EINVAL."""
        await self.memory_hotplug_lock.lock()
        node = next((node for node in self.nodes if pfns in node.absent), None)
        if node is not None:
            node.put_back(pfns)
        result = 0 if node is not None else -EINVAL
        self.emit(ev.ONLINE_PAGES, pfns.start, len(pfns), result)
        await self.memory_hotplug_lock.unlock()
        return result

    def absent_ranges(self) -> list[range]:
        """Return the offline ranges, in the order of frame numbers."""
        return sorted((pfns for node in self.nodes for pfns in node.absent), key=lambda pfns: pfns.start)
