"""The repair `unshare-on-advice`: pages shared by fork across a change of advice."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from ksmactors.campaign.outcome import Outcome, Verdict
from ksmactors.campaign.schedule import run_schedule
from ksmactors.campaign.subject import make_subject
from ksmactors.events import catalogue as ev

WORKLOAD = """
from ksmactors.workload import Host, Process, Str, Workload

class Parted(Workload):
    who = Str("parent", "who changes its advice after the fork", choices=("parent", "child"))

    async def run(self, host: Host) -> None:
        parent = host.process("A")
        region = await parent.map(2)
        if self.who == "parent":
            await parent.mergeable(region)
        for page in range(2):
            await parent.write(region, page, 7)
        child = await parent.fork("B")
        assert isinstance(child, Process)
        if self.who == "parent":
            await parent.unmergeable(region)
        else:
            await child.mergeable(region)
"""


@pytest.mark.parametrize("who", ["parent", "child"])
class TestUnshareOnAdvice:
    def perform(self, tmp_path: Path, who: str, without: tuple[str, ...]) -> Outcome:
        path = tmp_path / "parted.py"
        path.write_text(WORKLOAD)
        subject = make_subject(f"{path}:Parted", params={"who": who, "balance_us": "0"}, without=without)
        return trio.run(run_schedule, subject, 1, "round_robin")

    def test_with_it(self, tmp_path: Path, who: str) -> None:
        """Merging the pages of the one leaves the other with pages that reverse mapping finds."""
        outcome = self.perform(tmp_path, who, ())

        assert outcome.verdict is Verdict.OK
        assert outcome.counts[ev.STABLE_TREE_APPEND] == 2

    def test_without_it(self, tmp_path: Path, who: str) -> None:
        """The other maps a KSM page that reverse mapping does not find, for good."""
        outcome = self.perform(tmp_path, who, ("unshare-on-advice",))

        assert outcome.defect is not None
        assert outcome.defect.signature == "rmap/lost_mapping@rmap_walk_ksm"
