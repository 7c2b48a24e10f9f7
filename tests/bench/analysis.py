"""What it costs to take a log in and to answer all questions about it, against parsing its lines with orjson alone."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from ksmactors.analysis.questions import COLUMNS_ASKED
from ksmactors.analysis.report import Report
from ksmactors.analysis.store import Logs
from ksmactors.cli import main
from tests.bench.measure import CommandCost, command_cost, cpu_seconds, medians

SEEDS = 60
"""Schedules of a workload whose log is taken, and how often it is repeated: about a million events."""

COPIES = 50


def figures() -> dict[str, Any]:
    """Microseconds an event: to parse it, to load it (CPU and wall clock) with all columns and with those of the
    report, and to answer every question."""
    with TemporaryDirectory(prefix="ksmactors-bench-") as name:
        lines, big = _log(name), Path(name) / "big"
        big.write_bytes(lines * COPIES)
        events = lines.count(b"\n")
        split = lines.splitlines()
        (parsed,) = medians(lambda: cpu_seconds(lambda: [orjson.loads(line) for line in split]))
        many = events * COPIES
        whole = _times(big, many)
        part = _times(big, many, columns=COLUMNS_ASKED)
    return {
        "events": many,
        "parse_us": round(parsed / events * 1e6, 2),
        **whole,
        "load_to_parse": round(whole["load_cpu_us"] / (parsed / events * 1e6), 1),
        "for_the_report": part,
    }


def _times(log: Path, events: int, **options: Any) -> dict[str, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    with Logs([str(log)], **options) as logs:
        loaded, waited = time.process_time() - cpu, time.perf_counter() - wall
        cpu, wall = time.process_time(), time.perf_counter()
        Report.of(logs)
        asked, answered = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "load_cpu_us": round(loaded / events * 1e6, 2),
        "load_wall_us": round(waited / events * 1e6, 2),
        "report_cpu_us": round(asked / events * 1e6, 2),
        "report_wall_us": round(answered / events * 1e6, 2),
    }


def analysed(events: int) -> CommandCost:
    """What `ksmactors analyze --json` takes for a log of at least so many events."""
    with TemporaryDirectory(prefix="ksmactors-bench-") as name:
        lines, big = _log(name), Path(name) / "big"
        with big.open("wb") as file:
            for _ in range(-(-events // lines.count(b"\n"))):
                file.write(lines)
        return command_cost([sys.executable, "-m", "ksmactors", "analyze", str(big), "--json"])


def _log(directory: str) -> bytes:
    log = Path(directory) / "log"
    main(["stress", "vm_fleet", "swap_pressure", "--seeds", str(SEEDS), "-q", "--log", str(log)])
    return log.read_bytes()


CASES = {"analysis": figures}
