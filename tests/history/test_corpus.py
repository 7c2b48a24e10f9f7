"""What the corpus as a whole promises: nothing in it is idle, and the crash that was seen in the field is in it."""

from __future__ import annotations

import trio

from ksmactors.campaign.corpus import show
from ksmactors.history.cases import CASES, looks_like
from ksmactors.history.culprits import CULPRITS
from ksmactors.history.mutants import MUTANTS


def test_every_mutant_is_in_a_case() -> None:
    """There is no mutant that no case shows."""
    shown = {name for case in CASES.values() for name in case.with_}

    assert [name for name in MUTANTS if name not in shown] == []


def test_the_crash_of_uksm_names_its_function_and_is_told() -> None:
    """A page is migrated after the search has found it: the finding is in stable_tree_append, and S5e tells it."""
    case = CASES["S5e"]

    defect = trio.run(show, case).outcome.defect

    assert defect is not None
    assert defect.signature.endswith("@stable_tree_append")
    assert case in looks_like(defect.signature, CULPRITS[case.name], "series")
    assert "uksm" in case.story
