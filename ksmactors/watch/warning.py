"""The kernel's own warnings."""

from __future__ import annotations

from typing import ClassVar

from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.watch.base import Watcher


class Warnings(Watcher):
    """The kernel warns of what it thinks cannot be (WARN_ON, BUG_ON): then either it or we are wrong."""

    name: ClassVar[str] = "warning"
    summary: ClassVar[str] = "the kernel's own WARN_ON and BUG_ON"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        machine.trace.listen(ev.KSM_WARN, self._warned)

    def _warned(self, function: str, message: str) -> None:
        raise self.convicts("kernel_warning", message, where=function)
