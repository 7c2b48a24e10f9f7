"""The names that a scenario's processes and regions have in a C program, and the addresses of the regions."""

from __future__ import annotations

import re
from typing import Final

from ksmactors.conformance.language import Operation
from ksmactors.conformance.live_process import ARENA
from ksmactors.mm.const import PAGE_SIZE


class Names:
    """Follows the operations of a scenario, all of which succeed."""

    def __init__(self) -> None:
        self.processes: dict[str, str] = {}
        """C names by the scenario's."""
        self.constants: dict[str, tuple[int, int]] = {}
        """Address and pages of each region, by its C name, in the order of appearance."""
        self._regions: dict[str, dict[str, tuple[str, int]]] = {}
        self._top: dict[str, int] = {}

    def process(self, name: str) -> str:
        """Return the C name of a process."""
        if name not in self.processes:
            plain = name if SHORT.fullmatch(name) else f"proc_{name}"
            self.processes[name] = _free(plain, set(self.processes.values()))
        return self.processes[name]

    def begin(self, name: str, parent: str = "") -> None:
        """A process begins, with the regions of its parent."""
        self._top[name] = self._top.get(parent, ARENA)
        self._regions[name] = {}
        for region, (constant, _) in list(self._regions.get(parent, {}).items()):
            address, pages = self.constants[constant]
            self._add(name, region, address, pages)

    def add(self, operation: Operation, pages: int) -> str:
        """A region comes to be at the next free place; return its C name."""
        process = operation.process
        address = self._top[process]
        self._top[process] = address + (pages + 1) * PAGE_SIZE
        return self._add(process, operation.word, address, pages)

    def at(self, operation: Operation) -> str:
        """Return the address of the first page of an operation, in C."""
        return self.page(operation.process, operation.region, operation.first)

    def page(self, process: str, region: str, index: int) -> str:
        """Return the address of a page, in C."""
        constant, _ = self._regions[process][region]
        return constant if index == 0 else f"{constant} + {index} * PAGE"

    def _add(self, process: str, region: str, address: int, pages: int) -> str:
        constant = f"{self.process(process)}_{region}"
        if self.constants.get(constant, (address, pages)) != (address, pages):
            constant = _free(constant, set(self.constants))
        self.constants[constant] = (address, pages)
        self._regions[process][region] = (constant, pages)
        return constant


SHORT: Final = re.compile(r"[A-Z]")


def _free(name: str, taken: set[str]) -> str:
    """Return a name that is not taken: with a number behind it if need be."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free
