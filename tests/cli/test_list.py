"""`list`: what there is, with its origin; and plug-ins that cannot be loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import date
from importlib.metadata import EntryPoint, version

import pytest

from ksmactors import plugins
from ksmactors.cli import main
from ksmactors.cli.listed import WHAT
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.history import COMMITS
from ksmactors.watch import WATCHERS

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize("what", WHAT)
def test_everything_has_a_name_a_summary_and_an_origin(what: str, capsys: Capsys) -> None:
    """`list WHAT --json` is an array of objects with name, summary and origin (package and version)."""
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows
    for row in rows:
        assert row["name"]
        assert row["summary"], row["name"]
        assert row["origin"] == f"ksmactors {version('ksmactors')}"


def test_workloads_have_parameters(capsys: Capsys) -> None:
    """Each parameter of a workload has name, type, default and help."""
    assert main(["list", "workloads", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert len(rows) >= 6
    (pages,) = [p for p in rows["fork_storm"]["parameters"] if p["name"] == "pages"]
    assert (pages["type"], pages["default"]) == ("int", 4)
    assert pages["help"]


def test_every_event_is_listed_with_its_fields(capsys: Capsys) -> None:
    """`list events` names every event of the catalogue, and each field with type and meaning."""
    assert main(["list", "events"]) == 0
    out = capsys.readouterr().out
    for event in CATALOGUE:
        assert event.name in out
        for field in event.fields:
            assert f"    {field.name} ({field.type}" in out


def test_commits_say_what_shows_them(capsys: Capsys) -> None:
    """Each commit comes with subject, date, the workloads that show that it is missing and who reports them, in
    the order of the commits; the workloads and the watchers exist."""
    assert main(["list", "commits", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    workloads = set(plugins.names("workloads"))

    assert [row["name"] for row in rows] == list(COMMITS)
    for row in rows:
        assert row["subject"] == COMMITS[row["name"]].subject
        assert date.fromisoformat(row["date"])
        assert row["dated"] in ("committed", "posted")
        assert row["workloads"]
        assert set(row["workloads"]) <= workloads
        assert set(row["watchers"]) <= WATCHERS.keys()
        assert row["cases"]
    found = {row["case"] for row in rows if row["watchers"]}
    assert found == {row["case"] for row in rows} - {"S1", "R4", "R6", "R7", "D8"}


def test_commits_for_a_person(capsys: Capsys) -> None:
    """A person reads what it was like before, which commit it is, and what finds that it is missing."""
    assert main(["list", "commits", "--color", "never"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("foll-migration "))

    assert "Unmerging takes a migration entry for a hole" in lines[at]
    assert lines[at + 1].strip() == "R1, posted 2013-02-21: mm,ksm: FOLL_MIGRATION do migration_entry_wait"
    assert lines[at + 2].strip().startswith("shown by litmus.unmerge_meets_migration")
    assert "; found by unmerge" in lines[at + 2]
    assert " (cases R1" in lines[at + 2]
    assert any("nothing is found without it (cases S1a)" in line for line in lines)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--without", "get-ksm-page-lock"],
            "no commit or variant 'get-ksm-page-lock' (did you mean get-ksm-page-locked or ksm-page-migration?); ",
        ),
        (
            ["--without", "ksm-page-migration", "--without", "nothing-like-it"],
            "no commit or variant 'nothing-like-it'; see `ksmactors list variants`",
        ),
        (
            ["--with", "foll-migration"],
            "foll-migration is a commit that every kernel has; it can be undone: --without foll-migration",
        ),
        (
            ["--kernel", "v6.1", "--without", "merge-across-nodes-migration"],
            "kernel v6.1 cannot be without merge-across-nodes-migration: trylock-search and chains build on it; ",
        ),
    ],
)
def test_a_commit_that_cannot_be_undone(options: list[str], told: str, capsys: Capsys) -> None:
    """A wrong slug, alone or beside a right one, a commit put on, or one that others build on: one clear line."""
    assert main(["run", "exit_race", *options]) == 2
    err = capsys.readouterr().err.strip()
    assert told in err
    assert "\n" not in err


def test_a_variant_that_overrides_nothing(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in's variant with a misspelt function is reported and takes nobody down; put on, it is a usage error."""
    mine = EntryPoint("mine", "tests.test_kernels:Mistake", "ksmactors.variants")
    entries = plugins._entries
    monkeypatch.setattr(plugins, "_entries", lambda group: [mine] if group == "variants" else entries(group))
    told = "variant mine: Mistake.stable_tree_serach overrides nothing: no kernel has a function of that name (did you"
    assert main(["list", "variants"]) == 0
    captured = capsys.readouterr()
    assert told in captured.err
    assert "kpfn-aba" in captured.out
    assert main(["run", "exit_race", "--with", "mine"]) == 2
    assert told in capsys.readouterr().err


def test_a_broken_plugin_takes_nobody_down(capsys: Capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in that cannot be imported is reported by name and the others are listed; asking for it by name fails."""
    broken = EntryPoint("broken", "no_such_module_anywhere:Strategy", "ksmactors.strategies")
    monkeypatch.setattr(plugins, "_entries", lambda group: [broken] if group == "strategies" else [])
    assert main(["list", "strategies"]) == 0
    captured = capsys.readouterr()
    assert "portfolio" in captured.out
    assert "'broken'" in captured.err
    monkeypatch.undo()
    entries = plugins._entries
    monkeypatch.setattr(plugins, "_entries", lambda group: [broken] if group == "strategies" else entries(group))
    assert main(["run", "exit_race", "--strategy", "broken"]) == 2
    assert "no_such_module_anywhere" in capsys.readouterr().err


@pytest.mark.parametrize("what", WHAT)
def test_one_in_full(what: str, capsys: Capsys) -> None:
    """`list WHAT NAME` shows the one, its summary first; with --json it is the object that the array has."""
    assert main(["list", what, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)[-1]

    assert main(["list", what, row["name"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == row
    assert main(["list", what, row["name"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{row['name']}: {row['summary']}"
    assert f"origin: {row['origin']}" in lines


def test_a_name_that_is_none(capsys: Capsys) -> None:
    """An unknown name is a usage error that names the nearest."""
    assert main(["list", "watchers", "mlok"]) == 2
    assert "no watcher 'mlok' (did you mean mlock" in capsys.readouterr().err


def test_a_case_by_its_other_name(capsys: Capsys) -> None:
    """A case that has two names is shown by both, with its story and the command that runs it."""
    assert main(["list", "cases", "H6"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("G2: ")
    assert "\nThe child unmaps" not in out.partition("\n\n")[0]
    assert "run: ksmactors stress litmus.merge_meets_remap --without find-mergeable-vma\n" in out


def test_variants_have_a_kind(capsys: Capsys) -> None:
    """Each variant is a commit undone, a repair, a feature or a mutant, and says by which option it is chosen."""
    from ksmactors.history.mutants import MUTANTS
    from ksmactors.kernels import kernel_class

    assert main(["list", "variants", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}

    assert {row["kind"] for row in rows.values()} == {"commit undone", "repair", "feature", "mutant"}
    assert {name for name, row in rows.items() if row["kind"] == "mutant"} == set(MUTANTS)
    assert {name for name, row in rows.items() if row["kind"] == "commit undone"} == set(COMMITS)
    for name, row in rows.items():
        kernel_class(**{"--with": {"with_": [name]}, "--without": {"without": [name]}}[row["option"]])


def test_events_need_no_emulator() -> None:
    """`list events`, `--version` and `--help` start without trio, tables and the emulated kernel."""
    heavy = ("trio", "rich.table", "duckdb", "ksmactors.ksm", "ksmactors.interleave")
    code = "import sys; from ksmactors.cli import main\n"
    for command in (["list", "events", "--json"], ["--version"], ["--help"]):
        code += f"assert main({command!r}) == 0; print(*sys.modules, file=sys.stderr)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    *_, loaded = (line.split() for line in done.stderr.splitlines())
    assert "ksmactors.cli" in loaded
    assert [name for name in heavy if name in loaded] == []


@pytest.mark.parametrize(
    ("what", "name", "shown"),
    [("cases", "h1", "H1: "), ("commits", "S5", "ksm-page-migration: "), ("commits", "s5", "ksm-")],
)
def test_a_name_in_another_case_or_a_label(what: str, name: str, shown: str, capsys: Capsys) -> None:
    """What is listed is found in any case, and a commit by the label that its line shows."""
    assert main(["list", what, name]) == 0
    assert capsys.readouterr().out.startswith(shown)


def test_no_two_commits_have_one_label() -> None:
    """A label names one commit."""
    labels = [commit.case for commit in COMMITS.values()]
    assert len({*labels}) == len(labels) > 5


def test_a_long_list_is_not_part_of_a_message(capsys: Capsys) -> None:
    """A message about a name that is none has near names in any case, and where the others are; not all of them."""
    assert main(["list", "variants", "CHAIN"]) == 2
    error = capsys.readouterr().err
    assert "(did you mean chains" in error
    assert error.endswith("; see `ksmactors list variants`\n")
    assert len(error) < 200
