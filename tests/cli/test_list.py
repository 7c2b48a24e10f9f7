"""`list`: what there is, with its origin; and plug-ins that cannot be loaded."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint, version

import pytest

from ksmactors import plugins
from ksmactors.cli import main
from ksmactors.cli.listing import WHAT
from ksmactors.events.catalogue import CATALOGUE

Capsys = pytest.CaptureFixture[str]


@pytest.mark.parametrize("what", WHAT)
def test_everything_has_a_name_a_summary_and_an_origin(what: str, capsys: Capsys) -> None:
    """`list WHAT --json` is an array of objects with name, summary and origin (package and version)."""
    assert main(["list", what, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows or what == "commits"
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


def test_a_list_of_nothing_says_so(capsys: Capsys) -> None:
    """There are no commits to undo in this version: a line says so, and the status is 0."""
    assert main(["list", "commits"]) == 0
    assert "There are no commits" in capsys.readouterr().err


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
