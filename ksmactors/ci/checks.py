"""What a command has checked: one result for each workload, finding, case or scenario."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from ksmactors.campaign.summary import Found
from ksmactors.run.subject import Subject


class Status(Enum):
    """What came of a check."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    """Code raised, or what was to be checked cannot be used."""
    INCONCLUSIVE = "inconclusive"


class Check(NamedTuple):
    """The result of one check.

    Attributes:
        group: the command, and what it was given, such as `stress` or `replay`.
        name: identifies the check within its group; equal from run to run.
        status: what came of it.
        message: one line that says so.
        details: more lines for people, the command that replays among them.
        log: the last events before it, or a traceback; for what shows a whole page.
        found: what was found, if anything was.
        subject: what was run, if it was one thing.
        file: the file that was checked, if it was one.
        expected: whether it was expected to be found: a known defect.
        seconds: wall-clock time it took, if it was measured.
    """

    group: str
    name: str
    status: Status
    message: str = ""
    details: str = ""
    log: str = ""
    found: Found | None = None
    subject: Subject | None = None
    file: Path | None = None
    expected: bool = False
    seconds: float | None = None

    @property
    def signature(self) -> str:
        """The signature of what was found, else its name."""
        return self.found.defect.signature if self.found is not None else self.name


def counted(checks: Iterable[Check]) -> str:
    """Return how many checks came to each status, in a line."""
    counts = dict.fromkeys(Status, 0)
    for check in checks:
        counts[check.status] += 1
    return ", ".join(f"{count} {status.value}" for status, count in counts.items() if count) or "nothing was checked"
