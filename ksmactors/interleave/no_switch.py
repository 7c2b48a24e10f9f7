"""What a point returns at which the turn stays.

There are hundreds of such points for each page that ksmd looks at, so awaiting one must cost next to nothing: one
object that is never allocated anew and never suspends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator, Iterator
from typing import Final


class _NoSwitch:
    __slots__ = ()
    _exhausted: Final[Iterator[None]] = iter(())

    def __await__(self) -> Generator[None, None, None]:
        return self._exhausted  # type: ignore[return-value]  # an exhausted iterator is all that await needs


NO_SWITCH: Final[Awaitable[None]] = _NoSwitch()
