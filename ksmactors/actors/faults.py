"""Page-fault handlers: one for each thread that can fault, so that faults are served concurrently."""

from __future__ import annotations

from typing import NamedTuple

from typing_extensions import override

from ksmactors.actors.base import Server
from ksmactors.interleave.actor import Actor
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace


class FaultRequest(NamedTuple):
    """A page fault: the address space, the page's address (bytes), and whether it was a write."""

    mm: AddressSpace
    address: int
    write: bool


class PageFaultHandler(Server):
    """`fault/THREAD`: what the CPU of a thread does in kernel mode while the thread waits.

    Holds mmap_sem for read, then page lock and page table lock as the fault needs them. The answer is 0 (try
    the access again) or a negative errno.
    """

    def __init__(self, machine: Machine, thread: Actor) -> None:
        super().__init__(machine, f"fault/{thread.name}", node=thread.node, cpu=thread.cpu)

    @override
    async def handle(self, what: FaultRequest) -> int:
        return await self.kernel.fault(what.mm, what.address, what.write)
