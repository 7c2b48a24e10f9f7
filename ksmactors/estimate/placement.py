"""On which NUMA node a page is, where that is not known: files and cores do not say, so a policy does."""

from __future__ import annotations

from typing import Final

POLICIES: Final = {
    "interleave": "page after page on the next node, as MPOL_INTERLEAVE does",
    "region": "each file, segment or mapping as a whole, in turn",
    "source": "each FILE or process as a whole, in turn, as guests bound to a node",
    "actual": "where a live process has them (--pid only)",
}


class Spread:
    """A policy over so many nodes."""

    def __init__(self, policy: str, nodes: int) -> None:
        self.policy: Final = policy
        self.nodes: Final = nodes
        self._cycle: Final = bytes(range(nodes))

    def place(self, pages: int, *, index: int, region: int, source: int) -> bytes:
        """The nodes of neighbouring pages.

        Args:
            pages: how many.
            index: number of the first of them among all pages, from 0.
            region: number of their region among all regions.
            source: number of their file or process.
        """
        if self.policy == "interleave":
            first = index % self.nodes
            return (self._cycle * (pages // self.nodes + 2))[first : first + pages]
        return bytes([(region if self.policy == "region" else source) % self.nodes]) * pages
