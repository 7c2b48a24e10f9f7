"""What a page of 100,000 events costs: CPU time to make it, and its size."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from ksmactors.cli.report_page import PageMaker
from ksmactors.cli.report_sources import Sources
from ksmactors.events.logs import open_log
from ksmactors.report.findings import Examined
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.bench.measure import cpu_seconds, medians

EVENTS: Final = 100_000
PARAMETERS: Final = {"guests": 8, "pages": 32, "rounds": 60}


def write_log(path: Path) -> None:
    """A log of so many events with all detail, of one schedule after the other."""
    subject, raw = make_subject("vm_fleet", params=PARAMETERS), path.with_suffix(".raw")

    async def play(seed: int) -> None:
        with open_log(str(raw)) as log:
            await run_schedule(subject, seed, "portfolio", log=log, detail=True)

    lines: list[bytes] = []
    seed = 0
    while len(lines) < EVENTS:
        seed += 1
        trio.run(play, seed)
        lines += raw.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:EVENTS]))


def report_case() -> dict[str, Any]:
    """The page of such a log, made in this process."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        write_log(path)
        sizes: list[int] = []

        def make() -> None:
            sources: Sources[Examined] = Sources([str(path)], replay=None, trust=False, tell=lambda _: None)
            sizes.append(len(PageMaker(sources).make()))

        (seconds,) = medians(lambda: cpu_seconds(make))
    return {
        "events": EVENTS,
        "cpu_seconds": {"value": round(seconds, 2), "at_most": 5},
        "bytes": {"value": sizes[-1], "at_most": 8_000_000},
    }


CASES = {"report": report_case}
