"""`analyze` asked for a part: sections, actors, lines for people, views, Parquet files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

import ksmactors
from ksmactors.analysis.parquet import PARTS
from ksmactors.analysis.store import Logs
from ksmactors.analysis.views import VIEWS
from ksmactors.cli import main
from ksmactors.events import catalogue as ev

pytestmark = pytest.mark.usefixtures("kept_logs")

Capsys = pytest.CaptureFixture[str]
Write = Callable[..., str]

SCHEDULE = [
    ("ksmd", ev.KSM_START_SCAN, 1, 0),
    ("ksmd", ev.LOCK_WAIT, "page lock of pfn 5", "migrationd/0"),
    ("migrationd/0", ev.RACE_MIGRATION_BUSY, "ksmd", "migrationd/0", None, -1, 1, 5),
    ("fault/A", ev.FREE_PAGE, 5, 1),
]


@pytest.fixture(scope="module")
def log(write_log: Write) -> str:
    """Two equal schedules: a wait for a lock, a race, a page that goes."""
    return write_log(SCHEDULE, SCHEDULE)


@pytest.mark.parametrize(
    ("option", "there", "gone"),
    [("--races", "Who won against whom", "Locks found taken"), ("--locks", "Who waited for whom", "Who won"),
     ("--trees", "Pages of each node", "Who won")],
)  # fmt: skip
def test_a_section_alone(log: str, capsys: Capsys, option: str, there: str, gone: str) -> None:
    """Its tables are printed and no others; --json has its keys and no others."""
    assert main(["analyze", log, option]) == 0
    out = capsys.readouterr().out
    assert there in out
    assert gone not in out
    assert main(["analyze", log, option, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) in (2, 3)


def test_an_actor_alone(log: str, capsys: Capsys) -> None:
    """Races it took part in, locks it waited for or held, what it did."""
    assert main(["analyze", log, "--actor", "ksmd", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["actor"] for row in said["actors"]] == ["ksmd"]
    assert [(row["winner"], row["loser"], row["count"]) for row in said["race_pairs"]] == [("ksmd", "migrationd/0", 2)]
    assert [row["waiter"] for row in said["contention"]] == ["ksmd"]
    assert main(["analyze", log, "--actor", "ksmo"]) == 2
    assert "did you mean ksmd?" in capsys.readouterr().err


def test_a_stored_log_as_lines_for_people(log: str, tmp_path: Path, capsys: Capsys) -> None:
    """The lines are those that `run` prints, with a line before each schedule."""
    stored = str(tmp_path / "log")
    words = ["run", "fork_storm", "--seed", "3", "--param", "pages=2", "--param", "depth=1"]
    assert main(words) == 0
    printed = [line for line in capsys.readouterr().out.splitlines() if re.match(r" +\d+ ", line)]
    assert printed
    assert main([*words, "-q", "--log", stored]) == 0
    assert main(["analyze", "--text", stored]) == 0
    head, *lines = capsys.readouterr().out.splitlines()

    assert head == f"{stored}: fork_storm, seed 3, schedule 0"
    levels = {event.name: event.level for event in ev.CATALOGUE}
    assert [line for line in lines if levels[line.split(" ms ")[1].split()[1]] != "debug"] == printed


@pytest.mark.parametrize(
    ("options", "events"),
    [(["--event", "race.*"], ["race.migration_busy"]), (["--actor", "fault/A"], ["free_page"]),
     (["--page", "5"], ["race.migration_busy", "free_page"]),
     (["--actor", "migrationd/0", "--event", "lock.wait"], ["lock.wait"])],
)  # fmt: skip
def test_filters_of_lines(log: str, capsys: Capsys, options: list[str], events: list[str]) -> None:
    """By name of event, by actor (who did it, won, lost or held), by page, and all of it together; one schedule."""
    assert main(["analyze", "--text", log, "--schedule", "1", *options, "--json"]) == 0
    assert [line["event"] for line in json.loads(capsys.readouterr().out)["events"]] == events


def test_a_name_of_an_event_is_no_other_pattern(log: str, capsys: Capsys) -> None:
    """Only `*` stands for something else."""
    for name in ("free_pag?", "free_pag[e]"):
        assert main(["analyze", "--text", log, "--event", name]) == 2
        assert f"no event {name!r} (did you mean free_page?)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--event", "nosuch"], "no event 'nosuch'; there are: "), (["--event", "free_page", "--event", "rac.*"], "rac.*"),
     (["--actor", "ksmo"], "no actor 'ksmo' (did you mean ksmd?); there are: "), (["--page", "99999"], "page 99999: "),
     (["--schedule", "77"], "no schedule 77; there are: 0 to ")],
)  # fmt: skip
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_filter_that_fits_nothing_is_refused(
    log: str, capsys: Capsys, options: list[str], said: str, form: list[str]
) -> None:
    """It says what there is, instead of printing nothing."""
    assert main(["analyze", "--text", log, *options, *form]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_an_event_that_is_not_in_the_log_is_named(log: str, capsys: Capsys) -> None:
    """There is such an event; that it did not happen is an answer, and is said."""
    assert main(["analyze", "--text", log, "--event", "race.stale*"]) == 0
    assert capsys.readouterr() == ("", "ksmactors: --event race.stale*: there is none in what was given\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [(["--text", "--sql", "SELECT 1"], "exclude each other"), (["--event", "x"], "give --text too"),
     (["--force"], "give one of them too"), (["--races", "--page", "5"], "exclude each other")],
)  # fmt: skip
def test_two_questions_are_refused(log: str, capsys: Capsys, words: list[str], said: str) -> None:
    """One line, exit status 2."""
    assert main(["analyze", log, *words]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_is_documented_with_its_columns(log: str, name: str) -> None:
    """The table of the document has the columns of each view, in their order."""
    document = (Path(ksmactors.__file__).parent / "docs" / "log.md").read_text()
    rows = re.findall(rf"^\| `{name}` \| ([^|]*) \|", document, re.MULTILINE)
    with Logs([log]) as logs:
        columns = logs.sql(f"SELECT * FROM {name}").columns
        assert logs.rows(f"SELECT count(*) > 0 FROM {name}") == [(True,)]

    assert columns in [re.findall(r"`(\w+)`", row) for row in rows]


def test_parquet_has_each_view(log: str, tmp_path: Path, capsys: Capsys) -> None:
    """A file for each, with 64-bit seeds; what is there is replaced with --force only."""
    there = tmp_path / "it's here"
    assert main(["analyze", log, "--parquet", str(there)]) == 0
    assert capsys.readouterr().out.splitlines() == [str(there / f"{part}.parquet") for part in PARTS]
    assert sorted(file.name for file in there.iterdir()) == sorted(f"{part}.parquet" for part in PARTS)
    with duckdb.connect() as database:
        row = database.execute(
            "SELECT count(*), typeof(max(seed)) FROM read_parquet(?)", [str(there / PARTS[0]) + ".parquet"]
        )
        assert row.fetchone() == (8, "UBIGINT")
    assert main(["analyze", log, "--parquet", str(there)]) == 2
    assert "give --force" in capsys.readouterr().err
    assert main(["analyze", log, "--parquet", str(there), "--force"]) == 0
