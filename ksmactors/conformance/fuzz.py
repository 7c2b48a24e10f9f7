"""Run random scenarios on two sides; those that differ are shrunk and kept in files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

from ksmactors.conformance.compare import ScenarioComparison, Side, compare
from ksmactors.conformance.generate import generate
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.shrink import TRIES_MAX, shrink
from ksmactors.files import write_atomically


class Kept(NamedTuple):
    """A scenario on which the sides differ, as short as possible, and its file.

    `again` is False if it did not differ when it was tried once more: then it is as it was found.
    """

    comparison: ScenarioComparison
    file: Path
    again: bool


@dataclass(frozen=True, slots=True)
class Hunt:
    """Random scenarios of one seed.

    `expected` and `performed` are the two sides, `nodes` their nodes, and `swap` whether both have swap; `words`
    identify them in names of files, and `out` is a directory for files. `generate` makes the scenarios.
    """

    expected: Side
    performed: Side
    nodes: int
    seed: int
    out: Path
    words: tuple[str, str]
    tries: int = TRIES_MAX
    swap: bool = True
    generate: Callable[..., Scenario] = generate

    async def run(self, scenarios: int) -> AsyncIterator[ScenarioComparison]:
        """Compare one after the other; yield each comparison."""
        for number in range(scenarios):
            yield await self.compare(self.generate(self.seed, number, nodes=self.nodes, swap=self.swap))

    async def compare(self, scenario: Scenario) -> ScenarioComparison:
        """Compare one; if a side crashes, its scenario is kept."""
        try:
            return await compare(scenario, self.expected, self.performed, checked=True)
        except Exception as crash:
            crash.add_note(f"in the scenario {self._write(self._stem(scenario), '.txt', texts(scenario))}")
            raise

    async def keep(self, comparison: ScenarioComparison) -> Kept:
        """Shrink a scenario while it keeps the same finding, and write it to files."""
        stem, found = self._stem(comparison.scenario), comparison.found
        scenario = comparison.scenario._replace(name=stem)
        file = self._write(stem, ".txt", texts(scenario))  # before shrinking: nothing found is lost

        async def holds(candidate: Scenario) -> bool:
            nonlocal comparison
            now = await compare(candidate, self.expected, self.performed, checked=True)
            if now.found != found:
                return False
            comparison = now
            return True

        again = await holds(scenario)
        if again:
            self._write(stem, ".whole.txt", texts(scenario))
            self._write(stem, ".txt", texts(await shrink(scenario, holds, tries=self.tries)))
        for word, side in zip(self.words, (comparison.expected, comparison.performed), strict=True):
            if side is not None:
                self._write(stem, f".{word}.out", list(side.lines))
        return Kept(comparison, file, again)

    def _stem(self, scenario: Scenario) -> str:
        """Return a name that is not in use yet."""
        names = (f"{scenario.name}-again{number}" if number > 1 else scenario.name for number in count(1))
        return next(name for name in names if not (self.out / f"{name}.txt").exists())

    def _write(self, stem: str, suffix: str, lines: list[str]) -> Path:
        path = self.out / f"{stem}{suffix}"
        write_atomically(path, "".join(f"{line}\n" for line in lines).encode())
        return path


def texts(scenario: Scenario) -> list[str]:
    """Return the lines of a scenario as in its file."""
    return [line.text for line in scenario.lines]
