"""The corpus: every known defect of the protocol that can be shown here, and the controls, by name.

Each module has the cases of one part of the protocol. `ksmactors corpus` runs them.
"""

from __future__ import annotations

import re
from typing import Final

from ksmactors.history.case import Case
from ksmactors.history.cases.barriers import BARRIERS
from ksmactors.history.cases.before import BEFORE
from ksmactors.history.cases.beyond import BEYOND
from ksmactors.history.cases.commits import AFTERWARDS, OF_THE_SERIES
from ksmactors.history.cases.follow_up import FOLLOW_UP
from ksmactors.history.cases.guests import GUESTS
from ksmactors.history.cases.hazards import HAZARDS
from ksmactors.history.cases.keyhole import KEYHOLE
from ksmactors.history.cases.later import LATER
from ksmactors.history.cases.memory_failure import MEMORY_FAILURE
from ksmactors.history.cases.nodes import NODES
from ksmactors.history.cases.stable_check import STABLE_CHECK
from ksmactors.history.cases.unmerge import UNMERGE
from ksmactors.history.commits import Commit
from ksmactors.history.culprits import CULPRITS

REPAIRED: Final = "series"
"""The kernel in which all is repaired that others still have."""

_PARTS: Final = "SRDFGNKHX"
"""How `ksmactors docs protocol` numbers cases, in its order: the series, what followed it, and the later fixes by when
they came; what v3.9 still had; then (X) what was found with the emulator. Cases that have a name instead of a number
come last."""


def _place(case: Case) -> tuple[int, int, str]:
    if not case.name[1].isdigit():
        return len(_PARTS), 0, case.name
    digits = "".join(one for one in case.name[1:3] if one.isdigit())
    return _PARTS.index(case.name[0]), int(digits), case.name


_ALL: Final = (
    *OF_THE_SERIES, *AFTERWARDS, *STABLE_CHECK, *KEYHOLE, *BARRIERS, *UNMERGE, *NODES, *FOLLOW_UP, *BEFORE, *LATER,
    *HAZARDS, *BEYOND, *GUESTS, *MEMORY_FAILURE,
)  # fmt: skip

CASES: Final[dict[str, Case]] = {case.name: case for case in sorted(_ALL, key=_place)}
"""By name, in the order of `_PARTS`."""

ALIASES: Final = {
    "S4a'": "S4a-0to1", "H6": "G2",
    "D3": "R3", "D4": "R1", "D5": "R2", "D6": "R4", "D7": "R5",
    "K1": "G10", "K2": "G5", "K3": "G3", "K4": "G9", "K6": "G11",
    "H9": "unshare-on-advice", "H10": "lost-while-full",
    "S5-R5": "S5-GK5", "S5-R5R6": "S5-GK5GK6", "S5b-R7": "S5b-GK7",
}  # fmt: skip
"""Cases with two names: the other one, or a former one, and the one that the case goes by."""


PROGRESS: Final = ("convergence/", "liveness/")
"""How signatures begin that are of something that never comes."""


def cases_of(commit: Commit) -> list[Case]:
    """The cases that show what a commit is for: those in which it is undone, first, and those that bear its number."""
    undone = [case for case in CASES.values() if commit.slug in case.without]
    smaller = [case for case in CASES.values() if case not in undone and re.match(rf"{commit.case}(?!\d)", case.name)]
    return undone + smaller


def looks_like(signature: str, fingerprint: str, kernel: str, *, broken: bool = True) -> list[Case]:
    """The cases whose finding has this signature, and in which the same function broke the same kind of thing; before
    those that have this signature only now and then. Of either first what this kernel has: its own cases, and those
    that were seen on a real one. A data race is recognised by its two functions, which its signature has. Where
    something never comes, no step has `broken` the promise, and who touched the object last is chance: the only case
    that has the signature is the one.

    What only an older kernel has is not looked for in the one that all of it is repaired in.
    """
    alike = (
        case
        for case in CASES.values()
        if case.explains(signature)
        and (CULPRITS.get(case.name) == fingerprint or _is_race_of(case, signature, kernel))
        and (case.with_ or case.without or kernel != REPAIRED or case.kernel == kernel)
    )
    found = sorted(alike, key=lambda case: (case.signature != signature, kernel not in (case.kernel, *case.confirmed)))
    return found or ([] if broken else _only_case_with(signature, kernel))


def _only_case_with(signature: str, kernel: str) -> list[Case]:
    """The only case that has a signature; none if it takes a mutant."""
    if not signature.startswith(PROGRESS):
        return []
    having = [case for case in CASES.values() if case.explains(signature)]
    return [case for case in having if len(having) == 1 and not case.with_ and (case.without or kernel != REPAIRED)]


def _is_race_of(case: Case, signature: str, kernel: str) -> bool:
    """Whether a signature is that of a data race which a case shows as now and then, on a kernel that may have it."""
    return kernel != REPAIRED and signature in case.also and "/data_race@" in signature
