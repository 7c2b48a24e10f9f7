"""The page of a campaign: its curves in a browser, and nothing in it that a stranger's store could perform."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main
from tests.report.conftest import Opened, data_of
from tests.report.test_in_browser import ink

CHARTS = ("chart-done", "chart-found", "chart-distinct", "chart-rate", "chart-shares", "chart-races")

EVIL = "</script><img src=x onerror=alert(1)>\x1b[2J{b|x}"

WORKLOAD = f"""
from ksmactors.errors import Finding
from ksmactors.workload import Host, Workload

class Evil(Workload):
    "Has names that mean no good."

    async def run(self, host: Host) -> None:
        host.mark({EVIL!r})
        if host.draw("it", 2):
            raise Finding("model", "kind", {EVIL!r}, {EVIL!r})
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a small campaign with an adaptive budget, one of whose workloads has hostile names."""
    source = tmp_path_factory.mktemp("evil") / "<b>evil<b>" / "evil.py"
    source.parent.mkdir()
    source.write_text(WORKLOAD)
    out = tmp_path_factory.mktemp("campaign")
    line = ["stress", "classic.lost", "classic.reorder_3", "exit_race", f"{source}:Evil", "--seeds", "130", "-q"]
    assert main([*line, "--budget", "adaptive", "--jobs", "1", "--max-steps", "300", "--out", str(out)]) == 1
    return out


@pytest.fixture(scope="module")
def campaign(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its page."""
    path = tmp_path_factory.mktemp("page") / "campaign.html"
    assert main(["campaign", str(store), "--html", str(path), "-q"]) == 1
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 480)])
def test_it_draws(scheme: str, width: int, opened: Opened, campaign: Path) -> None:
    """Each curve is drawn in both themes and on a narrow screen, nothing is loaded, and nothing is as wide as it must
    be scrolled."""
    tab: Any = opened(campaign, scheme=scheme, width=width)
    assert all(ink(tab, chart) > 4 for chart in CHARTS)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    text = tab.inner_text("body")
    assert "different defects" in text
    assert "budget adaptive" in text
    assert "model/lost_update@run" in text
    assert "ksmactors replay" in text


@pytest.mark.slow
def test_hostile_names_are_text(opened: Opened, campaign: Path) -> None:
    """Markup in a message or a mark is shown as it is, control characters by their number; a tooltip shows it, too."""
    tab: Any = opened(campaign)
    text = tab.inner_text("body")
    assert text.count(r"</script><img src=x onerror=alert(1)>\x1b[2J{b|x}") >= 2
    assert tab.locator("img").count() == 0
    box = tab.locator("#chart-shares").bounding_box()
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.wait_for_timeout(50)
    assert tab.locator("img, b:has-text('evil')").count() == 0


def test_what_is_in_it(campaign: Path) -> None:
    """The data are the store's; no address of another place and no `<` of theirs is in the page."""
    data = data_of(campaign)
    assert data["schedules"] == 130
    assert sum(one["schedules"] for one in data["rates"]) == 130
    assert [points[-1][1] for points in data["curves"]["done"].values()] == [
        sum(one["schedules"] for one in data["rates"] if one["workload"] == name) for name in data["curves"]["done"]
    ]
    assert data["curves"]["found"][-1][1] == len(data["findings"])
    embedded = re.search(r'id="data">(.*?)</script>', campaign.read_text(), re.DOTALL)
    assert embedded is not None
    assert "<" not in embedded[1]


def test_the_same_store_gives_the_same_page(store: Path, campaign: Path, tmp_path: Path) -> None:
    """It is written whole, and replaced only with --force."""
    path = tmp_path / "again.html"
    line = ["campaign", str(store), "--html", str(path), "-q"]
    assert [main(line), main(line), main([*line, "--force"])] == [1, 2, 1]
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(campaign.read_bytes()).digest()


def test_an_empty_store(tmp_path: Path) -> None:
    """A campaign without a schedule has a page as well."""
    line = ["stress", "classic.lost", "--seeds", "10", "--seconds", "0.0000001", "-q", "--jobs", "1"]
    main([*line, "--out", str(tmp_path / "out")])
    assert main(["campaign", str(tmp_path / "out"), "--html", str(tmp_path / "page.html"), "-q"]) in (0, 4)
    assert data_of(tmp_path / "page.html")["schedules"] == 0
