"""What a witness is."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.errors import Finding
from ksmactors.interleave.actor import running_functions
from ksmactors.machine import Machine


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
        if where is None:
            functions = [name for name in running_functions()[:-1] if name not in _OWN]
            where = functions[-1] if functions else "unknown"
        return Finding(self.name, kind, where, message, other=other)


_OWN = {"wrote", "read", "_check", "_at_unlock", "_warned", "convicts", "at_quiescence", "at_exit", "main"}
