"""A workload of somebody else's, as the documentation of `ksmactors.workload` shows one."""

from __future__ import annotations

import inspect
from pathlib import Path
from textwrap import dedent

import trio

from ksmactors import workload
from ksmactors.campaign.outcome import Verdict
from ksmactors.campaign.schedule import run_schedule
from ksmactors.campaign.subject import make_subject
from ksmactors.events import catalogue as ev
from ksmactors.plugins import load_workload


def test_the_documented_example_runs(tmp_path: Path) -> None:
    """The example in the module's docstring is a complete plug-in: it loads by path, takes its parameter, merges."""
    text = inspect.getdoc(workload) or ""
    path = tmp_path / "twins.py"
    path.write_text(dedent(text[text.index("    from ksmactors") : text.index("Before `run` starts")]))

    outcome = trio.run(run_schedule, make_subject(f"{path}:Twins", params={"pages": "3"}), 1, "random")

    assert outcome.verdict is Verdict.OK
    assert outcome.counts[ev.STABLE_TREE_APPEND] >= 6


def test_marks_that_are_expected_are_reached() -> None:
    """Every mark that a built-in workload expects is passed within a few schedules."""
    for name in ("exit_race", "knob_flip"):
        assert load_workload(name).expect_marks
        counts = [trio.run(run_schedule, make_subject(name), seed, "random").counts for seed in range(4)]
        assert sum(count[ev.WORKLOAD_MARK] for count in counts) > 0
