"""What a witness is."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.errors import Finding
from ksmactors.machine import Machine
from ksmactors.mm.reports import kernel_function


class Watcher:
    """Watches one machine for one schedule: subscribe in `__init__`, raise `self.convicts(...)` when it is time."""

    name: ClassVar[str]
    summary: ClassVar[str]

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.kernel = machine.kernel

    def at_quiescence(self) -> None:
        """Nobody but ksmd has moved for some full scans, and nobody holds anything."""

    def at_exit(self) -> None:
        """All processes have exited, and ksmd has let go of them."""

    def convicts(self, kind: str, message: str, *, where: str | None = None, other: int = -1) -> Finding:
        """The finding; `where` is the kernel function it shows in, the running one if not given."""
        return Finding(self.name, kind, where or kernel_function(), message, other=other)
