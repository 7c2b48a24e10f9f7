"""What the author of a variant imports: the emulated kernel, its structures, and events.

    from typing_extensions import override

    from ksmactors.variant import Ksm, MmSlot

    class LateWake(Ksm):
        '''A registration does not wake ksmd.'''

        @override
        def wake_ksmd(self) -> None:
            pass

A variant overrides functions of the kernel by their names, those that are marked `@seam` or `@part`. `ksmactors docs
kernel-map` says what each does, and `events` are the events of the catalogue: `self.emit(events.BREAK_COW, ...)`.
"""

from __future__ import annotations

from ksmactors.events import catalogue as events
from ksmactors.events.catalogue import Field
from ksmactors.events.declared import PluginEvent
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import SEQNR_MASK, STABLE_FLAG, UNSTABLE_FLAG, MmSlot, RmapItem, StableNode
from ksmactors.mm.address_space import AddressSpace, Pte, Vma
from ksmactors.mm.anon_vma import AnonVma
from ksmactors.mm.const import EAGAIN, EBUSY, EFAULT, EINVAL, ENOMEM, PAGE_SIZE
from ksmactors.mm.content import Content
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.swap_device import SwapSlot
from ksmactors.seams import part, seam

__all__ = [
    "EAGAIN", "EBUSY", "EFAULT", "EINVAL", "ENOMEM", "PAGE_SIZE", "SEQNR_MASK", "STABLE_FLAG", "UNSTABLE_FLAG",
    "AddressSpace", "AnonVma", "Content", "Field", "Frame", "Hardware", "Ksm", "MmSlot", "PluginEvent", "Pte",
    "RmapItem", "StableNode", "SwapSlot", "Vma", "events", "part", "seam",
]  # fmt: skip
