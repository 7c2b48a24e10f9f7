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
    """A finding file: pages that stay apart, since a commit is undone."""
    out = tmp_path_factory.mktemp("findings")
    status = main([
        "stress", "numa_pingpong", "-p", "contents=1", "-p", "moves=2", "-p", "writes=1", "--seeds", "1:2",
        "--without", "merge-across-nodes-migration", "--jobs", "1", "--out", str(out), "--quiet",
    ])  # fmt: skip
    assert status == 1
    return next(out.glob("*.json"))


@pytest.fixture(scope="session")
def page(finding: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of that finding."""
    path = tmp_path_factory.mktemp("page") / "finding.html"
    assert main(["report", str(finding), "--html", str(path), "--max-schedules", "60", "--quiet"]) == 1
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


@pytest.fixture
def opened(browser: Any) -> Iterator[Opened]:
    """Opens a page from the disk; at the end, it must have said nothing on the console and asked for nothing else."""
    said: list[str] = []
    contexts = []

    def open_page(
        path: Path, fragment: str = "", *, width: int = 1280, height: int = 1000, scheme: str = "light"
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: request.url.startswith(path.as_uri()) or said.append(request.url))
        tab.on("dialog", lambda dialog: said.append(dialog.message) or dialog.dismiss())
        tab.goto(path.as_uri() + fragment)
        tab.wait_for_selector("html[data-ready]")
        return tab

    yield open_page
    for context in contexts:
        context.close()
    assert said == []


def data_of(page: Path) -> dict[str, Any]:
    """What is embedded in a page."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])  # type: ignore[no-any-return]
