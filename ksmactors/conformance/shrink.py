"""Make a scenario as short as possible while a condition still holds.

Lines are removed: everything about one process, then ever smaller blocks, then single ones; then counts are reduced. A
candidate that does not parse any more (a page of a process that is not started) is rejected. Each candidate for which
the condition holds replaces the scenario at once.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from ksmactors.conformance.language import Operation, Scenario, parse
from ksmactors.errors import ScenarioError

TRIES_MAX: Final = 600
"""On a real kernel a try takes a tenth of a second or two, so the whole stays within minutes."""

COUNTED: Final = re.compile(r"(?P<name>trace|tracescan|scan|step) (?P<count>\d+)(?P<rest>.*)")


class Shrinker:
    """Shrinks one scenario.

    Args:
        scenario: the condition holds for it.
        holds: the condition.
        tries: how often the condition may be evaluated.
    """

    def __init__(
        self, scenario: Scenario, holds: Callable[[Scenario], Awaitable[bool]], *, tries: int = TRIES_MAX
    ) -> None:
        self.best, self._holds, self.tries = scenario, holds, tries
        self._seen: set[tuple[str, ...]] = set()
        self._lines = [operation.text for operation in scenario.operations]

    async def shrink(self) -> Scenario:
        """Return the shortest scenario found."""
        before = None
        while before != self._lines and self.tries > 0:
            before = list(self._lines)
            await self._without_processes()
            await self._without_blocks()
            await self._smaller_counts()
        return self.best

    async def _without_processes(self) -> None:
        for name in [operation.word for operation in self.best.operations if operation.name in ("proc", "fork")]:
            await self._consider(
                [operation.text for operation in self.best.operations if not _about(operation, name)]
            )  # fmt: skip

    async def _without_blocks(self) -> None:
        size = len(self._lines) // 2
        while size >= 1:
            start = len(self._lines) - size
            while start > -size:
                low = max(start, 0)
                await self._consider(self._lines[:low] + self._lines[low + size :])
                start -= size
            size //= 2

    async def _smaller_counts(self) -> None:
        for index in range(len(self._lines)):
            for line in _smaller(self._lines[index]):
                if await self._consider([*self._lines[:index], line, *self._lines[index + 1 :]]):
                    break

    async def _consider(self, lines: list[str]) -> bool:
        """Continue from these lines if the condition holds for them."""
        key = tuple(lines)
        if not lines or key in self._seen or self.tries <= 0:
            return False
        self._seen.add(key)
        try:
            candidate = parse("\n".join(lines), name=self.best.name, origin=self.best.origin)
        except ScenarioError:
            return False
        self.tries -= 1
        if not await self._holds(candidate):
            return False
        self.best, self._lines = candidate, lines
        return True


def _about(operation: Operation, process: str) -> bool:
    """Whether an operation is about a process, or makes it."""
    return process in (operation.process, operation.word if operation.name in ("proc", "fork") else "")


def _smaller(line: str) -> Iterator[str]:
    """Yield the same line with smaller counts."""
    found = COUNTED.fullmatch(line)
    if found is None:
        return
    name, count, rest = found["name"], int(found["count"]), found["rest"]
    if rest:
        yield f"{name} {count}"
    for smaller in sorted({1, count // 2, count - 1}):
        if 0 < smaller < count:
            yield f"{name} {smaller}{rest}"


async def shrink(
    scenario: Scenario, holds: Callable[[Scenario], Awaitable[bool]], *, tries: int = TRIES_MAX
) -> Scenario:
    """Return a scenario as short as `tries` tries can make it, for which the condition holds."""
    return await Shrinker(scenario, holds, tries=tries).shrink()
