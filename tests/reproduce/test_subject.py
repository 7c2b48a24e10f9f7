"""What `reproduce` takes a name for."""

from __future__ import annotations

import pytest

from ksmactors.errors import UsageError
from ksmactors.reproduce.subject import of_case


@pytest.mark.parametrize(("name", "case"), [("D1", "unshare-on-advice"), ("D2", "lost-while-full")])
def test_names_of_recordings_are_known(name: str, case: str) -> None:
    """Two defects have names in the recordings of real kernels that controls of the corpus have, too: it is said which
    one is meant, and the program is that of the defect."""
    found, expected = of_case(name), of_case(case)

    assert found is not None
    assert expected is not None
    assert (found.scenario, found.case) == (expected.scenario, expected.case)
    assert case in found.note
    assert expected.note == ""


@pytest.mark.parametrize("name", ["D8", "S3c"])
def test_other_controls_have_no_program(name: str) -> None:
    with pytest.raises(UsageError, match=f"case {name} is no defect: it has no scenario .* lost-while-full"):
        of_case(name)
