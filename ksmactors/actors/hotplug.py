"""The hotplug operator: takes memory offline while it is in use, and brings it back."""

from __future__ import annotations

from typing import Final, NamedTuple

from typing_extensions import override

from ksmactors.actors.base import Server
from ksmactors.machine import Machine

PATIENCE_NS: Final = 2_000_000
"""How long it lets a kernel try that does not give up by itself: workloads do all they do in some milliseconds."""


class Offline(NamedTuple):
    """Take frames of one node offline."""

    pfns: range


class Online(NamedTuple):
    """Bring all back that is offline."""


class HotplugOperator(Server):
    """`hotplug`: what `echo offline > /sys/devices/system/memory/memoryN/state` does.

    Holds the memory hotplug lock throughout. ksm_thread_mutex it takes for an instant only, at the start and at the
    end: in between a bit of ksm_run keeps ksmd and the knobs away. The answer is 0 or a negative errno.
    """

    def __init__(self, machine: Machine) -> None:
        machine.kernel.offline_timer_ns = PATIENCE_NS
        super().__init__(machine, "hotplug", cpu=1)

    @override
    async def handle(self, what: Offline | Online) -> int:
        if isinstance(what, Offline):
            return await self.kernel.offline_pages(what.pfns)
        result = 0
        for pfns in self.kernel.absent_ranges():
            result = await self.kernel.online_pages(pfns) or result
        return result
