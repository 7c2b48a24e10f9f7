from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ksmactors.analysis.pages import Life, page_lives
from ksmactors.analysis.store import Logs
from ksmactors.errors import UsageError
from ksmactors.events import catalogue as ev

Write = Callable[..., str]
Told = Sequence[tuple[Any, ...]]

TOUCH = ("main", ev.DO_ANONYMOUS_PAGE, "vm0", 4096, 10, 0)


@pytest.fixture
def lives(write_log: Write) -> Callable[..., list[Life]]:
    def ask(told: Told, pfn: int) -> list[Life]:
        with Logs([write_log(told)]) as logs:
            return page_lives(logs, pfn)

    return ask


def lines(life: Life) -> list[int]:
    """The events of a life, by their place in what was told (from 0)."""
    return [event["line"] - 1 for event in life.events]


def test_a_page_is_followed_from_first_touch_to_its_end(lives: Callable[..., list[Life]]) -> None:
    """Checksum, unstable tree, stable tree, migration, tree of the other node, copy, free: all are its story."""
    told = [
        TOUCH,
        ("main", ev.DO_ANONYMOUS_PAGE, "vm1", 4096, 20, 1),
        ("ksmd", ev.CALC_CHECKSUM, "vm0", 4096, 10, False),
        ("ksmd", ev.CALC_CHECKSUM, "vm1", 4096, 20, False),
        ("ksmd", ev.UNSTABLE_TREE_INSERT, "vm0", 4096, 10, 1, 0),
        ("ksmd", ev.KSM_MERGE_ONE_PAGE, 10, 1, "vm0", 0),
        ("ksmd", ev.STABLE_TREE_INSERT, 1, 10, 0),
        ("migrationd", ev.KSM_MIGRATE_PAGE, 1, 30, 10, 1, 0),
        ("migrationd", ev.MIGRATE_PAGE, 30, 10, 1, 0),
        ("migrationd", ev.FREE_PAGE, 10, 0),
        ("ksmd", ev.NODE_MISPLACED, 1, 30, 0, 1),
        ("ksmd", ev.NODE_RESLOTTED, 1, 30, 1),
        ("fault/0", ev.DO_WP_PAGE, "vm0", 4096, 11, 30, 0),
        ("fault/0", ev.FREE_PAGE, 30, 1),
        ("main", ev.FREE_PAGE, 20, 1),
    ]
    (life,) = lives(told, 10)
    assert lines(life) == [0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    assert (life.frames, life.ended, life.seed, life.schedule) == ([10, 30], True, 100, 0)
    assert life.events[0] == {
        "line": 1, "event": "do_anonymous_page", "run": "r1", "seed": 100, "schedule": 0, "step": 0, "now": 0,
        "timestamp": "2013-04-29T00:00:00.000000000Z",
        "actor": "main", "cpu": 1, "node": 0, "level": "info", "mm": "vm0", "address": 4096, "pfn": 10, "nid": 0,
    }  # fmt: skip


def test_a_merged_page_goes_on_as_the_ksm_page(lives: Callable[..., list[Life]]) -> None:
    """Its own frame is freed, and the story goes on in the frame that it shares from then on."""
    told = [
        TOUCH,
        ("ksmd", ev.STABLE_TREE_INSERT, 1, 50, 0),
        ("ksmd", ev.KSM_MERGE_WITH_KSM_PAGE, 50, 10, 1, "vm0", 0),
        ("ksmd", ev.FREE_PAGE, 10, 0),
        ("ksmd", ev.STABLE_TREE_APPEND, 1, 1, 50, "vm0", 4096),
    ]
    (life,) = lives(told, 10)
    assert (lines(life), life.frames, life.ended) == ([0, 2, 3, 4], [10, 50], False)


def test_a_merge_or_migration_that_failed_leads_nowhere(lives: Callable[..., list[Life]]) -> None:
    """The page stays where it is, and what happens to the other page is not its story."""
    told = [
        TOUCH,
        ("ksmd", ev.KSM_MERGE_WITH_KSM_PAGE, 50, 10, 1, "vm0", -14),
        ("migrationd", ev.MIGRATE_PAGE, 10, 10, 0, -11),
        ("ksmd", ev.FREE_PAGE, 50, 0),
        ("main", ev.FREE_PAGE, 10, 0),
    ]
    (life,) = lives(told, 10)
    assert (lines(life), life.frames) == ([0, 1, 2, 4], [10])


def test_a_frame_that_is_used_again_begins_another_life(lives: Callable[..., list[Life]]) -> None:
    """After it was freed, the frame belongs to somebody else."""
    told = [
        TOUCH,
        ("main", ev.FREE_PAGE, 10, 0),
        ("main", ev.DO_ANONYMOUS_PAGE, "vm1", 8192, 11, 0),
        ("main", ev.DO_ANONYMOUS_PAGE, "vm1", 4096, 10, 0),
    ]
    assert [(lines(life), life.ended) for life in lives(told, 10)] == [([0, 1], True), ([3], False)]


def test_a_page_that_moved_on_and_the_next_one_in_its_frame_are_two(lives: Callable[..., list[Life]]) -> None:
    """A page is followed to its new frame while another lives in the one it left."""
    told = [
        TOUCH,
        ("migrationd", ev.MIGRATE_PAGE, 30, 10, 1, 0),
        ("migrationd", ev.FREE_PAGE, 10, 0),
        ("main", ev.DO_ANONYMOUS_PAGE, "vm1", 4096, 10, 0),
        ("main", ev.FREE_PAGE, 30, 1),
    ]
    assert [lines(life) for life in lives(told, 10)] == [[0, 1, 2, 4], [3]]
    assert [(lines(life), life.frames) for life in lives(told, 30)] == [([0, 1, 2, 4], [10, 30])]


def test_a_merged_page_moves_with_the_ksm_page(lives: Callable[..., list[Life]]) -> None:
    """What happened to the KSM page before the merge is not told, what happens after it is."""
    told = [
        TOUCH,
        ("ksmd", ev.STABLE_TREE_INSERT, 1, 50, 0),
        ("migrationd", ev.KSM_MIGRATE_PAGE, 1, 60, 50, 1, 0),
        ("migrationd", ev.MIGRATE_PAGE, 60, 50, 1, 0),
        ("migrationd", ev.FREE_PAGE, 50, 0),
        ("ksmd", ev.KSM_MERGE_WITH_KSM_PAGE, 60, 10, 1, "vm0", 0),
        ("migrationd", ev.KSM_MIGRATE_PAGE, 1, 51, 60, 0, 1),
        ("migrationd", ev.MIGRATE_PAGE, 51, 60, 0, 0),
        ("ksmd", ev.FREE_PAGE, 10, 0),
        ("main", ev.FREE_PAGE, 51, 0),
    ]
    (life,) = lives(told, 10)
    assert (lines(life), life.frames, life.ended) == ([0, 5, 6, 7, 8, 9], [10, 60, 51], True)
    (ksm_page,) = lives(told, 50)
    assert (lines(ksm_page), ksm_page.frames) == ([1, 2, 3, 4, 5, 6, 7, 9], [50, 60, 51])


def test_a_stable_node_that_outlives_its_page_is_the_end_of_the_story(lives: Callable[..., list[Life]]) -> None:
    """Pruning comes after the frame was freed, and starts no new life."""
    told = [
        TOUCH,
        ("ksmd", ev.STABLE_TREE_INSERT, 1, 10, 0),
        ("main", ev.FREE_PAGE, 10, 0),
        ("ksmd", ev.RACE_STALE_NODE, "main", "ksmd", "stable", 0, 0, 10),
        ("ksmd", ev.KSM_REMOVE_KSM_PAGE, 10),
        ("main", ev.DO_ANONYMOUS_PAGE, "vm1", 4096, 10, 0),
    ]
    assert [lines(life) for life in lives(told, 10)] == [[0, 1, 2, 3, 4], [5]]


def test_the_target_of_a_migration_that_came_to_nothing_is_no_page(lives: Callable[..., list[Life]]) -> None:
    """A frame that was allocated and given back without ever being a page begins no life."""
    told = [TOUCH, ("main", ev.FREE_PAGE, 10, 0), ("migrationd", ev.FREE_PAGE, 10, 0)]
    assert [lines(life) for life in lives(told, 10)] == [[0, 1]]


def test_what_happened_in_the_new_frame_before_the_migration_was_over_is_told(
    lives: Callable[..., list[Life]],
) -> None:
    """A migration is recorded at its end; a copy made from the new frame just before belongs to the page."""
    told = [
        TOUCH,
        ("main", ev.DO_ANONYMOUS_PAGE, "vm9", 4096, 30, 1),
        ("main", ev.FREE_PAGE, 30, 1),
        ("fault/0", ev.DO_WP_PAGE, "vm0", 4096, 40, 30, 0),
        ("migrationd", ev.MIGRATE_PAGE, 30, 10, 1, 0),
    ]
    (life,) = lives(told, 10)
    assert lines(life) == [0, 3, 4]


def test_an_event_that_names_the_place_only_is_told_while_the_page_is_there(
    lives: Callable[..., list[Life]],
) -> None:
    """break_cow has no frame: it belongs to the page that is mapped there, until a write has made a copy."""
    told = [
        TOUCH,
        ("ksmd", ev.BREAK_COW, 1, "vm0", 4096),
        ("ksmd", ev.BREAK_COW, 2, "vm1", 4096),
        ("fault/0", ev.DO_WP_PAGE, "vm0", 4096, 11, 10, 0),
        ("ksmd", ev.BREAK_COW, 1, "vm0", 4096),
    ]
    assert lines(lives(told, 10)[0]) == [0, 1, 3]
    assert lines(lives(told, 11)[0]) == [3, 4]


def test_the_schedule_can_be_chosen(write_log: Write) -> None:
    """Without a choice the first schedule that knows the frame is looked at."""
    other = ("main", ev.DO_ANONYMOUS_PAGE, "vm7", 4096, 99, 0)
    with Logs([write_log([other], [TOUCH], [TOUCH, other])]) as logs:
        assert page_lives(logs, 10)[0].schedule == 1
        assert page_lives(logs, 10, schedule=2)[0].schedule == 2
        with pytest.raises(UsageError, match="page 10: no event in schedule 0 names this frame"):
            page_lives(logs, 10, schedule=0)


def test_a_frame_that_no_event_names_is_a_usage_error(write_log: Write) -> None:
    """The message says which frames there are to ask for."""
    with Logs([write_log([TOUCH])]) as logs, pytest.raises(UsageError, match="page 11: no event names this frame"):
        page_lives(logs, 11)
