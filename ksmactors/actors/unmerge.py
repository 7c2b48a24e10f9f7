"""Unmerge workers: they break KSM pages apart, all of them (run=2) or those of a range (MADV_UNMERGEABLE)."""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import override

from ksmactors.actors.base import Server
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EINTR, ERESTARTSYS, MADV_UNMERGEABLE


class KnobWrite(NamedTuple):
    """A text to be written to a file of /sys/kernel/mm/ksm."""

    knob: str
    text: str


class Sweep(NamedTuple):
    """MADV_UNMERGEABLE over a range, in bytes."""

    mm: AddressSpace
    start: int
    length: int


class UnmergeWorker(Server):
    """`unmerged/WHO`: one for the knobs that unmerge, and one for each process that gives the advice.

    A knob takes ksm_thread_mutex and then mmap_sem for read, one process after the other; a sweep takes mmap_sem
    of its process for write. Several workers, so that sweeps stay concurrent with each other and with run=2.
    The answer is 0 or a negative errno: -EINTR if a signal came in between (`interrupt`).
    """

    def __init__(self, machine: Machine, who: str, *, node: int = 0, cpu: int = 0) -> None:
        self.at_work = False
        super().__init__(machine, f"unmerged/{who}", node=node, cpu=cpu)

    @override
    async def handle(self, what: KnobWrite | Sweep) -> int:
        self.at_work = True
        if isinstance(what, Sweep):
            result = await self.kernel.madvise(what.mm, what.start, what.length, MADV_UNMERGEABLE)
        else:
            result = await self.kernel.sysfs_store(what.knob, what.text)
        self.at_work = self.actor.signal_pending = False
        return -EINTR if result == -ERESTARTSYS else result

    def interrupt(self) -> bool:
        """Send a signal to the process it works for, so that it gives up at the next page; False: it does nothing
        now."""
        self.actor.signal_pending = self.at_work
        return self.at_work
