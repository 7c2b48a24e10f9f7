"""Figures of one schedule, for comparisons: what its events do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class LockUse(NamedTuple):
    """For how long locks of a kind were held and waited for, summed, and held at most at a time (virtual ns)."""

    held: int
    waited: int
    longest: int


class TreeUse(NamedTuple):
    """Searches of trees of a kind: how many, looked-up pages of entries, and comparisons with the page in hand."""

    searches: int
    visits: int
    comparisons: int


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one schedule.

    Attributes:
        virtual: how long it took, ns of virtual time.
        scanned: pages that ksmd came to.
        saved: the highest `pages_sharing`.
        merged_after: pages that ksmd had come to when 1, 2, 3... mappings of KSM pages were reached for the first time.
        trees: by `stable` and `unstable`.
        locks: by kind: a lock's name without its instance.
        cpu: processor time of this process, ns. All others are equal for equal schedules.
    """

    virtual: int
    scanned: int
    saved: int
    merged_after: tuple[int, ...]
    trees: Mapping[str, TreeUse]
    locks: Mapping[str, LockUse]
    cpu: int = field(compare=False)
