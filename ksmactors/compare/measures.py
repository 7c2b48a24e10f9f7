"""What is compared: figures of schedules, each a sum over another one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from ksmactors.campaign.summary import RACES
from ksmactors.compare.resampling import Sample
from ksmactors.events import catalogue as ev
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.run.measured import LockUse, TreeUse
from ksmactors.run.outcome import Outcome, Verdict

MORE: Final = "more"
LESS: Final = "less"

GROUPS: Final = {
    "schedule": "a schedule", "search": "a search", "lock": "locks, a schedule", "race": "races, a schedule",
}  # fmt: skip
"""The groups of figures, with what each is a figure of."""

Share: TypeAlias = tuple[int, int]
"""What a schedule adds to a figure: to the numerator, and to the denominator."""

PairedFigure: TypeAlias = Callable[[Outcome, Outcome], Sample | None]
"""What a pair of schedules adds, without the idea and with it; None if it adds nothing to either side."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure.

    Attributes:
        name: what it is, for people and in JSON.
        unit: of the figure; without one it is a count for each schedule, or what the name says.
        of: what it takes from a pair.
        better: MORE or LESS, whichever is better; empty if that depends.
        group: which figures are shown together: one of GROUPS.
        scale: what the ratio of the sums is divided by for this unit.
        needs: what there is none of where the denominator is 0.
        ended: whether only pairs count whose schedules have both ended well. Else those with a finding do, too.
    """

    name: str
    unit: str
    of: PairedFigure
    better: str = ""
    group: str = "schedule"
    scale: int = 1
    needs: str = "schedule"
    ended: bool = True


def of_both(of: Callable[[Outcome], Share]) -> PairedFigure:
    """Return a paired figure that takes the same from either schedule."""

    def figure(without: Outcome, idea: Outcome) -> Sample:
        return Sample(*of(without), *of(idea))

    return figure


def counted(*codes: int) -> PairedFigure:
    """How often events happen, in each schedule."""
    return of_both(lambda outcome: (sum(outcome.counts[code] for code in codes), 1))


NS_PER_US: Final = 1_000
NS_PER_MS: Final = 1_000_000


def _merged_after(without: Outcome, idea: Outcome) -> Sample | None:
    """Pages scanned until as many mappings were merged as both sides reached."""
    if without.measured is None or idea.measured is None:
        return None
    one, other = without.measured.merged_after, idea.measured.merged_after
    both = min(len(one), len(other))
    return Sample(one[both - 1], 1, other[both - 1], 1) if both else None


def _scans(outcome: Outcome) -> int:
    return outcome.counts[ev.KSM_STOP_SCAN]


def _merges_of_scans(outcome: Outcome) -> Share:
    return outcome.counts[ev.STABLE_TREE_APPEND], _scans(outcome)


def _scanned(outcome: Outcome) -> Share:
    return (outcome.measured.scanned, 1) if outcome.measured else (0, 0)


def _saved(outcome: Outcome) -> Share:
    return (outcome.measured.saved, 1) if outcome.measured else (0, 0)


def _virtual(outcome: Outcome) -> Share:
    return (outcome.measured.virtual, 1) if outcome.measured else (0, 0)


GENERAL: Final = (
    Measure("findings", "", of_both(lambda o: (o.verdict is Verdict.FINDING, 1)), LESS, ended=False),
    Measure("merges", "", counted(ev.STABLE_TREE_APPEND), MORE),
    Measure(
        "merges a scan", "", of_both(lambda o: (o.counts[ev.STABLE_TREE_APPEND], _scans(o))), MORE, needs="full scan"
    ),
    Measure("pages saved at most", "", of_both(_saved), MORE, needs="machine"),
    Measure("pages scanned until merged", "", _merged_after, LESS, needs="pair in which both sides merged"),
    Measure("pages scanned", "", of_both(_scanned), needs="machine"),
    Measure("full scans", "", of_both(lambda o: (_scans(o), 1))),
    Measure("steps", "", of_both(lambda o: (o.steps, 1))),
    Measure("virtual time", "ms", of_both(_virtual), scale=NS_PER_MS, needs="machine"),
)
"""Figures that every schedule has."""

_TREE_USES: Final = (("visits", 1), ("comparisons", 2))


def _of_tree(tree: str, place: int) -> Callable[[Outcome], Share]:
    def share(outcome: Outcome) -> Share:
        use = outcome.measured.trees[tree] if outcome.measured else TreeUse(0, 0, 0)
        return use[place], use.searches

    return share


TREES: Final = tuple(
    Measure(f"{tree}: {what}", "", of_both(_of_tree(tree, place)), LESS, "search", needs=f"search of the {tree} tree")
    for tree in ("stable", "unstable")
    for what, place in _TREE_USES
)
"""Figures of searches."""


def _of_lock(kind: str, place: int) -> Callable[[Outcome], Share]:
    def share(outcome: Outcome) -> Share:
        if outcome.measured is None:
            return 0, 0
        return outcome.measured.locks.get(kind, _UNUSED)[place], 1

    return share


_UNUSED: Final = LockUse(0, 0, 0)

_LOCK_USES: Final = (("held", ""), ("waited", LESS), ("longest", LESS))
"""In the order of LockUse: what it is, and what is better. To be held for less in all may mean that less was done."""


def lock_measures(outcomes: Iterable[Outcome]) -> list[Measure]:
    """Return the figures of each kind of lock that some schedule took."""
    kinds = sorted({kind for outcome in outcomes if outcome.measured for kind in outcome.measured.locks})
    return [
        Measure(f"{kind} {what}", "us", of_both(_of_lock(kind, place)), better, "lock", NS_PER_US)
        for kind in kinds
        for place, (what, better) in enumerate(_LOCK_USES)
    ]


def race_measures(outcomes: Iterable[Outcome]) -> list[Measure]:
    """Return the figures of each kind of race that happened in some schedule."""
    seen = {code for outcome in outcomes for code in RACES if outcome.counts[code]}
    return [Measure(CATALOGUE[code].name, "", counted(code), group="race") for code in sorted(seen)]
