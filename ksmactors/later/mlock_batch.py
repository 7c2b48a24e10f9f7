"""mlock and munlock by batches for each CPU, v5.18 (2fbb0c10d1e8)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, WRITE
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware


class MlockBatch(Ksm):
    """A page that loses or gets a mapping in a VM_LOCKED vma waits in a batch, with a reference for it.

    ksmd merges a page that a locked vma maps, and a child of its process, too. The batch has a reference on it then, so
    when ksmd comes to the child's mapping in the same scan, it takes the page for pinned. It merges it in the next one.
    Before, the mark was changed on the spot. Only the batches of ksmd are emulated. A kernel also keeps the old
    page of a write fault in a locked vma until the next drain of that CPU, and a KSM page that no process maps with it.
    """

    MLOCK_BATCH: ClassVar[int] = 15

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.mlock_batches: Final[dict[int, list[Frame]]] = {}
        """By CPU, the pages that wait."""

    @override
    async def hand_mlock_over(self, page: Frame, kpage: Frame) -> Frame:
        locked = await super().hand_mlock_over(page, kpage)
        self._wait_in_batch(kpage)
        self._wait_in_batch(page)
        return locked

    def _wait_in_batch(self, page: Frame) -> None:
        self.conductor.touch(RELEASE, page, "refcount")
        page.refcount += 1
        waiting = self.mlock_batches.setdefault(self.conductor.turn.cpu, [])
        waiting.append(page)
        if len(waiting) == self.MLOCK_BATCH:
            self._drain_mlock(self.conductor.turn.cpu)

    def _drain_mlock(self, cpu: int) -> None:
        for page in self.mlock_batches.pop(cpu, ()):
            self.conductor.touch(RELEASE, page, "refcount")
            page.refcount -= 1
            if page.refcount == 0:
                page.node.free(page)

    @override
    def lru_add_drain(self) -> None:
        super().lru_add_drain()
        self._drain_mlock(self.conductor.turn.cpu)

    @override
    async def lru_add_drain_all(self) -> None:
        await super().lru_add_drain_all()
        for cpu in sorted(self.mlock_batches):
            await self.conductor.point(WRITE, self, ("mlock_batch", cpu))
            self._drain_mlock(cpu)

    @override
    def batched_pages(self) -> Iterator[Frame]:
        return chain(super().batched_pages(), *self.mlock_batches.values())


class MlockBatch31(MlockBatch):
    """Batches are of 31 pages, v6.9 (9cecde80aae0)."""

    MLOCK_BATCH: ClassVar[int] = 31
