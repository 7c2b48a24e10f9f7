"""What is compared: pairs that ended well, figure by figure, and what is said of them in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ksmactors.campaign.summary import Summary
from ksmactors.compare.comparing import Figure, PairedCampaigns, compared, rounded
from ksmactors.compare.words import exit_order, number, sentences
from ksmactors.events import catalogue as ev
from ksmactors.events.catalogue import CATALOGUE
from ksmactors.run.measured import LockUse, Measured, TreeUse
from ksmactors.run.outcome import Outcome, Verdict


def outcome(
    seed: int, verdict: Verdict = Verdict.OK, *, digest: bytes = b"", merged_after: Sequence[int] = (), waited: int = 0,
    visits: int = 0, searches: int = 0, cpu: int = 0, **counts: int,
) -> Outcome:  # fmt: skip
    """A schedule with these figures and events."""
    happened = [0] * len(CATALOGUE)
    for name, count in counts.items():
        happened[getattr(ev, name)] = count
    trees = {"stable": TreeUse(0, 0, 0), "unstable": TreeUse(searches, visits, visits)}
    figures = Measured(1_000, 10, 0, tuple(merged_after), trees, {"mmap_sem": LockUse(5, waited, 5)}, cpu)
    return Outcome("w", seed, "s", verdict, 1, 0, tuple(happened), digest, b"", measured=figures)


def by_seed(outcomes: Sequence[Outcome]) -> dict[int, Outcome]:
    return {one.seed: one for one in outcomes}


def figure(found: PairedCampaigns, name: str) -> Figure:
    """The figure of this name."""
    (one,) = (figure for figure in found.figures if figure.measure.name == name)
    return one


def words(found: PairedCampaigns, without: Summary | None = None, idea: Summary | None = None) -> dict[str, str]:
    return dict(sentences(found, without or Summary(), idea or Summary()))


def test_only_pairs_that_ended_count() -> None:
    """A schedule with a finding or without an end takes its pair out of all figures but the findings, and that is
    said; a crash takes it out of these, too; a seed that only one side has run counts nowhere."""
    verdicts = [Verdict.OK, Verdict.FINDING, Verdict.INCONCLUSIVE, Verdict.CRASHED, Verdict.OK]
    without = by_seed([outcome(seed, STABLE_TREE_APPEND=1) for seed in range(5)])
    idea = by_seed([outcome(seed, verdict, STABLE_TREE_APPEND=3) for seed, verdict in enumerate(verdicts)])
    idea[9] = outcome(9, STABLE_TREE_APPEND=100)
    without[4] = outcome(4, Verdict.INCONCLUSIVE, STABLE_TREE_APPEND=100)
    found = compared(without, idea)
    assert (found.pairs, found.unpaired) == (1, 1)
    assert (figure(found, "merges").without, figure(found, "merges").idea) == (1.0, 3.0)
    assert (figure(found, "findings").pairs, figure(found, "findings").idea) == (2, 0.5)
    assert words(found)["left out"] == (
        "with the idea 1 crashed; with the idea 1 ended with a finding; with the idea 1 ran out of steps; "
        "without the idea 1 ran out of steps; 1 ran on one side only"
    )


def test_pages_scanned_until_as_many_were_merged() -> None:
    """The pages scanned are those until both sides had merged as many: more merges later do not count."""
    without = by_seed([outcome(0, merged_after=(4, 4, 9, 50)), outcome(1, merged_after=(2,)), outcome(2)])
    idea = by_seed([outcome(0, merged_after=(3, 3, 5)), outcome(1, merged_after=(4, 8)), outcome(2, merged_after=(1,))])
    one = figure(compared(without, idea), "pages scanned until merged")
    assert (one.pairs, one.without, one.idea) == (2, 5.5, 4.5)


def test_what_could_not_be_measured() -> None:
    """Without a search there are no visits a search, on either side."""
    one = by_seed([outcome(seed, searches=2, visits=6) for seed in range(3)])
    other = by_seed([outcome(seed) for seed in range(3)])
    found = compared(one, other)
    assert figure(found, "unstable: visits").without == 3.0
    assert not figure(found, "unstable: visits").measured
    assert "unstable: visits (no search of the unstable tree)" in words(found)["not measured"]
    assert "unstable: visits" not in words(found).get("no difference seen", "")


def test_better_and_worse() -> None:
    """Fewer visits are better, fewer merges worse, fewer races just different."""

    def side(more: int) -> dict[int, Outcome]:
        return by_seed([
            outcome(seed, searches=1, visits=3 + more, STABLE_TREE_APPEND=1 + more, RACE_PAGE_PINNED=2 + more,
                    digest=bytes([more]))
            for seed in range(40)
        ])  # fmt: skip

    found = compared(side(4), side(0))
    assert figure(found, "unstable: visits").verdict == "better"
    assert figure(found, "merges").verdict == "worse"
    assert figure(found, "race.page_pinned").verdict == "different"
    assert figure(found, "mmap_sem waited").verdict == ""
    said = words(found)
    assert "unstable: visits 7 to 3 a search (-57.1 %)" in said["better"]
    assert said["worse"] == "merges 5 to 1 (-80.0 %)"
    assert said["different"] == "race.page_pinned 6 to 2 (-66.7 %)"
    assert {figure.verdict for figure in compared(side(0), side(0)).figures} == {""}


def test_many_figures_are_taken_together() -> None:
    """What would be a difference alone is none if there are many figures; it is said to be perhaps one."""

    def side(more: int) -> dict[int, Outcome]:
        return by_seed([
            outcome(seed, waited=1000 * (1 + more * (seed < 7)), RACE_PAGE_PINNED=1 + (seed + more) % 2,
                    RACE_STALE_NODE=1 + (seed // 2 + more) % 2, RACE_PTE_CHANGED=1 + (seed // 3 + more) % 2,
                    RACE_UNSTABLE_GONE=1 + (seed // 4 + more) % 2)
            for seed in range(10)
        ])  # fmt: skip

    one = figure(compared(side(0), side(1)), "mmap_sem waited")
    assert one.p_alone == 2 / 2**7
    assert one.p == pytest.approx(5 * 2 / 2**7)
    assert (one.differs, one.perhaps) == (False, True)


def test_one_pair_and_few_pairs() -> None:
    """One pair has a difference and no interval; four have an interval, and no difference can be called."""

    def found(pairs: int) -> PairedCampaigns:
        sides = [by_seed([outcome(n, STABLE_TREE_APPEND=1 + more) for n in range(pairs)]) for more in (0, 5)]
        return compared(*sides)

    assert figure(found(1), "merges").change == 5.0
    assert figure(found(1), "merges").bounds is None
    assert words(found(1))["how"].startswith("1 pair: too few for an interval or a probability")
    assert figure(found(4), "merges").bounds == (5.0, 5.0)
    assert not found(4).differing
    assert words(found(4))["how"].endswith("intervals are too narrow. No difference can be called with so few.")
    assert not words(found(40))["how"].endswith("with so few.")
    assert found(40).differing


def test_nothing_was_run() -> None:
    """Without a pair there is nothing, and that is said."""
    found = compared({}, {0: outcome(0)})
    assert (found.pairs, found.measured, found.cpu) == (0, [], None)
    assert words(found)["how"].startswith("0 pairs: too few")


def test_equal_campaigns() -> None:
    """If all pairs are equal event by event, that is what is said."""
    side = by_seed([outcome(seed, digest=b"x") for seed in range(30)])
    found = compared(side, side)
    assert found.same == 30
    assert words(found)["the same"].startswith("all 30 pairs are equal, event by event")
    assert "no difference seen" not in words(found)
    other = side | {3: replace(side[3], digest=b"y")}
    assert compared(side, other).same == 29


def test_processor_time_is_aside() -> None:
    """It is a mean for each side, and no figure."""
    one, other = (by_seed([outcome(seed, cpu=n * 10**9) for seed in range(3)]) for n in (1, 3))
    assert compared(one, other).cpu == (1.0, 3.0)
    assert not compared(one, other).differing


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.0004, "4e-04"), (-0.02344, "-0.0234"), (12.345, "12.3"), (12345.6, "12,346")],
)
def test_numbers_for_people(value: float | None, text: str) -> None:
    """Three digits, or all before the point."""
    assert number(value) == text


def test_rounding_and_statuses() -> None:
    """JSON has four digits; of two statuses the one that is named first counts."""
    assert rounded(1.23456) == 1.235
    assert rounded(None) is None
    assert exit_order([0, 1], (3, 1, 4)) == 1
    assert exit_order([4, 1], (3, 1, 4)) == 1
    assert exit_order([1, 3], (3, 1, 4)) == 3
    assert exit_order([0, 0], (3, 1, 4)) == 0
