"""SARIF: the shape of the standard, places, fingerprints, and the interleaving of a real finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Found
from ksmactors.ci.checks import Check, Status
from ksmactors.ci.flows import interleavings
from ksmactors.ci.sarif import sarif
from ksmactors.ci.user_places import Workspace
from ksmactors.diagnose.interleaving import Interleaving
from ksmactors.run.subject import Subject, make_subject
from tests.ci.made_up import checks, defect, found
from tests.ci.sarif_shape import breaches, relations

Json = dict[str, Any]


def written(given: list[Check], root: Path, *, workflow: str = "", **more: Any) -> Json:
    """The file, read again; it must be one that the standard allows."""
    log: Json = orjson.loads(sarif(given, Workspace(root, workflow), status=1, **more))
    assert list(breaches(log)) == []
    assert list(relations(log)) == []
    return log


def test_the_shape_is_that_of_the_standard(tmp_path: Path) -> None:
    """Each object has the properties that SARIF 2.1.0 asks for and no other, whatever is in a message."""
    (run,) = written(checks(), tmp_path)["runs"]
    assert [result["level"] for result in run["results"]] == ["error", "error"]
    notes = run["invocations"][0]["toolExecutionNotifications"]
    assert [note["level"] for note in notes] == ["error", "warning"]
    assert run["invocations"][0]["executionSuccessful"] is False


@pytest.mark.parametrize(
    ("change", "breach"),
    [
        (lambda log: log.update(version="2.0"), "log/version is '2.0'"),
        (lambda log: log["runs"][0]["results"][0].pop("message"), "log/runs/0/results/0 lacks message"),
        (lambda log: log["runs"][0]["results"][0].update(x=1), "log/runs/0/results/0 has x"),
        (
            lambda log: log["runs"][0]["results"][0]["codeFlows"][0].update(threadFlows=[]),
            "log/runs/0/results/0/codeFlows/0/threadFlows is no list of at least 1",
        ),
    ],
)
def test_a_wrong_shape_is_noticed(change: Any, breach: str, tmp_path: Path) -> None:
    """The check of the shape can fail."""
    log = written(checks(), tmp_path)
    change(log)
    assert list(breaches(log)) == [breach]


def test_a_rule_for_each_kind(tmp_path: Path) -> None:
    """Findings of one kind share a rule, which says what its watcher checks."""
    given = [
        Check("stress", str(number), Status.FAILED, "m", found=found(defect(signature=f"locality/page_lost@{number}")))
        for number in range(3)
    ]
    (run,) = written(given, tmp_path)["runs"]
    (rule,) = run["tool"]["driver"]["rules"]
    assert (rule["id"], rule["name"]) == ("locality/page_lost", "PageLost")
    assert rule["fullDescription"]["text"].startswith("page_lost, reported by locality: ")
    prints = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(prints)) == 3


def test_fingerprints_are_of_the_signature(tmp_path: Path) -> None:
    """Two schedules that reach one defect have one fingerprint, though their messages, steps and seeds differ."""
    one, other = (Check("stress", "x", Status.FAILED, text, found=found(defect(text, step=step)))
                  for text, step in (("pfn 4", 3), ("pfn 5", 4)))  # fmt: skip
    prints = [written([check], tmp_path)["runs"][0]["results"][0]["partialFingerprints"] for check in (one, other)]
    assert prints[0] == prints[1]


def test_the_place_in_the_repository(tmp_path: Path) -> None:
    """A finding at a line of the user's file is there, by a relative and escaped path; its steps have it too."""
    source = tmp_path / "a b" / "w%1.py"
    source.parent.mkdir()
    source.write_text("x\n")
    check = Check("stress", "x", Status.FAILED, "m", found=found(defect(place=f"{source}:1")))
    (result,) = written([check], tmp_path)["runs"][0]["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": "a%20b/w%251.py", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 1},
    }
    assert result["codeFlows"][0]["threadFlows"][0]["locations"][0]["location"]["physicalLocation"] == place


def test_no_file_outside_of_the_repository(tmp_path: Path) -> None:
    """A place elsewhere is not named. The finding file stands for it, else the workflow, else there is no file."""
    elsewhere = defect(place=f"{__file__}:1")
    file = tmp_path / "finding.json"
    file.write_text("{}")

    def place(one: Found, workflow: str = "") -> Any:
        check = Check("stress", "x", Status.FAILED, "m", found=one)
        (result,) = written([check], tmp_path, workflow=workflow)["runs"][0]["results"]
        physical = result["locations"][0].get("physicalLocation")
        return physical and physical["artifactLocation"]["uri"]

    assert place(found(elsewhere, file=file), "w.yml") == "finding.json"
    assert place(found(elsewhere, file=Path(__file__)), "ci/w.yml") == "ci/w.yml"
    assert place(found(elsewhere)) is None


def test_what_is_expected_is_a_note(tmp_path: Path) -> None:
    """A known defect that a regression still shows is no error."""
    check = Check("replay", "x.json", Status.PASSED, "m", found=found(), expected=True)
    (result,) = written([check], tmp_path)["runs"][0]["results"]
    assert result["level"] == "note"


def test_steps_of_an_explained_finding(tmp_path: Path) -> None:
    """Without a look at the interleaving, each actor has the steps that the explanation names and its last events."""
    (result,) = written(checks()[:1], tmp_path)["runs"][0]["results"]
    threads = {one["id"]: one["locations"] for one in result["codeFlows"][0]["threadFlows"]}
    assert {name: [one["executionOrder"] for one in steps] for name, steps in threads.items()} == {
        "ksmd": [3, 9, 12], "host": [12], "migrationd/0": [7],
    }  # fmt: skip
    assert [one["importance"] for one in threads["ksmd"]] == ["unimportant", "essential", "essential"]
    assert threads["migrationd/0"][0]["location"]["message"]["text"] == (
        "migrationd/0, step 7: writes content/5, holding page lock of pfn 5"
    )


def test_a_finding_without_steps(tmp_path: Path) -> None:
    """A worker that died has no actors: then there is no code flow."""
    died = defect(actors=(), functions=(), met=(), broke=None, story=())
    (result,) = written([Check("stress", "x", Status.FAILED, "m", found=found(died))], tmp_path)["runs"][0]["results"]
    assert result["codeFlows"] == []


def campaign(subject: Subject, seeds: int) -> Campaign:
    """A campaign of that many schedules."""
    done = Campaign(Plan([subject], range(seeds), "portfolio"))
    anyio.run(done.run, backend="trio")
    return done


@pytest.mark.slow
def test_the_interleaving_of_a_finding(tmp_path: Path) -> None:
    """A page that moves while it is merged: the thread flows have the two steps that met, as the explanation has."""
    without = ("merge-across-nodes-migration",)
    subject = make_subject("numa_pingpong", params={"contents": 1}, without=without)
    tally = campaign(subject, 1).tally
    one = next(found for found in tally.found.values() if found.defect.met)
    check = Check("stress", "x", Status.FAILED, "m", found=one, subject=subject)
    seen: dict[str, Interleaving] = {}
    anyio.run(interleavings, [check], seen, backend="trio")
    (result,) = written([check], tmp_path, flows=seen)["runs"][0]["results"]
    steps = {
        (thread["id"], location["executionOrder"])
        for thread in result["codeFlows"][0]["threadFlows"]
        for location in thread["locations"]
        if location["importance"] == "essential"
    }
    assert {(step.actor, step.step) for step in one.defect.met} < steps
    assert (one.defect.actors[0], one.defect.step) in steps
    assert len(result["codeFlows"][0]["threadFlows"]) >= 2


def test_no_interleaving_of_another_subject(tmp_path: Path) -> None:
    """A finding that does not show again, or has no schedule, has no interleaving; nothing else is lost."""
    one = next(iter(campaign(make_subject("classic.lost"), 20).tally.found.values()))
    other = [
        Check("stress", "a", Status.FAILED, "m", found=one, subject=make_subject("classic.abba")),
        Check("stress", "b", Status.FAILED, "m", found=found(), subject=make_subject("classic.lost")),
        Check("stress", "c", Status.FAILED, "m", found=one),
        Check("stress", "d", Status.FAILED, "m", found=one, subject=make_subject("classic.lost")),
    ]
    seen: dict[str, Interleaving] = {}
    anyio.run(interleavings, other, seen, backend="trio")
    assert list(seen) == ["d"]
