"""What the rest of mm asks of KSM: the declarations of include/linux/ksm.h, as they are without CONFIG_KSM."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from ksmactors.errors import EmulatorBug
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.const import EINVAL
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam

RmapOne = Callable[[Vma, int], Awaitable[bool]]
"""Called by a reverse mapping walk for each (vma, address) that may map the page; True ends the walk."""


PteListener = Callable[[AddressSpace, int, Pte | None, Pte | None], None]
"""Called when the entry at an address has changed, with what it was and what it is; None: empty, or a swap entry. The
dirty bit that a CPU sets is not reported."""


class MemoryObserver(Protocol):
    """Is notified of memory operations of processes, at the instant at which they take effect."""

    def wrote(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A thread has overwritten a page; the frame has the new content."""

    def read(self, mm: AddressSpace, address: int, page: Frame) -> None:
        """A thread has read a page."""

    def zapped(self, mm: AddressSpace, address: int) -> None:
        """An entry was emptied by munmap, MADV_DONTNEED or exit."""

    def copied(self, mm: AddressSpace, oldmm: AddressSpace, address: int) -> None:
        """fork has copied an entry of `oldmm` to `mm`."""

    def moved(self, mm: AddressSpace, old: int, new: int) -> None:
        """mremap has moved an entry."""


class KsmHooks:
    """The hooks, with what they do in a kernel without KSM."""

    kernel_name = "v3.9 without KSM"

    @seam
    def smp_wmb(self) -> None:
        """Write barrier: no actor sees a later store of the caller without its earlier ones. Nothing to do where stores
        are seen in order; `later/weak_memory.py` overrides it."""

    @seam
    def smp_rmb(self) -> None:
        """Read barrier: a later load of the caller's sees what was stored before what an earlier one has seen."""

    @seam
    async def ksm_madvise(self, vma: Vma, start: int, end: int, advice: int) -> tuple[int, bool]:
        """madvise for MADV_MERGEABLE and MADV_UNMERGEABLE: (0 or -errno, whether VM_MERGEABLE is to be set)."""
        return -EINVAL, vma.mergeable

    @seam
    def ksm_new_vma(self, mm: AddressSpace) -> bool:
        """Whether a new mapping of an address space is mergeable without having been advised."""
        return False

    @seam
    async def ksm_process_mmap(self, mm: AddressSpace) -> int:
        """Handle a new mapping, whose vma exists: 0 or -errno. mmap_sem is held for write."""
        return 0

    @seam
    async def ksm_execve(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        """Register the address space of a new program, if it is to be: 0 or -errno."""
        return 0

    @seam
    async def prctl_set_memory_merge(self, mm: AddressSpace, on: bool) -> int:
        """prctl(PR_SET_MEMORY_MERGE): 0 or -errno; unknown before v6.4."""
        return -EINVAL

    @seam
    async def ksm_fork(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        """Register the child of a registered parent: 0 or -errno."""
        return 0

    @seam
    async def ksm_exit(self, mm: AddressSpace) -> None:
        """Forget an address space whose last user has gone."""

    @seam
    async def ksm_might_need_to_copy(self, page: Frame, vma: Vma, address: int) -> Frame | None:
        """The page to map in the place of a locked page of the swap cache: itself or a locked copy; None: no memory."""
        return page

    @seam
    async def ksm_memory_callback(self, action: str, pfns: range) -> None:
        """The memory hotplug notifier: "going_offline", "offline" (the frames are away) or "cancel_offline"."""

    @seam
    async def ksm_migrate_page(self, newpage: Frame, oldpage: Frame) -> None:
        """Store the new frame in the stable node of a migrated page; both pages are locked."""

    @seam
    async def rmap_walk_ksm(self, page: Frame, rmap_one: RmapOne) -> None:
        """Visit every place that may map a KSM page, which is locked."""
        raise EmulatorBug("there are no KSM pages without KSM")
