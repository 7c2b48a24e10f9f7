"""What it costs to take a log in and to ask all questions of it, against parsing its lines with orjson alone.

To reach: ten million events within 60 s and 2 GiB on two cores, six microseconds of time each.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from ksmactors.analysis.report import Report
from ksmactors.analysis.store import Logs
from ksmactors.cli import main
from tests.bench.measure import cpu_seconds, medians

SEEDS = 60
"""Schedules of a workload whose log is taken, and how often it is repeated: about a million events."""

COPIES = 50


def figures() -> dict[str, Any]:
    """Microseconds an event: to parse it, to load it (CPU and wall clock), to answer every question."""
    with TemporaryDirectory(prefix="ksmactors-bench-") as name:
        log, big = Path(name) / "log", Path(name) / "big"
        main(["stress", "vm_fleet", "swap_pressure", "--seeds", str(SEEDS), "-q", "--log", str(log)])
        lines = log.read_bytes()
        big.write_bytes(lines * COPIES)
        events = lines.count(b"\n")
        split = lines.splitlines()
        (parsed,) = medians(lambda: cpu_seconds(lambda: [orjson.loads(line) for line in split]))
        cpu, wall = time.process_time(), time.perf_counter()
        with Logs([str(big)]) as logs:
            loaded, waited = time.process_time() - cpu, time.perf_counter() - wall
            wall = time.perf_counter()
            Report.of(logs)
            asked = time.perf_counter() - wall
    many = events * COPIES
    return {
        "events": many,
        "parse_us": round(parsed / events * 1e6, 2),
        "load_cpu_us": round(loaded / many * 1e6, 2),
        "load_wall_us": round(waited / many * 1e6, 2),
        "report_wall_us": round(asked / many * 1e6, 2),
        "load_to_parse": round(loaded / many / (parsed / events), 1),
    }


CASES = {"analysis": figures}
