"""References that one actor takes and puts: which put belongs to which take, and which put is one too many.

A count alone blames the last put: after one too many, it is the put of a reference that was still held. A reference is
put by the function that took it, or by a caller that it was handed up to. So a put far from the take that is left for
it, from which a later put is not far, was one too many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from types import FrameType
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

Frames: TypeAlias = tuple[FrameType, ...]

T = TypeVar("T")

KEPT: Final = 512
"""Pairs of a take and its put that are kept, the latest: a later put may be nearer to a take of the same calls."""

IN_PASSING: Final = 1
"""Steps for which the promise holds or is broken while one thing is in neither of two places."""


class TakeOrPut(NamedTuple, Generic[T]):
    """A take or a put: the kernel functions that the actor was in, and what the caller knows of it."""

    frames: Frames
    what: T


class Taken(Generic[T]):
    """The references to one object of one actor."""

    def __init__(self) -> None:
        self._open: list[TakeOrPut[T]] = []
        self._pairs: deque[tuple[TakeOrPut[T], TakeOrPut[T]]] = deque(maxlen=KEPT)
        """What was matched since the actor last had none."""
        self._extra: list[tuple[T, list[T]]] = []
        self._last = -IN_PASSING - 1
        """The step of the last put that was one too many."""

    def take(self, frames: Frames, what: T, step: int) -> None:
        """Note that a reference was taken. An operation may put one first, and take it next."""
        if self._extra and step - self._last <= IN_PASSING:
            self._extra.pop()
            return
        if not self._open:
            self._pairs.clear()
        self._open.append(TakeOrPut(frames, what))

    def put(self, frames: Frames, what: T, step: int) -> None:
        """Note that a reference was put, and match it with the nearest that was taken."""
        put = TakeOrPut(frames, what)
        if self._open:
            near = min(range(len(self._open)), key=lambda place: (far(self._open[place], put), -place))
            self._pairs.append((self._open.pop(near), put))
            return
        while (pair := self._displaced(put)) is not None:
            self._pairs.remove(pair)
            self._pairs.append((pair[0], put))
            put = pair[1]
        self._extra.append((put.what, [other.what for take, other in self._pairs if _is_as_near(put, take, other)]))
        self._last = step

    def extra(self) -> Sequence[tuple[T, list[T]]]:
        """Return each put that was one too many, with those that may have been it instead, as far as that is open."""
        return self._extra

    def _displaced(self, put: TakeOrPut[T]) -> tuple[TakeOrPut[T], TakeOrPut[T]] | None:
        """The pair whose take is nearer to a put than to its own, by the most; None if there is none."""
        nearer = [(far(take, other) - far(take, put), place) for place, (take, other) in enumerate(self._pairs)]
        gain, place = max(nearer, default=(0, 0))
        return self._pairs[place] if gain > 0 else None


def far(take: TakeOrPut[T], put: TakeOrPut[T]) -> int:
    """Return how far a put is from a take: the calls that it is in and the take was not."""
    return sum(frame not in take.frames for frame in put.frames)


def _is_as_near(put: TakeOrPut[T], take: TakeOrPut[T], other: TakeOrPut[T]) -> bool:
    """Whether a put that is one too many is as near to a take as the put, in another call, that is matched with it."""
    return put.frames[:1] != other.frames[:1] and far(take, put) == far(take, other)
