"""Predicts which pages smart_scan will visit if no other actor runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeAlias

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.smart_scan import DEFAULT_AGE, AgedItem, SmartScan
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.frame import Frame

Place: TypeAlias = tuple[str, int]
"""A mapping: the name of the address space, and the address."""

HORIZON: Final = 64
"""Full scans to predict: after ten at most an item is old enough to be visited every ninth time, and the visits of any
number of such items repeat after nine scans."""


class Skips(NamedTuple):
    """The smart_scan state of an item: how often its page was visited, and how many skips remain."""

    item: int
    age: int
    remaining: int


def skips_of(kernel: Ksm) -> dict[Place, Skips]:
    """Return the state of all rmap_items by place; {} on kernels that skip nothing."""
    if not isinstance(kernel, SmartScan) or not kernel.ksm_smart_scan:
        return {}
    return {(mm.name, item.address): Skips(item.number, *kernel.skip_state(item))
            for mm, item in aged_items(kernel)}  # fmt: skip


def aged_items(kernel: Ksm) -> Iterator[tuple[AddressSpace, AgedItem]]:
    """Yield all rmap_items, each with its address space."""
    for slot in kernel.mm_slots_hash.values():
        item: RmapItem | None = slot.rmap_list
        while item is not None and slot.mm is not None:
            if isinstance(item, AgedItem):
                yield slot.mm, item
            item = item.rmap_list


def visits(kernel: SmartScan, skips: Skips) -> int:
    """Return in which of the coming HORIZON scans an item's page is visited, if it stays ordinary: bit 0 is the
    next."""
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


def ever_visited_together(kernel: Ksm, pages: Iterable[tuple[Frame, list[Place]]], state: dict[Place, Skips]) -> bool:
    """Whether two of some equal, ordinary pages are ever visited in the same scan: only then can they merge.

    A page is visited through any of its mappings. One without an rmap_item yet will be visited.
    """
    assert isinstance(kernel, SmartScan), "only smart_scan kernels skip pages"
    seen = 0
    for _, places in pages:
        looked = 0
        for place in places:
            looked |= visits(kernel, state[place]) if place in state else -1
        if looked & seen:
            return True
        seen |= looked
    return False
