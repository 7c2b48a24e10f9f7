"""Litmus tests gone through to their end: nothing is found.

Proofs within bounds: two actors, one or two pages, one migration, and what the actors declare and touch is all that
they share. That this is so is what the random walks are for: they come to no trace that the exploration has not run.

The long proofs run to their end with `-m nightly`. By default each of them begins, and random walks go further.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from ksmactors.history.cases import CASES
from tests.helpers.meetings import BY_NODE, CACHED, LOCK, WEAK, Meeting
from tests.helpers.walking import Noted, Walk

pytestmark = pytest.mark.slow

WALKS = 25

LONG = 40
"""A proof of more schedules than these is long. The example of README proves `get_page_meets_migration` by default."""

LONG_FOR_ANOTHER_SETTING = 15
"""The same where a litmus test of the series is proved with other parameters, or on another kernel, by default."""

BEGINNING = 2
"""How many schedules of a long proof are run by default."""

FIRST_WALKS = 3
"""How many random walks go with them: with fewer, all may be alike."""

GET, TAKE = "get_page_meets_migration", "taking_off_meets_migration"
VISIT, RETURN = "visit_meets_migration", "return_meets_migration"

SERIES = (
    (127, Meeting(GET)),
    (196, Meeting(GET, LOCK)),
    (183, Meeting(GET, CACHED)),
    (265, Meeting(GET, LOCK | CACHED)),
    (178, Meeting(TAKE)),
    (265, Meeting(TAKE, CACHED)),
    (218, Meeting(VISIT)),
    (218, Meeting(VISIT, BY_NODE)),
    (25, Meeting(RETURN)),
    (661, Meeting("pair_meets_migration")),
    (164, Meeting("breaking_meets_migration")),
    (22, Meeting("breaking_meets_unmapping")),
    (1184, Meeting("breaking_meets_fault")),
    (11, Meeting("pruning_meets_exit")),
    (1120, Meeting("moving_meets_migration")),
    (58, Meeting("unmerge_meets_fork")),
    (3, Meeting("scan_meets_hotplug", BY_NODE)),
    (46, Meeting("exiled_node_meets_exit")),
    (7, Meeting("exiled_node_meets_switch")),
    (3, Meeting("exiled_node_meets_hotplug")),
    (206, Meeting("collision_meets_exit")),
    (37, Meeting("unstable_meets_migration", BY_NODE)),
    (2, Meeting("scan_meets_switch")),
    (3, Meeting("merge_meets_memory_failure")),
    (269, Meeting("migration_meets_memory_failure")),
    (49, Meeting("swap_in_meets_memory_failure")),
    (731, Meeting(GET, with_=(WEAK,))),
    (933, Meeting(GET, CACHED, with_=(WEAK,))),
)
"""How many schedules there are, and of what."""

V39 = (
    (105, Meeting(GET, kernel="v3.9")),
    (147, Meeting(GET, CACHED, kernel="v3.9")),
    (265, Meeting(TAKE, CACHED, kernel="v3.9")),
    (210, Meeting(VISIT, kernel="v3.9")),
    (210, Meeting(VISIT, BY_NODE, kernel="v3.9")),
    (25, Meeting(RETURN, kernel="v3.9")),
    (501, Meeting("pair_meets_migration", kernel="v3.9")),
    (164, Meeting("breaking_meets_migration", kernel="v3.9")),
    (22, Meeting("breaking_meets_unmapping", kernel="v3.9")),
    (11, Meeting("pruning_meets_exit", kernel="v3.9")),
    (58, Meeting("unmerge_meets_fork", kernel="v3.9")),
    (3, Meeting("scan_meets_hotplug", BY_NODE, kernel="v3.9")),
    (46, Meeting("exiled_node_meets_exit", kernel="v3.9")),
    (2, Meeting("scan_meets_switch", kernel="v3.9")),
    (89, Meeting("migration_meets_memory_failure", kernel="v3.9")),
    (9, Meeting("write_meets_memory_failure", kernel="v3.9")),
    (49, Meeting("swap_in_meets_memory_failure", kernel="v3.9")),
)
"""The same for v3.9."""

CONTROLS = (
    ("S1a", 661, Meeting("pair_meets_migration", without=("trivial-tidyups",))),
    ("S3c", 368, Meeting(VISIT, with_=("s3c-locked-descent",))),
    ("S5d", 170, Meeting(VISIT, with_=("s5d-old-mapping-kept",))),
    ("S5h", 2, Meeting(VISIT, with_=("s5h-locked-is-gone",), kernel="v3.9")),
    ("S6g", 41, Meeting(RETURN, with_=("s6g-never-settled",))),
    ("R4", 15, Meeting(VISIT, without=("enable-ksm-page-migration",))),
    ("D1", 2, Meeting("scan_meets_switch", without=("allocate-roots",))),
)
"""The same for cases of the corpus in which nothing may be found."""


SHORTEST = {meeting.litmus: meeting for _, meeting in sorted(SERIES, key=lambda row: -row[0])}
"""The setting of the series in which a litmus test has the fewest schedules."""


def is_long(row: tuple[Any, ...]) -> bool:
    """Whether a row is of a long proof: its last columns are the number of schedules and the litmus test."""
    *_, schedules, meeting = row
    return schedules > (LONG if SHORTEST.get(meeting.litmus) is meeting else LONG_FOR_ANOTHER_SETTING)


def marked(rows: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Rows of a table for `parametrize`; those of long proofs are nightly."""
    return [pytest.param(*row, marks=[pytest.mark.nightly] if is_long(row) else []) for row in rows]


LONG_ONES = [row[-2:] for row in (*SERIES, *V39, *CONTROLS) if is_long(row)]
"""How many schedules the long proofs have, and of what."""


def proved(meeting: Meeting, schedules: int) -> Noted:
    """It takes so many schedules, and nothing is found in any of them."""
    search = Noted()
    tally = meeting.explored(search, 2 * schedules + 10).tally
    assert (tally.verdict, list(tally.found), tally.schedules) == ("exhausted", [], schedules)
    assert len(search.traces) == schedules, "each trace is run once"
    return search


@pytest.mark.parametrize(("schedules", "meeting"), marked(SERIES), ids=str)
def test_the_series_holds(schedules: int, meeting: Meeting) -> None:
    """With all of the series, and what followed, all schedules are gone through and nothing is found; random walks come
    to no trace that was not among them."""
    explored, walk = proved(meeting, schedules), Walk(1)
    meeting.explored(walk, WALKS, watch="none")
    assert len(walk.traces) > 1
    assert walk.traces <= explored.traces


@pytest.mark.parametrize(("schedules", "meeting"), marked(V39), ids=str)
def test_so_does_the_kernel_that_it_went_into(schedules: int, meeting: Meeting) -> None:
    """v3.9, bug for bug, is proved in the same meetings where none of what it still had is met."""
    proved(meeting, schedules)


@pytest.mark.parametrize(("case", "schedules", "meeting"), marked(CONTROLS), ids=str)
def test_a_negative_control_is_silent_in_all_schedules(case: str, schedules: int, meeting: Meeting) -> None:
    """What the corpus says does no harm does none in any schedule."""
    assert CASES[case].silent_because
    proved(meeting, schedules)


@pytest.mark.parametrize(("schedules", "meeting"), LONG_ONES, ids=str)
def test_a_long_proof_begins(schedules: int, meeting: Meeting) -> None:
    """The first schedules of each long proof are different and not all there are; in them and in random walks, which
    are not all alike either, watchers find nothing."""
    search, walk = Noted(), Walk(1)
    first, walks = meeting.explored(search, BEGINNING).tally, meeting.explored(walk, FIRST_WALKS).tally
    assert (first.verdict, list(first.found), first.schedules) == ("inconclusive", [], BEGINNING)
    assert len(search.traces) == BEGINNING < schedules
    assert (list(walks.found), walks.schedules) == ([], FIRST_WALKS)
    assert len(walk.traces) > 1


class Deaf(Noted):
    """Hears of no touches."""

    def touched(self, *_: object) -> None:
        """Nothing was said."""


class DeafWalk(Walk):
    """The same, at random."""

    def touched(self, *_: object) -> None:
        """Nothing was said."""


def test_walks_come_upon_what_was_not_declared() -> None:
    """If the actors share more than the search knows of, it misses traces, and random walks come to one of them."""
    explored, walk = Deaf(), DeafWalk(1)
    Meeting(GET).explored(explored, 1000, watch="none")
    Meeting(GET).explored(walk, 40, watch="none")
    assert walk.traces - explored.traces
