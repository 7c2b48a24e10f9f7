"""What a file may ask for unless it is trusted: so many steps, and numbers so large."""

from __future__ import annotations

import json

import pytest
import trio

from ksmactors.cli import main
from ksmactors.diagnose.replaying import recorded
from ksmactors.interleave.schedule_string import Schedule, decode, encode
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.ceilings import PARAMETER_MAX, STEPS_MAX, ceiling, steps_said
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from ksmactors.run.trust import needs_trust
from tests.run.test_header import changed

STEPS_SAID = steps_said(2)

REFUSED = [
    ({"steps": STEPS_SAID, "nodes": 64}, f"records {STEPS_SAID:,} steps; a replay of more than {steps_said(64):,}"),
    ({"steps": STEPS_SAID + 1}, f"records {STEPS_SAID + 1:,} steps"),
    ({"steps": (1 << 63) - 1}, "records 9,223,372,036,854,775,807 steps"),
    ({"params": {"patience": str(PARAMETER_MAX + 1)}}, f"asks for -p patience={PARAMETER_MAX + 1}"),
    ({"params": {"patience": "2_147_483_648"}}, "asks for -p patience=2_147_483_648"),
]


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=[said[:40] for _, said in REFUSED])
def test_much_work_is_refused(values: dict[str, object], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A header that asks for much is refused in one line that says what, and how it could be had."""
    source = changed(**values)
    for command in ("replay", "shrink"):
        assert main([command, source]) == 2
        err = capsys.readouterr().err
        assert f"the finding {said}" in err
        assert "give --trust" in err
        assert err.count("\n") == 1
    assert needs_trust(source)
    assert recorded(source, trust=True).schedule.ceiling is None


def test_what_is_not_much_is_taken() -> None:
    """At the limits nothing has to be trusted."""
    source = changed(steps=STEPS_SAID, params={"patience": str(PARAMETER_MAX)})
    assert not needs_trust(source)
    assert recorded(source).schedule.ceiling == STEPS_MAX
    assert recorded(changed(nodes=64)).schedule.ceiling == ceiling(64) < STEPS_MAX


def test_trust_does_not_widen_a_range(capsys: pytest.CaptureFixture[str]) -> None:
    """A value that the workload does not allow is refused as such: trust would not help."""
    assert main(["replay", changed(params={"pages": "2000000"})]) == 2
    err = capsys.readouterr().err
    assert "pages must be a whole number from 1 to 1000" in err
    assert "--trust" not in err


def long_schedule(steps: int) -> Outcome:
    """A schedule of about as many steps."""
    subject = make_subject("classic.starve_20", params={"steps": steps})
    return trio.run(lambda: run_schedule(subject, 1, "random", keep=True))


def test_a_long_schedule_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """A schedule of many steps has their number in its header, whatever its choices, and replays when it is trusted."""
    assert "steps" not in decode(long_schedule(100).schedule).header
    outcome = long_schedule(STEPS_SAID)
    assert outcome.steps > STEPS_SAID
    assert decode(outcome.schedule).header["steps"] == outcome.steps
    assert main(["replay", outcome.schedule, "-q"]) == 2
    assert main(["replay", outcome.schedule, "-q", "--trust", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"]


@pytest.mark.slow
def test_a_replay_without_an_end_is_ended() -> None:
    """A file that asks for all it may have, of a workload that goes on for longer, ends at the ceiling; so does what is
    followed by names after that."""
    header = decode(changed(steps=STEPS_SAID, max_steps=(1 << 63) - 1)).header
    header |= {"workload": "fork_storm", "params": {"writes": str(PARAMETER_MAX)}, "watch": []}
    then = recorded(encode(Schedule(header, runs=[])))
    outcome = trio.run(lambda: run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule)))
    assert outcome.verdict is Verdict.DIVERGED
    assert outcome.steps == STEPS_MAX
