"""Processes of ksmactors that a test starts, and the processes that these start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.helpers.ready import ENVIRONMENT, ReadyProcess, start_ready

SECONDS_MAX = 60
"""For which a process may take to do what is waited for."""


@contextmanager
def started(line: Sequence[str], tmp_path: Path) -> Iterator[ReadyProcess]:
    """A command in a session of its own, which is killed at the end."""
    process = start_ready(*line, environment={**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path)})
    with closing(process.reaper), process.streams[0], process.streams[1]:
        try:
            yield process
        finally:
            process.kill()


def descendants_of(pid: int, count: int) -> list[int]:
    """Wait until a process has so many children, and children of children, and return them: parents come first."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        found = descendants(pid)
        if len(found) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError(f"process {pid} has not started {count} others")


def descendants(pid: int) -> list[int]:
    """The children of a process that there are now, and children of children: parents come first."""
    found = [pid]
    for one in found:
        found += _children(one)
    return found[1:]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what a process does."""
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def wait_until_gone(pids: Sequence[int]) -> list[int]:
    """Wait until processes have ended; return those that have not."""
    end = time.monotonic() + SECONDS_MAX
    while time.monotonic() < end:
        left = [pid for pid in pids if _lives(pid)]
        if not left:
            return []
        time.sleep(0.02)
    return left


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
