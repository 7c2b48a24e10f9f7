"""Which case a finding is said to look like: one that the kernel has, or one with its cause; else it has a symptom."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ksmactors.campaign.corpus import subject_of
from ksmactors.campaign.summary import Found
from ksmactors.cli.report import described
from ksmactors.diagnose.alike import alike
from ksmactors.history.cases import CASES
from ksmactors.run.outcome import Break, Defect, Outcome, Verdict
from ksmactors.run.subject import Subject, make_subject
from tests.helpers import broken
from tests.helpers.explained import explained_by_name

FOREIGN = f"{broken.__name__}:AppendsNothing"


def defect_of(name: str) -> Defect:
    """The explained finding of a case."""
    defect = explained_by_name(name)
    assert defect is not None
    return defect


def subject(**where: object) -> Subject:
    """A litmus test in some kernel."""
    return make_subject("litmus.scan_meets_migration", **where)  # type: ignore[arg-type]


def test_a_case_that_the_kernel_has_takes_the_place_of_all_others() -> None:
    """Five cases have the signature and the culprit of S5a. The kernel that was run has two of them."""
    assert alike(defect_of("S5a"), subject_of(CASES["S5a"]), broken=False) == (("S5a", "H1"), ())


def test_a_known_culprit_names_the_cases_that_have_it() -> None:
    """A plug-in's variant may have brought the defect of any case with that culprit."""
    looks_like, symptom_of = alike(defect_of("S5a"), subject(with_=(FOREIGN,)), broken=False)

    assert looks_like[:2] == ("S5", "S5a")
    assert symptom_of == ()


def test_a_mutant_that_was_not_put_on_is_not_the_cause() -> None:
    """With get_ksm_page's lock undone, the culprit of S3a shows without the mutant of S3a."""
    looks_like, symptom_of = alike(defect_of("S3a"), subject(without=("get-ksm-page-locked",)), broken=False)

    assert looks_like == ()
    assert symptom_of == ("S3a",)


def test_a_mutant_that_was_put_on_is_named_by_its_symptom() -> None:
    """Two other steps met than in the case's schedule, and which step broke it is not known. Where it is, it counts."""
    mutated, defect = subject(with_=("s4f-mapping-kept",)), defect_of("S4f")
    step = replace(defect_of("S5a").met[0], function="elsewhere")
    met = replace(defect, met=(step, step))

    assert alike(met, mutated, broken=True) == ((), ("S4f",))
    assert alike(replace(met, broke=Break(1, step)), mutated, broken=True) == ((), ())


@pytest.mark.parametrize("where", [{}, {"with_": (FOREIGN,)}, {"with_": (FOREIGN, "s4f-mapping-kept")}])
def test_without_a_culprit_only_the_symptom_fits(where: dict[str, object]) -> None:
    """Where no step is known to have broken it, a case with the same signature may have another cause."""
    defect = defect_of("S4f")
    assert not defect.cause_is_known

    looks_like, symptom_of = alike(defect, subject(**where), broken=False)

    assert looks_like == ()
    assert "S4f" in symptom_of


def test_a_case_that_takes_a_fault_is_not_named_where_none_is_injected() -> None:
    """H7-oom is H7 by way of an allocation that fails."""
    assert alike(defect_of("H7-oom"), subject_of(CASES["H7"]), broken=True).looks_like == ("H7",)


def test_a_symptom_is_called_one_and_no_story_is_told() -> None:
    """The line names the case and says that the cause is not known."""
    defect = replace(defect_of("S4f"), looks_like=(), symptom_of=("S4f",))
    lines = described(Found(Outcome("one", 1, "random", Verdict.FINDING, 1, 1, (), b"", b"", defect=defect)))

    assert [line for line in lines if "S4f" in line] == [
        f"has the symptom of S4f, maybe by another cause: {CASES['S4f'].title}"
    ]
