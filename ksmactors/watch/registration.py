"""O19: ksmd knows each process that has mergeable memory."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.later.merge_any import MergeAny
from ksmactors.later.merge_any_kept import MergeAnyKept
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Vma
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe, address_space, number_of


class Registration(Watcher):
    """A process with mergeable memory has an mm_slot; PR_SET_MEMORY_MERGE applies to all its memory, or to none.

    Promise. VM_MERGEABLE is set in no vma of a process that ksmd does not visit. When prctl(PR_SET_MEMORY_MERGE)
    returns, all memory of a process that has the setting is mergeable, and none of a process that has just lost it. A
    child has the setting of its parent.

    Why it holds. madvise, prctl, fork and exec register the process before they make memory mergeable. ksmd drops a
    slot only if a full scan has met no mergeable vma, and mmap_sem excludes madvise meanwhile. prctl holds mmap_sem for
    write; if the setting cannot be taken back, what had lost the advice gets it again.

    When checked. At the end of prctl and of fork, and when the workload's code has ended. A process without users has
    left ksmd's list. Where a process keeps the setting without a slot (v6.12), mmap registers it and ignores a failure:
    after an injected one, nothing is checked there.

    Finding. Memory that is to be merged never is: `unregistered`, `advice_lost` after prctl, `setting_lost` after fork.
    `advice_left`: memory is merged that is not to be. `change_without_lock`: ksmd may look at a mapping meanwhile.
    """

    name: ClassVar[str] = "registration"
    summary: ClassVar[str] = "ksmd knows each process that has mergeable memory (O19)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._excused = False
        kernel = self.kernel
        if isinstance(kernel, MergeAny):
            kernel.merge_any_listeners.append(self._setting_changed)
            machine.trace.listen(ev.FORK, self._forked)
        if isinstance(kernel, MergeAnyKept):
            machine.trace.listen(ev.FAULT_INJECT, self._injected)

    def _injected(self, kind: str, victim: str) -> None:
        self._excused = self._excused or kind == "alloc_mm_slot"

    def _setting_changed(self, mm: AddressSpace, on: bool, failed: int) -> None:
        """prctl is about to return from an attempt to change the setting."""
        kernel = self.kernel
        assert isinstance(kernel, MergeAny), "it has called"
        if mm.mmap_sem.owner is None:
            message = f"prctl changes the advice of all mappings of {mm.name}, and does not hold mmap_sem for write"
            raise self.finding("change_without_lock", message, where="prctl_set_memory_merge", about=(mm,))
        where = "ksm_enable_merge_any" if on else "ksm_disable_merge_any"
        self._check(mm, where)
        merging = kernel.merges_any(mm)
        wrong = next((vma for vma in mm.vmas.values() if vma.mergeable is not merging), None)
        if wrong is not None and (merging or not failed):
            what = "not mergeable, though all" if merging else "mergeable, though nothing"
            raise self.finding(
                "advice_lost" if merging else "advice_left",
                f"the memory of {mm.name} at {wrong.start:#x} is {what} that it maps is to be merged",
                where=where,
                about=(mm,),
            )

    def _forked(self, parent: str, child: str) -> None:
        """An exec gives a process a second address space, so the parent is any of that name."""
        kernel = self.kernel
        assert isinstance(kernel, MergeAny), "others have no setting"
        parents = [mm for mm in kernel.address_spaces if mm.name == parent]
        mm = next(mm for mm in reversed(kernel.address_spaces) if mm.name == child)
        if all(map(kernel.merges_any, parents)) and not kernel.merges_any(mm):
            raise self.finding(
                "setting_lost",
                f"all that {parent} maps is to be merged, but not what its child {child} maps",
                where="ksm_fork",
                about=(mm,),
            )

    @override
    def at_rest(self) -> None:
        for mm in self.kernel.address_spaces:
            self._check(mm, "ksm_enter")

    def _check(self, mm: AddressSpace, where: str) -> None:
        if not self._excused and (vma := self._unknown(mm)) is not None:
            raise self.finding(
                "unregistered",
                f"the memory of {mm.name} at {vma.start:#x} is mergeable, and ksmd does not know the process",
                where=where,
                about=(mm,),
            )

    def _unknown(self, mm: AddressSpace) -> Vma | None:
        """Return a mergeable vma of a process that has users and no mm_slot."""
        if not mm.users or mm.number in self.kernel.mm_slots_hash:
            return None
        return next((vma for vma in mm.vmas.values() if vma.mergeable), None)

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the process has mergeable memory and no slot."""
        number = number_of(finding, "mm")
        if number is None or finding.kind != "unregistered":
            return None
        return Probe(lambda: (mm := address_space(self.kernel, number)) is not None and self._unknown(mm) is not None)
