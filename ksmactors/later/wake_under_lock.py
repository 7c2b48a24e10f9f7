"""A repair for a wake-up that a registration can lose; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


class WakeUnderLock(Ksm):
    """Whether a registration wakes ksmd is decided under ksm_mmlist_lock, just before the slot is linked.

    v3.9, and every kernel since, looks whether the list is empty before it takes the lock ("check ksm_run too? would
    need tighter locking", says a comment there). A, which has no rmap_items, is the only one on the list. B looks: the
    list is not empty. A exits, and is taken off at once. ksmd finds the list empty, and goes to sleep. B links its slot
    and does not wake ksmd, which sleeps on, with run at 1, until the next write to `run`.
    """

    @override
    def needs_wakeup(self, was_empty: bool) -> bool:
        return self._nobody_registered()
