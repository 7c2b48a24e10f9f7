"""Mutants of the barriers between a migration and get_ksm_page: they matter in weak memory only (S5)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


class NoWriteBarrier(Ksm):
    """The stores of a migration may be seen in any order: smp_wmb does nothing (S5b, in weak memory)."""

    @override
    def smp_wmb(self) -> None:
        pass


class NoReadBarrier(Ksm):
    """kpfn may be read again before the mapping was looked at: smp_rmb does nothing (S5b, in weak memory)."""

    @override
    def smp_rmb(self) -> None:
        pass
