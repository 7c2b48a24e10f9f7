"""The litmus test of hot-remove is about memory with stable nodes, whatever merge_across_nodes is."""

from __future__ import annotations

import pytest

from ksmactors.run.subject import make_subject
from tests.litmus.test_weakened import first_found


@pytest.mark.parametrize("across", [0, 1])
def test_a_node_that_is_not_pruned_is_found(across: int) -> None:
    """With one tree, too, the memory that goes away has a page that was merged."""
    subject = make_subject(
        "litmus.scan_meets_hotplug",
        params={"merge_across_nodes": across},
        with_=("s2b-no-pruning-at-offline",),
    )

    outcome = first_found(subject)

    assert outcome is not None
    assert outcome.defect is not None
    assert outcome.defect.signature == "offline/node_of_absent_frame@ksm_check_stable_tree"
