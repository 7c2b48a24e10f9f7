"""Logs that somebody else wrote, damaged or on purpose: one clear line, bounded memory, and the rest is read."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard

from ksmactors.analysis import opening, reading, store
from ksmactors.analysis.store import Logs, SqlError
from ksmactors.cli import main
from ksmactors.events import catalogue as ev
from tests.helpers.ready import ksmactors_line

Write = Callable[..., str]
SCHEDULE = [("main", ev.KSM_ENTER, f"vm{number}") for number in range(5)]
HEAD = {
    "event": "run.end",
    "run": "r",
    "seed": 1,
    "schedule": 0,
    "step": 1,
    "now": 0,
    "actor": "a",
    "cpu": 0,
    "node": 0,
}


@pytest.fixture(scope="module")
def sound(write_log: Write) -> bytes:
    return Path(write_log(SCHEDULE)).read_bytes()


def line(**fields: Any) -> bytes:
    return orjson.dumps(HEAD | fields) + b"\n"


def read(path: str) -> tuple[int, list[str]]:
    """How many events there are, and what is said of the rest."""
    (each,) = read_each(path)
    return each


def read_each(*paths: str) -> list[tuple[int, list[str]]]:
    """The same for several logs, in one database."""
    with Logs(paths) as logs:
        assert logs.rows("SELECT count(*) FROM events") == [(logs.events,)]
        said = {path: [str(loss).removeprefix(path) for loss in logs.losses if loss.file == path] for path in paths}
        return [(file.events, said[file.path]) for file in logs.files]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_packed_logs_are_read(spoil: Write, sound: bytes, pack: Callable[[bytes], bytes]) -> None:
    """A log packed with gzip or zstd is told by its first bytes; several packed one after the other are one log."""
    paths = spoil(pack(sound), "any.name"), spoil(pack(sound) + pack(sound))
    assert read_each(*paths) == [(5, []), (10, [])]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress], ids=["gzip", "zstd"])
def test_a_packed_log_that_is_cut_off(
    spoil: Write, write_log: Write, pack: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a packed log is read as far as it goes, or is said to be unreadable; never a traceback."""
    noise = [("main", ev.KSM_ENTER, os.urandom(40).hex()) for _ in range(1500)]
    packed = pack(Path(write_log(noise)).read_bytes())
    for kept in (5, 20, len(packed) // 2, len(packed) - 3):
        assert main(["analyze", spoil(packed[:kept])]) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err
    events, said = read(spoil(packed[: len(packed) // 2]))
    assert 0 < events < 1500
    assert len(said) in (1, 2)


def test_a_bomb_is_not_unpacked(spoil: Write, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a packed log comes to is limited; what was read until then is kept."""
    monkeypatch.setattr(opening, "UNPACKED_FREE", len(sound) + 1000)
    bomb = sound + (b" " * 999 + b"\n") * 10_000
    for events, said in read_each(spoil(gzip.compress(bomb), "gzip"), spoil(zstandard.compress(bomb), "zstd")):
        assert events == 5
        assert said[-1] == ": cannot be read further, the rest is lost: it decompresses to more than 200 times its size"


def test_no_log_fills_the_disk(spoil: Write, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the disk of the temporary database is nearly full, no event is added to it."""
    monkeypatch.setattr(store, "ROOM_MIN", 1 << 62)
    assert main(["analyze", spoil(sound)]) == 2


def test_a_long_line_is_lost_and_the_rest_is_read(spoil: Write, sound: bytes) -> None:
    """A line of several megabytes is counted, and never in memory as a whole."""
    events, said = read(spoil(sound + b"x" * 5_000_000 + b"\n" + sound))
    assert events == 10
    assert said == [f", line 6: too long for an event, 5,000,001 bytes are lost: {'x' * 40 + '...'!r}"]


def test_a_line_without_end(spoil: Write, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that does not end is given up."""
    monkeypatch.setattr(reading, "SKIPPED_MAX", 3 << 20)
    events, said = read(spoil(sound + b"\0" * (8 << 20)))
    assert events == 5
    assert said[-1] == ": cannot be read further, the rest is lost: line 6 does not end"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem", "/proc/self/fd"])
def test_what_is_no_file(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Devices, directories and memory are refused at once."""
    assert main(["analyze", path]) == 2
    assert capsys.readouterr().err.startswith(f"ksmactors: {path}: cannot be read: ")


BAD = [
        line(steps=2**63), line(steps=1e300), line(steps="1"), line(pfn=[1]), line(verdict={"a": 1}),
        line().replace(b'"cpu":0', b'"cpu":' + b"9" * 5000), line().replace(b'"cpu":0', b'"cpu":NaN'),
        b"[" * 100_000 + b"\n", b'{"a":' * 100_000 + b"\n", line()[:-2] + b',"x":"\xff"}\n',
        line().replace(b'"r"', b'"\\ud800"'),
]  # fmt: skip
"""Lines that no event is: numbers that no column holds, other types, no JSON."""


@pytest.fixture(scope="module")
def spoilt(sound: bytes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Logs, list[str]]]:
    """A log with each line of BAD between sound ones, all in one database; and their paths."""
    directory = tmp_path_factory.mktemp("bad")
    paths = [directory / str(number) for number in range(len(BAD))]
    for path, bad in zip(paths, BAD, strict=True):
        path.write_bytes(sound + bad + sound)
    with Logs(map(str, paths)) as logs:
        yield logs, [str(path) for path in paths]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_values_that_no_event_has(spoilt: tuple[Logs, list[str]], number: int) -> None:
    """A value that is out of range or of another type, or no JSON at all, loses its line and no other."""
    logs, paths = spoilt
    path = paths[number]
    assert logs.rows("SELECT count(*) FROM events WHERE file = ?", path) == [(10,)]
    (said,) = [str(loss).removeprefix(path) for loss in logs.losses if loss.file == path]
    assert said.startswith(", line 6: not ")


def test_odd_values_that_an_event_may_have(spoil: Write) -> None:
    """The largest seed, keys that are there twice or unknown or nested, NUL and other characters do no harm."""
    twice = line(step=5)[:-2] + b',"step":7,"STEP":9,"Step":{},"line":17,"file":"x"}\n'
    path = spoil(
        twice + line(seed=2**64 - 1, deep={"a": [1]}) + line(signature="a\0b\x1b[31m\u202e") + line(steps=None)
    )
    with Logs([path]) as logs:
        rows = logs.rows("SELECT line, step, seed, signature FROM events ORDER BY line")
    assert rows == [(1, 7, 1, None), (2, 1, 2**64 - 1, None), (3, 1, 1, "a\0b\x1b[31m\u202e"), (4, 1, 1, None)]


@pytest.mark.usefixtures("kept_logs")
def test_sums_that_no_64_bits_hold(spoil: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps that add up to more than 64 bits are told all the same."""
    path = spoil(b"".join(line(steps=2**63 - 1, seed=seed) for seed in range(4)))
    assert main(["analyze", path, "--json"]) == 0
    (run,) = orjson.loads(capsys.readouterr().out)["runs"]
    assert run["steps"] == str(4 * (2**63 - 1))
    assert main(["analyze", path]) == 0


@pytest.mark.usefixtures("kept_logs")
def test_nothing_reaches_the_terminal_raw(spoil: Write, capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences in a log, in names of columns and in errors of SQL are shown, not performed."""
    evil = "\x1b]0;x\x07\x9b31m\u202e"
    path = spoil(
        line(event="finding.found", signature=evil, watcher=evil, kind=evil, message=evil, actor=evil, run=evil)
        + line(event="do_anonymous_page", pfn=3, mm=evil, address=1, actor=evil)
        + evil.encode() + b"\n",
        "evil\x1b[31m",
    )  # fmt: skip
    for options in (
        [],
        ["--json"],
        ["--page", "3"],
        ["--sql", f'SELECT actor AS "{evil}" FROM events'],
        ["--sql", evil],
    ):
        assert main(["analyze", path, *options]) in (1, 2)
        captured = capsys.readouterr()
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(captured.out + captured.err.replace(evil, ""))


@pytest.fixture(scope="module")
def locked(write_log: Write) -> Iterator[Logs]:
    """Loaded logs, on which a query after the other is tried."""
    with Logs([write_log(SCHEDULE)]) as logs:
        yield logs


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM read_text('{}')", "SELECT * FROM read_csv('{}')", "COPY (SELECT 1) TO '{}.x'",
        "ATTACH '{}.db'", "SET enable_external_access = true", "SET memory_limit = '99GB'", "INSTALL httpfs",
        "LOAD httpfs", "SELECT * FROM glob('/*')", "EXPORT DATABASE '{}.d'", "IMPORT DATABASE '{}.d'",
    ],
)  # fmt: skip
def test_a_query_reaches_nothing_else(spoil: Write, sound: bytes, query: str, tmp_path: Path, locked: Logs) -> None:
    """Once the logs are loaded no query reads or writes a file, loads an extension or unlocks that."""
    before = set(tmp_path.iterdir())
    path = spoil(sound)
    with pytest.raises(SqlError):
        locked.sql(query.format(path))
    assert set(tmp_path.iterdir()) - before == {Path(path)}
    assert locked.rows("SELECT count(*) FROM events") == [(5,)]


def test_a_query_may_be_allowed_more(spoil: Write, sound: bytes) -> None:
    """Without the lock a query reads files."""
    path = spoil(sound)
    with Logs([path], unsafe=True) as logs:
        assert logs.rows(f"SELECT count(*) FROM read_text('{path}')") == [(1,)]


@pytest.mark.usefixtures("kept_logs")
def test_an_answer_comes_in_blocks(spoil: Write, sound: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows are never all in memory; JSON is one object all the same."""
    path = spoil(sound)
    with Logs([path]) as logs:
        stream = logs.stream("SELECT i FROM range(2500) t(i)")
        assert [len(block) for block in stream.blocks] == [1000, 1000, 500]
    assert main(["analyze", path, "--json", "--sql", "SELECT i FROM range(2500) t(i)"]) == 0
    assert orjson.loads(capsys.readouterr().out) == {"columns": ["i"], "rows": [[i] for i in range(2500)]}
    assert main(["analyze", path, "--json", "--sql", "SELECT 1 WHERE false"]) == 0
    assert orjson.loads(capsys.readouterr().out)["rows"] == []


def test_tmpdir_may_have_any_name(spoil: Write, sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary directory whose name looks like a pattern is no pattern."""
    odd = tmp_path / "a?b*[c]'d"
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    assert read(spoil(sound)) == (5, [])
    assert list(odd.iterdir()) == []


def test_no_place_for_temporary_files(spoil: Write, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, that is one line."""
    monkeypatch.setattr(store, "_temporary_place", lambda: "/nowhere")
    assert main(["analyze", spoil(sound)]) == 2


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_during_a_query(spoil: Write, sound: bytes, number: int, tmp_path: Path) -> None:
    """An interruption ends a query with 130, silently, and leaves no temporary file."""
    query = "SELECT count(*) FROM range(100000000) a, range(100000000) b"
    with subprocess.Popen(
        ksmactors_line("analyze", spoil(sound), "--sql", query),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)}, text=True,
    ) as process:  # fmt: skip
        while not list(tmp_path.glob("ksmactors-*/events.duckdb*")):
            time.sleep(0.01)
        time.sleep(0.15)
        process.send_signal(number)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130
    assert list(tmp_path.glob("ksmactors-*")) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_ctrl_c_while_a_log_is_read(sound: bytes, number: int, tmp_path: Path) -> None:
    """An interruption ends the reading with 130, silently, and leaves no temporary file."""
    with subprocess.Popen(
        ksmactors_line("analyze", "-"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    ) as process:  # fmt: skip
        assert process.stdin is not None
        while not list(tmp_path.glob("ksmactors-*/events.duckdb*")):
            process.stdin.write(sound * 1000)
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stderr is not None
        assert (process.wait(30), process.stdout.read(), process.stderr.read()) == (130, b"", b"")
        with suppress(BrokenPipeError):
            process.stdin.close()
    assert list(tmp_path.glob("ksmactors-*")) == []


@pytest.mark.usefixtures("kept_logs")
def test_events_without_their_fields(
    spoil: Write, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event of each kind without fields of its own is told like any other; a finding without a signature is none."""
    path = spoil(b"".join(line(event=event.name) for event in ev.CATALOGUE))
    monkeypatch.setattr(reading, "SAID", 1)
    for form in ([], ["--json"], ["-q"]):
        assert main(["analyze", path, *form]) == 0
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "no valid 'watcher'" in err


def test_lines_without_an_event(spoil: Write, sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """After very many lines that say nothing, empty ones or others, the rest is not read, and that is said."""
    monkeypatch.setattr(reading, "EMPTY_MAX", 100)
    logs = [sound + b"\n" * 100 + sound, *(sound + junk * 101 + sound for junk in (b"\n", b" \r\n", b"x\n"))]
    whole, *others = read_each(*(spoil(log, str(number)) for number, log in enumerate(logs)))
    assert whole == (10, [])
    assert len(others) == 3
    for events, losses in others:
        assert events == 5
        assert losses[-1] == ": cannot be read further, the rest is lost: more than 100 lines without an event"


@pytest.mark.parametrize("name", [{"a": 1}, ["run.end"], 7, None, True])
def test_the_name_of_an_event_is_no_text(spoil: Write, sound: bytes, name: object) -> None:
    """The line is lost like any other, wherever it is."""
    events, said = read(spoil(line(event=name) + sound + line(event=name)))
    assert events == 5
    assert [one.partition("it has no valid 'event'")[1] for one in said] == ["it has no valid 'event'"] * 2
