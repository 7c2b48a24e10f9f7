"""Defects that take two things, or another kernel: each half alone, and that kernel without the mutant, has none."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from ksmactors.campaign.corpus import show, signature_of
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES

ELSEWHERE = [case for case in CASES.values() if case.watcher and case.kernel != "series" and case.with_]


def found(case: Case) -> str:
    """The signature of what the directed schedule of a case finds; empty if nothing."""
    return signature_of(trio.run(show, case).outcome)


@pytest.mark.parametrize("case", ELSEWHERE, ids=lambda case: case.name)
def test_its_own_kernel_is_silent_without_the_mutant(case: Case) -> None:
    """The mutant is the defect: the kernel that it was put on, knobs and all, does not have it."""
    assert found(replace(case, with_=())) == ""


@pytest.mark.parametrize(
    ("name", "without", "with_"),
    [
        pytest.param("G4", (), ("page-dirtied", "g4-clean-is-dropped"), id="G4 with the repair of v4.5"),
        pytest.param("H5", (), ("h5-node-reused",), id="H5 with nodes reused, and forgotten by their items"),
        pytest.param("H5", ("freed-head",), (), id="H5 with nodes that are not reused"),
        pytest.param("G10", ("ksm-into-ksm",), (), id="G10 with H0 alone"),
        pytest.param("G10", ("head-cleared", "freed-head"), (), id="G10 without H0"),
    ],
)
def test_half_a_defect_is_none(name: str, without: tuple[str, ...], with_: tuple[str, ...]) -> None:
    """What makes a case is needed: with the repair on, or with only one of two things, its schedule finds nothing."""
    case = CASES[name]

    assert found(case) == case.signature
    assert found(replace(case, without=without, with_=with_)) == ""


CONFIRMED = [(name, kernel) for name, case in CASES.items() for kernel in case.confirmed]


@pytest.mark.parametrize(("name", "kernel"), CONFIRMED)
def test_a_confirmed_defect_is_in_the_emulated_kernel(name: str, kernel: str) -> None:
    """The kernels on which a defect was reproduced show it by the same schedule, with nothing undone or put on."""
    case = CASES[name]

    assert found(replace(case, kernel=kernel, without=(), with_=())) == case.signature
