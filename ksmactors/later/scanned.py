"""pages_scanned, v6.6 (b348b5fe2b5f)."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


class Scanned(Ksm):
    """How many pages ksmd has looked at since boot is shown; one counts when its visit has ended (races r04)."""

    @override
    def count_scanned(self, *, visited: bool) -> None:
        if visited:
            self.pages_scanned += 1

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | {"pages_scanned": False}

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {"pages_scanned": lambda: self.pages_scanned}
