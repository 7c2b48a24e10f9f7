"""A secondary page table of an address space, as KVM keeps one for a guest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from typing_extensions import override

from ksmactors.interleave.actor import READ
from ksmactors.interleave.locks import SpinLock
from ksmactors.mm.frame import Frame

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor


class Spte(NamedTuple):
    """An entry of a secondary page table: the frame, whether a guest may write through it, and whether one has."""

    frame: Frame
    write: bool = False
    dirty: bool = False


class SecondaryMmu:
    """struct kvm, as far as memory is concerned: the secondary page table of one address space.

    `number` and `name` are those of the address space. `in_progress` counts invalidations that have begun and not ended
    (mmu_notifier_count), `seq` those that have ended (mmu_notifier_seq). Both, and the entries, are protected by
    `mmu_lock`; a guest uses the entries without it.
    """

    __slots__ = ("in_progress", "mmu_lock", "name", "number", "seq", "sptes")

    def __init__(self, conductor: Conductor, number: int, name: str) -> None:
        self.number, self.name = number, name
        self.mmu_lock: Final = SpinLock(conductor, f"mmu_lock of {name}")
        self.in_progress = 0
        self.seq = 0
        self.sptes: Final[dict[int, Spte]] = {}

    @override
    def __repr__(self) -> str:
        return f"<SecondaryMmu of {self.name}>"

    async def read_notifier_seq(self) -> int:
        """Read how many invalidations have ended, without mmu_lock."""
        await self.mmu_lock.conductor.point(READ, self, "in_progress")
        return self.seq

    def label(self, field: object) -> str:
        """How strategies call its entries: `spte/NAME/ADDRESS`; and any other field."""
        return f"spte/{self.name}/{field:#x}" if isinstance(field, int) else f"{field}/{self.name}"
