"""O9: migration entries exist only during their migration."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher
from ksmactors.watch.probe import Probe, number_of, stranded


class MigrationEntries(Watcher):
    """Every migration entry names a locked page, and when a migration has ended none is left that names its page.

    Promise. An actor that meets a migration entry waits for the lock of the page it names. The lock is held from before
    the first such entry is inserted to after the last one has been replaced; the kernel asserts it (a BUG_ON) wherever
    it turns an entry into its page.

    Why it holds. The same reverse mapping walk that inserts the entries finds them again (W7): the items on the hlist
    do not change while the page is locked (O5), the new page's mapping names the same node (W0), and a fork that copies
    an entry during the walk links the child's vma behind its parent's, so that the walk reaches it. The walk of an
    ordinary page has a reference on its anon_vma meanwhile. mremap moves no entry of a KSM page: it unmerges first, and
    break_ksm waits for migrations (R1).

    When checked. At each change of any page table entry, at the end of each migration, at each release of
    ksm_thread_mutex. An index holds the existing entries, hardly ever more than a few.

    Finding. The process that owns the entry hits the BUG_ON or hangs at its next access, fork or exit. Cases: S3b and
    N7 (an item leaves the hlist in the middle of a migration), R1 with mremap (the entry was moved to where the walk
    does not look), and any mutant whose second walk differs from its first. An actor that meets the entry detects it,
    too (`structure/stranded_migration_entry`); this watcher does not depend on one.
    """

    name: ClassVar[str] = "migration"
    summary: ClassVar[str] = "a migration entry names a locked page, and goes with its migration (O9)"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._entries: dict[tuple[int, int], tuple[AddressSpace, Frame]] = {}
        """The existing migration entries, by (number of the mm, address)."""
        self.kernel.pte_listeners.append(self._pte_changed)
        self.kernel.ksm_thread_mutex.before_unlock.append(self._check)
        machine.trace.listen(ev.MIGRATE_PAGE, self._migrated)

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        if before is not None and before.migration:
            self._entries.pop((mm.number, address), None)
        if pte is not None and pte.migration:
            self._entries[mm.number, address] = (mm, pte.frame)
        self._check()

    def _migrated(self, pfn: int, old_pfn: int, nid: int, err: int) -> None:
        self._check()

    def _check(self) -> None:
        for (_, address), (mm, page) in self._entries.items():
            if page.owner is None:
                raise self.finding(
                    "stranded_entry",
                    f"{mm.name} has a migration entry at {address:#x} for pfn {page.pfn}, whose migration has ended",
                    where="remove_migration_ptes",
                    about=(page,),
                    names=(("place", mm.number, address),),
                )

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether its migration will not find the entry: it has been stranded since that became true."""
        pfn = number_of(finding, "pfn")
        return stranded(self.kernel, pfn) if pfn is not None else None

    @override
    def at_quiescence(self) -> None:
        self._check()

    @override
    def at_exit(self) -> None:
        self._check()
