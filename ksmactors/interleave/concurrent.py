"""Run several actors concurrently and wait for all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ksmactors.interleave.actor import ACQUIRE, RELEASE, Actor
from ksmactors.interleave.locks import WaitQueue

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor


class JoinQueue(WaitQueue):
    """Wait queue of an actor that waits until all `members` have ended; the last of them wakes it."""

    __slots__ = ("members",)

    def __init__(self, conductor: Conductor, name: str) -> None:
        super().__init__(conductor, name)
        self.members: list[Actor] = []


Part: TypeAlias = Coroutine[Any, Any, Any]


def _as_it_is(part: Part) -> Part:
    return part


async def run_concurrently(
    conductor: Conductor, parts: Mapping[str, Part], around: Callable[[Part], Awaitable[Any]] = _as_it_is
) -> dict[str, Any]:
    """Run each part in a new actor, named by its key and numbered in the order given; return the results by name.

    All new actors reach their first operation before any of them does it. The caller is blocked until they have ended.
    Each actor has a CPU of its own. `around` wraps a part: its result is awaited in place of the part.
    """
    ended = JoinQueue(conductor, "the parts to end")
    results: dict[str, Any] = {}

    async def run_part(name: str, part: Part) -> None:
        results[name] = await around(part)
        conductor.touch(RELEASE, ended, "parts")
        if len(results) == len(parts):
            ended.wake_all()

    try:
        for cpu, (name, part) in enumerate(parts.items(), 1):
            ended.members.append(conductor.spawn(name, run_part(name, part), cpu=cpu))
        conductor.opening.extend(ended.members)
        if parts:
            await ended.wait()
            conductor.touch(ACQUIRE, ended, "parts")
    finally:
        for part in parts.values():  # of a schedule that ended before the part began
            part.close()
    return {name: results[name] for name in parts}
