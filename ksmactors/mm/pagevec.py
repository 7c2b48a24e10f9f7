"""Pages on their way to the LRU lists, in batches of one for each CPU (mm/swap.c)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Final

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE, WRITE, YIELD
from ksmactors.mm.core import MmCore
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam

PAGEVEC_SIZE: Final = 14


class Pagevecs(MmCore):
    """lru_cache_add and lru_add_drain. A page in a batch has a reference for it: it can be neither merged nor isolated.

    A CPU's operations on its own batch cannot be interrupted; the running actor's `cpu` selects the batch.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.lru_add_pvecs: Final[dict[int, list[Frame]]] = {}
        """By CPU, the pages that wait; a CPU without any is not in it."""

    @override
    @seam
    def lru_cache_add(self, page: Frame) -> None:
        """Put a page of the caller's in this CPU's batch; the fourteenth empties it. No batch for mlocked ones."""
        self.conductor.touch(RELEASE, page, "lru")  # zone->lru_lock, as soon as the batch goes there
        if page.mlocked:
            page.lru = True
            return
        self.conductor.touch(RELEASE, page, "refcount")
        page.refcount += 1
        self.conductor.touch(RELEASE, self, "lru_add_pvecs")
        waiting = self.lru_add_pvecs.setdefault(self.conductor.turn.cpu, [])
        waiting.append(page)
        if len(waiting) == PAGEVEC_SIZE:
            self.lru_add_drain()

    @override
    @seam
    def lru_add_drain(self) -> None:
        """Move the pages in this CPU's batch to the LRU lists, and free those that only the batch held."""
        self._drain(self.conductor.turn.cpu)

    @override
    @seam
    async def lru_add_drain_all(self) -> None:
        """Run lru_add_drain on every CPU, one after the other; waits until it is done."""
        self.conductor.touch(YIELD, self, "lru_add_pvecs")
        for cpu in sorted(self.lru_add_pvecs):
            await self.conductor.point(WRITE, self, ("lru_add_pvec", cpu))
            self._drain(cpu)

    @seam
    def batched_pages(self) -> Iterator[Frame]:
        """Every page that a batch has a reference on, once for each."""
        return chain.from_iterable(self.lru_add_pvecs.values())

    def _drain(self, cpu: int) -> None:
        if cpu in self.lru_add_pvecs:
            self.conductor.touch(RELEASE, self, "lru_add_pvecs")
        for page in self.lru_add_pvecs.pop(cpu, ()):
            self.conductor.touch(RELEASE, page, "lru")
            self.conductor.touch(RELEASE, page, "refcount")
            page.lru = True
            page.refcount -= 1
            if page.refcount == 0:
                page.node.free(page)
