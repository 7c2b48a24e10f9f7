"""A workload of somebody else's, as the documentation of `ksmactors.workload` shows one."""

from __future__ import annotations

import inspect
from pathlib import Path
from textwrap import dedent

import pytest
import trio

from ksmactors import workload
from ksmactors.events import catalogue as ev
from ksmactors.plugins import load_workload
from ksmactors.run.outcome import Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject


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
        subject = make_subject(name, watch="none")
        counts = (trio.run(run_schedule, subject, seed, "random").counts for seed in range(4))
        assert any(count[ev.WORKLOAD_MARK] > 0 for count in counts)


BAD = {
    "Exits": ("sys.exit(0)", "SystemExit: 0"),
    "RaisesAnything": ("raise BaseException('boo')", "BaseException: boo"),
    "DrawsFromNothing": ("host.draw('x', len([]))", "there is no number in"),
    "SleepsAHalf": ("await host.sleep(0.5)", "microseconds are a whole number"),
    "SleepsBackwards": ("await host.sleep(-1)", "microseconds are a whole number"),
    "SwallowsAForeignAwait": (
        "\n        try: await trio.sleep(0)\n        except Exception: pass\n        await host.sleep(1)",
        "which does not go through the conductor",
    ),
}
"""Classes of workloads by name: what they do, and what they are told."""


@pytest.mark.parametrize("name", BAD)
def test_what_a_workload_may_not_do(tmp_path: Path, name: str) -> None:
    """It has crashed, with its schedule, and ends nothing but that: no exit status, no campaign, nothing in silence."""
    code, told = BAD[name]
    path = tmp_path / "bad.py"
    path.write_text(
        "import sys\n\nimport trio\n\nfrom ksmactors.workload import Workload\n\n\n"
        f"class {name}(Workload):\n    '''Bad.'''\n\n    async def run(self, host):\n        {code}\n"
    )

    outcome = trio.run(run_schedule, make_subject(f"{path}:{name}"), 1, "random")

    assert outcome.verdict is Verdict.CRASHED
    assert outcome.defect is not None
    assert told in outcome.defect.message
    assert outcome.schedule
