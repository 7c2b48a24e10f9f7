"""The whole of it: Linux v3.9 as far as KSM is concerned."""

from __future__ import annotations

from ksmactors.ksm.entry import EntryPoints
from ksmactors.ksm.hotplug import KsmHotplug
from ksmactors.ksm.keyhole import Keyhole
from ksmactors.ksm.merging import Merging
from ksmactors.ksm.scan import Scanning
from ksmactors.ksm.sysfs import Sysfs
from ksmactors.ksm.trees import Trees
from ksmactors.ksm.unmerging import Unmerging
from ksmactors.mm.kernel import MmKernel


class Ksm(Sysfs, EntryPoints, Scanning, Trees, Merging, Unmerging, KsmHotplug, Keyhole, MmKernel):
    """v3.9, bug for bug: the files of ksm/ side by side, and mm. Variants are subclasses that override functions; see
    `later/`."""
