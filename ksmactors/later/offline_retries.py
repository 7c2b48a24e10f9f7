"""Offlining retries until a signal comes, v5.0. Recordings: confirmed/offline."""

from __future__ import annotations

from typing import Final

from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.const import EINTR
from ksmactors.mm.hotplug import PASS_NS

TIMER_NS: Final = 5_000_000_000
"""Whoever asks for it has set a timer: the recordings' signal comes after so long."""


class OfflineRetries(Ksm):
    """Memory is taken offline, or whoever asked for it is interrupted: pages that cannot be moved are tried for ever.

    v3.9 gives up with -EBUSY. The kernel tries again at once; here the pauses grow, since the number of passes means
    nothing, and the time that they take is virtual.
    """

    def gives_up_offlining(self, passes: int, elapsed: int) -> int:
        return -EINTR if self.conductor.turn.signal_pending or elapsed >= TIMER_NS else 0

    def pause_of_offlining(self, passes: int) -> int:
        return min(PASS_NS << passes, TIMER_NS)
