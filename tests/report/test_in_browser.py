"""The page of a finding in a real browser: views, clicks, keys, filters, links, colours, sizes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from ksmactors.report.page import page as make_page
from tests.report.conftest import Opened, data_of, line, write

VIEWS = ("finding", "timeline", "beside", "trees", "pages", "overview")


def drawn(tab: Any) -> dict[str, float]:
    """What the timeline says that it drew, and its window."""
    return json.loads(tab.get_attribute("#chart-timeline", "data-drawn"))  # type: ignore[no-any-return]


def moment(tab: Any) -> int:
    """The event that the address names; -1 if it names none."""
    found = re.search(r"event=(\d+)", tab.url)
    return int(found[1]) if found else -1


def ink(tab: Any, chart: str) -> int:
    """How many different colours a chart has."""
    script = """id => { const canvas = document.querySelector(`#${id} canvas`), pen = canvas.getContext("2d");
        const all = new Uint32Array(pen.getImageData(0, 0, canvas.width, canvas.height).data.buffer);
        return new Set(all).size; }"""
    return int(tab.evaluate(script, chart))


def test_the_first_screen_names_what_was_found(opened: Opened, page: Path) -> None:
    """The overview has the signature, the page, the actors, the promise and the order, and draws its charts."""
    tab = opened(page)
    text = tab.inner_text("#verdict")

    assert "locality/merged_across_nodes@replace_page" in text
    assert re.search(r"about: pfn \d+ on node \d", text)
    assert re.search(r"actors: [\w/.]+, [\w/.]+", text)
    assert "promise broken: no merge across nodes while merge_across_nodes is 0" in text
    assert "order: the default one" in text
    assert tab.locator("#verdict").bounding_box()["y"] < 300
    assert all(ink(tab, chart) > 4 for chart in ("chart-pages", "chart-shares"))


@pytest.mark.parametrize("width", [1280, 2560])
def test_every_view_draws(shown: Opened, page: Path, width: int) -> None:
    """Each tab shows its own view, and only that; nothing sticks out to the side, and the timeline uses the width."""
    tab = shown(page, "#view=pages", width=width)
    for key in VIEWS:
        tab.click(f"#tab-{key}")

        assert tab.is_visible(f"#view-{key}")
        assert tab.locator("section.shown").count() == 1
        assert f"view={key}" in tab.url
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, key
        if key == "timeline":
            assert tab.locator("#chart-timeline canvas").bounding_box()["width"] > width - 60


def test_a_click_shows_event_function_and_source(shown: Opened, page: Path) -> None:
    """A click on a lane picks one of its events, with the kernel function and where it is here."""
    tab = shown(page, "#view=timeline")
    box = tab.locator("#chart-timeline").bounding_box()
    tab.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + 8 + 1.3 * 38)

    assert moment(tab) >= 0
    detail = tab.inner_text("#event-detail")
    assert re.search(r"[\w/]+ on node \d, CPU \d", detail)
    assert re.search(r"ksmactors/(ksm|mm|actors)/\w+\.py:\d+", detail)
    assert "def " in detail


def test_keys_zoom_pan_and_step(shown: Opened, page: Path) -> None:
    """Plus halves the window, an arrow moves it, 0 shows all; n and p go to the next and the previous event."""
    tab = shown(page, "#view=timeline&step=300")
    whole = drawn(tab)
    tab.keyboard.press("+")
    near = drawn(tab)
    tab.keyboard.press("ArrowRight")
    moved = drawn(tab)
    tab.keyboard.press("0")
    start = moment(tab)
    tab.keyboard.press("n")
    tab.keyboard.press("n")
    tab.keyboard.press("p")

    span = near["high"] - near["low"]
    assert abs(span - (whole["high"] - whole["low"]) / 2) < 1
    assert abs(moved["low"] - near["low"] - span / 4) < 1
    assert (drawn(tab)["low"], drawn(tab)["high"]) == (whole["low"], whole["high"])
    assert moment(tab) == start + 1


def test_the_wheel_zooms(shown: Opened, page: Path) -> None:
    """Turning the wheel over the lanes makes the window smaller."""
    tab = shown(page, "#view=timeline")
    before = drawn(tab)
    box = tab.locator("#chart-timeline").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 3)
    tab.mouse.wheel(0, -300)
    tab.wait_for_function(
        "before => document.getElementById('chart-timeline').dataset.drawn !== before",
        arg=json.dumps(before, separators=(",", ":")),
    )

    after = drawn(tab)
    assert after["high"] - after["low"] < before["high"] - before["low"]


def test_filters_and_lanes(opened: Opened, page: Path) -> None:
    """A page, a kind of event and a hidden lane each leave fewer events; clearing shows all of them again."""
    tab = opened(page, "#view=timeline&step=300")

    def count() -> int:
        return int(tab.inner_text("#matches").split()[0].replace(",", ""))

    everything = count()
    tab.fill("#filter-page", "1")
    of_page = count()
    rows = tab.locator("#event-list .row").all_inner_texts()
    tab.fill("#filter-page", "")
    tab.select_option("#filter-event", "migrate_page")
    of_event = count()
    names = tab.locator("#event-list .row :nth-child(3)").all_inner_texts()
    tab.click("#filter-clear")
    tab.click("#lanes summary")
    tab.locator("#lane-list label", has_text="ksmd").locator("input").uncheck()
    without_ksmd = count()
    tab.click("#filter-clear")

    assert 0 < of_page < everything
    assert all(re.search(r"pfn[= ]1\b", row) for row in rows)
    assert 0 < of_event < everything
    assert set(names) == {"migrate_page"}
    assert 0 < without_ksmd < everything
    assert count() == everything


def test_a_link_leads_to_a_moment(opened: Opened, shown: Opened, page: Path) -> None:
    """The address of one moment, opened anew, shows the same event."""
    tab = shown(page, "#view=timeline&step=400")
    again = opened(page, tab.url.partition(".html")[2])

    assert moment(tab) > 0
    assert again.inner_text("#event-list .here") == tab.inner_text("#event-list .here")


def test_the_finding_as_a_sequence(shown: Opened, page: Path) -> None:
    """The sequence chart has a column for each actor, marks the steps that matter, and says which locks are held."""
    tab = shown(page, "#view=finding")
    text = tab.text_content("#finding")

    assert "departures from the default order" in text
    assert tab.locator("#finding rect.met").count() >= 1
    assert ">> " in text
    assert re.search(r"first: step \d+", text)
    assert re.search(r"found (here|by host)", text)
    assert re.search(r"pfn \d+ \(node [01]\): refcount \d", text)
    assert "ksm_thread_mutex" in text
    assert "ksmactors replay 'ksm" in text


def test_what_made_the_difference_comes_first(opened: Opened, page: Path, tmp_path: Path) -> None:
    """Necessary orders are on the first screen, with their share, and in the view of the finding."""
    data = data_of(page)
    order = {"sentence": "migrationd/1 freezes pfn 2 before ksmd gets pfn 2", "share": "50 of 50"}
    data["findings"][0]["shrunk"]["orders"] = [order]
    changed = tmp_path / "changed.html"
    changed.write_bytes(make_page("orders", data))
    tab = opened(changed)

    assert "what made the difference:" in tab.inner_text("#verdict")
    assert "before ksmd gets pfn 2 (50 of 50)" in tab.inner_text("#verdict")
    tab.click("#tab-finding")
    assert "What made the difference" in tab.inner_text("#finding")


def test_trees_are_stepped_through(shown: Opened, page: Path) -> None:
    """A step to the next change is another moment; entries show where their page is; a search shows its way."""
    tab = shown(page, "#view=trees&step=300")
    before = moment(tab)
    tab.click("#tree-next")
    tab.click("#tree-next")
    after = moment(tab)
    tab.click("#look-next")

    assert after > before
    assert "has compared pfn" in tab.inner_text("#tree-look")
    assert "stable tree of node 1" in tab.inner_text("#trees")
    assert tab.locator("#trees rect").count() > 2


def test_a_page_has_a_life(shown: Opened, page: Path) -> None:
    """The life that moved most is shown first, with its frames and what happened to it."""
    tab = shown(page, "#view=pages")

    assert re.search(r"\d+ frames, mapped at \d+ place", tab.inner_text("#page-said"))
    assert "migrate_page" in tab.inner_text("#page-events")
    assert ink(tab, "chart-page") > 4


def test_dark_and_light(opened: Opened, page: Path) -> None:
    """The colours follow the reader's preference, also while the page is open."""
    background = "getComputedStyle(document.body).backgroundColor"
    tab = opened(page, "#view=timeline", scheme="dark")
    dark = tab.evaluate(background)
    tab.emulate_media(color_scheme="light")

    assert dark == "rgb(20, 24, 29)"
    assert tab.evaluate(background) == "rgb(255, 255, 255)"


def test_all_views_are_printed(opened: Opened, tmp_path: Path) -> None:
    """On paper every view is there, whatever tab was open."""
    logs = [write(tmp_path / name, *(line(step, mm="A") for step in range(9))) for name in ("one.jsonl", "other.jsonl")]
    both = tmp_path / "page.html"
    assert main(["report", *map(str, logs), "--html", str(both), "--quiet"]) == 0
    tab = opened(both, "#view=trees")
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    tab.emulate_media(media="print")

    assert all(tab.is_visible(f"#view-{key}") for key in VIEWS)
    assert not tab.is_visible("nav")
    assert len(tab.pdf()) > 20_000
