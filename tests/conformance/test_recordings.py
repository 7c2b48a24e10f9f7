"""What Linux 3.9.6 did, line by line, on the emulated v3.9."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import read_scenario
from ksmactors.conformance.recording import read_recording
from ksmactors.ksm.core import KsmCore

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in (HERE / "results" / "v3.9").glob("*.out"))
NOT_EMULATED = {"80_swap", "81_swap_pageout", "84_offline_man0", "85_offline_stale", "86_offline_man1",
                "87_offline_midscan"}  # fmt: skip


def test_all_recordings_are_here() -> None:
    """There are 95 scenarios with a recording each: a glob that finds nothing would agree with everything."""
    assert len(NAMES) == 95
    assert sorted(path.stem for path in (HERE / "scenarios").glob("*.txt")) == NAMES
    assert set(NAMES) > NOT_EMULATED


@pytest.fixture(params=["index", "walk", "both"])
def road(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How trees are searched: by their index (nobody disturbs a scenario), entry by entry, or now so, now so."""
    if request.param == "index":
        return
    turns = cycle([False] if request.param == "walk" else [True, False, False, True, False])
    monkeypatch.setattr(KsmCore, "undisturbed", property(lambda _: next(turns)))


@pytest.mark.usefixtures("road")
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NOT_EMULATED])
async def test_v3_9_does_what_linux_3_9_did(name: str) -> None:
    """Counters after every page, frames, trees, migrate_nodes, scan order, cursor and errnos are as recorded."""
    recording = read_recording(HERE / "results" / "v3.9" / f"{name}.out")
    performance = await perform(
        read_scenario(HERE / "scenarios" / f"{name}.txt"), Setting(recording.kernel_name, recording.nodes)
    )
    assert performance.failure is None
    assert not performance.missing
    assert recording.differences(performance.lines, performer="v3.9") == []


@pytest.mark.parametrize("name", sorted(NOT_EMULATED))
async def test_what_is_not_emulated_is_said(name: str) -> None:
    """Swap and memory hot-remove are named, and nothing is printed that would look like a result."""
    performance = await perform(read_scenario(HERE / "scenarios" / f"{name}.txt"), Setting("v3.9"))
    what = "swap" if "swap" in name else "memory hot-remove"
    assert performance.missing.startswith(f"needs {what} (operation '")
    assert [line for line in performance.lines if line.startswith("= ") and "skip" not in line] == []
