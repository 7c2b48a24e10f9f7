"""Tests as what is run: schedules that the pytest plug-in has recorded name them instead of a workload."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from ksmactors.errors import UsageError


def is_test(name: str) -> bool:
    """Whether the workload that a schedule names is a test: `folder/test_file.py::test_name`."""
    return "::" in name


def pytest_command(name: str, schedule: str | Path) -> str:
    """The command line that replays a test under the schedule of a finding file, or of a schedule string."""
    return f"pytest {quote(name)} --interleave-replay {quote(str(schedule))}"


def refuse_test(name: str, source: str) -> None:
    """Refuse a schedule of a test where a workload is needed.

    Raises:
        UsageError: it is one.
    """
    if is_test(name):
        shown = source if len(source) <= 200 else "SCHEDULE"
        raise UsageError(f"this is a schedule of a test, which pytest replays: {pytest_command(name, shown)}")
