"""The emulator refines a sequential model: pages share a frame only if the model lets them."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from ksmactors.errors import Finding
from ksmactors.events import catalogue as ev
from ksmactors.machine import Machine
from ksmactors.mm.address_space import AddressSpace, Pte
from ksmactors.mm.devices import IoPin
from ksmactors.mm.frame import Frame
from ksmactors.watch.base import Watcher
from ksmactors.watch.places import Places
from ksmactors.watch.probe import Probe, address_space, number_of, place_of
from ksmactors.watch.sharing import Place, SharingModel


class Refinement(Watcher):
    """Pages share a frame only if a sequential model of a page of code (`sharing.py`) allows it.

    Promise. In any schedule, the pages of all processes are partitioned into frames as if every operation were atomic:
    pages that are shared since a fork, and equal pages that KSM has merged in regions that were advised when it
    happened.

    Why it holds. Each operation takes effect at one instant: a merge when replace_page exchanges an entry under the
    page table lock (and has compared two pages that could not be written any more); a break when do_wp_page exchanges
    it back; a fork when an entry is copied; a migration when it restores entries to the new frame, all with the page
    locked. Nothing between these instants changes the partition.

    When checked. At each of these instants: when an entry comes to map a frame that others map, the joining page must
    be allowed to. (Not at once: fork and mremap report what they have copied or moved just after they have changed the
    entry. No other actor has run by then. An entry that a migration restores joins none: all move together.) When a
    page is written, no other process may map its frame. And at quiescence the whole partition is checked. The zero page
    belongs to all; it is checked only where it replaces another page, against what was written.

    Finding. `unlawful_merge`: a page has joined others although they differ, it was not advised, or the frame is no KSM
    page (the comparison was made too early, or of the wrong page). `shared_write`: a write goes to a frame that another
    process maps: a break was forgotten, or an entry left writable. `wrong_partition`: sharing that was lawful is no
    longer, and was not undone. The shadow memory sees the consequences of all of these once contents differ; this one
    sees the sharing itself, before. Not detected: KSM merges versions here, so pages that share a frame with a merged
    page since a fork count as merged, too, and pages that were merged once may be merged again after they were broken
    apart without a write.
    """

    name: ClassVar[str] = "refinement"
    summary: ClassVar[str] = "pages share a frame only as a sequential model allows"

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self.model = SharingModel(self.kernel.contents.zero)
        self._sharers: dict[int, dict[Place, AddressSpace]] = {}
        """The processes that map each frame, by frame number."""
        self._joined: tuple[AddressSpace, int, Frame] | None = None
        """An entry that has come to map a frame, and has not been checked yet."""
        self.kernel.observers.append(self)
        self._places = Places(self.kernel)
        self.kernel.device_observers.append(self)
        self.kernel.pte_listeners.append(self._pte_changed)
        machine.trace.listen(ev.KSM_MERGE_ONE_PAGE, self._upgraded)

    # -- processes --------------------------------------------------------------------------------------------

    def wrote(self, mm: AddressSpace, address: int, page: Frame) -> None:
        self._judge()
        self.model.write((mm.number, address), page.content)
        for number, other in self._sharers.get(page.pfn, {}):
            if (number, other) != (mm.number, address):
                raise self.finding(
                    "shared_write",
                    f"{mm.name} writes pfn {page.pfn} at {address:#x}, which is mapped at {other:#x} by another",
                    about=(page,),
                    names=(("place", mm.number, address),),
                )

    def read(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """Reading changes nothing."""

    def zapped(self, mm: AddressSpace, address: int) -> None:
        self._judge()
        self.model.forget((mm.number, address))
        self._places.forget(mm, address)

    def copied(self, mm: AddressSpace, oldmm: AddressSpace, address: int) -> None:
        self.model.fork((mm.number, address), (oldmm.number, address))
        self._judge()

    def moved(self, mm: AddressSpace, old: int, new: int) -> None:
        self.model.move((mm.number, old), (mm.number, new))
        self._places.forget(mm, old)
        self._judge()

    # -- devices ------------------------------------------------------------------------------------------------

    def stored(self, pin: IoPin) -> None:
        """A page shared since a fork gets the new version in all its processes."""
        self._judge()
        first = None
        for mm, address in self._places.of(pin.page):
            if first is None:
                first = mm.number, address
                self.model.write(first, pin.page.content)
            else:
                self.model.fork((mm.number, address), first)

    def pinned(self, pin: IoPin) -> None:
        """No effect: a reference changes nothing."""

    def fetched(self, pin: IoPin) -> None:
        """Reading changes nothing."""

    def unpinned(self, pin: IoPin) -> None:
        """No effect, like `pinned`."""

    # -- the kernel ----------------------------------------------------------------------------------------------

    def _pte_changed(self, mm: AddressSpace, address: int, before: Pte | None, pte: Pte | None) -> None:
        self._judge()
        if before is not None and not before.migration:
            sharers = self._sharers.get(before.frame.pfn, {})
            sharers.pop((mm.number, address), None)
            if not sharers:
                self._sharers.pop(before.frame.pfn, None)
        if pte is not None and not pte.migration:
            self._sharers.setdefault(pte.frame.pfn, {})[mm.number, address] = mm
            new_zero = before is None and pte.frame is self.kernel.zero_page
            if not new_zero and (before is None or not (before.migration or before.frame is pte.frame)):
                self._joined = mm, address, pte.frame
                if self.model.has_content((mm.number, address)):
                    self._judge()

    def _upgraded(self, pfn: int, item: int, mm: str, err: int) -> None:
        """Handle a page that became a KSM page in place: no entry has changed, but all its mappings are merged."""
        if err:
            return
        sharers = list(self._sharers.get(pfn, {}).items())
        merging = [(place, other) for place, other in sharers if other.name == mm]
        vmas = [other.vma_at(address) for (_, address), other in merging]
        if merging and not any(vma is not None and vma.mergeable for vma in vmas):
            wrong = "is in no mergeable region"
        elif sharers and not self.model.merge(sharers[0][0], [place for place, _ in sharers[1:]]):
            wrong = "differs from what a process that maps it wrote"
        else:
            return
        message = f"{mm} has had pfn {pfn} become a KSM page, which {wrong}"
        raise self.finding("unlawful_merge", message, where="try_to_merge_with_ksm_page")

    def _judge(self) -> None:
        """Check whether the entry that was changed last may map its page."""
        if self._joined is None:
            return
        (mm, address, page), self._joined = self._joined, None
        place, model = (mm.number, address), self.model
        if page is self.kernel.zero_page:
            wrong = "" if model.content(place) is page.content else "is not what it wrote"
        else:
            others = [one for one in self._sharers.get(page.pfn, {}) if one != place]
            wrong = self._merge(mm, address, page, others)
            if wrong and model.one_version((place, *others)):
                wrong = ""
        if wrong:
            message = f"{mm.name} has come to share pfn {page.pfn} at {address:#x}, which {wrong}"
            raise self.finding("unlawful_merge", message, about=(page,))

    def _merge(self, mm: AddressSpace, address: int, page: Frame, others: list[Place]) -> str:
        """Return why KSM must not have made a page join others, or ""."""
        vma = mm.vma_at(address)
        if vma is None or not vma.mergeable:
            return "is not in a mergeable region"
        if not page.is_ksm:
            return "is no KSM page"
        return "" if self.model.merge((mm.number, address), others) else "differs from what it wrote"

    @override
    def probe(self, finding: Finding) -> Probe | None:
        """Whether the processes that share the frame may; whether an entry is writable though its frame is shared."""
        pfn, place = number_of(finding, "pfn"), place_of(finding)
        if finding.kind == "wrong_partition" and pfn is not None:
            return Probe(lambda: not self.model.one_version(self._sharers.get(pfn, ())))
        if finding.kind == "shared_write" and place is not None:
            return Probe(lambda: self._is_exposed(*place))
        return None

    def _is_exposed(self, number: int, address: int) -> bool | None:
        """Whether the entry at a place is writable though another one names its frame.

        Migration entries count: a page comes back with the permission that they have. None while some entries may name
        the old frame, and some the new one already: both are locked.
        """
        mm = address_space(self.kernel, number)
        pte = mm.ptes.get(address) if mm is not None else None
        if pte is None or not pte.write:
            return False
        entries = (one for other in self.kernel.address_spaces for one in other.ptes.values())
        if sum(one.frame is pte.frame for one in entries) > 1:
            return True
        return None if pte.frame.owner is not None else False

    @override
    def at_quiescence(self) -> None:
        self._judge()
        for pfn, sharers in self._sharers.items():
            page = self.kernel.pfn_to_page(pfn)
            if page is not self.kernel.zero_page and not self.model.one_version(sharers):
                names = " and ".join(mm.name for mm in sharers.values())
                raise self.finding(
                    "wrong_partition",
                    f"{names} share pfn {pfn}, which the model forbids",
                    where="quiescence",
                    about=(page,),
                )
