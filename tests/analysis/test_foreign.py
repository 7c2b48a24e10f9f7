"""`analyze --map`: JSON lines of other programs, as far as their keys allow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ksmactors.analysis.foreign import MappedSieve, parse_mapping
from ksmactors.analysis.reading import LogReader
from ksmactors.cli import main
from ksmactors.errors import UsageError

Capsys = pytest.CaptureFixture[str]

LINES = (
    {"event": "job started", "logger": "worker-1", "level": "info", "timestamp": "2026-01-05T10:00:00Z"},
    {"event": "row locked", "logger": "worker-2", "timestamp": "2026-01-05T10:00:00.25+00:00", "held_by": "worker-1"},
    {"event": "job done", "logger": "worker-1", "timestamp": "2026-01-05T10:00:01"},
)


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., str]:
    """Writes lines, each an object or a text, and returns the path."""

    def write(*lines: Any) -> str:
        path = tmp_path / "server.jsonl"
        path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
        return str(path)

    return write


def events_of(path: str, **mapping: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The events of a log, and what was said about it."""
    reader = LogReader(path, MappedSieve(mapping))
    events = [json.loads(line) for line in reader.events()]
    return events, [str(loss) for loss in reader.result()[1]]


def test_mapped_keys_are_read_by_our_names(foreign: Callable[..., str]) -> None:
    """Actor and holder come from the mapping, time from the timestamps, steps from the order."""
    events, said = events_of(foreign(*LINES), actor="logger", holder="held_by")

    assert [event["actor"] for event in events] == ["worker-1", "worker-2", "worker-1"]
    assert [event.get("holder") for event in events] == [None, "worker-1", None]
    assert [event["now"] for event in events] == [0, 250_000_000, 1_000_000_000]
    assert [event["step"] for event in events] == [0, 1, 2]
    assert len(said) == 1
    assert said[0].endswith(
        "no event has run, seed, schedule, cpu, node, step: what needs them is empty or of one kind"
    )


def test_values_are_converted_where_nothing_is_lost(foreign: Callable[..., str]) -> None:
    """Numbers as texts become numbers and the other way round; what is no number of 64 bits is left out."""
    line = {"event": "e", "cpu": "3", "who": 7, "when": 12.0, "pfn": "9" * 30, "nid": 1.5}
    events, _ = events_of(foreign(line), actor="who", now="when")

    assert (events[0]["cpu"], events[0]["actor"], events[0]["now"]) == (3, "7", 12)
    assert "pfn" not in events[0]
    assert "nid" not in events[0]


def test_a_key_that_no_line_has_is_said(foreign: Callable[..., str]) -> None:
    """One line names the missing keys of ours and the mapped ones that were never there."""
    _, said = events_of(foreign(*LINES), actor="worker\x1b[31m")

    assert len(said) == 1
    assert "no event has run, seed, schedule, actor" in said[0]
    assert "\x1b" not in said[0]
    assert said[0].endswith("[31m'")


def test_lines_that_are_no_events_are_counted(foreign: Callable[..., str]) -> None:
    """A line without an event, one that is no object, one that is cut off, and a number that is too large."""
    path = foreign(LINES[0], {"logger": "x"}, "[1]", "plain words", {"event": "e", "now": 2**70}, '{"event": "e"')
    events, said = events_of(path, actor="logger")

    assert len(events) == 2
    assert sum("not an event" in line or "not JSON" in line for line in said) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["actor"], "--map actor: is not KEY=THEIRS"),
        (["actor="], "--map actor=: is not KEY=THEIRS"),
        (["=logger"], "--map =logger: is not KEY=THEIRS"),
        (["aktor=logger"], "no key 'aktor' (did you mean actor"),
        (["actor=a", "actor=b"], "--map actor=b: actor is a already"),
    ],
)
def test_bad_mappings_are_refused(words: list[str], said: str) -> None:
    """One line that says which part is wrong."""
    with pytest.raises(UsageError) as refused:
        parse_mapping(words)
    assert said in str(refused.value)


def test_every_answer_works_with_what_there_is(foreign: Callable[..., str], tmp_path: Path, capsys: Capsys) -> None:
    """The report, text, SQL, a comparison and a page of such a log; the exit status is 0."""
    path, page = foreign(*LINES), tmp_path / "page.html"
    mapped = [path, "--map", "actor=logger"]

    assert main(["analyze", *mapped, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["actors"][0]["actor"] == "worker-1"
    assert main(["analyze", *mapped, "--text", "--actor", "worker-2"]) == 0
    assert "row locked" in capsys.readouterr().out
    assert main(["analyze", *mapped, "--html", str(page), "--quiet"]) == 0
    assert b"job started" in page.read_bytes()
    assert main(["analyze", "--compare", path, *mapped]) == 0
    assert "The logs have the same events." in capsys.readouterr().out
