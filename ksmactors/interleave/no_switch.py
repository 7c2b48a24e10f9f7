"""The awaitable of a scheduling point at which the turn does not change.

ksmd passes hundreds of such points for each page, so awaiting one must be cheap: one shared object that never suspends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from types import coroutine
from typing import Final


@coroutine
def _ended() -> Generator[None, None, None]:
    return
    yield


NO_SWITCH: Final[Awaitable[None]] = _ended()
next(NO_SWITCH, None)  # type: ignore[call-overload]  # an iterator that has ended: awaiting it again and again is at once over
