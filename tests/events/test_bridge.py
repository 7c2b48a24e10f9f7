"""A user's own processors, and `logging` records of a workload in the log."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

import ksmactors
from ksmactors.cli import main
from ksmactors.errors import UsageError
from ksmactors.events.bridge import Processor, bound_keys, checked
from ksmactors.events.logs import EventList, LogWriter, json_line, open_log, timestamp
from ksmactors.run.outcome import Outcome
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from ksmactors.workload import Host, Workload
from tests.helpers.ready import ksmactors_line

LOGGER = logging.getLogger("tests.events.chatty")

KEYS = ("run", "seed", "schedule", "step", "now", "actor", "cpu", "node")


class Chatty(Workload):
    """Two processes that say things to `logging`."""

    async def run(self, host: Host) -> None:
        LOGGER.info("hello %s\x1b[2J", "you")
        try:
            raise ValueError("no")
        except ValueError:
            LOGGER.exception("oops")
        LOGGER.critical("bye")
        LOGGER.debug("unseen")
        other = threading.Thread(target=LOGGER.info, args=("from another thread",))
        other.start()
        other.join()


@pytest.fixture(autouse=True)
def _level() -> Iterator[None]:
    LOGGER.setLevel(logging.INFO)
    yield
    LOGGER.setLevel(logging.NOTSET)


def run(log: Any = None) -> Outcome:
    """A schedule of the workload."""
    return trio.run(lambda: run_schedule(make_subject(Chatty), 1, "random", log=log))


def test_records_are_events_at_their_step() -> None:
    """With level, logger, text and what was raised; of this thread only, and none below the logger's level."""
    log = EventList()
    run(log)
    said = [event for event in log.events if event["event"] == "workload.log"]

    assert [(one["level"], one["severity"], one["message"], one["exception"]) for one in said] == [
        ("info", "info", "hello you\x1b[2J", None),
        ("error", "error", "oops", "ValueError: no"),
        ("error", "error", "bye", None),
    ]
    assert {one["logger"] for one in said} == {"tests.events.chatty"}
    assert {one["actor"] for one in said} == {"host"}
    position = log.events.index(said[0])
    assert log.events[position - 1]["step"] <= said[0]["step"] <= log.events[position + 3]["step"]


STRANGE = """
import logging
from ksmactors.workload import Workload


class Strange(Workload):
    async def run(self, host):
        logging.error("%s", chr(0xDC80))
        logging.error("%d", "no number")
"""


def test_records_that_cannot_be_formatted_or_written_are_shown_as_they_are(tmp_path: Path) -> None:
    """A text that is no UTF-8, and arguments that do not fit: a line says so, and nothing breaks."""
    (tmp_path / "strange.py").write_text(STRANGE)
    command = ksmactors_line(
        "run",
        "strange.py:Strange",
        "--log",
        "-",
        "-q",
        "--strategy",
        "random",
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = [one["message"] for one in map(json.loads, done.stdout.splitlines()) if one["event"] == "workload.log"]
    assert said[0] == "\\udc80"
    assert said[1].startswith("%d (TypeError: ")


def test_records_are_in_no_digest() -> None:
    """What a workload says is not what it does: the schedule is the same with a log, and with other words."""
    log = EventList()
    assert run().digest == run(log).digest
    LOGGER.setLevel(logging.CRITICAL + 1)
    assert run(log).digest == run().digest
    assert logging.getLogger().handlers == [
        one for one in logging.getLogger().handlers if "ksmactors" not in type(one).__module__
    ]


def test_bound_keys_are_those_of_the_schedule_that_is_logged() -> None:
    """For structlog's ProcessorFormatter: the same values as in the log, and nothing where no schedule is logged."""
    own = io.StringIO()
    handler = logging.StreamHandler(own)
    processor_formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        processor_formatter(
            foreign_pre_chain=[bound_keys],
            processors=[processor_formatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    LOGGER.addHandler(handler)
    log = EventList()
    try:
        run(log)
        LOGGER.info("outside")
    finally:
        LOGGER.removeHandler(handler)
    lines = [json.loads(line) for line in own.getvalue().splitlines() if not line.startswith(("Trace", " ", "Value"))]
    (event,) = [one for one in log.events if one.get("message") == "oops"]
    (line,) = [one for one in lines if one["event"].startswith("oops")]
    assert {key: line[key] for key in KEYS} == {key: event[key] for key in KEYS}
    assert lines[-1] == {"event": "outside"}
    (threaded,) = [one for one in lines if one["event"] == "from another thread"]
    assert "actor" not in threaded


def written(*processors: Processor) -> list[bytes]:
    """The lines of a log through these processors."""
    stream = io.BytesIO()
    run(LogWriter(stream, "log", json_line, processors=checked(list(processors), "mine")))
    return stream.getvalue().splitlines()


def test_own_processors_add_change_drop_and_render() -> None:
    """They come before the line is rendered, know the level, and may have the last word."""

    def shout(_logger: Any, method: str, event: Any) -> Any:
        if event["event"] == "sysfs.write":
            raise structlog.DropEvent
        assert event["level"] == method
        return {**event, "event": event["event"].upper(), "mine": 1}

    first = json.loads(written(shout)[0])
    assert (first["event"], first["mine"], first["workload"]) == ("RUN.START", 1, first["workload"])
    assert not any(b"SYSFS" in line for line in written(shout))
    assert written(shout, lambda *_: "text")[0] == b"text"
    assert written(shout, lambda *_: b"bytes\n")[0] == b"bytes"


def test_from_python_a_campaign_is_logged_as_from_the_command_line(tmp_path: Path) -> None:
    """`stress` and `replay` take a log; the lines of a schedule are the same, but for its index."""
    ours, theirs = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    with open_log(str(ours), [lambda _logger, _method, event: event]) as log:
        ksmactors.stress("litmus.scan_meets_exit", seeds="3:4", strategy="random", log=log, detail=True)
    command = ["stress", "litmus.scan_meets_exit", "--seeds", "3:4", "--strategy", "random", "--detail", "-q"]
    assert main([*command, "--log", str(theirs), "--out", str(tmp_path)]) == 0
    assert ours.read_bytes() == theirs.read_bytes()
    assert b"lock.acquired" in ours.read_bytes()

    events = EventList()
    outcome = run()
    assert not outcome.schedule
    kept = trio.run(lambda: run_schedule(make_subject("litmus.scan_meets_exit"), 3, "random", keep=True))
    assert ksmactors.replay(kept.schedule, log=events).digest == kept.digest
    assert sum(kept.counts) == len(events.events)


@pytest.mark.parametrize(
    ("processor", "said"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: 5, "returned int"),
        (lambda _logger, _method, event: {**event, "x": object()}, "cannot be written"),
    ],
)
def test_a_processor_that_fails_is_one_line(processor: Processor, said: str) -> None:
    """It ends the run with a usage error, and is no finding."""
    with pytest.raises(UsageError, match=said):
        written(processor)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("own.py:none", "must return a list"),
        ("own.py:wrong", "must return a list"),
        ("own.py:raises", "RuntimeError: sorry"),
        ("own.py:absent", "no function 'absent'"),
        ("own.py", "write package.module:function"),
        ("no.such.module:f", "ModuleNotFoundError"),
    ],
)
def test_a_log_config_that_is_wrong_is_one_line(
    spec: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names the option, the function, and what is wrong; exit status 2."""
    (tmp_path / "own.py").write_text(
        "def none(): return None\ndef wrong(): return [1]\ndef raises(): raise RuntimeError('sorry')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert main(["run", "litmus.scan_meets_exit", "--log", "-", "--log-config", spec]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "--log-config" in captured.err
    assert captured.err.count("\n") == 1


def test_stress_has_nothing_to_configure_without_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """It says so instead of ignoring the option."""
    for option in (["--log-config", "a:b"], ["--detail"]):
        assert main(["stress", "numa_pingpong", "--seeds", "1", *option]) == 2
        assert f"{option[0]} is about the log" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("ns", "date"),
    [
        (0, "2013-04-29T00:00:00.000000000Z"),
        (1_000, "2013-04-29T00:00:00.000001000Z"),
        (86_400 * 10**9 + 5, "2013-04-30T00:00:00.000000005Z"),
        (10**30, "9999-12-31T23:59:59.000000000Z"),
    ],
)
def test_virtual_time_as_a_date(ns: int, date: str) -> None:
    """Every ns counts; what is later than all dates stays at the last second."""
    assert timestamp(ns) == date
