"""The graph of lock classes: an edge for each class that was ever taken while another one was held."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from typing_extensions import override


class Edge(NamedTuple):
    """A lock of class `taken` was acquired while one of class `held` was held.

    `held_in` and `taken_in` are the functions in which the two were acquired, by `actor`, in the schedule of `seed`
    (-1: not known yet). The first such case is kept.
    """

    held: str
    taken: str
    held_in: str
    taken_in: str
    actor: str
    seed: int = -1

    @override
    def __str__(self) -> str:
        seed = f", seed {self.seed}" if self.seed >= 0 else ""
        return f"{self.held} ({self.held_in}) -> {self.taken} ({self.taken_in}) by {self.actor}{seed}"


class LockGraph:
    """Edges by the pair of their classes, in the order in which they were added."""

    def __init__(self) -> None:
        self.edges: dict[tuple[str, str], Edge] = {}

    def add(self, edge: Edge) -> list[Edge]:
        """Add an edge; return the cycle that it closes, itself first; [] if there is none, or the edge is known."""
        pair = edge.held, edge.taken
        if pair in self.edges:
            return []
        self.edges[pair] = edge
        return [edge, *self._path(edge.taken, edge.held)] if self._reaches(edge.taken, edge.held) else []

    def merge(self, edges: Iterable[Edge], seed: int) -> list[list[Edge]]:
        """Add the edges of a schedule; return the cycles that they close."""
        new = [edge for edge in edges if (edge.held, edge.taken) not in self.edges]
        return [cycle for edge in new if (cycle := self.add(edge._replace(seed=seed)))]

    def _reaches(self, start: str, goal: str) -> bool:
        return start == goal or bool(self._path(start, goal))

    def _path(self, start: str, goal: str) -> list[Edge]:
        """Return the shortest path along edges; [] if there is none, or if it ends where it starts."""
        ways: list[tuple[str, list[Edge]]] = [(start, [])]
        seen = {start}
        for at, way in ways:
            if at == goal:
                return way
            for edge in self.edges.values():
                if edge.held == at and edge.taken not in seen:
                    seen.add(edge.taken)
                    ways.append((edge.taken, [*way, edge]))
        return []


def describe(cycle: list[Edge]) -> str:
    """Return a cycle as a message."""
    return f"lock order cycle, without a deadlock in this schedule: {'; '.join(map(str, cycle))}"


def where(cycle: list[Edge]) -> str:
    """Return the functions in which a cycle's locks are taken, independent of where the cycle starts."""
    return "+".join(sorted({edge.taken_in for edge in cycle}))


def signature(watcher: str, cycle: list[Edge]) -> str:
    """Return the signature of the finding about a cycle."""
    return f"{watcher}/lock_order_cycle@{where(cycle)}"
