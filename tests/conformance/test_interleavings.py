"""What real kernels did between the steps, and the defects that they have: recorded interleavings and scenarios."""

from __future__ import annotations

import pytest

from ksmactors.conformance.compare import Side, compare
from ksmactors.conformance.emulator import Setting, Transcript, perform
from ksmactors.conformance.language import Scenario
from ksmactors.conformance.recording import read_recording
from tests.conformance.recorded import LUCK, recording_file, recordings, scenario_file, scenario_of

KERNELS = ("v6.1", "v6.12", "v6.18", "v7.3")
SCENARIOS = {
    "races": 67, "confirmed": 25, "offline": 5, "differences": 6, "live": 4, "one_node": 9, "hwpoison": 11,
    "softoffline": 8, "guest": 6,
}  # fmt: skip
"""The sets of recordings, and how many scenarios each kernel has in it; v6.1 has 54 of `races`, v6.18 alone has
`one_node`, and v6.1 and v6.12 alone have those of `ON_GUESTS`, but for one: smart_scan came after v6.1, which looks up
no stable node where `softoffline_race_search` holds ksmd."""

ON_GUESTS = ("hwpoison", "softoffline", "guest")

STOPPED = frozenset(
    {"h31_failed_run2_new_tree_emptied", "h33_failed_run2_new_tree_replaced", "h34_failed_run2_lost_item_exits"}
)
"""H3: the emulator stops where the unstable tree is corrupted; the kernels went on with it."""


def test_all_recordings_are_here() -> None:
    """An empty list would agree with everything."""
    for kind, scenarios in SCENARIOS.items():
        for kernel in KERNELS:
            found = [name for one, of, name in recordings(*SCENARIOS) if (one, of) == (kind, kernel)]
            missing = {("races", "v6.1"): 13, ("softoffline", "v6.1"): 1, ("guest", "v6.1"): 2}
            missing |= {(one, other): SCENARIOS[one] for one in ON_GUESTS for other in ("v6.18", "v7.3")}
            missing |= {("guest", other): 5 for other in ("v6.18", "v7.3")}
            missing |= {("one_node", other): 9 for other in KERNELS if other != "v6.18"}
            assert len(found) == scenarios - missing.get((kind, kernel), 0)
            assert all(scenario_file(kind, kernel, name).exists() for name in found)


@pytest.mark.parametrize(("kind", "kernel", "name"), recordings(*SCENARIOS))
async def test_a_kernel_does_what_it_did(kind: str, kernel: str, name: str) -> None:
    """Who is held and who waits for what, counters, frames, trees and errnos are as recorded, line by line."""
    recording = read_recording(recording_file(kind, kernel, name))
    assert recording.kernel_name == kernel

    async def recorded(scenario: Scenario) -> Transcript:
        return Transcript(scenario, recording.lines)

    async def performed(scenario: Scenario) -> Transcript:
        return await perform(scenario, Setting(kernel, recording.nodes))

    scenario = scenario_of(scenario_file(kind, kernel, name))
    comparison = await compare(scenario, Side("recorded", recorded), Side("emulated", performed))
    if (kernel, name) in LUCK:
        assert comparison.failure is None
        return
    assert "\n".join(comparison.diff) == ""
    assert comparison.verdict == ("stopped" if name in STOPPED else "same")
