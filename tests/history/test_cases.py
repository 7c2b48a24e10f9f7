"""The corpus: each case is shown by its directed schedule, and by nothing where the defect is not."""

from __future__ import annotations

import pytest
import trio

from ksmactors.campaign.corpus import show, signature_of
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES

POSITIVE = [case for case in CASES.values() if case.watcher]
CONTROLS = [case for case in CASES.values() if not case.watcher]


@pytest.mark.parametrize("case", POSITIVE, ids=lambda case: case.name)
def test_the_directed_schedule_shows_it(case: Case) -> None:
    """A case's directed schedule follows its script until the watcher named reports."""
    shown = trio.run(show, case)

    assert signature_of(shown.outcome) == case.signature


@pytest.mark.parametrize("case", POSITIVE, ids=lambda case: case.name)
def test_the_fixed_kernel_is_silent(case: Case) -> None:
    """The same orders find nothing where the defect is not, as far as they can be followed."""
    shown = trio.run(lambda: show(case, fixed=True))

    assert signature_of(shown.outcome) == ""


@pytest.mark.parametrize("case", CONTROLS, ids=lambda case: case.name)
def test_a_control_is_silent(case: Case) -> None:
    """What is no defect reports nobody, although its schedule is followed to the end; and the case says why."""
    shown = trio.run(show, case)

    assert signature_of(shown.outcome) == ""
    assert shown.left == []
    assert case.silent_because
