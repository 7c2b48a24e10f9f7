"""Address spaces: mm_struct, vmas, page table entries."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from sortedcontainers import SortedDict
from typing_extensions import override

from ksmactors.interleave.locks import RwSem, SpinLock
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.mm.frame import Frame
from ksmactors.mm.reports import lifetime

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor
    from ksmactors.mm.anon_vma import AnonVma
    from ksmactors.mm.secondary import SecondaryMmu
    from ksmactors.mm.swap_device import SwapSlot


class Pte(NamedTuple):
    """A page table entry that is not empty: present, or a migration entry that names the page being moved."""

    frame: Frame
    write: bool = False
    dirty: bool = False
    migration: bool = False


class Vma:
    """vm_area_struct of private anonymous memory: [start, end) bytes; `pgoff` is the page index of `start` by
    which reverse mapping finds a page, and stays when the vma moves. `nid` is its memory policy (preferred node).
    `chain` are the anon_vmas it is linked into, `anon_vma` the one its new pages get. `locked` is VM_LOCKED."""

    __slots__ = ("alive", "anon_vma", "chain", "end", "locked", "mergeable", "mm", "nid", "pgoff", "start")

    def __init__(
        self, mm: AddressSpace, start: int, end: int, pgoff: int, nid: int, *, mergeable: bool = False
    ) -> None:
        self.mm, self.start, self.end, self.pgoff, self.nid = mm, start, end, pgoff, nid
        self.mergeable = mergeable
        self.locked = False
        self.alive = True
        self.anon_vma: AnonVma | None = None
        self.chain: list[AnonVma] = []

    @override
    def __repr__(self) -> str:
        return f"<Vma {self.mm.name}:{self.start:#x}-{self.end:#x}>"

    def index_of(self, address: int) -> int:
        """linear_page_index."""
        return self.pgoff + (address - self.start) // PAGE_SIZE

    def address_of(self, index: int) -> int | None:
        """vma_address: where a page with this index would be mapped, or None if that is outside."""
        address = self.start + (index - self.pgoff) * PAGE_SIZE
        return address if self.start <= address < self.end else None

    def must_be_alive(self) -> None:
        """Raise the finding if the vma has been freed: who found it has let go of mmap_sem, or never had it."""
        if not self.alive:
            raise lifetime("vma", f"the vma of {self.mm.name} at {self.start:#x} is used after it was freed", self)


class AddressSpace:
    """mm_struct. `users` (mm_users) keep the page tables, `count` (mm_count) keeps the struct."""

    __slots__ = (
        "_mmap_cache", "alive", "conductor", "count", "hwpoison_ptes", "mmap_sem", "name", "number", "page_table_lock",
        "ptes", "registered", "secondary", "swap_ptes", "top", "users", "vmas", "young",
    )  # fmt: skip

    def __init__(self, conductor: Conductor, number: int, name: str, top: int) -> None:
        self.conductor, self.number, self.name, self.top = conductor, number, name, top
        self.users = 1
        self.count = 1
        self.alive = True
        self.registered = False
        """MMF_VM_MERGEABLE."""
        self.secondary: SecondaryMmu | None = None
        """The page table of a guest that uses this memory, or None."""
        self.vmas: SortedDict[int, Vma] = SortedDict()
        self._mmap_cache: Vma | None = None
        """The vma found last, in which most callers look again; None once a vma has gone."""
        self.ptes: dict[int, Pte] = {}
        self.swap_ptes: dict[int, SwapSlot] = {}
        """Entries that name a swap slot instead of a frame; an address is in one of the two, or in neither."""
        self.hwpoison_ptes: dict[int, Frame] = {}
        """Entries that name a frame whose memory has failed; these are in none of the two others."""
        self.young: set[int] = set()
        """Addresses accessed since reclaim last looked (the accessed bits of their entries)."""
        self.mmap_sem = RwSem(conductor, f"mmap_sem of {name}", guard=self.must_be_alive)
        self.page_table_lock = SpinLock(conductor, f"page table lock of {name}")

    @override
    def __repr__(self) -> str:
        return f"<AddressSpace {self.name}>"

    def label(self, field: object) -> str:
        """How strategies call the page table entry of an address: `pte/NAME/ADDRESS`; and any other field."""
        return f"pte/{self.name}/{field:#x}" if isinstance(field, int) else f"{field}/{self.name}"

    def find_vma(self, address: int) -> Vma | None:
        """The first vma that ends above `address` (it may start above it, too)."""
        cached = self._mmap_cache
        if cached is not None and cached.start <= address < cached.end:
            return cached
        index = self.vmas.bisect_right(address) - 1
        if index >= 0:
            vma = self.vmas.peekitem(index)[1]
            if vma.end > address:
                self._mmap_cache = vma
                return vma
        return self.vmas.peekitem(index + 1)[1] if index + 1 < len(self.vmas) else None

    def forget_vma(self, vma: Vma) -> None:
        """Have a vma be found no more."""
        del self.vmas[vma.start]
        self._mmap_cache = None

    def forget_vmas(self) -> None:
        """Have no vma be found any more."""
        self.vmas.clear()
        self._mmap_cache = None

    def vma_at(self, address: int) -> Vma | None:
        """The vma that contains `address`."""
        vma = self.find_vma(address)
        return vma if vma is not None and vma.start <= address else None

    def down_read(self) -> Awaitable[None]:
        """down_read(&mm->mmap_sem)."""
        return self.mmap_sem.down_read()

    def up_read(self) -> Awaitable[None]:
        """up_read(&mm->mmap_sem)."""
        return self.mmap_sem.up_read()

    def down_write(self) -> Awaitable[None]:
        """down_write(&mm->mmap_sem)."""
        return self.mmap_sem.down_write()

    def up_write(self) -> Awaitable[None]:
        """up_write(&mm->mmap_sem)."""
        return self.mmap_sem.up_write()

    def must_be_alive(self) -> None:
        """Raise the finding if the struct has been freed."""
        if not self.alive:
            raise lifetime("mm", f"mm {self.name} is used after it was freed", self)


def entries_mapping(frame: Frame, spaces: Iterable[AddressSpace]) -> int:
    """How many entries of page tables map a frame; migration entries do not."""
    return sum(pte.frame is frame and not pte.migration for mm in spaces for pte in mm.ptes.values())
