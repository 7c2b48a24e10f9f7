"""What it costs to record events, to write them, and to record all detail; ratios are within one run."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from ksmactors.events import catalogue as ev
from ksmactors.events.logs import LogWriter, open_log
from ksmactors.events.trace import CHUNK, Trace
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from tests.bench.measure import cpu_seconds, medians

WORKLOAD: Final = "vm_fleet"
STRATEGY: Final = "random"
SCHEDULES: Final = 6

EVENTS: Final = 40 * CHUNK


class _Still:
    """A clock that stands still."""

    def stamp(self) -> tuple[int, int, int]:
        return 1, 1000, 0


class _Actor:
    name, cpu, node = "ksmd", 0, 0


def play(subject: Subject, *, detail: bool = False, log: LogWriter | None = None) -> int:
    """Some schedules; return how many steps they took."""

    async def campaign() -> int:
        played = [await run_schedule(subject, s, STRATEGY, detail=detail, log=log) for s in range(SCHEDULES)]
        return sum(outcome.steps for outcome in played)

    return trio.run(campaign)


def logged(subject: Subject, path: Path, *, detail: bool) -> float:
    """CPU time of the same with a log."""
    with open_log(str(path)) as log:
        return cpu_seconds(lambda: play(subject, detail=detail, log=log))


def emit() -> float:
    """CPU time of recording, hashed as in a schedule, with no reader."""

    def record() -> None:
        trace = Trace(_Still())
        for _ in range(EVENTS):
            trace.emit(ev.STABLE_TREE_APPEND, 1, 2, 3, "vm0", 4096)
        trace.flush()

    return cpu_seconds(record)


def write(path: Path) -> float:
    """CPU time of recording and writing as JSON lines."""

    def record() -> None:
        with open_log(str(path)) as log:
            trace = Trace(_Still())
            trace.sinks.append(log.sink([_Actor()], run="r", seed=1, schedule=0))
            for _ in range(EVENTS):
                trace.emit(ev.STABLE_TREE_APPEND, 1, 2, 3, "vm0", 4096)
            trace.flush()

    return cpu_seconds(record)


def detail_case() -> dict[str, Any]:
    """Schedules as `run` watches them (all watchers), and with none; with a log, and without a reader."""
    watched, bare = make_subject(WORKLOAD), make_subject(WORKLOAD, watch="none")
    steps = play(watched)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        plain, unread, read, none, none_unread, none_read = medians(
            lambda: cpu_seconds(lambda: play(watched)),
            lambda: cpu_seconds(lambda: play(watched, detail=True)),
            lambda: logged(watched, path, detail=True),
            lambda: cpu_seconds(lambda: play(bare)),
            lambda: cpu_seconds(lambda: play(bare, detail=True)),
            lambda: logged(bare, path, detail=True),
        )
    return {
        "steps": steps,
        "detail_relative_to_run": {"value": round(unread / plain, 2), "at_most": 3},
        "detail_written_relative_to_run": {"value": round(read / plain, 2), "at_most": 3},
        "detail_relative_to_run_without_watchers": round(none_unread / none, 2),
        "detail_written_relative_to_run_without_watchers": {"value": round(none_read / none, 2), "at_most": 3},
    }


def events_case() -> dict[str, Any]:
    """Recording with nobody who reads, for each step of a schedule; and events written a second."""
    subject = make_subject(WORKLOAD, watch="none")
    steps, counted = 0, 0

    async def count() -> None:
        nonlocal steps, counted
        for seed in range(SCHEDULES):
            outcome = await run_schedule(subject, seed, STRATEGY)
            steps, counted = steps + outcome.steps, counted + sum(outcome.counts)

    trio.run(count)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log"
        recording, writing = medians(emit, lambda: write(path))
    return {
        "events_a_step": round(counted / steps, 3),
        "recording_us_an_event": round(recording / EVENTS * 1e6, 2),
        "recording_us_a_step": {"value": round(recording / EVENTS * 1e6 * counted / steps, 3), "at_most": 1},
        "written_a_second": {"value": round(EVENTS / writing), "at_least": 60_000},
    }


CASES = {"detail": detail_case, "events": events_case}
