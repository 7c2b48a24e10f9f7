"""The state that all files of mm/ use: the machine, its memory, and who observes it."""

from __future__ import annotations

from collections.abc import Callable

from ksmactors.events import catalogue as ev
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.content import Contents
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.hooks import KsmHooks, MemoryObserver, PteListener
from ksmactors.mm.node import Node
from ksmactors.mm.swap_device import SwapDevice


def never(kind: str) -> bool:  # noqa: ARG001  # what stands here when faults are injected wants to know
    """Nothing goes wrong that need not."""
    return False


class MmState(KsmHooks):
    """The machine that a kernel runs on, and what its files record of it.

    `memory_epoch` counts the changes by which a page that ksmd has looked at could look different now (writes,
    zaps, migrations, new mappings); `ksm_epoch` those by which a stable tree could have a stale or misplaced
    entry. While they stand still, an index by content tells what a walk of the tree would find.
    """

    nodes: list[Node]
    frames_per_node: int
    zero_page: Frame
    swap: SwapDevice
    address_spaces: list[AddressSpace]
    """All that were ever made, for observers."""

    aging = False
    """Whether accessed bits are kept (`AddressSpace.young`): only once somebody reclaims, who else would look?"""

    def __init__(self, hardware: Hardware) -> None:
        self.conductor = hardware.conductor
        self.trace = hardware.trace
        self.emit = hardware.trace.emit
        self.inject: Callable[[str], bool] = never
        """Asked wherever something may fail for no reason of ours: whether it does, this time."""
        self.contents = Contents()
        self.observers: list[MemoryObserver] = []
        self.pte_listeners: list[PteListener] = []
        self.memory_epoch = 0
        self.ksm_epoch = 0

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
