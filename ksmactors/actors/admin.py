"""The admin: turns knobs while all the rest goes on."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.actors.base import Server
from ksmactors.actors.unmerge import KnobWrite, UnmergeWorker
from ksmactors.interleave.mailbox import PendingCall
from ksmactors.machine import Machine

UNMERGING: Final = frozenset({"run", "merge_across_nodes"})
"""Knobs that may unmerge or tear down trees: their writers wait for ksmd, and others should not wait with them."""


class Admin(Server):
    """`admin`: writes knobs. Those that unmerge are handed to the unmerge worker, which answers in its stead."""

    def __init__(self, machine: Machine, unmerged: UnmergeWorker) -> None:
        self.unmerged = unmerged
        super().__init__(machine, "admin", cpu=2)

    @override
    async def serve(self, request: PendingCall) -> None:
        if request.what.knob in UNMERGING:
            await self.unmerged.mailbox.send(request)
        else:
            await super().serve(request)

    @override
    async def handle(self, what: KnobWrite) -> int:
        return await self.kernel.sysfs_store(what.knob, what.text)
