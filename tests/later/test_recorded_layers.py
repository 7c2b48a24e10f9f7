"""Layers that recordings asked for: with each the lines are the recorded ones, without it they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import read_scenario
from ksmactors.conformance.recording import read_recording

RECORDINGS = Path(__file__).parent.parent / "conformance"


@pytest.mark.parametrize(
    ("layers", "kernel", "recording"),
    [
        ("mlock-batch mlock-batch-31", "v6.18", "one_node/munlocked_page_waits_in_a_batch"),
        ("mlock-batch mlock-batch-31", "v6.12", "guest/mlock_copied"),
        ("mlock-batch-31", "v6.12", "guest/mlock_batch_full"),
        ("mlock-batch", "v6.1", "guest/mlock_batch_full"),
        ("skip-swap-cache", "v6.12", "guest/swapped_pinned"),
        ("skip-swap-cache", "v6.1", "hwpoison/hwpoison_swapped"),
        ("dirty-migration", "v6.1", "guest/migrated_dirty"),
        ("dirty-migration", "v6.12", "guest/migrated_dirty"),
        ("unshare-on-pin", "v6.18", "one_node/pin_unshares"),
        ("merge-any-exec merge-any-kept", "v6.18", "one_node/merge_any_survives_exec"),
        ("merge-any-kept", "v6.18", "one_node/merge_any_registers_again"),
        ("move-unlocked", "v6.1", "races/r15_unmergeable_meets_migration"),
        ("move-unlocked", "v7.3", "races/r31_fork_meets_migration"),
        ("wp-by-references", "v6.12", "races/r35_write_before_replace"),
        ("copy-before-mapping", "v6.12", "races/r73_back_but_not_copied"),
        ("leave-swap-cache", "v6.12", "races/h43_fault_after_look_run2_write"),
        ("leave-swap-cache", "v6.18", "races/h48_unmergeable_then_fault_chain"),
        ("migrate-swapped", "v6.12", "races/h81_mremap_swap_entry"),
        ("migrate-swapped", "v6.1", "differences/diff1_migrate_swapcache"),
        ("unmerge-walk", "v7.3", "races/r80_exit_meets_run2_mapped"),
        ("unmerge-walk", "v7.3", "races/h36_failed_run2_stable"),
        ("node-reused", "v6.12", "confirmed/h5_node_address_reused"),
        ("node-reused", "v7.3", "confirmed/c_71108_h5"),
        ("offline-retries", "v6.1", "offline/offline_d1"),
        ("mremap-vmas", "v6.18", "live/live_mremap_vmas"),
        ("bool-enable", "v7.3", "live/live_booleans"),
    ],
)
async def test_the_recording_needs_the_layer(layers: str, kernel: str, recording: str) -> None:
    """The kernel does what was recorded, and does something else if the layer, with what builds on it, is taken off."""
    kind, name = recording.split("/")
    early = (kind, kernel) == ("races", "v6.1")
    scenario = read_scenario(RECORDINGS / kind / ("scenarios-stable-first" if early else "scenarios") / f"{name}.txt")
    recorded = read_recording(RECORDINGS / kind / "results" / kernel / f"{name}.out")

    with_it = await perform(scenario, Setting(kernel, recorded.nodes))
    without_it = await perform(scenario, Setting(kernel, recorded.nodes, without=tuple(layers.split())))

    assert recorded.differences(with_it.lines, performer=kernel) == []
    assert recorded.differences(without_it.lines, performer=kernel) != []
