"""`shrink`, and `replay` of what does not fit any more, as a script sees them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from ksmactors.interleave.schedule_string import decode, encode

Capsys = pytest.CaptureFixture[str]

SOURCE = '''
"""A workload of a user."""

from ksmactors.model import Int, Model, Table


class Counts(Model):
    """counts without a lock"""

    workers = Int(4, "workers", low=2, high=9)

    async def run(self, table: Table) -> None:
        count, other = table.variable("count", 0), table.variable("other", 0)

        async def worker() -> None:
            # here
            await count.write(await count.read() + 1)

        await table.concurrent({f"worker/{number}": worker() for number in range(self.workers)})
        table.check(count.value == self.workers, "lost", f"{self.workers} workers counted to {count.value}")
'''

HARMLESS = "await other.write(1)"


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A workload file of a user."""
    path = tmp_path / "counting.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture
def finding(program: Path, tmp_path: Path, capsys: Capsys) -> str:
    """A finding file of it."""
    out = str(tmp_path / "found")
    args = (
        "stress",
        f"{program}:Counts",
        "--seeds",
        "40",
        "--strategy",
        "random",
        "--stop-at-first",
        "--jobs",
        "1",
        "--out",
        out,
    )
    return str(asked(capsys, *args, status=1)["findings"][0]["file"])


def edit(program: Path, text: str) -> None:
    """Change the file as if this were a new process."""
    program.write_text(text)
    for name, module in list(sys.modules.items()):
        if getattr(module, "__file__", None) == str(program):
            del sys.modules[name]


def asked(capsys: Capsys, *args: str, status: int = 0) -> dict[str, Any]:
    """Run a command with --json: its exit status is `status`, and standard output is one object."""
    assert main([*args, "--json"]) == status
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


def test_json_has_what_the_contract_says(finding: str, capsys: Capsys) -> None:
    """The object of `shrink --json` has the keys of a campaign, and beside them what it has come to."""
    content = asked(capsys, "shrink", "--trust", finding, status=1)
    assert {"workloads", "kernel", "verdict", "findings", "digest", "departures", "steps_of", "schedules_tried"} <= (
        content.keys()
    )
    assert content["verdict"] == "finding"
    assert content["departures"] == 1
    assert content["steps_of"] == content["steps"]
    assert 1 < content["schedules_tried"] <= 300
    assert content["findings"][0]["signature"] == json.loads(Path(finding).read_text())["signature"]


def test_what_is_left_replays(finding: str, capsys: Capsys) -> None:
    """The finding file that `shrink` writes replays event by event."""
    content = asked(capsys, "shrink", "--trust", finding, status=1)
    assert main(["replay", "--trust", content["findings"][0]["file"]]) == 1
    assert "the same finding, event by event" in capsys.readouterr().err


def test_a_person_reads_a_story(finding: str, capsys: Capsys) -> None:
    """Without --json: the finding, what is left of the departures, and a numbered story that ends with it."""
    assert main(["shrink", "--trust", finding, "-q"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "1 departure of " in "\n".join(lines)
    assert any(line.endswith("is stopped before it writes count") for line in lines)
    assert lines[-1].split(". ", 1)[1].startswith("found at step ")


def test_a_budget(finding: str, capsys: Capsys) -> None:
    """`--max-schedules` bounds what is tried."""
    assert asked(capsys, "shrink", "--trust", finding, "--max-schedules", "2", status=1)["schedules_tried"] == 2


def test_it_says_how_far_it_got(finding: str, capsys: Capsys) -> None:
    """A budget that ends it is named, with the departures that are left and that there were."""
    assert main(["shrink", "--trust", finding, "--max-schedules", "2"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("ksmactors: stopped by --max-schedules 2: ")
    assert err.endswith(" departures left\n")


def test_another_signature_is_never_written(finding: str, tmp_path: Path, capsys: Capsys) -> None:
    """A finding whose signature does not appear again: one line, exit status 4, its file untouched, nothing written."""
    path, out = tmp_path / "other.json", tmp_path / "out"
    content = json.loads(Path(finding).read_text()) | {"signature": "references/wrong_count@put_page"}
    path.write_text(json.dumps(content))
    before = path.read_bytes()
    assert main(["shrink", "--trust", str(path), "--out", str(out)]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "references/wrong_count@put_page is not found again: the replay found model/lost@run" in captured.err
    assert list(out.iterdir()) == []
    assert path.read_bytes() == before


def test_ctrl_c(finding: str, program: Path, capsys: Capsys) -> None:
    """Ctrl-C exits with 130, and keeps the smallest so far; before anything was found there is nothing to keep."""
    for after, told in ((4, "interrupted; this is the smallest so far"), (1, "interrupted before the finding")):
        edit(program, SOURCE.replace("class Counts(Model):", "calls = []\n\n\nclass Counts(Model):").replace(
            "        count, other", f"        calls.append(1)\n        if len(calls) == {after}:\n"
            "            raise KeyboardInterrupt\n        count, other",
        ))  # fmt: skip
        assert main(["shrink", "--trust", finding]) == 130
        captured = capsys.readouterr()
        assert told in captured.err
        assert ("replay: ksmactors replay" in captured.out) == (after > 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", "a schedule string starts with ksm2:"),
        ("{", "is no finding file"),
        ('{"schedule": 7}', "holds no schedule"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_finding(text: str | None, message: str, tmp_path: Path, capsys: Capsys) -> None:
    """A file that is none, or is none of ours, is told in one line with exit status 2."""
    path = tmp_path / "file.json"
    if text is not None:
        path.write_text(text)
    assert main(["shrink", str(path)]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_schedule_without_a_finding(program: Path, capsys: Capsys) -> None:
    """A schedule that found nothing cannot be shrunk: one line, exit status 2."""
    schedule = asked(capsys, "run", f"{program}:Counts", "--strategy", "default")["schedule"]
    assert main(["shrink", "--trust", schedule]) == 2
    assert capsys.readouterr().err == "ksmactors: there is nothing to shrink: the replay ended with ok\n"


def test_a_tape_of_another_workload(finding: str, capsys: Capsys) -> None:
    """A schedule whose workload is another one now is told with the first difference, in one line."""
    schedule = decode(json.loads(Path(finding).read_text())["schedule"])
    schedule.header |= {"workload": "classic.starve_20", "params": {}}
    assert main(["shrink", "--trust", encode(schedule)]) == 2
    err = capsys.readouterr().err
    assert "there is nothing to shrink: the replay ended with ok (the replay diverges at choice 0" in err
    assert err.count("\n") == 1


class TestAfterAChange:
    """Unrelated code has changed since: each worker writes something else first."""

    def test_names_lead_to_the_same_finding(self, finding: str, program: Path, capsys: Capsys) -> None:
        """`replay` says that the steps lead nowhere, but the departures to the same finding; it exits with 1."""
        small = asked(capsys, "shrink", "--trust", finding, status=1)["findings"][0]["file"]
        edit(program, SOURCE.replace("# here", HARMLESS))
        assert main(["replay", "--trust", small, "-q"]) == 1
        err = capsys.readouterr().err
        assert "did not find model/lost@run again" in err
        assert "the recorded steps do not fit this version; following the 1 departure by name leads to the same" in err

    def test_the_first_difference_is_told(self, finding: str, program: Path, capsys: Capsys) -> None:
        """A replay whose ready sets differ names the first choice at which they do, before it follows names."""
        edit(program, SOURCE.replace("# here", HARMLESS))
        assert main(["replay", "--trust", finding, "-q"]) == 1
        err = capsys.readouterr().err
        assert "the replay diverges at choice " in err
        assert ": recorded ready " in err
        assert err.index("diverges at choice") < err.index("by name ")

    def test_a_schedule_that_fits_again(self, finding: str, program: Path, capsys: Capsys) -> None:
        """What was followed by name is a schedule of its own, which `replay --json` gives, and which replays."""
        small = asked(capsys, "shrink", "--trust", finding, status=1)["findings"][0]["file"]
        edit(program, SOURCE.replace("# here", HARMLESS))
        second = asked(capsys, "replay", "--trust", small, status=1)["by_names"]
        assert second["verdict"] == "finding"
        again = asked(capsys, "replay", "--trust", second["finding"]["schedule"], status=1)
        assert "by_names" not in again
        assert again["findings"][0]["signature"] == second["finding"]["signature"]

    def test_a_repair(self, finding: str, program: Path, capsys: Capsys) -> None:
        """When the defect is gone the names lead to nothing, which is said; a diverging replay still exits with 1."""
        edit(
            program,
            SOURCE.replace("# here", "await mutex.lock()")
            .replace("+ 1)\n", "+ 1)\n            await mutex.unlock()\n")
            .replace("        async def", '        mutex = table.mutex("m")\n\n        async def'),
        )
        assert main(["replay", "--trust", finding, "-q"]) == 1
        assert "by name does not find model/lost@run again" in capsys.readouterr().err

    def test_shrink_follows_names_too(self, finding: str, program: Path, capsys: Capsys) -> None:
        """`shrink` takes a recording whose steps do not fit, if its names lead to the finding."""
        small = asked(capsys, "shrink", "--trust", finding, status=1)["findings"][0]["file"]
        edit(program, SOURCE.replace("# here", HARMLESS))
        assert asked(capsys, "shrink", "--trust", small, status=1)["departures"] == 1
