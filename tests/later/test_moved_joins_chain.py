"""D2: a moved KSM page whose equals have no room is lost, unless it joins their chain."""

from __future__ import annotations

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import read_scenario
from tests.conformance.recorded import scenario_file


@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v7.3"])
@pytest.mark.parametrize(
    ("name", "lost", "kept"),
    [
        ("d2_poison", "= ret=1 status=none", "= ret=0 status=0"),  # it cannot be moved; it can
        ("d2_poison", "=   alone n=4 node=1: C.r.0-3", "=   ksm n=2 node=1: A.r.0 C.r.0"),  # nothing merges; it shares
        ("d2_reclaim", "=   swap n=3: A.r.1 B.r.0-1", "=   swap n=4: A.r.0-1 B.r.0-1"),  # it stays; it is reclaimed
    ],
)
async def test_the_moved_page_is_found(kernel: str, name: str, lost: str, kept: str) -> None:
    """A line that tells: as it was recorded, and with the repair."""
    scenario = read_scenario(scenario_file("confirmed", kernel, name))
    as_it_is = (await perform(scenario, Setting(kernel, 2))).lines
    repaired = (await perform(scenario, Setting(kernel, 2, with_=("moved-joins-chain",)))).lines
    assert (lost in as_it_is, kept in as_it_is) == (True, False)
    assert (lost in repaired, kept in repaired) == (False, True)
