from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from ksmactors.analysis.store import Logs
from ksmactors.cli import main
from ksmactors.events import catalogue as ev

pytestmark = pytest.mark.usefixtures("kept_logs")

SCHEDULE: list[tuple[Any, ...]] = [
    ("main", ev.RUN_START, "numa_pingpong", "series", 2, "pos"),
    ("main", ev.DO_ANONYMOUS_PAGE, "vm[red]0", 4096, 10, 0),
    ("ksmd", ev.LOCK_WAIT, "mmap_sem of vm[red]0", "main"),
    ("ksmd", ev.RACE_PAGE_MIGRATED, "migrationd", "ksmd", "stable", 1, 0, 10),
    ("main", ev.FREE_PAGE, 10, 0),
    ("main", ev.RUN_END, "ok", 90, 30),
]
FOUND = [("main", ev.FINDING, "shadow", "lost_write", "shadow/lost_write@do_wp_page", "vm[red]0 lost [b]its[/b] write")]


@dataclass
class Done:
    status: int
    out: str
    err: str


@pytest.fixture
def analyze(capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments: str) -> Done:
        status = main(["analyze", *arguments])
        out, err = capsysbinary.readouterr()
        return Done(status, out.decode(), err.decode())

    return run


@pytest.fixture(scope="module")
def path(write_log: Callable[..., str]) -> str:
    return write_log(SCHEDULE, SCHEDULE + FOUND)


def test_a_log_is_told_in_tables(analyze: Callable[..., Done], path: str) -> None:
    """Runs, findings, races, who won, locks, nodes and actors, each under its title; a finding is exit 1."""
    done = analyze(path)
    assert (done.status, done.err) == (1, "")
    assert re.findall(r"^([A-Z][^\n]*?) *$", done.out, re.MULTILINE) == [
        "Runs",
        f"Finding shadow/lost_write@do_wp_page in 1 schedule, first at {path}:13, seed 101, schedule 1, step 6",
        "Races that the protocol handled", "Where they happened", "Who won against whom", "Locks found taken",
        "Who waited for whom", "Pages of each node", "Actors",
    ]  # fmt: skip
    assert re.search(r"page_migrated +stable +1 +0 +2\b", done.out)
    assert re.search(r"page_migrated +migrationd +ksmd +2\b", done.out)
    assert re.search(r"mmap_sem of vm\[red\]0 +ksmd +main +2\b", done.out)
    assert "  vm[red]0 lost [b]its[/b] write\n" in done.out
    assert "\x1b" not in done.out


def test_quiet_says_only_what_was_found(analyze: Callable[..., Done], path: str, write_log: Callable[..., str]) -> None:
    """With --quiet there are findings, and no tables."""
    assert analyze(path, "--quiet").out.startswith("Finding shadow/lost_write@do_wp_page")
    assert analyze(write_log(SCHEDULE), "-q") == Done(0, "", "")


def test_colour_can_be_forced(analyze: Callable[..., Done], path: str) -> None:
    """--color always colours a pipe too, and changes nothing else."""
    colored = analyze(path, "--color", "always").out
    assert "\x1b[1;31m" in colored
    assert re.sub(r"\x1b\[[\d;]*m", "", colored) == analyze(path).out


def test_json_is_one_object_with_all_answers(analyze: Callable[..., Done], path: str) -> None:
    """Each question has its key, and rows as objects."""
    answer = orjson.loads(analyze(path, "--json").out)
    assert list(answer) == [
        "events", "logs", "lost", "runs", "findings", "races", "race_places", "race_pairs", "lock_kinds", "contention",
        "nodes", "trees", "actors",
    ]  # fmt: skip
    assert (answer["events"], answer["lost"]) == (13, [])
    assert answer["races"] == [
        {"kind": "race.page_migrated", "count": 2, "schedules": 2, "file": path, "line": 4,
         "retries": 2, "lost_merges": 0, "pages_exiled": 0}
    ]  # fmt: skip
    assert answer["runs"][0]["verdicts"] == {"ok": 2}


@pytest.mark.parametrize("options", [(), ("--json",), ("--page", "10"), ("--sql", "SELECT * FROM events ORDER BY ALL")])
def test_the_same_log_gives_the_same_answer(
    analyze: Callable[..., Done], path: str, options: tuple[str, ...], kept_logs: dict[object, Logs]
) -> None:
    """Nothing in the output depends on threads, hashes or the clock, though the log is loaded twice."""
    first = analyze(path, *options)
    for logs in kept_logs.values():
        logs.close()
    kept_logs.clear()
    second = analyze(path, *options)
    assert first.status == 1
    assert first == second


def test_sql_is_answered_as_a_table_or_as_json(analyze: Callable[..., Done], path: str) -> None:
    """The view `events` can be asked anything; every row is shown."""
    query = "SELECT event, count(*) AS n, max(kpfn) AS page FROM events WHERE schedule = 0 GROUP BY 1 ORDER BY 1"
    table = [line.split() for line in analyze(path, "--sql", query).out.splitlines()]
    assert table[0] == ["event", "n", "page"]
    assert table[2:5] == [["do_anonymous_page", "1", "-"], ["free_page", "1", "-"], ["lock.wait", "1", "-"]]
    assert orjson.loads(analyze(path, "--json", "--sql", query).out) == {
        "columns": ["event", "n", "page"],
        "rows": [
            ["do_anonymous_page", 1, None], ["free_page", 1, None], ["lock.wait", 1, None],
            ["race.page_migrated", 1, 10], ["run.end", 1, None], ["run.start", 1, None],
        ],
    }  # fmt: skip


def test_sql_may_answer_what_json_does_not_have(analyze: Callable[..., Done], path: str) -> None:
    """Large integers, dates, intervals, lists, maps and what is no number come out as something."""
    query = "SELECT 2**100::HUGEINT, DATE '2013-02-23', [1, NULL], MAP {1: 'a'}, 'nan'::DOUBLE, 'x'::BLOB, {'a': 1}"
    (row,) = orjson.loads(analyze(path, "--json", "--sql", query).out)["rows"]
    assert row[1:5] == ["2013-02-23", [1, None], {"1": "a"}, None]
    query = f"SELECT {2**70}::HUGEINT, {2**63 - 1}, {-(2**63)}"
    (row,) = orjson.loads(analyze(path, "--json", "--sql", query).out)["rows"]
    assert row[:2] == [str(2**70), 2**63 - 1]


def test_sql_without_an_answer_prints_nothing(analyze: Callable[..., Done], path: str, tmp_path: Path) -> None:
    """COPY writes where it is told to; an answer without rows names its columns."""
    target = tmp_path / "races.csv"
    analyze(path, "--sql-unsafe", "--sql", f"COPY (SELECT kpfn FROM events WHERE kpfn > 0) TO '{target}'")
    assert target.read_text() == "kpfn\n10\n10\n"
    assert analyze(path, "--sql", "SELECT step, now FROM events WHERE false").out == "  no rows: step, now\n"


def test_a_table_leaves_out_columns_without_a_value(analyze: Callable[..., Done], path: str) -> None:
    """Of `SELECT *` one sees what the events have; the other columns are named below."""
    out = analyze(path, "--sql", "SELECT line, pfn, kpfn, mm FROM events WHERE event = 'free_page' ORDER BY line").out
    head, _, *rows = [line.split() for line in out.splitlines()]
    assert (head, rows[:3]) == (["line", "pfn"], [["5", "10"], ["11", "10"], []])
    assert out.endswith("\n  NULL in every row: kpfn, mm\n")


def test_a_table_in_a_pipe_is_not_folded(analyze: Callable[..., Done], path: str) -> None:
    """A row is one line, however long."""
    out = analyze(path, "--sql", "SELECT 'x'.repeat(3000) AS long, 1 AS one").out
    assert "x" * 3000 in out


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT evnt FROM events", 'SQL: Binder Error: Referenced column "evnt" not found in FROM clause!'),
        ("selec", 'SQL: Parser Error: syntax error at or near "selec"'),
        (" ", "--sql: the query is empty"),
    ],
)
def test_bad_sql_is_a_usage_error_in_one_line(analyze: Callable[..., Done], path: str, query: str, said: str) -> None:
    """Exit 2, DuckDB's message on one line, nothing on standard output."""
    done = analyze(path, "--sql", query)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith(f"ksmactors: {said}")


def test_the_life_of_a_page_is_told_as_log_lines(analyze: Callable[..., Done], path: str) -> None:
    """A headline for each life, then its events in the person's form."""
    done = analyze(path, "--page", "10", "--schedule", "1")
    race = "winner=migrationd loser=ksmd tree=stable tree_nid=1 page_nid=0 kpfn=10"
    assert done.out.splitlines() == [
        "Life 1 of 1: seed 101, schedule 1, frames 10; freed",
        "       1      0.001 ms main            do_anonymous_page       mm=vm[red]0 address=0x1000 pfn=10 nid=0",
        f"       3      0.003 ms ksmd            race.page_migrated      {race}",
        "       4      0.004 ms main            free_page               pfn=10 nid=0",
    ]
    (life,) = orjson.loads(analyze(path, "--page", "10", "--json").out)["lives"]
    assert [event["line"] for event in life["events"]] == [2, 4, 5]
    assert (life["frames"], life["ended"]) == ([10], True)


def test_a_damaged_log_is_analyzed_and_its_losses_are_said(analyze: Callable[..., Done], path: str, spoil: Any) -> None:
    """A cut-off log exits 0: what is lost goes to standard error, what is left is answered."""
    damaged = spoil(Path(path).read_bytes()[:-20])
    done = analyze(damaged, "--json")
    assert done.status == 0
    assert done.err.startswith(f"ksmactors: {damaged}, line 13: cut off in the middle: the last event is lost ")
    answer = orjson.loads(done.out)
    assert (answer["events"], answer["findings"]) == (12, [])
    assert answer["logs"][0]["lines_lost"] == 1
    assert answer["lost"][0]["line"] == 13


def test_one_missing_log_of_several_is_exit_2_with_the_others_analyzed(
    analyze: Callable[..., Done], write_log: Callable[..., str], path: str, tmp_path: Path
) -> None:
    """Nothing that could be read is withheld, and the status says that something could not, if nothing was found."""
    done = analyze(write_log(SCHEDULE), str(tmp_path / "none"), "--json")
    assert done.status == 2
    assert done.err == f"ksmactors: {tmp_path / 'none'}: cannot be read: No such file or directory\n"
    assert orjson.loads(done.out)["events"] == 6
    assert analyze(path, str(tmp_path / "none")).status == 1


@pytest.mark.parametrize("content", [None, b"", b"hello\n", b"\x00" * 100])
def test_nothing_to_analyze_is_a_usage_error(
    analyze: Callable[..., Done], tmp_path: Path, content: bytes | None
) -> None:
    """A missing file, an empty one, or one that is no log at all: said, and exit 2."""
    path = tmp_path / "some.log"
    if content is not None:
        path.write_bytes(content)
    done = analyze(str(path))
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"ksmactors: {path}")
    assert done.err.endswith("ksmactors: analyze: there is no event in what was given\n")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--page", "77"), "page 77: no event names this frame"),
        (("--page", "10", "--schedule", "9"), "page 10: no event in schedule 9 names this frame"),
        (("--page", "10", "--sql", "SELECT 1"), "--sql and --page exclude each other"),
        (("--schedule", "1"), "--schedule needs --page"),
        (("--page", "ten"), "'ten' is not a whole number from 0"),
    ],
)
def test_wrong_options_are_usage_errors(
    analyze: Callable[..., Done], path: str, options: tuple[str, ...], said: str
) -> None:
    """Exit 2, and a line that says which option and why."""
    done = analyze(path, *options)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_help_does_not_import_duckdb_or_rich(analyze: Callable[..., Done]) -> None:
    """Asking how to use it costs nothing."""
    import subprocess
    import sys

    code = (
        "import sys; from ksmactors.cli import main; main(['analyze', '--help']); "
        "print(sorted({'duckdb', 'rich', 'structlog', 'orjson'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.startswith("Usage: ksmactors analyze")
    assert done.stdout.endswith("\n[]\n")
