"""Lines that are recognized by their form mean what they mean alone, whatever stands around them."""

from __future__ import annotations

import random
from collections.abc import Callable
from io import BytesIO
from types import SimpleNamespace

import orjson
import pytest

from ksmactors.analysis import forms
from ksmactors.analysis.forms import Forms
from ksmactors.analysis.questions import COLUMNS_ASKED
from ksmactors.analysis.reading import LogReader
from ksmactors.analysis.report import Report
from ksmactors.analysis.store import COLUMNS, Logs
from ksmactors.cli import main

NIGHTLY = pytest.mark.nightly

PIECES = (
    b"0", b"9", b"00", b"-", b"-0", b".", b"e", b"1.5", b"NaN", b"99999999999999999999", b"\\", b"\\u001f", b"\\ud800",
    b'"', b":", b",", b"{", b"}", b"[", b" ", b"\t", b"\r", b"\n", b"\0", b"\xff", b"\xc3\xa9", b"true", b"null",
    b'"line":7,', b'"pfn":7,', b'{"a":[', b"",
)  # fmt: skip
"""What a line may have in the place of one of its bytes."""


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """The lines of a log of detail."""
    path = tmp_path_factory.mktemp("forms") / "log"
    words = ["--param", "guests=2", "--param", "pages=2", "--param", "rounds=2"]
    assert main(["run", "vm_fleet", *words, "-q", "--detail", "--log", str(path)]) == 0
    return path.read_bytes().splitlines(keepends=True)


def read(content: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[list[object], list[tuple[int, str]]]:
    """The events as tables get them, and what was lost: number of the line, reason."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=BytesIO(content)))
    reader = LogReader("-")
    found = [orjson.loads(event) for event in reader.events()]
    assert reader.result()[0].events == len(found)
    kept = [{key: value for key, value in event.items() if key in COLUMNS or key == "line"} for event in found]
    return kept, [(loss.line, loss.reason) for loss in reader._losses]


def mutated(line: bytes, draw: random.Random) -> bytes:
    """A line with another piece for one byte, for a digit as a rule."""
    digits = [at for at, byte in enumerate(line) if byte in b"0123456789"]
    at = draw.choice(digits) if draw.random() < 0.7 else draw.randrange(len(line))
    return line[:at] + draw.choice(PIECES) + line[at + 1 :]


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(seed, marks=NIGHTLY) for seed in range(12, 40))])
def test_a_hostile_log_is_read_line_by_line(events: list[bytes], seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a sound log has taught the forms, each mutated line gives the event, or is lost, as without any form."""
    monkeypatch.setattr("ksmactors.analysis.reading.SAID", 1 << 30)
    draw = random.Random(seed)
    spoilt = b"".join(mutated(draw.choice(events), draw) for _ in range(60))
    log = b"".join(events) + spoilt + b"".join(events[:50]) + spoilt[:-3]
    by_form = read(log, monkeypatch)
    monkeypatch.setattr(Forms, "learn", lambda *_: None)
    assert by_form == read(log, monkeypatch)


def test_lines_are_recognized(events: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A log read for the second time in a row is not parsed a second time."""
    learned: list[bytes] = []
    learn = Forms.learn
    monkeypatch.setattr(Forms, "learn", lambda self, line: learned.append(line) or learn(self, line))
    read(b"".join(events), monkeypatch)
    once = len(learned)
    assert 0 < once <= len(events)
    learned.clear()
    read(b"".join(events * 2), monkeypatch)
    assert len(learned) == once


@pytest.mark.parametrize(
    ("learned", "line"),
    [
        (b'{"step":10}', b'{"step":00}'), (b'{"step":-5}', b'{"step":-0}'), (b'{"a1":1,"a2":2}', b'{"a1":1,"a1":2}'),
        (b'{"a":"\\u001f"}', b'{"a":"\\u001e"}'), (b'{"step":1000000000000000000}', b'{"step":9999999999999999999}'),
        (b'{"a":1.5}', b'{"a":2.5}'), (b'{"a": 1}', b'{"a": 2}'), (b'{"a":1,"a":2}', b'{"a":2,"a":1}'),
        (b'{"a":[1]}', b'{"a":[2]}'), (b'{"a":{"b":1}}', b'{"a":{"b":2}}'),
    ],
)  # fmt: skip
def test_what_is_no_form(learned: bytes, line: bytes) -> None:
    """Digits that may make another event, or none, of a line are never taken for its form."""
    known = Forms()
    known.learn(b'{"step":1}')
    known.learn(learned)
    assert known.numbered(line + b"\n", 1) is None
    assert list(known.sorted_out(b'{"step":7}\n' + line + b"\n")) == [(b'{"step":7}', True), (line, False)]


def test_a_block_of_known_forms_is_numbered() -> None:
    """Each line gets its number; a block with another line does not."""
    known = Forms()
    known.learn(b'{"step":11}')
    assert known.numbered(b'{"step":10}\n{"step":99}\n', 5) == b'{"line":5,"step":10}\n{"line":6,"step":99}\n'
    assert known.numbered(b'{"step":10}\n\n', 5) is None
    assert known.numbered(b'{"step":10}\n{"step":100}\n', 5) is None


def test_forms_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither many forms nor long ones are kept."""
    monkeypatch.setattr(forms, "FORMS_MAX", 3)
    known = Forms()
    for length in range(1, 10):
        known.learn(b'{"step":' + b"1" * length + b"}")
    assert len(known._known) <= 3
    known.learn(b'{"a":"' + b"x" * forms.SIZE_MAX + b'"}')
    assert not any(len(form) > forms.SIZE_MAX for form in known._known)


def test_the_report_needs_no_other_columns(events: list[bytes], spoil: Callable[..., str]) -> None:
    """With the columns that the report reads, it says the same as with all of them."""
    path = spoil(b"".join(events))
    with Logs([path]) as whole, Logs([path], columns=COLUMNS_ASKED) as part:
        assert Report.of(part) == Report.of(whole)
        assert set(part.sql("SELECT * FROM events").columns) == {"file", "line", *COLUMNS_ASKED}
        assert whole.rows("SELECT * FROM pages LIMIT 1") != []


def test_the_reading_is_told(events: list[bytes], spoil: Callable[..., str]) -> None:
    """While logs are read, it is told how far it is: of a file with its size, to the end."""
    content = b"".join(events) * 4
    path, told = spoil(content), list[tuple[str, int, int | None]]()
    with Logs([path], progress=lambda *progress: told.append(progress)):
        pass
    assert {(name, size) for name, _, size in told} == {(path, len(content))}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert told[-1][1] == len(content)
