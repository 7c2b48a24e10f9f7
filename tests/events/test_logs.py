from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from ksmactors.errors import Finding, UsageError
from ksmactors.events import catalogue as ev
from ksmactors.events.check import validate_all
from ksmactors.events.logs import ALWAYS, LogWriter, json_line, open_log
from ksmactors.events.trace import CHUNK, Trace
from ksmactors.interleave.conductor import Conductor

Scheduler = Callable[..., tuple[Conductor, Trace]]
Step = Callable[[Conductor], Any]


@pytest.fixture
def log(schedule: Scheduler) -> Callable[..., bytes]:
    """Runs a schedule and returns its log as bytes."""

    def run(main: Any, form: Any = json_line, level: str = "debug", **labels: Any) -> bytes:
        stream = io.BytesIO()
        stream.close = lambda: None  # type: ignore[method-assign]  # what was written is looked at afterwards
        where = {"run": "r1", "seed": 7, "schedule": 2} | labels

        def attach(conductor: Conductor, trace: Trace) -> None:
            trace.sinks += [validate_all, writer.sink(conductor.actors, **where)]

        with LogWriter(stream, "test", form, level=level) as writer:
            schedule(main, attach)
        return stream.getvalue()

    return run


def test_a_line_has_all_keys_in_order(log: Callable[..., bytes]) -> None:
    """The keys that are always there come first, in one order, then the event's own in the catalogue's order."""

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.RACE_STALE_NODE, "migrationd", "ksmd", "stable", 0, 1, 42)

    line = orjson.loads(log(main))
    assert list(line.items()) == [
        ("event", "race.stale_node"), ("run", "r1"), ("seed", 7), ("schedule", 2), ("step", 0), ("now", 0),
        ("timestamp", "2013-04-29T00:00:00.000000000Z"), ("actor", "main"), ("cpu", 0), ("node", 0), ("level", "info"),
        ("winner", "migrationd"), ("loser", "ksmd"), ("tree", "stable"), ("tree_nid", 0), ("page_nid", 1),
        ("kpfn", 42), ("object", "stable_node of pfn 42"), ("cost", "node freed"),
        ("retries", 0), ("lost_merges", 0), ("pages_exiled", 0), ("nodes_freed", 1), ("pages_skipped", 0),
    ]  # fmt: skip
    assert tuple(line)[: len(ALWAYS)] == ALWAYS


def test_each_actor_has_its_own_labels(log: Callable[..., bytes], pass_point: Step) -> None:
    """actor, cpu and node are those of the actor that recorded the event, also of one spawned in between."""

    async def main(conductor: Conductor, trace: Trace) -> None:
        async def other() -> None:
            trace.emit(ev.KSM_ENTER, "vm1")
            await pass_point(conductor)
            trace.emit(ev.KSM_EXIT, "vm1")

        trace.emit(ev.KSM_ENTER, "vm0")
        conductor.spawn("ksmd", other(), cpu=3, node=1)
        await pass_point(conductor)
        trace.emit(ev.KSM_EXIT, "vm0")

    lines = [orjson.loads(line) for line in log(main).splitlines()]
    labels = {line["mm"]: (line["actor"], line["cpu"], line["node"]) for line in lines}
    assert labels == {"vm0": ("main", 0, 0), "vm1": ("ksmd", 3, 1)}
    assert len(lines) == 4


def test_equal_schedules_give_equal_bytes(log: Callable[..., bytes], pass_point: Step) -> None:
    """Nothing in a log depends on when, or in which process, it was made."""

    async def main(conductor: Conductor, trace: Trace) -> None:
        async def busy(name: str) -> None:
            for address in range(0, 40 * 4096, 4096):
                await pass_point(conductor)
                trace.emit(ev.DO_ANONYMOUS_PAGE, name, address, conductor.draw("pfn", 1000), 0)

        for number in range(3):
            conductor.spawn(f"thread/{number}", busy(f"vm{number}"))

    first, second = log(main), log(main)
    assert first == second
    assert len(first.splitlines()) == 120


def test_a_schedule_that_fails_keeps_its_log(log: Callable[..., bytes], tmp_path: Path, schedule: Scheduler) -> None:
    """What was recorded before a finding is in the file when the finding is reported."""
    path = tmp_path / "log.ndjson"

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.WORKLOAD_MARK, "before")
        raise Finding("shadow", "lost_write", "do_wp_page", "gone")

    with pytest.raises(Finding), open_log(str(path)) as writer:
        schedule(main, lambda c, t: t.sinks.append(writer.sink(c.actors, run="r", seed=0, schedule=0)))
    assert orjson.loads(path.read_bytes())["mark"] == "before"


def test_the_log_is_written_while_the_schedule_runs(tmp_path: Path, schedule: Scheduler) -> None:
    """A full chunk is in the file before the schedule ends, so a log can be watched and memory stays bounded."""
    path = tmp_path / "log.ndjson"
    seen = []

    async def main(conductor: Conductor, trace: Trace) -> None:
        for _ in range(CHUNK):
            trace.emit(ev.KSM_ENTER, "vm")
        seen.append(path.read_bytes().count(b"\n"))

    with open_log(str(path)) as writer:
        schedule(main, lambda c, t: t.sinks.append(writer.sink(c.actors, run="r", seed=0, schedule=0)))
    assert seen == [CHUNK]


def test_one_log_holds_several_schedules(tmp_path: Path, schedule: Scheduler) -> None:
    """Each schedule's lines bear its own run, seed and index, and its own actors."""
    path = tmp_path / "log.ndjson"

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.KSM_ENTER, "vm")

    with open_log(str(path)) as writer:
        for index in (0, 1):

            def attach(conductor: Conductor, trace: Trace, index: int = index) -> None:
                trace.sinks.append(writer.sink(conductor.actors, run="r", seed=index * 10, schedule=index))

            schedule(main, attach)
    lines = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    assert [(line["seed"], line["schedule"]) for line in lines] == [(0, 0), (10, 1)]


def test_what_is_below_the_level_is_left_out(log: Callable[..., bytes]) -> None:
    """A log of level info has no debug events, and all others."""

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.LOCK_WAIT, "mmap_sem of vm", None)
        trace.emit(ev.KSM_ENTER, "vm")
        trace.emit(ev.KSM_WARN, "ksm_exit", "what")

    assert [orjson.loads(line)["level"] for line in log(main, level="info").splitlines()] == ["info", "warning"]
    assert [orjson.loads(line)["level"] for line in log(main).splitlines()] == ["debug", "info", "warning"]


def test_seeds_of_64_bits_can_be_logged(log: Callable[..., bytes]) -> None:
    """The largest seed is in the log as it is."""

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.KSM_ENTER, "vm")

    assert orjson.loads(log(main, seed=2**64 - 1))["seed"] == 2**64 - 1


def test_the_global_configuration_of_structlog_is_left_alone(log: Callable[..., bytes]) -> None:
    """A program that uses structlog itself keeps its own configuration."""
    import structlog

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.KSM_ENTER, "vm")

    before = structlog.get_config()
    log(main)
    assert structlog.get_config() == before
    assert not structlog.is_configured()


def test_a_log_that_cannot_be_written_is_a_usage_error(tmp_path: Path) -> None:
    """The message names the file and says why."""
    path = tmp_path / "missing" / "log"
    with pytest.raises(UsageError, match=f"log {path}: cannot be written: No such file or directory"):
        open_log(str(path))


class _Failing(io.BytesIO):
    """A file of a disk that is full, or of a reader that is gone."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code, self.tries = code, 0

    def write(self, data: Any) -> int:
        self.tries += 1
        raise OSError(self.code, os.strerror(self.code))


def test_a_full_disk_is_said_once_and_ends_only_the_log(
    schedule: Scheduler, capsys: pytest.CaptureFixture[str]
) -> None:
    """The schedule goes on to its end; one line says what became of the log."""
    reached = []

    async def main(conductor: Conductor, trace: Trace) -> None:
        for _ in range(2 * CHUNK):
            trace.emit(ev.KSM_ENTER, "vm")
        reached.append(True)

    stream = _Failing(errno.ENOSPC)
    with LogWriter(stream, "big.log", json_line) as writer:
        schedule(main, lambda c, t: t.sinks.append(writer.sink(c.actors, run="r", seed=0, schedule=0)))
    assert (reached, stream.tries) == ([True], 1)
    assert capsys.readouterr().err == ("ksmactors: log big.log: No space left on device; the rest of the log is lost\n")


@pytest.mark.parametrize(
    ("redirection", "why"), [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize("log", ["", "--log -"])
def test_standard_output_that_cannot_be_written(redirection: str, why: str, log: str, tmp_path: Path) -> None:
    """A log on standard output ends with one line, and a finding still decides about the exit status."""
    run = f"run litmus.search_meets_migration --without ksm-page-migration --seed 18 {log}"
    command = f"'{sys.executable}' -m ksmactors {run} --out '{tmp_path}' {redirection}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    said = [line for line in done.stderr.splitlines() if line.startswith("ksmactors: ")]
    assert said == [f"ksmactors: log standard output: {why}; the rest of the log is lost"]
    assert done.returncode == 1


def test_a_reader_that_is_gone_is_no_error(schedule: Scheduler, capsys: pytest.CaptureFixture[str]) -> None:
    """A closed pipe ends the log without a word."""

    async def main(conductor: Conductor, trace: Trace) -> None:
        trace.emit(ev.KSM_ENTER, "vm")

    with LogWriter(_Failing(errno.EPIPE), "pipe", json_line) as writer:
        schedule(main, lambda c, t: t.sinks.append(writer.sink(c.actors, run="r", seed=0, schedule=0)))
    assert capsys.readouterr().err == ""


_INTO_CLOSED_PIPE = """
import os, sys
from ksmactors.events.logs import open_log
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
with open_log("-") as log:
    log.lines.waiting.append(b"x" * 100000)
    log.write()
print("more")
"""


def test_standard_output_into_a_closed_pipe_is_quiet() -> None:
    """`--log - | head` ends with nothing on standard error, not even from the interpreter's last flush."""
    done = subprocess.run([sys.executable, "-c", _INTO_CLOSED_PIPE], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_importing_the_sinks_does_not_import_structlog() -> None:
    """`--help` and runs without a log do not pay for structlog."""
    code = "import sys, ksmactors.events.logs, ksmactors.events.terminal; print('structlog' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout == b"False\n"
