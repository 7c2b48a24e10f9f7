"""A repair for pages that are dropped because another process gave them up; no kernel has it."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.later.lazy_free import LazyFree
from ksmactors.mm.frame import Frame


class NoKsmGivenUp(LazyFree):
    """MADV_FREE leaves KSM pages as they are: another process's equal page may be merged into one at any time.

    A KSM page that one process maps can be marked as one to drop without a write. ksmd goes on merging pages into it.
    Their entries are clean, so reclaim drops the page, and processes that have given nothing up read zeros. Here the
    process that gives a KSM page up keeps it until it writes, unmaps or exits: MADV_FREE is only a hint.
    """

    @override
    def _may_be_given_up(self, page: Frame) -> bool:
        return super()._may_be_given_up(page) and not page.is_ksm
