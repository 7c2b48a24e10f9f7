"""Offlining retries until a signal comes, v5.0. Recordings: confirmed/offline."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import EINTR
from ksmactors.mm.memory_hotplug import PASS_NS


class OfflineRetries(Ksm):
    """Taking memory offline retries pages that cannot be moved until it succeeds or the caller is interrupted.

    v3.9 gives up with -EBUSY. Here the caller has set a timer, as in the recordings. The kernel tries
    again at once; here the pauses grow, since the number of passes means nothing, and the time that they take is
    virtual.
    """

    @override
    def gives_up_offlining(self, passes: int, elapsed: int) -> int:
        return -EINTR if self.conductor.turn.signal_pending or elapsed >= self.offline_timer_ns else 0

    @override
    def pause_of_offlining(self, passes: int) -> int:
        return min(PASS_NS << passes, self.offline_timer_ns)
