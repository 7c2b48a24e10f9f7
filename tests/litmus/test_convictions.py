"""The litmus tests that are proved, with something of the series undone: it is found, and early."""

from __future__ import annotations

import pytest

from ksmactors.history.cases import CASES
from ksmactors.interleave.search.dpor import Dpor
from tests.helpers.meetings import BY_NODE, CACHED, WEAK, Meeting

pytestmark = pytest.mark.slow

GET, TAKE = "get_page_meets_migration", "taking_off_meets_migration"
VISIT, RETURN = "visit_meets_migration", "return_meets_migration"
HOTPLUG = "scan_meets_hotplug"

CONVICTIONS = (
    ("S2a", 2, Meeting(HOTPLUG, BY_NODE, with_=("s2a-step-after-free",))),
    ("S2b", 2, Meeting(HOTPLUG, BY_NODE, with_=("s2b-no-pruning-at-offline",))),
    ("S2c", 2, Meeting(HOTPLUG, BY_NODE, without=("reorganize-check-stable-tree",))),
    ("S2d", 2, Meeting(HOTPLUG, BY_NODE, with_=("s2d-check-by-keyhole",))),
    ("S3", 9, Meeting(VISIT, without=("get-ksm-page-locked",))),
    ("S3", 88, Meeting(TAKE, CACHED, without=("get-ksm-page-locked",))),
    ("S3a", 67, Meeting(TAKE, CACHED, with_=("s3a-no-recheck-after-lock",))),
    ("S3b", 1, Meeting(TAKE, with_=("s3b-removal-unlocked",))),
    ("S4", 1, Meeting("breaking_meets_unmapping", without=("remove-old-stable-nodes",))),
    ("S4a", 1, Meeting("breaking_meets_unmapping", with_=("s4a-no-removal",))),
    ("S4b", 1, Meeting("unmerge_meets_fork", with_=("s4b-behind-cursor",))),
    (
        "S4c",
        4,
        Meeting(
            "breaking_meets_fault",
            with_=("s4c-no-copy-while-unmerging",),
            without=("run-under-pte-lock", "break-swapped"),
        ),
    ),
    ("S5", 7, Meeting(GET, without=("ksm-page-migration",))),
    ("S5", 11, Meeting(VISIT, without=("ksm-page-migration",))),
    ("S5a", 7, Meeting(GET, with_=("s5a-no-kpfn-recheck",))),
    ("S5b", 65, Meeting(GET, with_=("s5b-mapping-before-kpfn",))),
    ("S5b-W4", 111, Meeting(GET, with_=(WEAK, "s5b-no-write-barrier"))),
    ("S5b-GK7", 226, Meeting(GET, with_=(WEAK, "s5b-no-read-barrier"))),
    ("S5c", 80, Meeting(GET, CACHED, with_=("s5c-frozen-is-stale",))),
    ("S5e", 11, Meeting(VISIT, with_=("s5e-no-lock-cycle",))),
    ("S5f", 161, Meeting(GET, CACHED, with_=("s5f-swap-cache-before-kpfn",))),
    ("S5g", 1, Meeting(VISIT, with_=("s5g-append-unlocked",))),
    ("S6", 1, Meeting(VISIT, BY_NODE, without=("merge-across-nodes-migration",))),
    ("S6", 1, Meeting("pruning_meets_exit", without=("merge-across-nodes-migration",))),
    ("S6a", 1, Meeting("pruning_meets_exit", with_=("s6a-root-by-kpfn",))),
    ("S6b", 1, Meeting(VISIT, BY_NODE, with_=("s6b-misplaced-is-found",))),
    ("S6c", 2, Meeting("exiled_node_meets_exit", with_=("s6c-no-pruning",))),
    ("S6d", 1, Meeting("exiled_node_meets_switch", with_=("s6d-list-left",))),
    ("S6e", 2, Meeting("exiled_node_meets_hotplug", with_=("s6e-list-unchecked",))),
    ("S6f", 9, Meeting("collision_meets_exit", with_=("s6f-no-second-search",))),
    ("S6h", 1, Meeting(RETURN, with_=("s6h-exile-without-erase",))),
    ("S6i", 1, Meeting(RETURN, with_=("s6i-never-back",))),
    ("S6j", 1, Meeting(RETURN, with_=("s6j-old-nid",))),
    ("S6k", 1, Meeting(RETURN, with_=("s6k-link-before-unlist",))),
    ("R1", 3, Meeting("breaking_meets_migration", without=("foll-migration",))),
    ("R1-mremap", 77, Meeting("moving_meets_migration", without=("foll-migration",))),
    ("R3", 1, Meeting("unstable_meets_migration", BY_NODE, without=("treat-unstable-nid",))),
    ("R5", 1, Meeting(HOTPLUG, BY_NODE, without=("stop-hotremove-lockdep-warning",))),
    ("R5'", 2, Meeting(HOTPLUG, BY_NODE, with_=("r5-nobody-waits",))),
    ("R6", 1, Meeting("pair_meets_migration", with_=("r6-anon-vma-before-removal",))),
    ("R7", 2, Meeting("scan_meets_switch", with_=("r7-root-left-behind",), kernel="v3.9")),
    ("X11a", 1, Meeting("merge_meets_memory_failure", without=("poisoned-nodes",))),
)
"""The case of the corpus, the schedule that comes to its finding, and of what."""


LATE = 60
"""A finding that comes after more schedules than these is looked for by `-m nightly`. Each is in the corpus, too,
with a schedule that shows it at once."""


@pytest.mark.parametrize(
    ("case", "schedules", "meeting"),
    [pytest.param(*row, marks=[pytest.mark.nightly] if row[1] > LATE else []) for row in CONVICTIONS],
    ids=str,
)
def test_without_it_it_is_found(case: str, schedules: int, meeting: Meeting) -> None:
    """Without its commit, or with a mutant of it, the exploration comes to the finding that the corpus names, after
    exactly so many schedules."""
    tally = meeting.explored(Dpor(), 2 * schedules + 10, first=True).tally
    (signature,) = tally.found
    assert CASES[case].explains(signature), signature
    assert tally.schedules == schedules


def test_every_headline_case_is_here() -> None:
    """Each commit of the series is undone in one of these, or is a control that is proved silent."""
    headlines = {case.name for case in CASES.values() if case.headline and not case.silent_because}
    assert headlines <= {case for case, _, _ in CONVICTIONS}
