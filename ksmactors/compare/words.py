"""What a comparison says in words: what differs, what does not, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from ksmactors.analysis.compare import SIGNIFICANT
from ksmactors.campaign.summary import Summary
from ksmactors.compare.comparing import Figure, PairedCampaigns
from ksmactors.compare.resampling import BOOTSTRAPS, CONFIDENCE, EXACT_PAIRS, SWAPS, least_probability
from ksmactors.quantity import quantity

FEW: Final = 20
"""Pairs below which intervals are said to be too narrow."""

_NOT_SEEN: Final = (
    "the idea overrides {}; where no other actor can run, searches take their index instead, and count each entry on "
    "the way once. Give --every-step to measure what the idea does there"
)

_MANY: Final = {"lock": "times of locks", "race": "kinds of races"}
"""Groups whose figures are counted, not named, where nothing is to be said of each."""

_ENDS: Final = {
    "finding": "ended with a finding", "inconclusive": "ran out of steps", "crashed": "crashed", "broken": "crashed",
}  # fmt: skip


def sentences(
    found: PairedCampaigns, without: Summary, idea: Summary, unseen: Sequence[str] = (), *, watched: bool = True
) -> Iterator[tuple[str, str]]:
    """Yield what a comparison says, as headings and texts, the most important first.

    Args:
        found: the comparison.
        without, idea: the sums of either campaign.
        unseen: functions of the idea that some searches have not called: see `running.unseen_functions`.
        watched: whether watchers looked for findings.
    """
    yield "findings", _findings(without, idea) + ("" if watched else "; no watcher looked")
    if found.same and found.same == found.pairs:
        yield (
            "the same",
            (f"all {_pairs(found.pairs)} are equal, event by event: nothing in these schedules depends on the idea"),
        )
    for verdict in ("better", "worse", "different"):
        figures = [figure for figure in found.differing if figure.verdict == verdict]
        if figures:
            yield verdict, "; ".join(map(change, figures))
    perhaps = [figure for figure in found.measured if figure.perhaps]
    if perhaps:
        alone = "each would be a difference if it were the only figure; run more seeds"
        yield "perhaps", f"{'; '.join(map(change, perhaps))} ({alone})"
    rest = [one for one in found.measured if not one.differs and not one.perhaps]
    if rest and found.pairs > 1 and found.same < found.pairs:
        yield "no difference seen", ", ".join(_unchanged(rest))
    missing = [figure for figure in found.figures if not figure.measured]
    if missing and found.pairs:
        yield "not measured", "; ".join(f"{one.measure.name} (no {one.measure.needs})" for one in missing)
    if unseen and found.pairs:
        yield "not seen", _NOT_SEEN.format(", ".join(unseen))
    left_out = _left_out(found)
    if left_out:
        yield "left out", left_out
    yield "how", _method(found)


def _unchanged(figures: Sequence[Figure]) -> Iterator[str]:
    """The figures without a difference: those of locks and races, of which there are many, as numbers."""
    yield from (one.measure.name for one in figures if one.measure.group not in _MANY)
    for group, what in _MANY.items():
        count = sum(one.measure.group == group for one in figures)
        if count:
            yield f"{count} {what}"


def change(figure: Figure) -> str:
    """Return a difference as words: `merges a scan 2.1 to 1.7 (-19.0 %)`."""
    percent = f" ({figure.percent:+.1f} %)" if figure.percent is not None else ""
    unit = f" {figure.measure.unit}" if figure.measure.unit else ""
    unit += " a search" if figure.measure.group == "search" else ""
    return f"{figure.measure.name} {number(figure.without)} to {number(figure.idea)}{unit}{percent}"


def number(value: float | None) -> str:
    """Return a figure for people: three significant digits, or all before the point; one if it is below 0.001."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.0e}" if abs(value) < 0.001 else f"{value:.3g}"


def _schedules(tally: Summary) -> str:
    return quantity(tally.schedules, "schedule")


def _pairs(count: int) -> str:
    return quantity(count, "pair")


def _findings(without: Summary, idea: Summary) -> str:
    """What was found on either side: the signatures that only one of them has are named."""
    if not without.found and not idea.found:
        return f"none, in {_schedules(without)} without the idea and {_schedules(idea)} with it"
    sides = []
    for side, own, other in (("with the idea", idea, without), ("without it", without, idea)):
        count = sum(found.count for found in own.found.values())
        only = [signature for signature in own.found if signature not in other.found]
        named = f", only there: {', '.join(only)}" if only else ""
        sides.append(f"{side} in {count:,} of {_schedules(own)}{named}")
    return "; ".join(sides)


def _left_out(found: PairedCampaigns) -> str:
    """Which schedules do not count, and why."""
    parts = [f"{side} the idea {count:,} {_ENDS[verdict]}" for (side, verdict), count in sorted(found.left_out.items())]
    if found.unpaired:
        parts.append(f"{found.unpaired:,} ran on one side only")
    return "; ".join(parts)


def _method(found: PairedCampaigns) -> str:
    """How it was found out, and how far it can be trusted."""
    if found.pairs < 2:
        return f"{_pairs(found.pairs)}: too few for an interval or a probability; give --seeds 100, say"
    few = " With so few pairs, intervals are too narrow." if found.pairs < FEW else ""
    if least_probability(found.pairs) * max(1, found.tested) >= SIGNIFICANT:
        few += " No difference can be called with so few."
    return (
        f"{_pairs(found.pairs)} of schedules; a figure differs if its p is below {SIGNIFICANT} by the swap test "
        f"({SWAPS:,} random exchanges of the two sides; all, up to {EXACT_PAIRS} pairs that differ), corrected by Holm "
        f"for {_count(found.tested)}. Intervals: {CONFIDENCE:.0%}, bootstrap of {BOOTSTRAPS:,}, for each figure "
        f"alone.{few}"
    )


def _count(figures: int) -> str:
    return quantity(figures, "figure")


def exit_order(statuses: Sequence[int], order: Sequence[int]) -> int:
    """Return the first status of `order` that is among `statuses`; 0 if none is."""
    return next((status for status in order if status in statuses), 0)
