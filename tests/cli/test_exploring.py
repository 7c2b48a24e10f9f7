"""`replay --until` and `--explore` as a person and a script see them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from ksmactors.escaping import escaped
from tests.helpers.ready import ksmactors_line
from tests.helpers.stepping import SIGNATURE, environment, shrunk_finding

Capsys = pytest.CaptureFixture[str]

EVIL = "\x1b]0;title\x07\x1b[2J\u202egnp.exe"


@pytest.fixture(scope="module")
def finding(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The finding file of S5e, shrunk to one departure."""
    return str(shrunk_finding(tmp_path_factory.mktemp("s5e")))


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A schedule of the same workload on the kernel that has the lock cycle, with a departure where S5e has it."""
    directory = tmp_path_factory.mktemp("harmless")
    line = ksmactors_line("run", "litmus.search_meets_migration", "--seed", "18", "--json", "--quiet")
    done = subprocess.run(line, capture_output=True, check=True, env=environment(directory))
    path = directory / "schedule.txt"
    path.write_text(json.loads(done.stdout)["schedule"])
    return str(path)


def asked(capsys: Capsys, *args: str, status: int = 0) -> dict[str, Any]:
    """Run `replay` with --json: its exit status is `status`, and standard output is one object."""
    assert main(["replay", *args, "--json"]) == status
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    return content


@pytest.mark.parametrize(
    ("point", "step", "did"),
    [
        ("277", 277, "migrationd/1 writes mapping/2 in ksm_migrate_page"),
        ("stable node 1", 129, "host writes stable_tree/0 in stable_tree_insert"),
        ("kpfn/1", 196, "host reads kpfn/1 in get_ksm_page"),
        ("ksm_migrate_page", 277, "migrationd/1 writes mapping/2 in ksm_migrate_page"),
    ],
)
def test_until_stops_there(finding: str, capsys: Capsys, point: str, step: int, did: str) -> None:
    """A step, an object by name and by label, an event: where things stand is told, and nothing was found yet."""
    until = asked(capsys, finding, "--until", point)["until"]

    assert until["reached"]
    assert until["step"] == step
    assert until["did"].startswith(did.partition(" in ")[0].partition(" writes stable_tree")[0])
    assert until["actors"][0]["name"] == "host"
    assert (until["object"] is not None) == (point in ("stable node 1", "kpfn/1"))
    if point == "277":  # for people, too
        assert main(["replay", finding, "--until", point]) == 0
        assert capsys.readouterr().out.startswith(f"{step:>8}  ")


@pytest.mark.parametrize("point", ["999999", "stable_node/77", "race.stale_node", EVIL, "²"])
def test_what_never_comes_is_inconclusive(finding: str, capsys: Capsys, point: str) -> None:
    """The replay runs to its end, one line says so, and the status is 4; with --json, too."""
    assert main(["replay", finding, "--until", point, "--explore", "3"]) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert f" does not come: the replay ends at step 301 with {SIGNATURE}" in line
    assert line.isprintable()

    content = asked(capsys, finding, "--until", point, status=4)
    assert content["until"]["reached"] is False
    assert escaped(content["missed"]) in line
    assert [one["signature"] for one in content["findings"]] == [SIGNATURE]


def test_the_very_end_is_a_point_too(finding: str, capsys: Capsys) -> None:
    """The event of the finding stops at the end, with the status of a replay; nothing can be continued there."""
    assert asked(capsys, finding, "--until", "finding.found", status=1)["until"]["step"] == 301
    assert main(["replay", finding, "--until", "finding", "--explore", "3"]) == 2
    assert "no choice is left" in capsys.readouterr().err


def test_continuations_are_counted_by_signature(finding: str, capsys: Capsys) -> None:
    """After ksmd has taken its reference some fail, after it has looked at the mapping again all do."""
    before = asked(capsys, finding, "--until", "257", "--explore", "8", status=1)
    after = asked(capsys, finding, "--until", "258", "--explore", "8", status=1)

    (some,), (all_of_them,) = before["explore"], after["explore"]
    assert 0 < some["failed"] == some["same_finding"] < 8
    assert some["passed"] == 8 - some["failed"]
    assert some["by_signature"] == {SIGNATURE: some["failed"]}
    low, high = some["confidence_interval"]
    assert low < some["failed"] / 8 < high
    assert all_of_them["failed"] == 8
    assert before["schedules"] == 8
    assert before["verdict"] == "finding"


def test_the_first_that_fails_replays(finding: str, capsys: Capsys) -> None:
    """The schedule string that is printed leads to the same finding, event by event, from nothing but itself."""
    assert main(["replay", finding, "--until", "257", "--explore", "4"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "the first that fails" in line)
    command = line.partition("ksmactors ")[2].split()

    assert main([*command, "--json"]) == 1

    captured = capsys.readouterr()
    assert json.loads(captured.out)["findings"][0]["signature"] == SIGNATURE
    assert "the same schedule, event by event" in captured.err


def test_the_fix_lets_none_fail(harmless: str, capsys: Capsys) -> None:
    """On the kernel with the lock cycle nothing is found, wherever the continuations begin."""
    (one,) = asked(capsys, harmless, "--until", "ksm_migrate_page", "--explore", "6")["explore"]

    assert (one["failed"], one["passed"], one["first"]) == (0, 6, None)


def test_where_it_becomes_inevitable(finding: str, capsys: Capsys) -> None:
    """Without a point: from the start, after each departure, and around the step from which on all fail."""
    content = asked(capsys, finding, "--explore", "3", status=1)

    points = {one["point"]: one["failed"] for one in content["explore"]}
    start, departure, before, first = points
    assert start == "the start"
    assert departure.startswith("step 235: departure: migrationd/1 is left")
    assert (before, points[before] < 3) == ("step 257: ksmd writes refcount/2 in get_ksm_page", True)
    assert (first, points[first]) == ("step 258: ksmd reads mapping/2 in get_ksm_page", 3)
    assert content["all_fail_from"] == first


def test_too_many_departures_are_refused(harmless: str, tmp_path: Path, capsys: Capsys) -> None:
    """A schedule that is not shrunk has a departure at every other step: one line says what to do."""
    args = ["run", "numa_pingpong", "--seed", "1", "--strategy", "random", "--json", "--quiet"]
    assert main(args) in (0, 1)
    path = tmp_path / "long.txt"
    path.write_text(json.loads(capsys.readouterr().out)["schedule"])

    assert main(["replay", str(path), "--explore", "3"]) == 2
    assert "`ksmactors shrink` the finding first" in capsys.readouterr().err


def test_equal_under_any_hash_seed(finding: str, tmp_path: Path, capsys: Capsys) -> None:
    """The answer is the same to the byte but for the time, whatever PYTHONHASHSEED is."""
    words = [finding, "--until", "257", "--explore", "4"]
    command = ksmactors_line("replay", *words, "--json")
    done = subprocess.run(command, capture_output=True, check=False, env=environment(tmp_path, PYTHONHASHSEED="4242"))
    assert done.returncode == 1

    assert asked(capsys, *words, status=1) | {"seconds": 0} == json.loads(done.stdout) | {"seconds": 0}


def test_strategies_differ(finding: str, capsys: Capsys) -> None:
    """--strategy chooses who decides from there on; a wrong one is a usage error that lists the right ones."""
    of = {
        name: asked(capsys, finding, "--until", "240", "--explore", "4", "--strategy", name, status=status)["digest"]
        for name, status in (("random", 0), ("portfolio", 1))
    }
    assert of["random"] != of["portfolio"]
    assert main(["replay", finding, "--until", "240", "--explore", "3", "--strategy", "nosuch"]) == 2
    assert "no strategy 'nosuch'" in capsys.readouterr().err
