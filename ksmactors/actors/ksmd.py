"""ksmd: the kernel thread that scans for equal pages."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.actors.base import Daemon
from ksmactors.machine import Machine


class Ksmd(Daemon):
    """Runs `ksm_scan_thread`: pages_to_scan pages a batch under ksm_thread_mutex, sleep_millisecs between batches.

    Nothing is ever sent to its mailbox: the kernel wakes ksmd through a wait queue.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, "ksmd")
        self.kernel.ksmd_actor = self.actor

    @override
    async def run(self) -> None:
        await self.kernel.ksm_scan_thread()
