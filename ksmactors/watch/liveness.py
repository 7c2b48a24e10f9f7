"""ksmd is awake whenever there is something for it to do."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_MERGE
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe


def asleep_with_work(kernel: Ksm) -> bool:
    """Whether ksmd waits for a wake-up although run is 1 and an address space is registered. Holds for a moment by
    right while a registration or a write of `run` is under way: each wakes ksmd last."""
    asleep = kernel.ksmd_actor is not None and kernel.ksmd_actor in kernel.ksm_thread_wait.waiters
    return asleep and kernel.ksm_run == KSM_RUN_MERGE and bool(kernel.mm_slots_hash)


class Liveness(Watcher):
    """When everybody else has ended, ksmd does not sleep if run is 1 and an address space is registered.

    What is promised. With nothing to do ksmd waits on ksm_thread_wait, without a timeout. Whoever gives it something
    to do wakes it: a write of 1 to `run`, and the registration of an address space on an empty list.

    Why the protocol keeps it. ksmd looks at `run` and at the list, and goes to wait, with nothing in between. A
    registration links its slot first and wakes last. That it may look at the list before it links the slot, without
    the list's lock, is where v3.9 and all later kernels fail: the last address space can leave the list in between.

    When one looks. When the workload's code has ended, and all calls that it made: before the end of the schedule
    writes `run`, which would wake ksmd. Before that a registration may be under way that has linked its slot and is
    about to wake. A ksmd between two batches sleeps with a timeout, and is not asked; nor is one that an offlining
    keeps waiting.

    What a finding means. Nothing is merged any more, and no address space that has exited is let go, until
    somebody writes `run` again: X1.
    """

    name: ClassVar[str] = "liveness"
    summary: ClassVar[str] = "ksmd does not sleep while there is something to scan"

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether ksmd sleeps with something to do: for good since the step after which nobody woke it."""
        return Probe(lambda: asleep_with_work(self.kernel))

    @override
    def at_rest(self) -> None:
        if asleep_with_work(self.kernel):
            names = ", ".join(slot.mm.name for slot in self.kernel.mm_slots_hash.values() if slot.mm is not None)
            raise self.finding(
                "asleep_with_work",
                f"ksmd sleeps on ksm_thread_wait although run is 1 and there is something to scan: {names}",
                where="ksm_scan_thread",
            )
