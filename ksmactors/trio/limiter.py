"""Capacity limiters with trio's semantics."""

from __future__ import annotations

from math import inf
from types import TracebackType

from trio import CapacityLimiterStatistics, WouldBlock

from ksmactors.trio.locks import ParkingLot, SharedObject
from ksmactors.trio.tasks import ScopedTask, cancel_shielded_checkpoint, checkpoint_if_cancelled, tables, tell


class TrioCapacityLimiter(SharedObject):
    """As trio.CapacityLimiter.

    Args:
        total_tokens: how many may borrow a token at a time: an int, or inf.
    """

    kind = "limiter"

    def __init__(self, total_tokens: float) -> None:
        super().__init__()
        self._lot = ParkingLot(self)
        self._borrowers: dict[object, None] = {}
        self._pending: dict[ScopedTask, object] = {}
        self.total_tokens = total_tokens

    @property
    def total_tokens(self) -> float:
        """How many tokens there are."""
        return self._total

    @total_tokens.setter
    def total_tokens(self, total: float) -> None:
        if not isinstance(total, int) and total != inf:
            raise TypeError("total_tokens must be an int or math.inf")
        if total < 0:
            raise ValueError("total_tokens must be >= 0")
        self._total = total
        self._serve()

    @property
    def borrowed_tokens(self) -> int:
        """How many are borrowed."""
        return len(self._borrowers)

    @property
    def available_tokens(self) -> float:
        """How many are left."""
        return self._total - self.borrowed_tokens

    def acquire_nowait(self) -> None:
        """Borrow a token for this task; WouldBlock if there is none."""
        self.acquire_on_behalf_of_nowait(tables().current())

    def acquire_on_behalf_of_nowait(self, borrower: object) -> None:
        """Borrow a token for a borrower; WouldBlock if there is none."""
        if borrower in self._borrowers:
            raise RuntimeError("this borrower is already holding one of this CapacityLimiter's tokens")
        if len(self._borrowers) >= self._total or self._lot:
            raise WouldBlock
        self._borrowers[borrower] = None
        tell(self, f"takes a token of {self.name}")

    async def acquire(self) -> None:
        """Borrow a token for this task; may block."""
        await self.acquire_on_behalf_of(tables().current())

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Borrow a token for a borrower; may block."""
        await checkpoint_if_cancelled()
        try:
            self.acquire_on_behalf_of_nowait(borrower)
        except WouldBlock:
            task = tables().current()
            self._pending[task] = borrower
            try:
                await self._lot.park()
            finally:
                self._pending.pop(task, None)
            tell(self, f"takes a token of {self.name}")
        else:
            await cancel_shielded_checkpoint()

    def release(self) -> None:
        """Give back this task's token."""
        self.release_on_behalf_of(tables().current())

    def release_on_behalf_of(self, borrower: object) -> None:
        """Give back a borrower's token."""
        if borrower not in self._borrowers:
            raise RuntimeError("this borrower isn't holding any of this CapacityLimiter's tokens")
        del self._borrowers[borrower]
        tell(self, f"gives a token of {self.name} back")
        self._serve()

    def _serve(self) -> None:
        while self._lot and len(self._borrowers) < self._total:
            for task in self._lot.unpark():
                self._borrowers[self._pending.pop(task)] = None

    async def __aenter__(self) -> None:
        await self.acquire()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def statistics(self) -> CapacityLimiterStatistics:
        """As trio's; the borrowers are tasks of ours."""
        return CapacityLimiterStatistics(
            borrowed_tokens=self.borrowed_tokens,
            total_tokens=self._total,
            borrowers=list(self._borrowers),
            tasks_waiting=len(self._lot),
        )
