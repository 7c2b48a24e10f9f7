"""Findings made up for tests of what CI systems read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ksmactors.campaign.summary import Found
from ksmactors.ci.checks import Check, Status
from ksmactors.run.outcome import Break, Defect, Outcome, Step, Verdict

HOSTILE = (
    "</failure>]]> {0} [x](http://example.org) `|` <b>&\x00\x1b[31m\ud800\uffff\r\n::stop-commands::x\n##[error]x 100%"
)
"""A message that leaves no form as it is."""


def defect(message: str = "a page is lost", **more: Any) -> Defect:
    """A finding of two actors, explained."""
    met = (
        Step("migrationd/0", 7, "migrate_page_copy", "writes content/5", ("page lock of pfn 5",), ("move_pages",)),
        Step("ksmd", 9, "try_to_merge_one_page", "reads content/5", ()),
    )  # fmt: skip
    story = ("       3      0.003 ms ksmd            free_page               pfn=2 nid=0", "no event at all")
    given: dict[str, Any] = {
        "kind": "page_lost", "watcher": "locality", "signature": "locality/page_lost@replace_page",
        "message": message, "step": 12, "actors": ("ksmd", "host"), "functions": ("replace_page", "none"),
        "story": story, "met": met, "broke": Break(held_until=6, by=met[0]),
    }  # fmt: skip
    return Defect(**given | more)


def found(one: Defect | None = None, *, workload: str = "fork_storm", file: Path | None = None) -> Found:
    """A finding of a schedule."""
    outcome = Outcome(
        workload, 2**63 - 1, "pos", Verdict.FINDING, 20, 10, (), b"", b"", defect=defect() if one is None else one
    )
    return Found(outcome, file, replay=f"ksmactors replay {file}" if file else "", count=3)


def checks() -> list[Check]:
    """A check of each status, one of them hostile."""
    first, second = found(), found(defect(HOSTILE, signature="locality/page_lost@x", kind=HOSTILE))
    return [
        Check(
            "stress",
            "fork_storm: locality/page_lost@replace_page",
            Status.FAILED,
            first.defect.message,
            "a",
            "b",
            first,
        ),
        Check("stress", HOSTILE, Status.FAILED, HOSTILE, HOSTILE, HOSTILE, second),
        Check("stress", "exit_race", Status.CRASHED, "ValueError"),
        Check("stress", "oom_kill", Status.INCONCLUSIVE, "out of steps", seconds=1.23456),
        Check("stress", "services", Status.PASSED, "sampled"),
    ]
