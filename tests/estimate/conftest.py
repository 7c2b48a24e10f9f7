"""Reading things for tests."""

from __future__ import annotations

from collections.abc import Sequence

from ksmactors.estimate.estimate_result import EstimateResult, EstimateSettings
from ksmactors.estimate.page_index import Progress
from ksmactors.estimate.protocol import Knobs
from ksmactors.estimate.reader import Reader, Request
from ksmactors.mm.const import PAGE_SIZE


def page(token: int) -> bytes:
    """A page that is different for each token; 0 is the page of zeros."""
    return token.to_bytes(8, "big") * (PAGE_SIZE // 8)


def pages(*tokens: int) -> bytes:
    """Pages, one after the other."""
    return b"".join(map(page, tokens))


def silent(label: str, done: int, total: int | None) -> None:
    """Nobody watches."""


def read(
    *paths: object, pids: Sequence[int] = (), core: bool = False, nodes: int | None = None, spread: str | None = None,
    progress: Progress = silent,
) -> EstimateResult:  # fmt: skip
    """What the estimate says of files and processes."""
    gathering = Reader(Request([str(path) for path in paths], pids, core, nodes, spread), progress)
    gathering.read()
    question = EstimateSettings("series", gathering.spread.nodes, gathering.spread.policy, 10, 100, 20, Knobs())
    return EstimateResult.of(
        question, gathering.page_index, gathering.sources, [*gathering.warnings, *gathering.problems]
    )
