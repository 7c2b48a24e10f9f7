"""Processes chosen by name, or all of them: those under /proc that can be read."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted
from ksmactors.estimate.procfs import ProcessGone, ProcessMemory
from ksmactors.estimate.units import page_count

COMM_MAX: Final = 15
"""Characters of a process' name that the kernel keeps (TASK_COMM_LEN - 1)."""

FDS_EACH: Final = 4
"""Open files that reading a process takes."""

FDS_SPARE: Final = 64
"""Open files for everything else."""


@dataclass(frozen=True, slots=True)
class ChosenProcesses:
    """Process numbers in ascending order, and lines about those that were passed over."""

    pids: tuple[int, ...]
    warnings: tuple[str, ...]


def choose(*, every: bool, comms: Sequence[str], proc: Path = Path("/proc")) -> ChosenProcesses:
    """Return the processes with memory that can be read: all, or those whose name begins with one of `comms`.

    This process is not among them, and neither are kernel threads, which have no memory of their own.

    Raises:
        UsageError: none has such a name; none can be read; the limit of open files is too low for so many.
    """
    if not every and not comms:
        return ChosenProcesses((), ())
    if empty := [comm for comm in comms if not comm]:
        raise UsageError(f"--comm {quoted(empty[0])}: a name is needed, such as qemu")
    wanted = tuple(os.fsencode(comm)[:COMM_MAX] for comm in comms)
    named = [(pid, name) for pid, name in _processes(proc) if every or name.startswith(wanted)]
    for comm, start in zip(comms, wanted, strict=True):
        if not any(name.startswith(start) for _, name in named):
            raise UsageError(f"--comm {comm}: no process has a name that begins so; names are in {proc}/PID/comm")
    _allow_files(len(named) * FDS_EACH + FDS_SPARE)
    readable = [pid for pid, _ in named if _readable(pid, proc)]
    what = "--all" if every else " ".join(f"--comm {comm}" for comm in comms)
    if not readable:
        none = "the process cannot" if len(named) == 1 else f"none of these {len(named):,} processes can"
        raise UsageError(f"{what}: {none} be read; try as root")
    passed_over = len(named) - len(readable)
    if not passed_over:
        return ChosenProcesses(tuple(readable), ())
    are = "1 process was" if passed_over == 1 else f"{passed_over:,} processes were"
    return ChosenProcesses(
        tuple(readable), (f"{what}: {are} passed over: kernel threads, or not to be read by this user",)
    )


def already_shared(pages: int) -> str:
    """The line about pages of processes whose frame has other users already."""
    return f"{page_count(pages)} share a frame already (a fork, KSM); what that saves is counted here again"


def _processes(proc: Path) -> Iterator[tuple[int, bytes]]:
    """All processes but this one, with their names, by number."""
    for pid in sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal()):
        if pid == os.getpid():
            continue
        try:
            yield pid, (proc / str(pid) / "comm").read_bytes().rstrip(b"\n")
        except OSError:
            continue  # it has exited


def _readable(pid: int, proc: Path) -> bool:
    """Whether there is memory that may be read."""
    try:
        with ProcessMemory(pid, proc=proc) as memory:
            return any(memory.mappings())
    except (UsageError, ProcessGone):
        return False


def _allow_files(wanted: int) -> None:
    """Raise this process' limit of open files as far as it goes.

    Raises:
        UsageError: it cannot be raised that far.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise UsageError(f"--all: {wanted:,} open files are needed, and {hard:,} are allowed; raise it with ulimit -Hn")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
