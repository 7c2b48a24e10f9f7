"""The state that the files of mm share, and small functions that the kernel has inline in its headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import YIELD
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.content import InternedContents
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.hooks import MemoryObserver, PteListener
from ksmactors.mm.internal import MmDeclarations
from ksmactors.mm.node import Node
from ksmactors.mm.reports import lifetime
from ksmactors.mm.swap_device import SwapDevice
from ksmactors.seams import seam


def never(kind: str) -> bool:  # noqa: ARG001  # what stands here when faults are injected wants to know
    """Nothing goes wrong that need not."""
    return False


class MmCore(MmDeclarations):
    """What each file of mm builds on: the machine, its nodes, the swap device, the processes.

    `memory_epoch` counts the changes by which a page that ksmd has looked at could look different now (writes,
    zaps, migrations, new mappings); `ksm_epoch` those by which a stable tree could have a stale or misplaced
    entry. While they stand still, an index by content tells what a walk of the tree would find.
    """

    __slots__ = (
        "address_spaces", "conductor", "contents", "emit", "frames_per_node", "inject", "ksm_epoch", "memory_epoch",
        "nodes", "observers", "pte_listeners", "swap", "trace", "zero_page",
    )  # fmt: skip
    """In slots, as what mm/ksm.c does not have either: CPython 3.11 takes half as long again to call a method of an
    object that has 30 attributes or more beside its slots."""

    frame_class: type[Frame] = Frame

    aging = False
    """Whether accessed bits are kept (`AddressSpace.young`): only once there is reclaim, the only reader."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        conductor, trace, nodes, frames_per_node = (
            hardware.conductor, hardware.trace, hardware.nodes, hardware.frames_per_node,
        )  # fmt: skip
        if nodes < 1:
            raise UsageError(f"a machine has at least 1 node, not {nodes}")
        self.conductor = conductor
        self.trace = trace
        self.emit = trace.emit
        self.inject: Callable[[str], bool] = never
        """Fault-injection hook: called with the kind at every point that may fail; True makes it fail."""
        self.contents = InternedContents()
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
        self.swap: Final = SwapDevice(self.conductor)
        self.address_spaces: list[AddressSpace] = []
        """All that were ever made, for observers."""

    @seam
    async def trylock_page(self, page: Frame) -> bool:
        """trylock_page; another actor may have had the lock for just that instant."""
        return not self.inject("trylock") and await page.trylock()

    def page_hwpoison(self, page: Frame) -> bool:
        """PageHWPoison: whether the memory of a frame has failed, at this instant."""
        self.conductor.touch(YIELD, page, "hwpoison")
        return page.hwpoison

    def pfn_to_page(self, pfn: int) -> Frame:
        """The struct page of a frame number that is or was in use. It is a finding if the frame has been taken away."""
        node = self.nodes[pfn // self.frames_per_node]
        if node.absent and node.is_absent(pfn):
            raise lifetime("frame", f"pfn {pfn} is offline: there is no struct page to look at")
        frame = node.frames[pfn - node.start_pfn]
        self.conductor.touch(YIELD, frame, frame.vital)
        return frame

    # -- what the emulator knows and the kernel does not ------------------------------------------------------------

    def actor_name(self, number: int) -> str:
        """The name of an actor by its number; "unknown" for -1."""
        return self.conductor.actors[number].name if number >= 0 else "unknown"

    def pte_changed(self, mm: AddressSpace, page: Frame) -> None:
        """Record that an entry changed under a fault or a merge, and who was there first."""
        before = mm.page_table_lock.last_owner
        winner = before.name if before is not None else "unknown"
        self.race(ev.RACE_PTE_CHANGED, winner, page)

    def race(self, code: int, winner: str, page: Frame | None, *, tree: str | None = None, tree_nid: int = -1) -> None:
        """Record a race that the protocol handles; the loser is the actor that has the turn."""
        pfn, nid = (page.pfn, page.nid) if page is not None else (-1, -1)
        self.emit(code, winner, self.conductor.turn.name, tree, tree_nid, nid, pfn)
