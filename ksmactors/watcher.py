"""What the author of a watcher imports: the base class, what it may look at, and events.

    from ksmactors.watcher import Machine, Watcher, events

    class SharingLimit(Watcher):
        name = "sharing_limit"
        summary = "at most three rmap_items share a KSM page"

        def __init__(self, machine: Machine) -> None:
            super().__init__(machine)
            self._mappings: dict[int, int] = {}
            machine.trace.listen(events.STABLE_TREE_APPEND, self._appended)

        def _appended(self, item: int, node: int, kpfn: int, mm: str, address: int) -> None:
            self._mappings[node] = self._mappings.get(node, 0) + 1
            self.always(self._mappings[node] <= 3, "a page has few mappings", detail=f"pfn {kpfn}")

The docstring of `Watcher` lists what it may subscribe to, and when it is asked.
"""

from __future__ import annotations

from ksmactors.errors import Finding, StepLimit
from ksmactors.events import catalogue as events
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import MmSlot, RmapItem, StableNode
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.content import Content
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.watch.base import Watcher, is_stale, mappers_of, placed_nodes
from ksmactors.watch.probe import frame_at

__all__ = [
    "PAGE_SIZE", "AddressSpace", "Content", "Finding", "Frame", "IoPin", "Ksm", "Machine", "MmSlot", "Pte", "RmapItem",
    "StableNode", "StepLimit", "SwapSlot", "Vma", "Watcher", "events", "frame_at", "is_stale", "mappers_of",
    "placed_nodes",
]  # fmt: skip
