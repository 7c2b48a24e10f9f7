"""mm as a whole, as it is without CONFIG_KSM."""

from __future__ import annotations

from ksmactors.mm.compaction import Compaction
from ksmactors.mm.devices import Devices
from ksmactors.mm.fault import ThreadAccesses
from ksmactors.mm.fork import Fork
from ksmactors.mm.gup import GetUserPages
from ksmactors.mm.madvise import Madvise
from ksmactors.mm.memory import Memory
from ksmactors.mm.memory_failure import MemoryFailure
from ksmactors.mm.memory_hotplug import MemoryHotplug
from ksmactors.mm.migrate import Migration
from ksmactors.mm.mlock import Mlock
from ksmactors.mm.mmap import Mappings
from ksmactors.mm.mmu_notifier import MmuNotifiers
from ksmactors.mm.mremap import Mremap
from ksmactors.mm.page_alloc import PageAlloc
from ksmactors.mm.page_io import PageIo
from ksmactors.mm.pagevec import Pagevecs
from ksmactors.mm.pgtable import PageTables
from ksmactors.mm.rmap import Rmap
from ksmactors.mm.swap_state import SwapState
from ksmactors.mm.swapfile import Swapfile
from ksmactors.mm.vmscan import Vmscan


class MmKernel(
    MemoryHotplug,
    MemoryFailure,
    Fork,
    Mremap,
    Madvise,
    Mappings,
    Devices,
    MmuNotifiers,
    Mlock,
    Vmscan,
    Compaction,
    Migration,
    ThreadAccesses,
    Memory,
    GetUserPages,
    Rmap,
    Swapfile,
    PageIo,
    SwapState,
    PageTables,
    Pagevecs,
    PageAlloc,
):
    """The files of mm, side by side, none of which overrides what another defines."""
