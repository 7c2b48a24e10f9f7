"""The comparison of two campaigns, pair by pair, figure by figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ksmactors.analysis.compare import SIGNIFICANT, holm
from ksmactors.compare import measures
from ksmactors.compare.measures import GROUPS, Measure
from ksmactors.compare.resampling import Sample, difference, interval, probability, total
from ksmactors.run.outcome import Outcome, Verdict

DIGITS: Final = 4
"""Significant digits of a figure: what is printed must not depend on the last bits of a float."""

_WELL: Final = (Verdict.OK, Verdict.FINDING)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of both sides.

    Attributes:
        measure: what it is.
        pairs: those that it is taken from.
        without, idea: the figure on either side; None where there is nothing to divide by.
        change: the difference: with the idea, less without it.
        bounds: between which the difference is, for this figure alone; None if that cannot be said.
        p_alone: the probability of so large a difference if the idea changes nothing; None if no pair differs, or
            nothing can be said.
        p: the same, corrected for the number of figures that have one.
    """

    measure: Measure
    pairs: int
    without: float | None
    idea: float | None
    change: float | None
    bounds: tuple[float, float] | None
    p_alone: float | None
    p: float | None

    @property
    def measured(self) -> bool:
        """Whether there is a figure on both sides."""
        return self.change is not None

    @property
    def differs(self) -> bool:
        """Whether the difference is hardly chance, with all figures taken together."""
        return self.p is not None and self.p < SIGNIFICANT

    @property
    def perhaps(self) -> bool:
        """Whether it would be called a difference if it were the only figure."""
        return not self.differs and self.p_alone is not None and self.p_alone < SIGNIFICANT

    @property
    def verdict(self) -> str:
        """What a difference means: better, worse, or different where that depends; empty without one."""
        if not self.differs or self.change is None:
            return ""
        if not self.measure.better:
            return "different"
        return "better" if (self.change > 0) == (self.measure.better == measures.MORE) else "worse"

    @property
    def percent(self) -> float | None:
        """The difference in percent of the figure without the idea; None where that is 0."""
        return None if self.change is None or not self.without else self.change / self.without * 100

    def as_json(self) -> dict[str, Any]:
        """The figure as the JSON object shows it."""
        return {
            "name": self.measure.name,
            "unit": self.measure.unit,
            "of": GROUPS[self.measure.group],
            "pairs": self.pairs,
            "without": rounded(self.without),
            "with": rounded(self.idea),
            "difference": rounded(self.change),
            "interval": [rounded(bound) for bound in self.bounds] if self.bounds else None,
            "p": rounded(self.p),
            "p_alone": rounded(self.p_alone),
            "differs": self.differs,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, slots=True)
class PairedCampaigns:
    """What two campaigns over the same seeds come to.

    Attributes:
        pairs: seeds whose schedules ran to the end on both sides.
        left_out: the other seeds that both sides ran: how many, by side (`without`, `with`) and what ended it.
        unpaired: seeds that only one side ran.
        same: pairs whose schedules are equal, event by event.
        figures: all figures, in the order in which they are shown.
        cpu: seconds of processor time a schedule, on either side, of this machine; None if nothing was run.
    """

    pairs: int
    left_out: Mapping[tuple[str, str], int]
    unpaired: int
    same: int
    figures: Sequence[Figure]
    cpu: tuple[float, float] | None

    @property
    def measured(self) -> list[Figure]:
        """The figures that both sides have."""
        return [figure for figure in self.figures if figure.measured]

    @property
    def differing(self) -> list[Figure]:
        """The figures that differ, with all of them taken together."""
        return [figure for figure in self.figures if figure.differs]

    @property
    def tested(self) -> int:
        """Figures for which a probability was computed."""
        return sum(figure.p is not None for figure in self.figures)


def compared(without: Mapping[int, Outcome], idea: Mapping[int, Outcome]) -> PairedCampaigns:
    """Compare two campaigns.

    Args:
        without, idea: the outcomes of either side, measured, by seed.
    """
    both = [(without[seed], idea[seed]) for seed in sorted(without.keys() & idea.keys())]
    judged = [pair for pair in both if all(one.verdict in _WELL for one in pair)]
    ended = [pair for pair in both if all(one.verdict is Verdict.OK for one in pair)]
    outcomes = [one for pair in ended for one in pair]
    wanted = (
        *measures.GENERAL, *measures.TREES, *measures.lock_measures(outcomes), *measures.race_measures(outcomes),
    )  # fmt: skip
    samples = {measure: _samples(measure, ended if measure.ended else judged) for measure in wanted}
    alone = {measure.name: probability(found) for measure, found in samples.items()}
    corrected = holm(alone)
    cpu = [[one.measured.cpu for one in side if one.measured] for side in zip(*ended, strict=True)]
    return PairedCampaigns(
        len(ended),
        Counter(
            (side, one.verdict.value)
            for pair in both
            for side, one in zip(("without", "with"), pair, strict=True)
            if one.verdict is not Verdict.OK
        ),
        len(without.keys() ^ idea.keys()),
        sum(one.digest == other.digest for one, other in ended),
        [_figure(one, found, (alone[one.name], corrected[one.name])) for one, found in samples.items()],
        (_mean_seconds(cpu[0]), _mean_seconds(cpu[1])) if cpu else None,
    )


def _samples(measure: Measure, pairs: Sequence[tuple[Outcome, Outcome]]) -> list[Sample]:
    return [sample for pair in pairs if (sample := measure.of(*pair)) is not None]


def _figure(measure: Measure, samples: Sequence[Sample], p: tuple[float | None, float | None]) -> Figure:
    sums, scale = total(samples), measure.scale
    change, bounds = difference(sums), interval(samples)
    return Figure(
        measure,
        len(samples),
        sums.without / sums.without_of / scale if sums.without_of else None,
        sums.idea / sums.idea_of / scale if sums.idea_of else None,
        change if change is None else change / scale,
        (bounds[0] / scale, bounds[1] / scale) if bounds is not None and change is not None else None,
        *p,
    )


def _mean_seconds(times: Sequence[int]) -> float:
    return sum(times) / len(times) / 1e9 if times else 0.0


def rounded(value: float | None) -> float | None:
    """A figure with DIGITS significant digits."""
    return None if value is None else float(f"{value:.{DIGITS}g}")
