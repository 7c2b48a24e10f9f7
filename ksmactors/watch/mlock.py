"""The Mlocked flag is kept when another page replaces a locked one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.later.mlock_migrated import MlockMigrated
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher, frame_at, mappers_of
from ksmactors.watch.probe import Probe, address_space, names_of, place_of


@dataclass(eq=False, slots=True)
class HandOver:
    """The state after a KSM page has replaced a locked page in a VM_LOCKED vma."""

    mm: AddressSpace
    address: int
    page: Frame
    kpage: Frame
    marked: bool
    unmarked: bool = False

    def changed(self, frame: Frame, mlocked: bool) -> None:
        """Note that a page has got or lost the flag. A later loss is the fault of the actor that clears it."""
        self.marked = self.marked or frame is self.kpage
        self.unmarked = self.unmarked or (frame is self.page and not mlocked)


class MlockKept(Watcher):
    """Where an Mlocked page is replaced in a VM_LOCKED vma, the new page is Mlocked.

    Promise. mlock keeps pages in memory. Reclaim reads the flag; a page that should have it and does not is isolated,
    and unmapped wherever it is not locked, before reclaim notices.

    Why it holds. The copy made for a write has the flag before it is mapped. When ksmd replaces a page it takes the
    flag from that one, unless another VM_LOCKED vma maps it, and gives it to the KSM page, under the lock of each (the
    hand-over). fork changes no page of the parent's, and the child's vmas are not locked.

    When checked. At a copy: when the entry is exchanged. At a merge: when try_to_merge_with_ksm_page has ended, unless
    the entry has been changed since, or the vma unlocked, or the flag of the KSM page cleared again. At a migration of
    a page with one mapping: when the entry is restored. At the end: a mapped page with the flag must be mapped by a
    VM_LOCKED vma, since a munlock, and an exit, clear it. At other times the flag is not promised: mlock leaves a busy
    page for reclaim to mark, munlock may not find the other vma, and a migration loses the flag before v4.4 (a bug
    introduced in v3.7), which the next reclaim repairs.

    Finding. `not_handed_over`: the KSM page can be reclaimed until reclaim reaches its locked mapping. `old_page_kept`:
    the old page stays in memory for ever, if a process that has not locked it maps it. `copy_not_locked`,
    `moved_not_locked`: the copy, or the page where it is now, can be reclaimed. `locked_for_nobody`: a vma has lost
    VM_LOCKED, by a split or a move, and the page stays in memory for ever.
    """

    name: ClassVar[str] = "mlock"
    summary: ClassVar[str] = "memory that is mlocked stays so when it is merged or copied"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._under_way: dict[tuple[int, int], HandOver] = {}
        """By number of the mm and address."""
        self._kept_by_migration = isinstance(self.kernel, MlockMigrated)
        self.kernel.pte_listeners.append(self._pte_changed)
        for node in self.kernel.nodes:
            node.mlock_listeners.append(self._marked)
        machine.trace.listen(ev.KSM_MERGE_WITH_KSM_PAGE, self._merged)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        if self._under_way:
            self._under_way.pop((mm.number, address), None)
        if before is None or pte is None or pte.migration:
            return
        if before.migration:
            if self._kept_by_migration:
                self._check_moved(mm, address, pte.frame)
            return
        if not before.frame.mlocked:
            return
        vma = mm.vma_at(address)
        if vma is None or not vma.locked or pte.frame in (before.frame, self.kernel.zero_page):
            return
        if pte.frame.is_ksm:
            self._under_way[mm.number, address] = HandOver(mm, address, before.frame, pte.frame, pte.frame.mlocked)
        elif not pte.frame.mlocked:
            raise self.finding(
                "copy_not_locked",
                f"{mm.name} has locked {address:#x}, but its copy, pfn {pte.frame.pfn}, is not Mlocked",
                about=(before.frame, pte.frame),
                names=(("place", mm.number, address),),
            )

    def _check_moved(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """Of a page with one mapping, no other process can have cleared the flag by a munlock."""
        vma = mm.vma_at(address)
        if vma is not None and vma.locked and page.mapcount == 1 and not page.mlocked:
            raise self.finding(
                "moved_not_locked",
                f"{mm.name} has locked {address:#x}, but its page, pfn {page.pfn} since the migration, is not Mlocked",
                about=(page,),
                names=(("place", mm.number, address),),
            )

    def _marked(self, frame: Frame, mlocked: bool) -> None:
        for hand_over in self._under_way.values():
            hand_over.changed(frame, mlocked)

    def _merged(self, kpfn: int, pfn: int, item: int, mm: str, err: int) -> None:
        if err or not self._under_way:
            return
        for key, one in list(self._under_way.items()):
            if one.mm.name == mm and (one.kpage.pfn, one.page.pfn) == (kpfn, pfn):
                del self._under_way[key]
                self._judge(one)

    def _judge(self, one: HandOver) -> None:
        vma = one.mm.vma_at(one.address)
        if vma is None or not vma.locked or (one.marked and one.unmarked):
            return
        kind, wrong = "old_page_kept", f"the replaced page, pfn {one.page.pfn}, is still Mlocked"
        if not one.marked:
            kind, wrong = "not_handed_over", f"pfn {one.kpage.pfn}, which replaced a locked page, is not Mlocked"
        raise self.finding(
            kind,
            f"{one.mm.name} has locked {one.address:#x}, but {wrong}",
            where="try_to_merge_one_page",
            about=(one.page, one.kpage),
            names=(("place", one.mm.number, one.address),),
        )

    @override
    def at_quiescence(self) -> None:
        marked = set[int]().union(*(node.mlocked for node in self.kernel.nodes))
        if not marked:
            return
        mapped: dict[int, Frame] = {}
        for mm in self.kernel.address_spaces:
            for address, pte in mm.ptes.items():
                vma = mm.vma_at(address) if pte.frame.pfn in marked else None
                if vma is not None and vma.locked:
                    marked.discard(pte.frame.pfn)
                elif vma is not None:
                    mapped[pte.frame.pfn] = pte.frame
        for pfn, page in sorted(mapped.items()):
            if pfn in marked:
                message = f"pfn {pfn} is Mlocked, and no mapping of it is locked: it stays in memory"
                raise self.finding("locked_for_nobody", message, about=(page,))

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the place maps the new page, which is not Mlocked; or whether the old page is Mlocked although no
        VM_LOCKED vma maps it."""
        place, pfns = place_of(finding), [int(name[1]) for name in names_of(finding) if name[0] == "pfn"]
        if finding.kind == "locked_for_nobody":
            return Probe(lambda: self._is_kept(pfns[0]))
        if place is None or len(pfns) != 2:
            return None
        old, new = pfns
        if finding.kind == "old_page_kept":
            return Probe(lambda: self._is_kept(old))
        return Probe(lambda: self._is_unlocked(*place, new))

    def _is_unlocked(self, number: int, address: int, pfn: int) -> bool:
        """Whether a VM_LOCKED vma maps a frame at an address, and the frame is not Mlocked."""
        mm = address_space(self.kernel, number)
        vma, pte = (mm.vma_at(address), mm.ptes.get(address)) if mm is not None else (None, None)
        if vma is None or not vma.locked or pte is None or pte.migration:
            return False
        return pte.frame.pfn == pfn and not pte.frame.mlocked

    def _is_kept(self, pfn: int) -> bool:
        page = frame_at(self.kernel, pfn)
        if page is None or not page.mlocked:
            return False
        vmas = (mm.vma_at(address) for mm, address in mappers_of(self.kernel, page))
        return not any(vma is not None and vma.locked for vma in vmas)
