"""Single-step ksmd, as on a real machine.

Its sleep_millisecs is an hour and its pages_to_scan 0. A step sets pages_to_scan to N, ends ksmd's sleep, lets it run
until it sleeps again, and resets pages_to_scan. Only the timed sleep between two batches can be ended so: a ksmd that
waits for work does not move, and the step is idle. No other actor runs meanwhile, so there is nothing to interleave:
the turn stays with its holder until it sleeps.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, Final

from typing_extensions import override

from ksmactors.conformance.transcript import REST, Batch
from ksmactors.interleave.actor import Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.durations import NS_PER_MS
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.ksm.kernel import Ksm

START: Final = {
    "run": ("2", "0"),
    "merge_across_nodes": ("1",),
    "smart_scan": ("0",),
    "use_zero_pages": ("0",),
    "max_page_sharing": ("256",),
    "stable_node_chains_prune_millisecs": ("0",),
}
"""What every scenario starts with: nothing merged, ksmd stopped, one tree, later features off, chains pruned at every
look. Knobs that a kernel does not have are left out."""

MAX_STEPS: Final = 1 << 40
"""A scenario may have any length, so the usual step limit does not apply."""


class RunUntilBlocked(Strategy):
    """The turn stays with its holder; when it cannot continue, the lowest-numbered ready actor gets it."""

    name: ClassVar[str] = "unhurried"
    summary: ClassVar[str] = "the turn stays with its holder until it blocks"

    @override
    def choose(self, ready: Sequence[Actor], current: Actor | None) -> Actor:
        return ready[0] if current is None else current

    @override
    def horizon(self, ready: Sequence[Actor], current: Actor) -> int:
        return MAX_STEPS


class Stepper:
    """Steps ksmd for the actor that runs a scenario; all methods are for that actor."""

    def __init__(self, kernel: Ksm, conductor: Conductor) -> None:
        self.kernel, self.conductor = kernel, conductor
        self.ksmd: Actor

    async def start(self) -> None:
        """Start ksmd and set the knobs to the initial values of every scenario."""
        self.ksmd = self.conductor.spawn("ksmd", self._scan(), daemon=True)
        self.conductor.spawn("swap", self.kernel.end_swap_writes(), daemon=True)
        await self.rest()
        for knob, value in REST.items():
            await self.kernel.sysfs_store(knob, value)
        for knob, values in START.items():
            for value in values if knob in self.kernel.sysfs_files() else ():
                await self.kernel.sysfs_store(knob, value)

    async def _scan(self) -> None:
        self.kernel.ksmd_actor = self.ksmd
        await self.kernel.ksm_scan_thread()

    async def rest(self) -> None:
        """Let ksmd run, if it can, until it sleeps again."""
        await self.conductor.sleep(NS_PER_MS)

    @property
    def resting(self) -> bool:
        """Whether ksmd has ended its batch: it sleeps, or waits for work."""
        waiting_on = self.ksmd.waiting_on
        return isinstance(waiting_on, tuple) or waiting_on is self.kernel.ksm_thread_wait

    async def batch(self, pages: int, rest: Callable[[], Awaitable[None]] | None = None) -> Batch:
        """Run one batch of up to `pages` pages in ksmd; `rest` lets it run until it sleeps again."""
        begun = await self.begin(pages)
        if not begun.idle:
            await (rest or self.rest)()
        return await self.end(begun)

    async def begin(self, pages: int) -> Batch:
        """Wake ksmd for one batch; return its counts before, for `end`."""
        kernel = self.kernel
        scanned, full_scans = kernel.pages_scanned, kernel.ksm_scan.seqnr
        await kernel.sysfs_store("pages_to_scan", str(pages))
        return Batch(scanned, full_scans, not self.conductor.wake_sleeper(self.ksmd))

    async def end(self, begun: Batch) -> Batch:
        """Return what a finished batch did."""
        kernel = self.kernel
        await kernel.sysfs_store("pages_to_scan", REST["pages_to_scan"])
        return Batch(kernel.pages_scanned - begun.scanned, kernel.ksm_scan.seqnr - begun.full_scans, begun.idle)
