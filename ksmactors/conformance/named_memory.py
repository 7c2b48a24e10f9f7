"""Looks up the processes and regions that the operations of a scenario name, for every driver."""

from __future__ import annotations

from abc import abstractmethod
from errno import ENOENT
from typing import Final, Generic, Protocol, TypeVar

from ksmactors.conformance.language import Operation
from ksmactors.conformance.page_map import NamedRegion
from ksmactors.conformance.transcript import NoSuchProcess, Reporter, bare_word
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

    def _pinned(self, operation: Operation, error: int) -> list[str]:
        """Return the answer of a pin: 0 or a negative errno."""
        if error:
            self.pins_failed.add(pin_of(operation))
        return [bare_word(error)]

    def _nothing_to_unpin(self, operation: Operation) -> list[str]:
        """Return the answer of an unpin of a page that is not pinned, since its memory had failed before the pin."""
        if pin_of(operation) not in self.pins_failed:
            raise self.refused(operation, f"{operation.text.removeprefix('un')} was not done before; nothing is pinned")
        return [bare_word(-ENOENT)]


def pin_of(operation: Operation) -> tuple[str, int]:
    """Return the key of a pin: the process and the page's place in it, which mremap leaves unchanged."""
    return operation.process, operation.first
