"""Looks up the processes and regions that the operations of a scenario name, for every driver."""

from __future__ import annotations

from abc import abstractmethod
from typing import Final, Generic, NoReturn, Protocol, TypeVar

from ksmactors.conformance.language import Operation
from ksmactors.conformance.page_map import NamedRegion
from ksmactors.conformance.transcript import NoSuchProcess, Reporter
from ksmactors.mm.const import PAGE_SIZE

KILLED: Final = "killed SIGBUS"
"""The result of an operation whose process has touched memory that has failed."""


class RegionOwner(Protocol):
    """A process, as operations need it."""

    @property
    def regions(self) -> dict[str, NamedRegion]:
        """Those it can name now."""


P = TypeVar("P", bound=RegionOwner)


class NamedMemory(Reporter, Generic[P]):
    """Returns the objects of an operation, or refuses the operation."""

    @abstractmethod
    def living(self, name: str) -> P | None:
        """Return the living process of a name."""

    def _process(self, operation: Operation) -> P:
        process = self.living(operation.process)
        if process is None and operation.process in self.killed:
            raise NoSuchProcess
        if process is None:
            raise self.refused(operation, f"there is no process {operation.process}: its fork failed, or is not over")
        return process

    def _region(self, operation: Operation) -> NamedRegion:
        region = self._process(operation).regions.get(operation.region)
        if region is None:
            text = f"process {operation.process} has no region {operation.region}: the operation that makes it failed"
            raise self.refused(operation, text)
        return region

    def _range(self, operation: Operation) -> tuple[P, int, int]:
        """Return the pages of an operation: (process, address of the first page, pages)."""
        start = self._region(operation).start + operation.first * PAGE_SIZE
        return self._process(operation), start, operation.end - operation.first

    def _addresses(self, operation: Operation) -> range:
        """Return the address of each page of an operation."""
        _, start, pages = self._range(operation)
        return range(start, start + pages * PAGE_SIZE, PAGE_SIZE)

    def _refuse_unpin(self, operation: Operation) -> NoReturn:
        raise self.refused(operation, f"{operation.text.removeprefix('un')} was not done before; nothing is pinned")
