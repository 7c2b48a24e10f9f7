"""ksmd is awake whenever it has work."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_MERGE
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe, address_space, number_of


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

    Finding. `asleep_with_work`: nothing is merged any more, and exited address spaces are kept, until `run` is written
    again: X1. `registered_without_slot`: an address space is marked as registered, and ksmd's list does not have it; so
    no advice will put it there, and neither ksmd nor run=2 will ever visit it.
    """

    name: ClassVar[str] = "liveness"
    summary: ClassVar[str] = "ksmd does not sleep while there is something to scan"

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether ksmd sleeps with work: for good, since the step that did not wake it; or whether the address space is
        on no list."""
        mm = number_of(finding, "mm")
        if finding.kind == "registered_without_slot" and mm is not None:
            return Probe(lambda: self._is_unlisted(mm))
        return Probe(lambda: asleep_with_work(self.kernel))

    def _is_unlisted(self, number: int) -> bool:
        mm = address_space(self.kernel, number)
        return mm is not None and mm.registered and mm.users > 0 and number not in self.kernel.mm_slots_hash

    @override
    def at_rest(self) -> None:
        if asleep_with_work(self.kernel):
            names = ", ".join(slot.mm.name for slot in self.kernel.mm_slots_hash.values() if slot.mm is not None)
            raise self.finding(
                "asleep_with_work",
                f"ksmd sleeps on ksm_thread_wait although run is 1 and there is something to scan: {names}",
                where="ksm_scan_thread",
            )
        for mm in self.kernel.address_spaces:
            if self._is_unlisted(mm.number):
                raise self.finding(
                    "registered_without_slot",
                    f"{mm.name} is registered, and has no mm_slot: ksmd will never scan it",
                    where="ksm_scan_thread",
                    about=(mm,),
                )
