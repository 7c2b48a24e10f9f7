"""Exploration of litmus tests by the library's own door; the proofs themselves are in `tests/litmus`."""

from __future__ import annotations

from pathlib import Path

import pytest

import ksmactors
from workloads.litmus.hotplug import ScanMeetsHotplug
from workloads.litmus.nodes import ExiledNodeMeetsHotplug

pytestmark = pytest.mark.slow


def test_a_proof_within_its_bounds() -> None:
    """With all of the series a litmus test is explored to its end, and nothing is found."""
    tally = ksmactors.explore(ExiledNodeMeetsHotplug)
    assert (tally.verdict, tally.found) == ("exhausted", {})


def test_without_its_commit_it_is_found(tmp_path: Path) -> None:
    """Without the commit that mends it the same kind of test is reported, and the finding replays event by event,
    although the search has had every step taken that is otherwise cut short."""
    tally = ksmactors.explore(
        ScanMeetsHotplug,
        params={"merge_across_nodes": 0},
        without=["reorganize-check-stable-tree"],
        stop_at_first=True,
        out=tmp_path,
    )
    (found,) = tally.found.values()
    assert found.file is not None
    outcome = ksmactors.replay(found.file, trust=True)
    assert outcome.defect is not None
    assert outcome.defect.signature == found.outcome.defect.signature  # type: ignore[union-attr]
    assert outcome.digest == found.outcome.digest
