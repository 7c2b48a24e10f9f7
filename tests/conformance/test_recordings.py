"""What real kernels did, line by line, on the emulated kernels of their names."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.recording import read_recording
from ksmactors.ksm.core import KsmCore
from tests.conformance.recorded import scenario_of

HERE = Path(__file__).parent
SCENARIOS = sorted(path.stem for path in (HERE / "scenarios").glob("*.txt"))
RECORDED = {
    kernel: sorted(path.stem for path in (HERE / "results" / kernel).glob("*.out"))
    for kernel in ("v3.9", "v6.1", "v6.12", "v6.18", "v7.3")
}
ONLY_V3_9 = ["40_mremap_unmerges", "41_mremap_midscan", "84_offline_man0", "85_offline_stale", "86_offline_man1",
             "87_offline_midscan"]  # fmt: skip


def test_all_recordings_are_here() -> None:
    """There are 95 scenarios with a recording each, 89 on later kernels: an empty list would agree with everything."""
    assert len(SCENARIOS) == 95
    for kernel, names in RECORDED.items():
        assert sorted([*names, *(ONLY_V3_9 if kernel != "v3.9" else [])]) == SCENARIOS


ROADS = {"index": [], "walk": [False], "both": [True, False, False, True, False]}
"""How trees are searched: by their index (no other actor disturbs a scenario), entry by entry, or by turns."""

SHOWN_BY = {"v6.1": "index", "v6.18": "index", "v7.3": "index", "v3.9": "walk", "v6.12": "walk"}
"""The road that a kernel's recordings take by default: by the index or by the walk, on kernels with chains and on one
without. The example of README that runs `conform` takes the index on all recordings of v3.9. All other roads repeat."""

LARGE = frozenset({"84_offline_man0", "85_offline_stale", "86_offline_man1", "87_offline_midscan"})
"""Scenarios that fill a node to take it offline, recorded on v3.9 alone. The example of README runs them by default.
What their trees have, smaller scenarios have, too."""


def repeats(kernel: str, road: str, name: str) -> bool:
    """Whether a road shows in a scenario what another default test, or the same one in smaller scenarios, shows."""
    return road != SHOWN_BY[kernel] or name in LARGE


@pytest.mark.parametrize(
    ("kernel", "road", "name"),
    [
        pytest.param(
            kernel, road, name, marks=[pytest.mark.nightly, pytest.mark.slow] if repeats(kernel, road, name) else []
        )
        for kernel, names in RECORDED.items()
        for road in (ROADS if kernel in ("v3.9", "v6.12") else ["index"])
        for name in names
    ],
)
async def test_a_kernel_does_what_it_did(kernel: str, road: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counters after every page, frames, trees, chains, migrate_nodes, scan order, cursor, errnos are as recorded."""
    if ROADS[road]:
        turns = cycle(ROADS[road])
        monkeypatch.setattr(KsmCore, "undisturbed", property(lambda _: next(turns)))
    recording = read_recording(HERE / "results" / kernel / f"{name}.out")
    assert recording.kernel_name == kernel
    performance = await perform(
        scenario_of(HERE / "scenarios" / f"{name}.txt"), Setting(recording.kernel_name, recording.nodes)
    )
    assert performance.failure is None
    assert not performance.missing
    assert recording.differences(performance.lines, performer=kernel) == []
