"""Which case a finding on a later kernel is taken for: before all others, one that real kernels have."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ksmactors.history.cases import CASES, looks_like
from ksmactors.history.culprits import CULPRITS
from tests.helpers.explained import explained


@pytest.mark.parametrize(
    ("kernel", "first"), [("v6.1", "H1"), ("v6.12", "H1"), ("v7.3", "H1"), ("series", "S5"), ("v3.9", "S5")]
)
def test_what_was_seen_on_a_kernel_comes_first_there(kernel: str, first: str) -> None:
    """Several cases free a node that a page names. Of them v6.1 and later have H1, the others take a commit undone."""
    one, *others = looks_like(CASES["H1"].signature, CULPRITS["H1"], kernel)

    assert one.name == first
    assert {"S5", "H1"} <= {one.name, *(case.name for case in others)}


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v7.3"])
def test_a_finding_on_a_later_kernel_names_its_own_defect(kernel: str) -> None:
    """The schedule of H1 on kernels that have it."""
    defect = explained(replace(CASES["H1"], kernel=kernel, without=()))

    assert defect is not None
    assert defect.looks_like[0] == "H1"
