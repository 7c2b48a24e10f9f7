"""Reading everything that was named on the command line into one page index."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.estimate.files import FileReader
from ksmactors.estimate.page_index import PageIndex, PageSource, Progress
from ksmactors.estimate.placement import Spread
from ksmactors.estimate.process import ProcessReader, machine_page_size
from ksmactors.estimate.process_choice import already_shared
from ksmactors.estimate.procfs import NodeOfFrame
from ksmactors.mm.const import PAGE_SIZE

DEFAULT_NODES: Final = 2
"""Nodes of a machine that files are thought to be the memory of."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to read, and how. None: `nodes`, `spread` by what is read; see `settled()`. `interval_s` in seconds.

    `found`: those of `pids` that nobody has named: they may exit meanwhile.
    """

    paths: Sequence[str]
    pids: Sequence[int]
    core: bool = False
    nodes: int | None = None
    spread: str | None = None
    interval_s: float = 0.0
    found: Collection[int] = ()

    def settled(self) -> tuple[Spread, NodeOfFrame]:
        """The policy that places pages.

        By default files are interleaved over 2 nodes, and the pages of processes are where they are.

        Raises:
            UsageError: nothing to read, or things that do not go together.
        """
        if not self.paths and not self.pids:
            raise UsageError("estimate: name a FILE (a memory image or an ELF core), or a process with --pid")
        if self.core and not self.paths:
            raise UsageError("--core says what the FILEs are, and there is none")
        policy = self.spread or ("actual" if self.pids and not self.paths else "interleave")
        if policy == "actual" and self.paths:
            raise UsageError("--spread actual: files do not say on which node a page was; use it with --pid alone")
        if self.pids and machine_page_size() != PAGE_SIZE:
            raise UsageError(f"--pid: pages are {machine_page_size()} bytes here; the estimate counts in {PAGE_SIZE}")
        machine = NodeOfFrame()
        nodes = self.nodes or (machine.nodes if policy == "actual" else DEFAULT_NODES)
        return Spread(policy, nodes), machine


class Reader:
    """The reading of a request. What has been read so far is always in `page_index`, `sources` and `problems`."""

    def __init__(self, request: Request, progress: Progress) -> None:
        self.request: Final = request
        self.spread, machine = request.settled()
        self.page_index: Final = PageIndex(self.spread.nodes)
        self.problems: Final[list[str]] = []
        self.sources: Final[list[PageSource]] = []
        self._files = FileReader(self.page_index, self.spread, self.problems, progress)
        self._processes = ProcessReader(
            self.page_index, self.spread, self.problems, self.sources, progress,
            interval_s=request.interval_s, node_of_frame=machine, warnings=self._files.warnings,
        )  # fmt: skip

    @property
    def warnings(self) -> list[str]:
        """Lines about what is no page, or counted twice: nothing is missing."""
        return self._files.warnings

    def read(self) -> None:
        """Read all files, then all processes; what cannot be read becomes a line in `problems`."""
        for number, path in enumerate(self.request.paths):
            try:
                self.sources.append(self._files.read(path, number, core=self.request.core))
            except UsageError as error:
                self.problems.append(str(error))
        if self.request.pids:
            self._processes.read(self.request.pids, len(self.request.paths), self.request.found)
            if self._processes.already_shared:
                self.warnings.append(already_shared(self._processes.already_shared))
