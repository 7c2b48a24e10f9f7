"""`report --html`: what it writes, what it refuses, and hostile logs in a real browser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import trio

from ksmactors.campaign.corpus import show
from ksmactors.campaign.findings import save
from ksmactors.cli import main
from ksmactors.history.cases import CASES
from ksmactors.report import columns
from ksmactors.report.columns import Columns
from ksmactors.report.page import page as make_page
from tests.report.conftest import LATER, Opened, data_of, line, write

Capsys = pytest.CaptureFixture[str]

HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[31m\u202e'\"{b|c}"


def test_the_same_to_the_byte(finding: Path, page: Path, tmp_path: Path) -> None:
    """Equal input gives an equal page, and no folder of this machine is in it."""
    main(["report", str(finding), "--html", str(tmp_path / "again"), "--max-schedules", "4", "--quiet"])
    content = page.read_bytes()

    assert (tmp_path / "again").read_bytes() == content
    assert str(finding.parent).encode() not in content
    assert len(content) < 8_000_000


def test_nothing_but_our_scripts_may_run(page: Path) -> None:
    """The policy lets nothing be loaded, and names two scripts and a style by their hashes."""
    text = page.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)

    assert policy is not None
    assert policy[1].startswith("default-src &#x27;none&#x27;; script-src &#x27;sha256-")
    assert policy[1].count("sha256-") == 3
    assert "unsafe" not in policy[1]
    assert re.findall(r"<(?:script|link|img|iframe)[^>]+src=", text.partition("<script type=")[0]) == []


def test_the_finding_is_explained_and_shrunk(page: Path) -> None:
    """The page has the schedule as recorded and the shrunk one, each with its trees and the looks of its searches."""
    data = data_of(page)
    found = data["findings"][0]

    assert found["signature"] == "locality/merged_across_nodes@replace_page"
    assert found["shrunk"]["of"] > len(found["shrunk"]["departures"])
    assert [bool(run["shapes"] and run["looks"]) for run in data["runs"]] == [True, True]
    assert data["runs"][found["shrunk"]["run"]]["title"].endswith("shrunk")
    assert "cmp_and_merge_page" in data["functions"]


def test_as_recorded_only(finding: Path, tmp_path: Path) -> None:
    """Without schedules to try, a finding is shown as it was recorded."""
    path = tmp_path / "page.html"

    assert main(["report", str(finding), "--html", str(path), "--max-schedules", "0", "--quiet"]) == 1
    assert "shrunk" not in data_of(path)["findings"][0]


def test_a_file_is_not_replaced(page: Path, tmp_path: Path, capsys: Capsys) -> None:
    """An output that exists is left alone, unless --force is given."""
    log, out = write(tmp_path / "a.ndjson", line(1, mm="A")), tmp_path / "out.html"
    out.write_text("precious")
    refused = main(["report", str(log), "--html", str(out)])
    message = capsys.readouterr().err
    kept = out.read_text()

    assert (refused, kept) == (2, "precious")
    assert "exists; give --force" in message
    assert main(["report", str(log), "--html", str(out), "--force", "--quiet"]) == 0
    assert out.read_bytes().startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize("content", ["", "\n\n", "not a log\n", "[" * 100_000])
def test_nothing_to_show(tmp_path: Path, capsys: Capsys, content: str) -> None:
    """An empty log, or one without an event, is a usage error in a line, and nothing is written."""
    log, out = tmp_path / "a.ndjson", tmp_path / "out.html"
    log.write_text(content)

    assert main(["report", str(log), "--html", str(out)]) == 2
    assert "there is no event" in capsys.readouterr().err
    assert not out.exists()


def test_a_workload_that_is_not_here(finding: Path, tmp_path: Path, capsys: Capsys) -> None:
    """A finding of a workload that is not installed is refused with its name."""
    content = json.loads(finding.read_text())
    path = tmp_path / "finding.json"
    from ksmactors.interleave.schedule_string import decode, encode

    schedule = decode(content["schedule"])
    schedule.header["workload"] = "not_installed_here"
    path.write_text(json.dumps({**content, "schedule": encode(schedule)}))

    assert main(["report", str(path), "--html", str(tmp_path / "out.html")]) == 2
    assert "not_installed_here" in capsys.readouterr().err


def test_analyze_writes_a_page_too(tmp_path: Path, capsys: Capsys) -> None:
    """`analyze --html` makes the page of a log; it is one question among others, and replays nothing."""
    log, out = write(tmp_path / "a.ndjson", line(1, mm="A")), tmp_path / "out.html"

    assert main(["analyze", str(log), "--html", str(out), "--quiet"]) == 0
    assert len(data_of(out)["runs"]) == 1
    assert main(["analyze", str(log), "--html", str(out)]) == 2
    assert main(["analyze", str(log), "--html", str(out), "--sql", "SELECT 1", "--force"]) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_foreign_lines_and_a_cut_are_said_in_the_page(tmp_path: Path, capsys: Capsys) -> None:
    """Lines that are no events are counted, and shown in the page as on the terminal."""
    log = write(tmp_path / "a.ndjson", line(1, mm="A"), "Traceback: something else", line(2, mm="B"), '{"event": "ks')
    out = tmp_path / "out.html"
    main(["report", str(log), "--html", str(out)])
    notes = "\n".join(data_of(out)["notes"])

    assert "line 2" in notes
    assert "2 events, 2 lines lost" in notes
    assert str(tmp_path) not in notes
    assert "line 2" in capsys.readouterr().err


def test_mixed_schedules_are_told_apart() -> None:
    """Events of several schedules in turn come out as columns of each."""
    mixed = Columns()
    mixed.take([line(1, seed=1, mm="A"), line(5, seed=2, mm="A"), line(2, seed=1, mm="B"), line(9, seed=2, mm="A")])
    runs = mixed.as_json()["runs"]

    assert [(run["seed"], run["step"]) for run in runs] == [("1", [1, 1]), ("2", [5, 4])]


def test_times_may_be_far_apart() -> None:
    """A log that no emulator wrote may go from the last nanosecond to the first: the page has what JavaScript keeps."""
    wild = Columns()
    wild.take(line(step, mm="A") | {"now": step} for step in (0, (1 << 63) - 1, -(1 << 63), 5))
    (run,) = wild.as_json()["runs"]

    assert run["time"] == run["step"] == [0, 1 << 53, -(1 << 53), 5]
    assert make_page("t", wild.as_json())


def test_a_schedule_with_a_finding_is_kept() -> None:
    """When not all events fit, the earliest schedules without a finding are left out and counted."""
    small = Columns(events_max=6)
    small.take(line(step, seed=1, mm="A") for step in range(4))
    small.take([line(1, "finding.found", seed=2, signature="s", message="m", watcher="w", kind="k")])
    small.take(line(step, seed=3, mm="A") for step in range(4))

    assert [(run["seed"], len(run["kind"])) for run in small.as_json()["runs"]] == [("2", 1), ("3", 4)]
    assert small.left_out == 4


def test_texts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts beyond the bound are left out, and one text is held once."""
    monkeypatch.setattr(columns, "TEXTS_MAX", 10)
    texts = Columns()
    texts.take([line(1, mm="abcdefgh"), line(2, mm="abcdefgh"), line(3, mm="ijklmnop"), line(4, mm="q" * 9)])

    assert texts.as_json()["texts"] == ["abcdefgh", "(left out)"]


def test_no_markup_of_a_name_is_in_the_file(tmp_path: Path) -> None:
    """What a log says cannot end the block that it is in, nor stand in the title."""
    content = make_page(HOSTILE, {"title": HOSTILE}).decode()

    assert HOSTILE not in content
    assert content.count("<img src=x") == 0


def test_hostile_names_are_shown_and_not_performed(shown: Opened, tmp_path: Path) -> None:
    """Markup, control characters and templates in actors, texts and names are text in every view."""
    log = write(
        tmp_path / "<b>a.ndjson",
        line(1, "<img src=x onerror=alert(2)>", HOSTILE, run=HOSTILE, mm=HOSTILE),
        line(
            2,
            "race.page_pinned",
            HOSTILE,
            winner=HOSTILE,
            loser=HOSTILE,
            tree="stable",
            tree_nid=0,
            page_nid=0,
            kpfn=3,
            run=HOSTILE,
        ),
        line(3, "lock.wait", HOSTILE, lock=HOSTILE, holder=HOSTILE, run=HOSTILE),
        line(4, "do_anonymous_page", HOSTILE, mm=HOSTILE, address=4096, pfn=3, nid=0, run=HOSTILE),
        line(
            5, "finding.found", HOSTILE, signature=HOSTILE, message=HOSTILE, watcher=HOSTILE, kind=HOSTILE, run=HOSTILE
        ),
    )
    out = tmp_path / "out.html"
    assert main(["report", str(log), "--html", str(out), "--quiet"]) == 1
    for view in ("overview", "timeline", "beside", "trees", "pages", "finding"):
        tab = shown(out, f"#view={view}&event=1")

        assert tab.is_visible(f"#view-{view}")
        assert tab.locator("img").count() == 0
        assert tab.locator("b:not(.verdict b)").count() == 0
    tab.click("#tab-timeline")
    assert "<img src=x onerror=alert(1)>\\x1b[31m\\u202e" in tab.inner_text("#event-detail")


def test_many_events_are_drawn_as_few_shapes(opened: Opened, tmp_path: Path) -> None:
    """A log of 6,000 events is drawn with some hundred shapes, and zooming in shows all that is there."""
    actors = ("ksmd", "migrationd/0", "A.0")
    lines = (line(step, actor=actors[step % 3], mm=f"mm{step % 7}") for step in range(6_000))
    log, out = write(tmp_path / "big.ndjson", *lines), tmp_path / "out.html"
    assert main(["report", str(log), "--html", str(out), "--quiet"]) == 0
    tab = opened(out, "#view=timeline&event=3000")
    few = json.loads(tab.get_attribute("#chart-timeline", "data-drawn"))
    for _ in range(7):
        tab.keyboard.press("+")
    near = json.loads(tab.get_attribute("#chart-timeline", "data-drawn"))

    assert few["bars"] + few["marks"] < 2_000
    assert out.stat().st_size < 8_000_000
    assert near["high"] - near["low"] < 50
    assert near["marks"] >= near["high"] - near["low"] - 1


def test_an_address_of_nowhere(opened: Opened, tmp_path: Path) -> None:
    """A fragment that names no schedule, view or event opens the page as without one, and shows it as it is."""
    log, page = write(tmp_path / "a.ndjson", line(1, mm="A"), line(1, seed=2, mm="A")), tmp_path / "page.html"
    assert main(["report", str(log), "--html", str(page), "--quiet"]) == 0
    tab = opened(page, "#run=99&view=constructor&event=999999999")

    assert tab.locator("section.shown").count() == 1
    for fragment in ("#event=-1&run=x", "#%E0%A4%A", "#view=__proto__"):
        tab.evaluate(LATER, fragment)

        assert tab.locator("section.shown").count() == 1


def test_a_short_finding_says_what_made_the_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3b: ksmd takes the node off while its page is not locked, before the migration is through."""
    finding, page = save(trio.run(show, CASES["S3b"]).outcome, tmp_path), tmp_path / "page.html"
    monkeypatch.setattr("ksmactors.diagnose.cause.SCHEDULES", 5)
    assert main(["report", str(finding), "--html", str(page), "-q"]) == 1

    *_, last = data_of(page)["findings"][0]["orders"]
    assert " before " in last["sentence"]
    assert last["share"].startswith("enforced alone in 5 random schedules: 5 fail")
