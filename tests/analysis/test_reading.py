from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from ksmactors.analysis.reading import SAID, LogFile, LogReader
from ksmactors.analysis.store import COLUMNS, Logs, SqlError
from ksmactors.events import catalogue as ev
from ksmactors.events.logs import ALWAYS

Write = Callable[..., str]
SCHEDULE = [("main", ev.KSM_ENTER, f"vm{number}") for number in range(5)]


@pytest.fixture(scope="module")
def sound(write_log: Write) -> bytes:
    return Path(write_log(SCHEDULE)).read_bytes()


def read(*paths: str) -> tuple[list[tuple[Any, ...]], list[str], list[LogFile]]:
    """(line, mm) of each event, what is said to be lost, what is said of each file."""
    rows: list[tuple[Any, ...]] = []
    results = []
    for path in paths:
        reader = LogReader(path)
        rows += [(event["line"], event.get("mm")) for event in map(orjson.loads, reader.events())]
        results.append(reader.result())
    assert len(rows) == sum(file.events for file, _ in results)
    return rows, [str(loss) for _, losses in results for loss in losses], [file for file, _ in results]


def numbered(*lines: int) -> Sequence[tuple[int, str]]:
    return [(line, f"vm{line - 1}") for line in lines]


def test_a_sound_log_is_read_whole(spoil: Write, sound: bytes) -> None:
    """Every line is an event, and nothing is lost."""
    path = spoil(sound)
    rows, lost, files = read(path)
    assert (rows, lost) == (numbered(1, 2, 3, 4, 5), [])
    assert files == [LogFile(path, read=True, events=5, lines_lost=0, bytes_lost=0)]


def test_a_line_cut_off_in_the_middle_is_said_and_the_rest_is_read(spoil: Write, sound: bytes) -> None:
    """The log of a process that was killed loses its last event, and only that."""
    last = sound.splitlines(keepends=True)[-1]
    path = spoil(sound[: -len(last)] + last[:33])
    rows, lost, files = read(path)
    assert rows == numbered(1, 2, 3, 4)
    assert lost == [f"{path}, line 5: cut off in the middle: the last event is lost after 33 bytes"]
    assert files == [LogFile(path, read=True, events=4, lines_lost=1, bytes_lost=33)]


@pytest.mark.parametrize("kept", [1, 37, 100, -2])
def test_a_log_can_be_cut_off_anywhere(spoil: Write, sound: bytes, kept: int) -> None:
    """Wherever in its last line the log ends, all lines before are events and one loss is said."""
    whole = sound[: sound.rindex(b"\n", 0, -1) + 1]
    rows, lost, _ = read(spoil(whole + sound[len(whole) :][:kept]))
    assert (rows, len(lost)) == (numbered(1, 2, 3, 4), 1)


def test_a_missing_newline_at_the_end_loses_nothing(spoil: Write, sound: bytes) -> None:
    """A last line that is whole but for its newline is an event."""
    assert read(spoil(sound[:-1]))[:2] == (numbered(1, 2, 3, 4, 5), [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"Traceback (most recent call last):", "not JSON, 35 bytes are lost: 'Traceback (most recent call last):' ("),
        (b"[1, 2]", "not an event, 7 bytes are lost: '[1, 2]'"),
        (b"17", "not an event, 3 bytes are lost: '17'"),
        (b'{"event": "x"}', "not an event, 15 bytes are lost: it has no valid 'run': '{\"event\": \"x\"}'"),
        (b"\xff\xfe\x00", "not JSON, 4 bytes are lost: "),
        (
            b'{"event":"x","run":"r","seed":1,"schedule":0,"step":"1","now":0,"actor":"a","cpu":0,"node":0}',
            "not an event, 94 bytes are lost: it has no valid 'step': ",
        ),
    ],
)
def test_a_line_that_is_no_event_is_said_and_the_rest_is_read(
    spoil: Write, sound: bytes, line: bytes, said: str
) -> None:
    """Other output in a log is named with its line; events keep the numbers of their lines."""
    lines = sound.splitlines(keepends=True)
    path = spoil(b"".join([*lines[:2], line + b"\n", *lines[2:]]))
    rows, lost, files = read(path)
    assert [line for line, _ in rows] == [1, 2, 4, 5, 6]
    assert len(lost) == 1
    assert lost[0].startswith(f"{path}, line 3: {said}")
    assert files == [LogFile(path, read=True, events=5, lines_lost=1, bytes_lost=len(line) + 1)]


def test_empty_lines_lose_nothing(spoil: Write, sound: bytes) -> None:
    """An empty line between events is no loss, and is counted as a line."""
    rows, lost, _ = read(spoil(b"\n" + sound.replace(b"\n", b"\r\n\r\n", 1)))
    assert ([line for line, _ in rows], lost) == ([2, 4, 5, 6, 7], [])


def test_many_bad_lines_are_summed_up(spoil: Write, sound: bytes) -> None:
    """Only the first bad lines are described one by one; the others are counted, with the bytes of all."""
    path = spoil(b"x\n" * (SAID + 7) + sound)
    _, lost, files = read(path)
    assert len(lost) == SAID + 1
    assert lost[-1] == f"{path}: 7 more lines lost, {2 * (SAID + 7)} bytes in all"
    assert files[0].lines_lost == SAID + 7


def test_a_file_that_is_no_log_gets_one_line(spoil: Write) -> None:
    """A file without any event is not described line by line."""
    path = spoil(b"#!/bin/sh\necho hello\n")
    rows, lost, files = read(path)
    assert rows == []
    assert len(lost) == 1
    assert lost[0].startswith(f"{path}: has no event in it, is it a log of ksmactors? line 1 is not JSON")
    assert not files[0].read


def test_what_is_empty_missing_or_a_directory_is_said_and_the_others_are_read(
    spoil: Write, sound: bytes, tmp_path: Path
) -> None:
    """Of several logs, those that can be read are, and each other one is named with the reason."""
    path, empty = spoil(sound), spoil(b"", "empty")
    rows, lost, files = read(empty, str(tmp_path / "none"), str(tmp_path), path)
    assert rows == numbered(1, 2, 3, 4, 5)
    assert lost == [
        f"{empty}: is empty",
        f"{tmp_path / 'none'}: cannot be read: No such file or directory",
        f"{tmp_path}: cannot be read: Is a directory",
    ]
    assert [file.read for file in files] == [False, False, False, True]


def test_several_logs_are_one_table(spoil: Write, sound: bytes) -> None:
    """Events of several logs can be told apart by file; a log named twice is read once."""
    one, two = spoil(sound, "one"), spoil(sound, "two")
    with Logs([one, two, one]) as logs:
        assert logs.rows("SELECT file, count(*) FROM events GROUP BY file ORDER BY file") == [(one, 5), (two, 5)]


def test_a_log_may_have_any_name(spoil: Write, sound: bytes) -> None:
    """A file's name is neither a pattern nor SQL, and its ending says nothing."""
    names = ["log[1].ndjson", "log*.ndjson", "it's.ndjson", "log.gz", "läg.csv"]
    paths = [spoil(sound, name) for name in names]
    with Logs(paths) as logs:
        rows = logs.rows("SELECT file, line, mm FROM events ORDER BY ALL")
    assert rows == sorted((path, *row) for path in paths for row in numbered(1, 2, 3, 4, 5))


def test_standard_input_can_be_read(sound: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` is standard input, which can be read only once and may be damaged too."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(sound + b"{")))
    rows, lost, _ = read("-")
    assert rows == numbered(1, 2, 3, 4, 5)
    assert lost == ["-, line 6: cut off in the middle: the last event is lost after 1 byte"]


def test_a_pipe_can_be_read(sound: bytes) -> None:
    """What the shell gives for `<(zcat log.gz)` is read, although it can be read only once."""
    reader, writer = os.pipe()
    os.write(writer, sound)
    os.close(writer)
    try:
        assert read(f"/dev/fd/{reader}")[0] == numbered(1, 2, 3, 4, 5)
    finally:
        os.close(reader)


def test_every_key_and_every_field_has_a_column(write_log: Write) -> None:
    """The view `events` has file, line, each key that is always there, and each field of the catalogue, typed."""
    with Logs([write_log(SCHEDULE)]) as logs:
        answer = logs.sql("SELECT * FROM events LIMIT 1")
    fields = [field.name for event in ev.CATALOGUE for field in event.fields]
    assert answer.columns == ["file", "line", *ALWAYS, *dict.fromkeys(fields)]
    assert answer.columns[2:] == list(COLUMNS)


def test_values_come_back_as_they_were_logged(write_log: Write) -> None:
    """Integers, strings, booleans and null survive; a field that an event has not is NULL."""
    told = [("ksmd", ev.CALC_CHECKSUM, "vm'1\u00e9", 1 << 46, 7, True), ("ksmd", ev.LOCK_WAIT, "m", None)]
    with Logs([write_log(told)]) as logs:
        rows = logs.rows("SELECT event, mm, address, pfn, changed, lock, holder, kpfn FROM events ORDER BY line")
    assert rows == [
        ("calc_checksum", "vm'1\u00e9", 1 << 46, 7, True, None, None, None),
        ("lock.wait", None, None, None, None, "m", None, None),
    ]


def test_bad_sql_is_one_line_with_the_message_of_duckdb(write_log: Write) -> None:
    """The line says what DuckDB found wrong, without its drawing of the place."""
    with Logs([write_log(SCHEDULE)]) as logs:
        with pytest.raises(SqlError, match=r'^SQL: Parser Error: syntax error at or near "selec"$'):
            logs.sql("selec 1")
        with pytest.raises(SqlError, match=r'^SQL: Binder Error: Referenced column "evnt" not found[^\n]*$'):
            logs.sql("SELECT evnt FROM events")
        assert logs.rows("SELECT count(*) FROM events") == [(5,)]


def test_nothing_is_left_behind(write_log: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary database goes when the logs are closed, also after an error."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = write_log(SCHEDULE)

    def fail() -> None:
        with Logs([path]) as logs:
            assert list(tmp_path.iterdir()) != []
            logs.sql("nonsense")

    with pytest.raises(SqlError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_seeds_of_64_bits_are_read(spoil: Write, sound: bytes) -> None:
    """The largest seed comes back as it is."""
    with Logs([spoil(sound.replace(b'"seed":100', f'"seed":{2**64 - 1}'.encode()))]) as logs:
        assert logs.rows("SELECT DISTINCT seed FROM events") == [(2**64 - 1,)]


GOOD = (
    b'{"event":"free_page","run":"r","seed":1,"schedule":0,"step":1,"now":1,"actor":"a","cpu":0,"node":0,'
    b'"level":"info","pfn":5,"nid":0}\n'
)


LINES = [
        GOOD.replace(b'"pfn":5', b'"pfn":6,"pfn":7'), GOOD.replace(b'"pfn":5', b'"pfn" :6,"pfn":7'),
        GOOD.replace(b'"pfn":5', b'"pfn"\t:"x","pfn":7'), GOOD.replace(b'"pfn":5', b'"pfn":18446744073709551615'),
        GOOD.replace(b'"pfn":5', b'"pfn":99999999999999999999'),
        GOOD.replace(b'"seed":1', b'"seed":18446744073709551615'),
        GOOD.replace(b'"pfn":5', b'"pfn":5.0'), GOOD.replace(b'"pfn":5', b'"line":7,"pfn":5'),
        GOOD.replace(b'"pfn":5', b'"other":{"pfn":9},"pfn":5'), b"  " + GOOD, GOOD[:-1] + b"  \n", GOOD[:-1] + b" \r\n",
        GOOD.replace(b'"run":"r"', rb'"run":"\" :,\\"'),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def alone_and_after(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Logs, Path]]:
    """Each of LINES as a log of its own, and after two others, all in one database."""
    directory = tmp_path_factory.mktemp("lines")
    for number, line in enumerate(LINES):
        (directory / f"alone{number}").write_bytes(line)
        (directory / f"after{number}").write_bytes(GOOD + GOOD + line)
    with Logs(sorted(map(str, directory.iterdir()))) as logs:
        yield logs, directory


@pytest.mark.parametrize("number", range(len(LINES)), ids=lambda number: f"line{number}")
def test_a_line_is_read_alike_whatever_came_before(alone_and_after: tuple[Logs, Path], number: int) -> None:
    """A line with the keys and types of one that was proper is not looked at as closely, and means the same."""
    logs, directory = alone_and_after
    alone, after = (str(directory / f"{word}{number}") for word in ("alone", "after"))
    rows = "SELECT * EXCLUDE (file, line) FROM events WHERE file = ? ORDER BY events.line"
    assert logs.rows(f"{rows} OFFSET 2", after) == logs.rows(rows, alone)
    said = {path: [loss.reason for loss in logs.losses if loss.file == path] for path in (alone, after)}
    assert said[after] == [reason.partition("line 1 is ")[2] or reason for reason in said[alone]]
    assert len(logs.rows(rows, alone)) + len(said[alone]) == 1


def test_the_version_that_wrote_a_log_is_said(write_log: Write, spoil: Write) -> None:
    """Another version is named once for each log, escaped; this one is not."""
    from importlib.metadata import version

    here = version("ksmactors")
    own = Path(write_log([("main", ev.RUN_START, "w", "series", 2, "pct"), SCHEDULE[0]])).read_bytes()
    other = spoil((own * 2).replace(b'"version":"%b"' % here.encode(), b'"version":"9.8\\u001b[31m"'))

    assert b'"version":"%b"' % here.encode() in own
    assert read(spoil(own, "own"))[1] == []
    assert read(other)[1] == [f"{other}: was written by ksmactors 9.8\\x1b[31m, this is {here}"]
