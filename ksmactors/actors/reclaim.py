"""Reclaim: one actor for each node swaps pages out, and one is the swap device."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.actors.base import CPUS_PER_NODE, Daemon, Server
from ksmactors.interleave.durations import NS_PER_US
from ksmactors.interleave.mailbox import PendingCall
from ksmactors.machine import Machine

CLUSTER: Final = 4
"""Most pages that a round of its own takes: workloads have few pages."""


class Writeback(Daemon):
    """`writeback`: the swap device. Writes one page after the other, in the order in which they were submitted.

    Nothing is ever sent to its mailbox: reclaim wakes it through a wait queue.
    """

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine, "writeback")

    @override
    async def run(self) -> None:
        await self.kernel.end_swap_writes()


class Reclaimer(Server):
    """`kswapd/N`: reclaims pages of node N when it is asked to, and meanwhile some now and then, as under pressure.

    Which pages it takes is drawn (`kswapd.*` on the tape). It takes page locks by trylock, page table locks, anon_vma
    locks for read and the swap cache's tree_lock; never ksm_thread_mutex, nor mmap_sem.

    Args:
        nid: its node.
        period_us: virtual microseconds between two rounds of its own, on average; 0 for none.
    """

    def __init__(self, machine: Machine, nid: int, *, period_us: int) -> None:
        self.nid = nid
        self.period_us = period_us
        self._napping = False
        super().__init__(machine, f"kswapd/{nid}", node=nid, cpu=nid * CPUS_PER_NODE + 2)

    @override
    async def run(self) -> None:
        while True:
            if self.period_us and not self.mailbox.messages:
                await self._nap()
            if self.period_us and not self.mailbox.messages:
                await self.reclaim_some_pages()
            else:
                await self.serve(await self.mailbox.receive())

    @override
    async def handle(self, what: int) -> int:
        """Reclaim so many pages: how many were freed. 0 asks the reclaimer to reclaim nothing of its own any more."""
        if what == 0:
            self.period_us = 0
            return 0
        return await self.kernel.try_to_free_pages([self.nid], what)

    @override
    async def ask(self, what: int) -> int:
        request = PendingCall(self.conductor, what, self.mailbox.name)
        await self.mailbox.send(request)
        if self._napping:
            self.conductor.wake_sleeper(self.actor)
        return int(await request.result())

    async def reclaim_some_pages(self) -> None:
        """One round over a few neighbouring pages, the first drawn among all that could be reclaimed."""
        pages = self.kernel.inactive_pages(self.nid)
        if pages:
            first = self.conductor.draw("kswapd.page", len(pages))
            await self.kernel.shrink_list(pages[first : first + 1 + self.conductor.draw("kswapd.pages", CLUSTER)])

    async def _nap(self) -> None:
        self._napping = True
        await self.conductor.sleep((1 + self.conductor.draw("kswapd.sleep", 2 * self.period_us)) * NS_PER_US)
        self._napping = False
