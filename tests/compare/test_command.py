"""`ksmactors compare`: ideas whose effect is known, bad input, interruptions, and the page."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any

import orjson
import pytest

from ksmactors.cli import main
from ksmactors.compare import running
from ksmactors.compare.running import rounds
from tests.helpers.children import descendants_of, started, wait_until, wait_until_gone

LITMUS = ("litmus.scan_meets_exit", "litmus.unstable_meets_migration")
SMALL = ("vm_fleet", "-p", "guests=2", "-p", "pages=2", "-p", "rounds=0", "--seeds", "11", "--jobs", "1")
"""Fewer pairs can hardly show a difference, with so many figures."""
IDEAS = Path(__file__).with_name("ideas.py")


@pytest.fixture(autouse=True)
def _state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "80")


def comparison(capsys: pytest.CaptureFixture[str], *line: str, status: int = 0) -> dict[str, Any]:
    """The JSON object of a command, without what depends on the machine."""
    assert main(["compare", *line, "--json"]) == status
    found: dict[str, Any] = orjson.loads(capsys.readouterr().out)
    found.pop("cpu_seconds")
    return found


def figure(found: dict[str, Any], name: str) -> dict[str, Any]:
    """The figure of this name."""
    (one,) = (one for one in found["figures"] if one["name"] == name)
    assert isinstance(one, dict)
    return one


def test_an_idea_that_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """No figure differs, and every pair is said to be equal."""
    found = comparison(capsys, LITMUS[0], "--with", f"{IDEAS}:Identity", "--seeds", "12", "--jobs", "1")
    assert (found["pairs"], found["same"]) == (12, 12)
    assert not [one for one in found["figures"] if one["differs"] or one["p"] is not None]
    assert found["summary"]["the same"].startswith("all 12 pairs are equal, event by event")
    assert found["sides"]["with"]["digest"] == found["sides"]["without"]["digest"]


def test_an_idea_that_looks_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """Twice as many visits a search are called worse; comparisons are as many as before, and not called."""
    line = [*SMALL, "--with", f"{IDEAS}:LooksTwice", "--every-step"]
    found = comparison(capsys, *line)
    visits = figure(found, "unstable: visits")
    assert visits["verdict"] == "worse"
    assert visits["with"] / visits["without"] == pytest.approx(2.0, rel=0.1)
    assert visits["interval"][0] > 0
    assert not figure(found, "unstable: comparisons")["differs"]
    assert "not seen" not in found["summary"]
    assert "unstable: visits" in found["summary"]["worse"]


def test_an_idea_that_the_index_hides(capsys: pytest.CaptureFixture[str]) -> None:
    """What a search by index does not call is said, with the option that measures it."""
    found = comparison(
        capsys, "vm_fleet", "-p", "rounds=0", "--with", f"{IDEAS}:LooksTwice", "--seeds", "2", "--jobs", "1"
    )
    assert "visit_unstable_entry" in found["summary"]["not seen"]
    assert "--every-step" in found["summary"]["not seen"]


def test_an_idea_that_merges_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """What needs merges could not be measured; the rest was. Its searches visit nothing, and are called better."""
    line = [*SMALL, "--with", f"{IDEAS}:MergesNothing", "--watch", "none"]
    found = comparison(capsys, *line)
    assert figure(found, "merges")["verdict"] == "worse"
    assert figure(found, "merges")["with"] == 0.0
    assert found["summary"]["findings"].endswith("; no watcher looked")
    assert figure(found, "pages scanned until merged")["difference"] is None
    assert "pages scanned until merged (no pair in which both sides merged)" in found["summary"]["not measured"]


def test_the_sides_are_what_stress_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Either side has the digest of the same campaign by `stress`; measuring and rounds change nothing."""
    line = [*LITMUS, "--seeds", "5:13", "--jobs", "1", "--out", str(tmp_path / "out")]
    found = comparison(capsys, *line, "--with", "chains", "--without", "kpfn-aba")
    for side, options in (("without", []), ("with", ["--with", "chains", "--without", "kpfn-aba"])):
        assert main(["stress", *line, *options, "--json"]) == 0
        assert orjson.loads(capsys.readouterr().out)["digest"] == found["sides"][side]["digest"]


@pytest.mark.slow
def test_any_number_of_jobs(capsys: pytest.CaptureFixture[str]) -> None:
    """The result is the same for one process and for two, finding files aside."""
    line = [*LITMUS, "--with", "trylock-search", "--seeds", "12", "--strategy", "pos"]
    one, two = (comparison(capsys, *line, "--jobs", jobs) for jobs in ("1", "2"))
    assert one == two
    assert one["pairs"] == 12


def test_what_was_found(capsys: pytest.CaptureFixture[str]) -> None:
    """A finding with the idea is status 1; it is named in words, its file with the command that replays it."""
    line = [*SMALL, "--with", f"{IDEAS}:Loses", "--seeds", "1"]
    assert main(["compare", *line]) == 1
    out = capsys.readouterr().out
    assert out.split("\n")[2].startswith("findings: with the idea in ")
    assert "only there:" in " ".join(out.split())
    assert "replay: ksmactors replay " in out
    assert "with the idea:\n" in out
    found = comparison(capsys, *line, status=1)
    assert found["sides"]["with"]["findings"]
    assert found["left_out"][0]["side"] == "with"


def test_a_finding_without_the_idea(capsys: pytest.CaptureFixture[str]) -> None:
    """A finding on the plain kernel is status 1, too: an idea may repair it."""
    line = ["litmus.search_meets_exit", "--kernel", "v3.9", "--with", "restart-on-stale", "--seeds", "4", "--jobs", "1"]
    found = comparison(capsys, *line, status=1)
    assert found["sides"]["without"]["findings"]
    assert not found["sides"]["with"]["findings"]


def test_an_idea_that_raises(capsys: pytest.CaptureFixture[str]) -> None:
    """An idea with a mistake ends the comparison with status 3, its traceback, and what was measured until then."""
    line = ["compare", "litmus.scan_meets_migration", "--with", f"{IDEAS}:Raises", "--seeds", "4", "--jobs", "1"]
    assert main(line) == 3
    captured = capsys.readouterr()
    assert "ZeroDivisionError: by design" in captured.err
    assert "defect of ksmactors" not in captured.err
    assert "left out: with the idea 1 crashed; 3 ran on one side only" in captured.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--with smart-scann", "no variant 'smart-scann' (did you mean smart-scan"),
        ("--with smart-scan --kernel v6.12", "kernel v6.12 has smart-scan already, so both sides would be the same"),
        ("--with smart-scan --kernel v6.12", "see what it does with --without smart-scan"),
        ("--with smart-scan --kernel v6.12", "on a kernel that lacks it: --kernel series, v3.9, v6.1"),
        ("--without overlay", "kernel series has no overlay to be without"),
        ("--with kpfn-aba --without kpfn-aba", "--with kpfn-aba and --without kpfn-aba cancel each other"),
        ("", "say what to compare with the kernel as it is: --with IDEA, or --without NAME"),
        ("--with chains --seeds 0", "there is no seed in that range"),
        ("--with chains --strategy none", "no strategy 'none'"),
        ("--with chains -p guests=0", "guests must be a whole number from 1 to 64"),
        ("--with chains --kernel v9.9", "no kernel 'v9.9'"),
        ("--with ksm-page-migration", "is a commit that every kernel has"),
        ("--with none.py:Idea", "there is no file"),
    ],
)
def test_bad_input(line: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line says what is wrong, and the status is 2."""
    assert main(["compare", "vm_fleet", *line.split()]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_terminal_of_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing but signatures and commands is wider, and what is said first is what was found."""
    assert main(["compare", *SMALL, "--with", "chains", "--seeds", "3", "-q"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("vm_fleet: kernel series without and with the idea (--with chains)")
    assert any(line.startswith("findings: none, in 3 schedules without") for line in lines[:4])
    assert any(line.split()[:1] == ["merges"] for line in lines)


def test_the_page(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The page has the table and the words, no script, nothing from anywhere; names are escaped."""
    idea = tmp_path / "<b>&'x.py"
    idea.write_text(IDEAS.read_text())
    page = tmp_path / "page.html"
    line = ["compare", LITMUS[0], "--with", f"{idea}:LooksTwice", "--seeds", "3", "--jobs", "1", "--html", str(page)]
    assert main(line) == 0
    text = page.read_text("utf-8")
    assert "<b>" not in text
    assert "&lt;b&gt;" in text
    assert "<script" not in text
    assert "http://" not in text.replace("http-equiv", "")
    assert "default-src &#x27;none&#x27;" in text
    assert "merges a scan" in text
    assert "<svg" in text
    assert main(line) == 2
    assert "exists; give --force" in capsys.readouterr().err
    assert main([*line, "--force"]) == 0


def test_time_is_over(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With --seconds, what was measured until then counts: here the first round."""
    monkeypatch.setattr(running, "monotonic", lambda: math.inf)
    line = ["compare", LITMUS[0], "--with", "chains", "--seeds", "100000", "--seconds", "8h", "--jobs", "1"]
    assert main(line) == 0
    captured = capsys.readouterr()
    assert "the time is over: 5 of 100,000 pairs ran to the end" in captured.err
    assert "how: 5 pairs" in captured.out


COUNTED = """
from ksmactors.workload import Host, Process, Workload

class Counted(Workload):
    "writes equal pages"
    async def run(self, host: Host) -> None:
        with open({begun!r}, "a") as begun:
            begun.write(".")
        for name in "AB":
            host.process(name).spawn(self.live, host)

    async def live(self, process: Process, host: Host) -> None:
        region = await process.map(1)
        await process.mergeable(region)
        await process.write(region, 0, 1 + host.draw("content", 2))
"""
"""A workload that leaves a trace of each schedule: two sides of five, and some of ten more, when it has 20."""


@pytest.mark.slow
def test_ctrl_c(tmp_path: Path) -> None:
    """Ctrl-C ends the workers; what was measured is compared, and the status is 130."""
    source, begun = tmp_path / "counted.py", tmp_path / "begun"
    source.write_text(COUNTED.format(begun=str(begun)))
    line = ["compare", f"{source}:Counted", "--with", "trylock-search", "--seeds", "100000", "--jobs", "2", "--json"]
    with started(line, tmp_path) as process:
        workers = descendants_of(process.pid, 3)
        wait_until(lambda: begun.exists() and begun.stat().st_size > 20)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=100)
    assert process.returncode == 130, err
    found = orjson.loads(out)
    assert found["interrupted"]
    assert found["pairs"] > 0
    assert "interrupted:" in err
    assert "Traceback" not in err
    assert wait_until_gone(workers) == []


def test_rounds_grow() -> None:
    """The sides take turns, after 5 seeds, 10 more, 20 more; together they are all seeds."""
    cut = list(rounds(range(7, 70)))
    assert [len(one) for one in cut] == [5, 10, 20, 28]
    assert [seed for one in cut for seed in one] == list(range(7, 70))
