"""The kernel without CONFIG_KSM: all files of mm/ in one object."""

from __future__ import annotations

from ksmactors.mm.devices import Devices
from ksmactors.mm.fork import Fork
from ksmactors.mm.gup import Gup
from ksmactors.mm.madvise import Madvise
from ksmactors.mm.memory import Memory
from ksmactors.mm.memory_hotplug import MemoryHotplug
from ksmactors.mm.migrate import Migration
from ksmactors.mm.mlock import Mlock
from ksmactors.mm.mmap import Mmap
from ksmactors.mm.mremap import Mremap
from ksmactors.mm.page_alloc import PageAllocator
from ksmactors.mm.page_io import PageIo
from ksmactors.mm.pagevec import Pagevecs
from ksmactors.mm.pgtable import PageTables
from ksmactors.mm.rmap import Rmap
from ksmactors.mm.swap_state import SwapState
from ksmactors.mm.swapfile import Swapfile
from ksmactors.mm.swapoff import Swapoff
from ksmactors.mm.vmscan import Reclaim


class Mm(
    Devices, MemoryHotplug, Swapoff, Fork, Mremap, Madvise, Mmap, Reclaim, Migration, PageIo, Swapfile,
    SwapState, Mlock, Rmap, Memory, Gup, PageTables, Pagevecs, PageAllocator,
):  # fmt: skip
    """One class for each file. None of them overrides what another one has."""
