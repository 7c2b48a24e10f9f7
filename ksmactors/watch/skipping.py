"""What smart_scan will do with some pages, if nobody else does anything: a prediction, and no look at anything else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.smart_scan import DEFAULT_AGE, AgedItem, SmartScan
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame

Place: TypeAlias = tuple[str, int]
"""Where a page is mapped: the name of the address space, and the address."""

HORIZON: Final = 64
"""Full scans after which nothing new comes: after ten at most an item is so old that it is looked at every ninth time,
and the visits of any number of such items are as they were nine scans before."""


class Skips(NamedTuple):
    """An item's state as to smart_scan: how often its page was looked at, and how often it is still to be skipped."""

    item: int
    age: int
    remaining: int


def skips_of(kernel: Ksm) -> dict[Place, Skips]:
    """The state of all rmap_items by place; empty where nothing is skipped."""
    if not isinstance(kernel, SmartScan) or not kernel.ksm_smart_scan:
        return {}
    return {(mm.name, item.address): Skips(item.number, *kernel.skip_state(item))
            for mm, item in aged_items(kernel)}  # fmt: skip


def aged_items(kernel: Ksm) -> Iterator[tuple[AddressSpace, AgedItem]]:
    """All rmap_items, each with its address space."""
    for slot in kernel.mm_slots_hash.values():
        item: RmapItem | None = slot.rmap_list
        while item is not None and slot.mm is not None:
            if isinstance(item, AgedItem):
                yield slot.mm, item
            item = item.rmap_list


def visits(kernel: SmartScan, skips: Skips) -> int:
    """In which of the coming HORIZON scans an item's page is looked at, if it stays ordinary: bit 0 is the next."""
    _, age, remaining = skips
    looked, first = 0, kernel.ksm_scan.seqnr
    for scan in range(HORIZON):
        if age < DEFAULT_AGE:
            looked |= 1 << scan
        elif not remaining:
            looked |= 1 << scan
            remaining = kernel.skips_after(age, first + scan)
        else:
            remaining -= 1
        age += 1
    return looked


def meet(kernel: Ksm, pages: Iterable[tuple[Frame, list[Place]]], state: dict[Place, Skips]) -> bool:
    """Whether two of some equal, ordinary pages are ever looked at in the same scan: only then can they merge.

    A page is found through any of the places that map it. One without an rmap_item yet is a page to come.
    """
    assert isinstance(kernel, SmartScan), "no other kernel skips"
    seen = 0
    for _, places in pages:
        looked = 0
        for place in places:
            looked |= visits(kernel, state[place]) if place in state else -1
        if looked & seen:
            return True
        seen |= looked
    return False
