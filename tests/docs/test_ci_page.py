"""The page about CI: the commands of its workflow run, in a step as GitHub makes it."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import pytest

from tests.docs.examples import CONSOLE, PAGES, Example, commands_of, output_of, prepare

PAGE = PAGES["ci.md"].read_text()
STEPS = re.findall(r"^ +run: (?:\|\n((?: {10}.*\n)+)|(.*)\n)", PAGE, re.MULTILINE)


@pytest.mark.slow
def test_the_workflow_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step with a command of ksmactors runs it, annotates what it finds, and leaves its files."""
    scripts = [textwrap.dedent(block or line) for block, line in STEPS]
    replays, stresses = (one for one in scripts if "ksmactors" in one)
    prepare(Example("ci.md", 0, "", ()), tmp_path)
    finding = commands_of(CONSOLE.findall(PAGE)[0])[0]
    output_of(finding, tmp_path)
    summary = tmp_path / "summary.md"
    for name, value in (("ACTIONS", "true"), ("WORKSPACE", str(tmp_path)), ("STEP_SUMMARY", str(summary))):
        monkeypatch.setenv(f"GITHUB_{name}", value)
    monkeypatch.setenv("GITHUB_RUN_NUMBER", "7")
    monkeypatch.setitem(os.environ, "XDG_STATE_HOME", str(tmp_path))
    assert "1 finding: 1 as expected\n" in output_of(replays, tmp_path)
    shown = output_of(stresses, tmp_path)
    assert re.search(r"^::error file=counter.py,line=\d+,title=", shown, re.MULTILINE)
    assert "1,000 schedules" in shown
    made = {path.name for path in tmp_path.iterdir()}
    assert {"regressions.xml", "regressions.sarif", "stress.xml", "stress.sarif"} <= made
    assert list((tmp_path / "findings").glob("*.json"))
    assert summary.read_text().count("### ksmactors") == 2
