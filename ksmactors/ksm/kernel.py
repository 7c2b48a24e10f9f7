"""The whole of it: Linux v3.9 as far as KSM is concerned."""

from __future__ import annotations

from ksmactors.ksm.sysfs import Sysfs


class Ksm(Sysfs):
    """v3.9, bug for bug. Variants are subclasses that override functions; see `later/`."""
