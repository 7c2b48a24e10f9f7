"""The time for which a campaign was under way, from the moments in its store.

A store has times of the wall clock. A campaign may have been stopped and resumed days later, and clocks of other
machines or of earlier versions may have jumped, so they need not be in order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate


class RunningTime:
    """Seconds for which a campaign ran, without the pauses before it was resumed.

    Args:
        begun: when it began.
        starts: when it was started, or resumed.
        moments: when something was done.
    """

    def __init__(self, begun: float, starts: Iterable[float], moments: Iterable[float]) -> None:
        done = sorted(moments)
        self._begun = min([begun, *done[:1]])
        pauses: list[tuple[float, float]] = []
        for start in sorted(starts):
            before = bisect_right(done, start)
            idle_since = max(done[before - 1] if before else self._begun, pauses[-1][0] if pauses else self._begun)
            if idle_since < start:
                pauses.append((start, start - idle_since))
        self._starts = [start for start, _ in pauses]
        self._paused = [0.0, *accumulate(length for _, length in pauses)]

    def at(self, when: float) -> float:
        """The seconds for which it had run then; never below 0, and the later, the more."""
        return max(0.0, when - self._begun - self._paused[bisect_right(self._starts, when)])
