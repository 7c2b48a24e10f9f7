"""Two runs beside each other in a real browser: what is common, the first difference, the links."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from tests.report.conftest import Opened, data_of

PLACE = 400
"""The event that is changed in a copy of a log."""


@pytest.fixture(scope="session")
def log(finding: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines of a finding's log with all detail."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    assert main(["replay", str(finding), "--detail", "--log", str(path), "--quiet"]) == 1
    return path.read_text().splitlines(keepends=True)


@pytest.fixture(scope="session")
def compared(finding: Path, log: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a finding and its log, in which one event takes place at another time."""
    directory = tmp_path_factory.mktemp("compared")
    changed = json.loads(log[PLACE])
    changed["now"] += 1
    (directory / "changed.jsonl").write_text("".join([*log[:PLACE], json.dumps(changed) + "\n", *log[PLACE + 1 :]]))
    page = directory / "page.html"
    words = ["analyze", "--compare", str(finding), str(directory / "changed.jsonl")]
    assert main([*words, "--html", str(page), "--quiet"]) == 1
    return page


def drawn(tab: Any) -> dict[str, float]:
    """What the chart says that it drew."""
    return json.loads(tab.get_attribute("#chart-beside", "data-drawn"))  # type: ignore[no-any-return]


def test_a_comparison_opens_with_both_runs(opened: Opened, compared: Path) -> None:
    """The same actors above and below, how many events are common, the event of either side, and counts."""
    tab = opened(compared)
    data = data_of(compared)

    assert tab.is_visible("#view-beside")
    assert drawn(tab)["common"] == PLACE
    assert drawn(tab)["rows"] == 2 * len({actor for run in data["runs"] for actor in run["actor"]}) + 1
    assert f"The same for {PLACE} events, then they part" in tab.inner_text("#beside-said")
    assert tab.locator("#beside-said button").count() == 2
    assert "1 against 1 schedule, too few" in tab.inner_text("#beside-counts")
    assert all(tab.locator(f"#{side} .row.here").count() == 1 for side in ("beside-one", "beside-two"))


def test_the_first_difference_is_linked(shown: Opened, compared: Path) -> None:
    """Its button zooms there, and the step of a side leads to that event in the timeline of its schedule."""
    tab = shown(compared, "#view=beside")
    tab.keyboard.press("0")
    whole = drawn(tab)
    tab.click("#beside-first")
    near = drawn(tab)
    tab.keyboard.press("0")
    again = drawn(tab)
    tab.locator("#beside-said button").nth(1).click()

    assert near["low"] <= near["parts"] <= near["high"]
    assert near["high"] - near["low"] < (whole["high"] - whole["low"]) / 4
    assert (again["low"], again["high"]) == (whole["low"], whole["high"])
    assert tab.is_visible("#view-timeline")
    assert f"event={PLACE}" in tab.url
    assert f"run={data_of(compared)['comparison']['other']}" in tab.url


def test_a_click_shows_the_events_of_both(shown: Opened, compared: Path) -> None:
    """Around the step that was clicked, in both lists."""
    tab = shown(compared, "#view=beside")
    tab.keyboard.press("0")
    box = tab.locator("#chart-beside").bounding_box()
    before = tab.inner_text("#beside-one")
    tab.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + 8 + 1.5 * 30)

    assert tab.inner_text("#beside-one") != before
    steps = [int(tab.locator(f"#{side} .row.here .number").inner_text()) for side in ("beside-one", "beside-two")]
    assert abs(steps[0] - steps[1]) < 20
    assert steps[0] > 0


def test_a_finding_as_recorded_and_shrunk(opened: Opened, page: Path) -> None:
    """Without a comparison, a finding's two schedules are beside each other; another one can be chosen, and linked."""
    tab = opened(page, "#view=beside")
    shrunk, as_recorded = (data_of(page)["findings"][0]["shrunk"]["run"], data_of(page)["findings"][0]["run"])
    first = tab.input_value("#beside-other")
    counts = tab.inner_text("#beside-counts")
    tab.select_option("#beside-other", str(shrunk))
    link = tab.url.partition(".html")[2]
    again = opened(page, link)

    assert first == str(as_recorded)
    assert "steps" in counts
    assert "The schedules have the same events" in tab.inner_text("#beside-said")
    assert f"other={shrunk}" in link
    assert again.input_value("#beside-other") == str(shrunk)


def test_a_side_that_ends(opened: Opened, log: list[str], tmp_path: Path) -> None:
    """A log that is a beginning of the other one: it has ended, and that is where they part."""
    for name, lines in (("all", log[:60]), ("beginning", log[:40])):
        (tmp_path / name).write_text("".join(lines))
    page = tmp_path / "page.html"
    both = [str(tmp_path / name) for name in ("all", "beginning")]
    assert main(["analyze", "--compare", *both, "--html", str(page), "--quiet"]) == 0
    tab = opened(page)

    assert drawn(tab)["common"] == 40
    assert "below: has ended" in tab.inner_text("#beside-said")


def test_one_schedule_has_no_other(opened: Opened, log: list[str], tmp_path: Path) -> None:
    """The view is not offered where there is nothing to compare."""
    (tmp_path / "log").write_text("".join(log[:50]))
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "log"), "--html", str(page), "--quiet"]) == 0
    tab = opened(page, "#view=beside")

    assert tab.locator("#tab-beside").count() == 0
    assert "one schedule only" in tab.inner_text("#beside-said")


def test_names_that_are_equal_but_for_their_folder(log: list[str], tmp_path: Path) -> None:
    """Two logs of one name stay apart, and no folder is in the page."""
    paths = [tmp_path / folder / "run.jsonl" for folder in ("here", "there")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("".join(log[:50]))
    page = tmp_path / "page.html"
    assert main(["report", *map(str, paths), "--html", str(page), "--quiet"]) == 0

    assert [run["file"] for run in data_of(page)["runs"]] == ["run.jsonl", "run.jsonl (2)"]
    assert str(tmp_path) not in page.read_text()
