"""The awaitable of a scheduling point at which the turn does not change.

ksmd passes hundreds of such points for each page, so awaiting one must be cheap: one shared object that never suspends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from typing import Final


class _NoSwitch:
    __slots__ = ()
    _exhausted: Final[Iterator[None]] = iter(())

    def __await__(self) -> Generator[None, None, None]:
        return self._exhausted  # type: ignore[return-value]  # await needs nothing more


NO_SWITCH: Final[Awaitable[None]] = _NoSwitch()
