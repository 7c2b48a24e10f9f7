"""ksmd is awake whenever it has work."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_MERGE
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe


def asleep_with_work(kernel: Ksm) -> bool:
    """Whether ksmd waits for a wake-up although run is 1 and an address space is registered.

    True for a moment, correctly, during a registration or a write of `run`: each wakes ksmd last.
    """
    asleep = kernel.ksmd_actor is not None and kernel.ksmd_actor in kernel.ksm_thread_wait.waiters
    return asleep and kernel.ksm_run == KSM_RUN_MERGE and bool(kernel.mm_slots_hash)


class Liveness(Watcher):
    """When all other actors have ended, ksmd does not sleep if run is 1 and an address space is registered.

    Promise. Without work ksmd waits on ksm_thread_wait, without a timeout. The actor that gives it work wakes it: a
    write of 1 to `run`, and the registration of an address space on an empty list.

    Why it holds. ksmd tests `run` and the list, and goes to wait, with nothing in between. A registration links its
    slot first and wakes last. v3.9 and all later kernels fail where it tests the list before it links the slot, without
    the list's lock: the last address space can leave the list in between.

    When checked. When the workload's code and all calls it made have ended, before the end of the schedule writes
    `run`, which would wake ksmd. Earlier, a registration may have linked its slot and not woken ksmd yet. A ksmd
    between two batches sleeps with a timeout, and is not checked; nor is one that waits for an offlining.

    Finding. Nothing is merged any more, and exited address spaces are kept, until `run` is written again: X1.
    """

    name: ClassVar[str] = "liveness"
    summary: ClassVar[str] = "ksmd does not sleep while there is something to scan"

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether ksmd sleeps with work: for good, since the step that did not wake it."""
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
