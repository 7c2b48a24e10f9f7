"""The migration daemons, one for each node. They move pages on request, and at random intervals."""

from __future__ import annotations

from errno import ESRCH
from typing import Final, NamedTuple

from typing_extensions import override

from ksmactors.actors.base import CPUS_PER_NODE, Server
from ksmactors.interleave.durations import NS_PER_US
from ksmactors.interleave.mailbox import PendingCall
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace

HOME_ODDS: Final = 4
"""One page in so many is moved within its node, as compaction does; the others to another node, as balancing does."""


class MoveRequest(NamedTuple):
    """move_pages() of one page: to node `nid`; `move_all` also if others map it (MPOL_MF_MOVE_ALL)."""

    mm: AddressSpace
    address: int
    nid: int
    move_all: bool


class MigrationDaemon(Server):
    """`migrationd/N`: answers requests to move pages to node N, and meanwhile moves pages of node N elsewhere.

    Which page it moves, and to which node, is drawn (`migrationd.*` on the tape). It takes page locks and
    page table locks, and mmap_sem for read while it serves a request; never ksm_thread_mutex. So it may get in
    between any two steps of ksmd.

    Args:
        nid: its node.
        period_us: virtual microseconds between two moves of its own, on average; 0 for none.
    """

    def __init__(self, machine: Machine, nid: int, *, period_us: int) -> None:
        self.nid = nid
        self.period_us = period_us
        self._napping = False
        super().__init__(machine, f"migrationd/{nid}", node=nid, cpu=nid * CPUS_PER_NODE + 1)

    @override
    async def run(self) -> None:
        while True:
            if self.period_us and not self.mailbox.messages:
                await self._nap()
            if self.period_us and not self.mailbox.messages:
                await self.move_any_page()
            else:
                await self.serve(await self.mailbox.receive())

    @override
    async def handle(self, what: MoveRequest | None) -> int:
        """Serve a request: the status of move_pages(). None asks the daemon to move nothing of its own any more."""
        if what is None:
            self.period_us = 0
            return 0
        if what.mm.users == 0:
            return -ESRCH
        self.kernel.mmget(what.mm)  # get_task_mm: an exit meanwhile leaves the page tables to us
        status = await self.kernel.move_pages(what.mm, what.address, what.nid, what.move_all)
        await self.kernel.mmput(what.mm)
        return status

    @override
    async def ask(self, what: MoveRequest | None) -> int:
        request = PendingCall(self.conductor, what, self.mailbox.name)
        await self.mailbox.send(request)
        if self._napping:
            self.conductor.wake_sleeper(self.actor)
        return int(await request.result())

    async def move_any_page(self) -> None:
        """Move one page of this node, drawn among all that can be moved."""
        await self.kernel.lru_add_drain_all()
        frames = self.kernel.movable_frames(self.nid)
        if not frames:
            return
        frame = frames[self.conductor.draw("migrationd.frame", len(frames))]
        await self.kernel.migrate_frame(frame, self._target())

    def _target(self) -> int:
        others = self.machine.nodes - 1
        if not others or not self.conductor.draw("migrationd.home", HOME_ODDS):
            return self.nid
        return (self.nid + 1 + self.conductor.draw("migrationd.nid", others)) % self.machine.nodes

    async def _nap(self) -> None:
        self._napping = True
        await self.conductor.sleep((1 + self.conductor.draw("migrationd.sleep", 2 * self.period_us)) * NS_PER_US)
        self._napping = False
