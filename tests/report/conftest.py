"""A page of a finding, and a browser to open pages in."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ksmactors.cli import main

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="session")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finding file: pages of two nodes are merged, since a commit is undone. Few schedules shrink it."""
    out = tmp_path_factory.mktemp("findings")
    status = main([
        "stress", "numa_pingpong", "-p", "contents=1", "-p", "moves=2", "-p", "writes=1", "--seeds", "2:3",
        "--without", "merge-across-nodes-migration", "--jobs", "1", "--out", str(out), "--quiet",
    ])  # fmt: skip
    assert status == 1
    return next(out.glob("*.json"))


@pytest.fixture(scope="session")
def page(finding: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that finding."""
    path = tmp_path_factory.mktemp("page") / "finding.html"
    assert main(["report", str(finding), "--html", str(path), "--max-schedules", "4", "--quiet"]) == 1
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium of the system; it is never downloaded."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield chromium
        chromium.close()


Opened = Callable[..., Any]

WIDTH, HEIGHT = 1280, 1000
"""Of a window, in pixels."""

LATER = """fragment => new Promise((done) => {
    document.getElementById("run").dispatchEvent(new Event("change"));
    addEventListener("hashchange", function there(event) {
        if (!event.newURL.endsWith(fragment)) return;
        removeEventListener("hashchange", there);
        done();
    });
    location.hash = fragment;
})"""
"""Shows what a fragment names as if the page had just been opened, with no other moment and the whole schedule.
Filters stay, so a test that sets one opens a page of its own."""


class Window:
    """A tab of the browser, and what it said or asked for that a page must not."""

    def __init__(self, browser: Any) -> None:
        self.tab = browser.new_context().new_page()
        self.said: list[str] = []
        self._page = ""
        self.tab.on("console", lambda message: self.said.append(message.text))
        self.tab.on("pageerror", lambda error: self.said.append(str(error)))
        self.tab.on("request", lambda request: request.url.startswith(self._page) or self.said.append(request.url))
        self.tab.on("dialog", lambda dialog: self.said.append(dialog.message) or dialog.dismiss())

    def load(self, path: Path, fragment: str, *, width: int = WIDTH, scheme: str = "light") -> Any:
        """Load a page from the disk; of the page before, nothing is left."""
        self._page = "about:blank"
        self.tab.goto(self._page)
        self.tab.set_viewport_size({"width": width, "height": HEIGHT})
        self.tab.emulate_media(media="null", color_scheme=scheme)
        self.tab.mouse.move(0, 0)
        self._page = path.as_uri()
        self.tab.goto(self._page + fragment)
        self.tab.wait_for_selector("html[data-ready]")
        return self.tab


@pytest.fixture(scope="session")
def windows(browser: Any) -> list[Window]:
    """Tabs in which no test is at work. A new one has to compile the chart library again."""
    return []


@pytest.fixture
def opened(browser: Any, windows: list[Window]) -> Iterator[Opened]:
    """Opens a page from the disk; at the end, it must have said nothing on the console and asked for nothing else."""
    used: list[Window] = []

    def open_page(path: Path, fragment: str = "", **options: Any) -> Any:
        used.append(windows.pop() if windows else Window(browser))
        return used[-1].load(path, fragment, **options)

    yield open_page
    said = [line for window in used for line in window.said]
    if not said:
        windows.extend(used)
    assert said == []


@pytest.fixture(scope="session")
def left_open(browser: Any) -> dict[Path, Window]:
    """Pages that stay open, each in its tab."""
    return {}


@pytest.fixture
def shown(browser: Any, left_open: dict[Path, Window]) -> Iterator[Opened]:
    """Shows what a fragment names in a page that earlier tests may have used: as `opened`, without loading it again."""
    used: list[Window] = []

    def show(path: Path, fragment: str, *, width: int = WIDTH) -> Any:
        if path not in left_open:
            left_open[path] = Window(browser)
            left_open[path].load(path, fragment)
        window = left_open[path]
        used.append(window)
        window.tab.set_viewport_size({"width": width, "height": HEIGHT})
        window.tab.evaluate(LATER, fragment)
        return window.tab

    yield show
    said = [line for window in used for line in window.said]
    for window in used:
        window.said.clear()
    assert said == []


def line(step: int, event: str = "ksm_enter", actor: str = "ksmd", seed: int = 1, **fields: Any) -> dict[str, Any]:
    """An event of a log."""
    return {
        "event": event, "run": "r", "seed": seed, "schedule": 0, "step": step, "now": step * 1000, "actor": actor,
        "cpu": 0, "node": 0, "level": "info", **fields,
    }  # fmt: skip


def write(path: Path, *lines: dict[str, Any] | str) -> Path:
    """Write a log of events, and of lines that may be none."""
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in lines))
    return path


def data_of(page: Path) -> dict[str, Any]:
    """What is embedded in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]
