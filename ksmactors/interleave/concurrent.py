"""A meeting: some actors do something at the same time, and whoever has called them waits until all have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from ksmactors.interleave.actor import ACQUIRE, RELEASE, Actor
from ksmactors.interleave.conductor import Conductor
from ksmactors.interleave.locks import WaitQueue


class JoinQueue(WaitQueue):
    """Where somebody waits until all of some actors, the `members`, have ended; the last of them wakes it."""

    __slots__ = ("members",)

    def __init__(self, conductor: Conductor, name: str) -> None:
        super().__init__(conductor, name)
        self.members: list[Actor] = []


Part: TypeAlias = Coroutine[Any, Any, Any]


def _as_it_is(part: Part) -> Part:
    return part


async def meet(
    conductor: Conductor, parts: Mapping[str, Part], around: Callable[[Part], Awaitable[Any]] = _as_it_is
) -> dict[str, Any]:
    """Have new actors, by name and numbered in the order given, play their parts; what each returned, by name.

    All are about to do their first operation before the first of them does it, and the caller is blocked meanwhile.
    Each is on a CPU of its own. `around` makes of a part what is awaited in its place.
    """
    ended = JoinQueue(conductor, "the parts to end")
    results: dict[str, Any] = {}

    async def play(name: str, part: Part) -> None:
        results[name] = await around(part)
        conductor.touch(RELEASE, ended, "parts")
        if len(results) == len(parts):
            ended.wake_all()

    try:
        for cpu, (name, part) in enumerate(parts.items(), 1):
            ended.members.append(conductor.spawn(name, play(name, part), cpu=cpu))
        conductor.opening.extend(ended.members)
        if parts:
            await ended.wait()
            conductor.touch(ACQUIRE, ended, "parts")
    finally:
        for part in parts.values():  # a schedule that ends before a part has begun leaves nothing behind
            part.close()
    return {name: results[name] for name in parts}
