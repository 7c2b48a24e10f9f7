from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ksmactors.analysis import questions as ask
from ksmactors.analysis.store import Logs
from ksmactors.events import catalogue as ev

FIRST: list[tuple[Any, ...]] = [
    ("main", ev.RUN_START, "numa_pingpong", "series", 2, "pos"),
    ("main", ev.DO_ANONYMOUS_PAGE, "vm0", 4096, 10, 0),
    ("main", ev.DO_ANONYMOUS_PAGE, "vm1", 4096, 20, 1),
    ("main", ev.DO_ANONYMOUS_PAGE, "vm2", 4096, 21, 1),
    ("ksmd", ev.LOCK_WAIT, "mmap_sem of vm0", "fault/0"),
    ("ksmd", ev.LOCK_WAIT, "mmap_sem of vm0", "fault/0"),
    ("ksmd", ev.LOCK_WAIT, "mmap_sem of vm1", None),
    ("fault/0", ev.LOCK_WAIT, "page lock of pfn 10", "ksmd"),
    ("fault/0", ev.LOCK_WAIT, "anon_vma 12", "ksmd"),
    ("ksmd", ev.UNSTABLE_TREE_INSERT, "vm1", 4096, 20, 1, 1),
    ("ksmd", ev.STABLE_TREE_INSERT, 1, 20, 1),
    ("ksmd", ev.KSM_MERGE_WITH_KSM_PAGE, 20, 21, 2, "vm2", 0),
    ("ksmd", ev.KSM_MERGE_WITH_KSM_PAGE, 20, 10, 3, "vm0", -14),
    ("ksmd", ev.FREE_PAGE, 21, 1),
    ("migrationd", ev.MIGRATE_PAGE, 11, 20, 0, 0),
    ("migrationd", ev.MIGRATE_PAGE, 10, 10, 0, -11),
    ("ksmd", ev.RACE_PAGE_MIGRATED, "migrationd", "ksmd", "stable", 1, 0, 11),
    ("ksmd", ev.RACE_PAGE_MIGRATED, "migrationd", "ksmd", "stable", 1, 0, 11),
    ("ksmd", ev.RACE_CHECKSUM_CHANGED, "vm0/0", "ksmd", None, -1, 0, 10),
    ("ksmd", ev.NODE_MISPLACED, 1, 11, 1, 0),
    ("ksmd", ev.NODE_RESLOTTED, 1, 11, 0),
    ("fault/0", ev.DO_WP_PAGE, "vm1", 4096, 22, 11, 1),
    ("fault/0", ev.DO_WP_PAGE, "vm0", 4096, 10, 10, 0),
    ("main", ev.RUN_END, "ok", 1000, 300),
]
SECOND: list[tuple[Any, ...]] = [
    ("main", ev.RUN_START, "numa_pingpong", "series", 2, "pos"),
    ("migrationd", ev.RACE_PAGE_MIGRATED, "ksmd", "migrationd", "unstable", 0, 1, 20),
    ("main", ev.FINDING, "shadow", "lost_write", "shadow/lost_write@do_wp_page", "vm0 reads what it did not write"),
    ("main", ev.FINDING, "shadow", "lost_write", "shadow/lost_write@do_wp_page", "again"),
    ("main", ev.RUN_END, "finding", 50, 20),
]
CUT_OFF: list[tuple[Any, ...]] = [
    ("main", ev.RUN_START, "numa_pingpong", "series", 2, "pos"),
    ("main", ev.FINDING, "shadow", "lost_write", "shadow/lost_write@do_wp_page", "vm1 reads what it did not write"),
]


@pytest.fixture(scope="module")
def path(write_log: Callable[..., str]) -> str:
    return write_log(FIRST, SECOND, CUT_OFF)


@pytest.fixture(scope="module")
def logs(path: str) -> Iterator[Logs]:
    with Logs([path]) as logs:
        yield logs


def test_runs_say_what_was_run_and_how_it_ended(logs: Logs, path: str) -> None:
    """A run has its schedules, steps and choices summed up; a schedule without an end is unfinished."""
    assert ask.runs(logs) == [
        ask.Run(
            path, "r1", "numa_pingpong", "series", 2, "pos", schedules=3, steps=1000 + 50 + 1, choices=320,
            verdicts={"finding": 1, "ok": 1, "unfinished": 1},
        )
    ]  # fmt: skip


def test_races_are_counted_by_kind(logs: Logs, path: str) -> None:
    """Each kind has its count, the schedules it was in, and the line where it was first."""
    assert ask.races(logs) == [
        ask.RaceCount(
            "race.page_migrated", count=3, schedules=2, file=path, line=17, retries=3, lost_merges=0, pages_exiled=0
        ),
        ask.RaceCount(
            "race.checksum_changed", count=1, schedules=1, file=path, line=19, retries=0, lost_merges=0, pages_exiled=0
        ),
    ]


def test_races_are_counted_by_tree_and_node(logs: Logs) -> None:
    """Each place has the tree, whose tree it was, and the node of the page."""
    assert ask.race_places(logs) == [
        ask.RacePlace("race.checksum_changed", None, -1, 0, 1),
        ask.RacePlace("race.page_migrated", "stable", 1, 0, 2),
        ask.RacePlace("race.page_migrated", "unstable", 0, 1, 1),
    ]


def test_races_are_counted_by_winner_and_loser(logs: Logs) -> None:
    """Each pair of actors that met in a kind of race has one row, in the direction of who won."""
    assert ask.race_pairs(logs) == [
        ask.RacePair("race.checksum_changed", "vm0/0", "ksmd", 1),
        ask.RacePair("race.page_migrated", "migrationd", "ksmd", 2),
        ask.RacePair("race.page_migrated", "ksmd", "migrationd", 1),
    ]


def test_contention_names_lock_waiter_and_holder(logs: Logs) -> None:
    """Who waited for which lock and for whom, most frequent first."""
    assert ask.contention(logs) == [
        ask.Contention("mmap_sem of vm0", "ksmd", "fault/0", 2),
        ask.Contention("anon_vma 12", "fault/0", "ksmd", 1),
        ask.Contention("mmap_sem of vm1", "ksmd", None, 1),
        ask.Contention("page lock of pfn 10", "fault/0", "ksmd", 1),
    ]


def test_locks_are_summed_up_by_kind(logs: Logs) -> None:
    """A kind of lock is its name without whose it is, or its number."""
    assert ask.lock_kinds(logs) == [
        ask.LockKind("mmap_sem", waits=3, locks=2, waiters=1),
        ask.LockKind("anon_vma", waits=1, locks=1, waiters=1),
        ask.LockKind("page lock", waits=1, locks=1, waiters=1),
    ]


def test_a_finding_is_one_row_however_often_it_was_found(logs: Logs, path: str) -> None:
    """Equal signatures are one finding, with the first message and the schedules that have it."""
    assert ask.findings(logs) == [
        ask.LoggedFinding(
            "shadow/lost_write@do_wp_page", "shadow", "lost_write", "vm0 reads what it did not write", schedules=2,
            file=path, line=27, run="r1", seed=101, schedule=1, step=2,
        )
    ]  # fmt: skip


def test_nodes_have_what_happened_to_their_pages(logs: Logs) -> None:
    """A merge counts for the node of the KSM page, a migration for both nodes; what failed is counted apart."""
    assert ask.nodes(logs) == [
        ask.NodeActivity(
            0, first_touches=1, cow_copies=0, ksm_pages=0, merged=0, migrated_in=1, migrated_out=0,
            migrations_failed=1, freed=0,
        ),
        ask.NodeActivity(
            1, first_touches=2, cow_copies=1, ksm_pages=1, merged=1, migrated_in=0, migrated_out=1,
            migrations_failed=0, freed=1,
        ),
    ]  # fmt: skip


def test_a_page_of_unknown_node_is_counted_as_such(write_log: Callable[..., str]) -> None:
    """A log that never says where a frame is does not put it on some node."""
    with Logs([write_log([("ksmd", ev.KSM_MERGE_WITH_KSM_PAGE, 20, 21, 2, "vm2", 0)])]) as logs:
        assert [(node.nid, node.merged) for node in ask.nodes(logs)] == [(-1, 1)]


def test_trees_have_what_went_into_them(logs: Logs) -> None:
    """Inserts, misplaced, re-slotted and collided nodes, by the index of the tree."""
    assert ask.trees(logs) == [ask.TreeActivity(0, 0, 0, 0, 1, 0), ask.TreeActivity(1, 1, 1, 1, 0, 0)]


def test_actors_have_what_they_won_and_lost(logs: Logs) -> None:
    """Each actor that recorded something is there, with its races on both sides."""
    assert ask.actors(logs) == [
        ask.ActorActivity("ksmd", events=13, won=1, lost=3, waits=3),
        ask.ActorActivity("main", events=11, won=0, lost=0, waits=0),
        ask.ActorActivity("fault/0", events=4, won=0, lost=0, waits=2),
        ask.ActorActivity("migrationd", events=3, won=2, lost=1, waits=0),
    ]


def test_schedules_of_different_logs_are_different(write_log: Callable[..., str]) -> None:
    """The same schedule in two logs counts twice, and each log has its own run."""
    paths = [write_log(SECOND, name="a"), write_log(SECOND, name="b")]
    with Logs(paths) as logs:
        assert [(race.count, race.schedules) for race in ask.races(logs)] == [(2, 2)]
        assert [run.file for run in ask.runs(logs)] == paths


def test_a_log_without_races_has_empty_answers(write_log: Callable[..., str]) -> None:
    """Questions about what did not happen are answered with nothing."""
    with Logs([write_log([("main", ev.KSM_ENTER, "vm")])]) as logs:
        for question in (ask.races, ask.race_places, ask.race_pairs, ask.contention, ask.lock_kinds, ask.findings):
            assert question(logs) == []
        assert (ask.nodes(logs), ask.trees(logs)) == ([], [])
