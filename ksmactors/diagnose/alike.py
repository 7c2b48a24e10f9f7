"""Which cases of the corpus a finding looks like, in the kernel in which it was found.

Several cases may share a signature and a culprit. What was run decides among them: if the kernel has the defect of
some, only those are named. If it has the defect of none, a case with the same culprit is named only where a plug-in's
variant may have brought its defect. All others share no more than the symptom.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ksmactors.history import COMMITS
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES, REPAIRED, looks_like
from ksmactors.injection import parse_injection
from ksmactors.kernels import KERNELS, OWN, VARIANTS
from ksmactors.run.outcome import Defect
from ksmactors.run.subject import Subject


class Alike(NamedTuple):
    """The cases whose cause a finding has, likeliest first, and those of which only the symptom is known to fit."""

    looks_like: tuple[str, ...]
    symptom_of: tuple[str, ...]


def alike(defect: Defect, subject: Subject, *, broken: bool) -> Alike:
    """Return the cases that an explained finding looks like; `broken` says whether some step broke the promise."""
    cases = looks_like(defect.signature, defect.fingerprint, subject.kernel, broken=broken)
    own = sorted((case for case in cases if _is_in(case, subject)), key=lambda case: _distance(case, defect, subject))
    foreign = any(VARIANTS[name].origin != OWN for name in subject.with_)
    if own and (defect.cause_is_known or not foreign):
        return Alike(_names(own), ())
    if cases and defect.cause_is_known and foreign:
        return Alike(_names(cases), ())
    return Alike((), _names(cases or _brought(defect, subject)))


def _brought(defect: Defect, subject: Subject) -> list[Case]:
    """The cases with the signature of a finding whose commit was undone or whose mutant was put on.

    None if the step that broke the promise is known, since it is not theirs.
    """
    if defect.broke is not None and defect.broke.held_until is not None:
        return []
    changed = {*subject.without, *subject.with_}
    having = (case for case in CASES.values() if case.signature == defect.signature)
    return [case for case in having if changed & {*_changes(case)} and _is_in(case, subject)]


def _names(cases: Sequence[Case]) -> tuple[str, ...]:
    return tuple(case.name for case in cases)


def _changes(case: Case) -> list[str]:
    """The commits that a case undoes and the mutants that it puts on."""
    return [*(slug for slug in case.without if slug in COMMITS), *case.with_]


def _is_in(case: Case, subject: Subject) -> bool:
    """Whether the kernel that was run has the defect of a case, and the faults that it takes were injected.

    The defect is what a commit undone or a mutant brings, whatever else the case takes off to show it in one schedule.
    """
    changes, layers = _changes(case), _layers(subject)
    has_defect = {*changes} <= {*subject.without, *layers} if changes else layers.isdisjoint(case.without)
    if case.kernel != REPAIRED:
        of_old = not case.with_ and not case.without and subject.kernel != REPAIRED
        has_defect = has_defect and (of_old or subject.kernel in (case.kernel, *case.confirmed))
    return has_defect and parse_injection(case.inject).keys() <= dict(subject.inject).keys()


def _layers(subject: Subject) -> set[str]:
    """The variants of the kernel that was run."""
    undone = [COMMITS[slug] for slug in subject.without if slug in COMMITS]
    gone = {*subject.without, *(name for commit in undone for name in commit.repairs)}
    return {*KERNELS[subject.kernel]} - gone | {*subject.with_}


def _distance(case: Case, defect: Defect, subject: Subject) -> tuple[bool, bool, int]:
    """How far a case is from what was run: the nearest has the signature, was seen on the kernel, and takes the most of
    what was changed."""
    changed = {*case.without} - _layers(subject) | {*case.with_} | {*parse_injection(case.inject)}
    return case.signature != defect.signature, subject.kernel not in (case.kernel, *case.confirmed), -len(changed)
