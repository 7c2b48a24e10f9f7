"""Cases of secondary mappings: a guest at pages that ksmd merges (X10a to X10d)."""

from __future__ import annotations

from typing import Final

from ksmactors.history.case import Case

MERGE: Final = "litmus.merge_meets_guest"
FAULT: Final = "litmus.merge_meets_guest_fault"

GUESTS: Final = (
    Case(
        name="X10a",
        title="a guest's write is lost: the merge of its page is not announced",
        workload=MERGE,
        with_=("x10a-protection-not-announced",),
        watcher="secondary",
        kind="stale_mapping",
        where="write_protect_page",
        also=("shadow/lost_write@guest_read",),
        story=(
            "A guest has mapped A's page, and may write it. ksmd makes A's entry read-only and compares the page, but "
            "KVM is not asked to give its mapping up. So the guest can write after the comparison, to a page that "
            "ksmd is about to replace."
        ),
        script=("ksmd > end", "vcpu/A > end"),
    ),
    Case(
        name="X10b",
        title="a guest maps a page that has been merged away: its fault does not look again",
        workload=FAULT,
        with_=("x10b-fault-looks-once",),
        watcher="secondary",
        kind="stale_mapping",
        where="direct_map",
        also=("secondary/stale_mapping@replace_page_at",),
        story=(
            "ksmd has made A's entry read-only, and compares the page. The guest reads it and faults: KVM looks the "
            "page up. ksmd replaces it by a KSM page, which it announces. KVM has nothing to give up yet. Then it maps "
            "what it has found, a page that A does not have any more."
        ),
        script=("ksmd > merge.compare", "vcpu/A > guest.map", "ksmd > end", "vcpu/A > end"),
    ),
    Case(
        name="X10c",
        title="a guest goes on reading a page that was merged away: its replacement is not announced",
        workload=FAULT,
        with_=("x10c-replacement-not-announced",),
        watcher="secondary",
        kind="stale_mapping",
        where="replace_page_at",
        story=(
            "ksmd has made A's entry read-only, and compares the page. The guest reads it, and KVM maps "
            "it, read-only as the entry. ksmd maps the KSM page in its place without asking KVM to give its "
            "mapping up: the guest goes on reading the old page, which is free."
        ),
        script=("ksmd > merge.compare", "vcpu/A > end", "ksmd > end"),
    ),
    Case(
        name="X10d",
        title="control: each change of an entry is announced twice",
        workload=MERGE,
        with_=("x10d-announced-twice",),
        story="KVM has given its mapping of A's page up when it is asked a second time, and makes none in between.",
        script=("ksmd > merge.compare", "vcpu/A > end", "ksmd > end"),
        silent_because="invalidations are counted: a guest maps a page again when as many have ended as have begun",
    ),
)
