"""Mutants of what the specification of KSM does not number: wake-ups."""

from __future__ import annotations

from typing import Final

from ksmactors.ksm.kernel import Ksm


class NeverWoken(Ksm):
    """A registration on an empty list wakes nobody (X1a)."""

    def wake_ksmd(self) -> None:
        pass


class AlwaysWoken(Ksm):
    """Every registration wakes ksmd, whether the list was empty or not (X1b)."""

    def _needs_wakeup(self, was_empty: bool) -> bool:
        return True


BEYOND: Final[dict[str, type[Ksm]]] = {
    "x1a-never-woken": NeverWoken,
    "x1b-always-woken": AlwaysWoken,
}
"""By name."""
