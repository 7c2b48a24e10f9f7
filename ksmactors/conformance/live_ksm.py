"""The KSM of this machine: its knobs, which are always restored, and its ksmd, batch by batch.

Between two batches ksmd sleeps for an hour, with nothing to scan when it wakes. Writing *another* huge sleep_millisecs
ends that sleep for exactly one batch, whose size was written before. Whether it woke up is known when the write
returns, since the waking is over by then: a ksmd that was not woken is still asleep and has not been switched out
again. So no waiting time has to be guessed.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from ksmactors.conformance.kernel_files import read_text, write_text
from ksmactors.conformance.transcript import REST, Batch
from ksmactors.errors import KsmActorsError, UsageError

SYSFS: Final = Path("/sys/kernel/mm/ksm")
PROC: Final = Path("/proc")

NEEDED: Final = (
    "run", "pages_to_scan", "sleep_millisecs", "merge_across_nodes", "max_page_sharing",
    "stable_node_chains_prune_millisecs", "use_zero_pages", "pages_shared", "pages_sharing", "pages_unshared",
    "pages_volatile", "full_scans", "stable_node_chains", "stable_node_dups",
)  # fmt: skip
"""The files without which no scenario can be performed, or not shown as recordings show it."""

START: Final = (
    ("run", "2"), ("run", "0"), ("advisor_mode", "none"), ("smart_scan", "0"), ("use_zero_pages", "0"),
    ("merge_across_nodes", "1"), ("max_page_sharing", "256"), ("stable_node_chains_prune_millisecs", "0"),
)  # fmt: skip
"""What every scenario starts with; a knob that this kernel does not have is left out."""

WAKING: Final = "3600001"
"""A sleep_millisecs that differs from that of REST and is not shorter."""

COUNTERS: Final = {
    "shared": "pages_shared", "sharing": "pages_sharing", "unshared": "pages_unshared", "volatile": "pages_volatile",
    "full_scans": "full_scans", "chains": "stable_node_chains", "dups": "stable_node_dups",
    "scanned": "pages_scanned", "skipped": "pages_skipped", "zero": "ksm_zero_pages",
}  # fmt: skip
"""What results show, in this order, and the file that it is in. The last three are new, and relative to the start."""

GROWING: Final = ("scanned", "skipped", "zero")

ASLEEP_SECONDS_MAX: Final = 120
"""A batch of a million pages takes some seconds; a ksmd that is busy for longer is stuck."""

FREE_SECONDS_MAX: Final = 3
"""Seconds until a ksmd without work must be seen asleep."""

LOCK_SECONDS_MAX: Final = 3
"""Seconds to wait for the end of another live run: restoring the knobs takes milliseconds."""


class Disturbed(KsmActorsError):
    """Other activity of the machine interfered: the results do not count."""


def in_use(proc: Path = PROC) -> str:
    """Return which process takes part in KSM, or ""."""
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdecimal()):  # noqa: PTH208  # it is quicker
        try:
            stat = read_text(f"{proc}/{pid}/ksm_stat")
            if not stat:
                continue  # a thread of the kernel, which has no memory of its own
            name = read_text(f"{proc}/{pid}/comm").strip()
        except OSError:
            continue  # it has exited, or the kernel is older than the file
        words = dict(line.replace(":", "").split() for line in stat.splitlines())
        if "yes" in (words.get("ksm_mergeable"), words.get("ksm_merge_any")) or words.get("ksm_rmap_items", "0") != "0":
            return f"process {pid} ({name}) takes part in KSM"
    return ""


class LiveKsm:
    """This machine's KSM. Nothing is changed before `taken`."""

    def __init__(self, sysfs: Path = SYSFS, proc: Path = PROC) -> None:
        self.sysfs, self.proc = sysfs, proc
        self._check()
        self.knobs = sorted(path.name for path in sysfs.iterdir())
        self.counters = {name: file for name, file in COUNTERS.items() if file in self.knobs}
        self._ksmd = self._find_ksmd()
        self._base: dict[str, int] = {}

    # -- exclusive use ---------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if not self.sysfs.is_dir():
            raise UsageError(
                f"--live: there is no {self.sysfs}; it needs a Linux kernel with CONFIG_KSM, and sysfs mounted"
            )
        if os.geteuid() != 0:
            raise UsageError("--live: only root may turn KSM's knobs and see page frames; run it with sudo")
        missing = [name for name in NEEDED if not (self.sysfs / name).exists()]
        if missing:
            raise UsageError(
                f"--live: this kernel has no {self.sysfs / missing[0]}; it needs 4.20 or later with CONFIG_NUMA"
            )
        if not os.access(self.sysfs / "run", os.W_OK):
            raise UsageError(f"--live: {self.sysfs} is read-only here; run it outside of the container")

    @property
    def ksmd_pid(self) -> int:
        """The PID of ksmd."""
        return int(self._ksmd.name)

    def _find_ksmd(self) -> Path:
        for directory in self.proc.glob("[0-9]*"):
            try:
                if (directory / "comm").read_text() == "ksmd\n" and not (directory / "cmdline").read_bytes():
                    return directory
            except OSError:
                continue
        raise UsageError("--live: ksmd is not among the processes in /proc; run it outside of the container")

    def busy(self) -> str:
        """Return what else uses KSM, or ""."""
        if (run := self.read("run")) != "0":
            return f"run is {run}, so KSM is in use; stop its users, then write 0 to {self.sysfs / 'run'}"
        if who := in_use(self.proc):
            return f"{who}; stop it, or wait until it has exited"
        for name in ("pages_shared", "pages_unshared", "pages_volatile"):
            if (count := self.read(name)) != "0":
                return f"{name} is {count}, so processes have pages in KSM; write 2 and then 0 to {self.sysfs / 'run'}"
        return ""

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Use KSM exclusively until the end of the block, or of this process, restores every knob.

        Raises:
            UsageError: KSM is in use.
        """
        descriptor = os.open(self.sysfs, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._lock(descriptor)
            if busy := self.busy():
                raise UsageError(f"--live: {busy}")
            self._see_ksmd_sleep()
            guard = self._start_guard(descriptor)
        finally:
            os.close(descriptor)  # the guard holds the lock on, until it has done its work
        try:
            yield
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            status = guard.wait()
        if status:
            raise Disturbed(f"--live: not every knob in {self.sysfs} could be put back; set it by hand")

    def _see_ksmd_sleep(self) -> None:
        try:
            self.settle(FREE_SECONDS_MAX)
        except Disturbed as disturbed:
            raise UsageError(f"--live: {disturbed}; {self._ksmd / 'wchan'} must say ksm_scan_thread") from None

    def _lock(self, descriptor: int) -> None:
        until = monotonic() + LOCK_SECONDS_MAX
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic() > until:
                    raise UsageError("--live: another live run is under way; wait until it has ended") from None
                sleep(0.05)
            else:
                return

    def _start_guard(self, descriptor: int) -> subprocess.Popen[str]:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("live_guard.py"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True, pass_fds=(descriptor,),
        )  # fmt: skip
        assert guard.stdin is not None
        assert guard.stdout is not None
        with guard.stdout:
            guard.stdin.write(json.dumps({"directory": str(self.sysfs), "knobs": self._saved()}) + "\n")
            guard.stdin.flush()
            if guard.stdout.readline() != "ready\n":
                guard.stdin.close()
                raise Disturbed("--live: the process that puts the knobs back did not start")
        return guard

    def _saved(self) -> dict[str, str]:
        knobs = (name for name in self.knobs if (self.sysfs / name).stat().st_mode & 0o200)
        return {knob: re.sub(r".*\[(.*)\].*", r"\1", self.read(knob)) for knob in knobs}

    # -- knobs ----------------------------------------------------------------------------------------------------

    def read(self, knob: str) -> str:
        """Return the content of one of KSM's files."""
        return read_text(f"{self.sysfs}/{knob}").strip()

    def write(self, knob: str, value: str) -> str:
        """Write a knob, and wait until ksmd has finished its reaction: "", or the errno's name."""
        error = self.store(knob, value)
        self.settle()
        return error

    def store(self, knob: str, value: str) -> str:
        """Write a knob and wait for nothing: "", or the errno's name."""
        try:
            write_text(f"{self.sysfs}/{knob}", value)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return ""

    def rest(self) -> None:
        """Set the knobs used for stepping to the values that scenarios find."""
        for knob, value in REST.items():
            if self.read(knob) != value:
                self.write(knob, value)

    def start(self) -> None:
        """Set the initial values of every scenario; growing counters count from now on."""
        for knob, value in START:
            if knob in self.knobs and (error := self.write(knob, value)):
                raise Disturbed(f"{knob} could not be set to {value} ({error}); does another process use KSM?")
        self.rest()
        for name in ("shared", "sharing", "unshared", "volatile"):
            if count := self.counter(name):
                raise Disturbed(f"{self.counters[name]} is {count} at the start; does another process use KSM?")
        self._base = {name: int(self.read(self.counters[name])) for name in GROWING if name in self.counters}

    def show(self, knob: str) -> str:
        """Return the content of a file as results show it: growing counters are relative to the start of the
        scenario."""
        name = next((name for name in self._base if self.counters[name] == knob), None)
        return self.read(knob) if name is None else str(self.counter(name))

    def counter(self, name: str) -> int:
        """Return one counter as results show it."""
        return int(self.read(self.counters[name])) - self._base.get(name, 0)

    def counted(self) -> str:
        """Return all counters as results show them."""
        return " ".join(f"{name}={self.counter(name)}" for name in self.counters)

    # -- ksmd -----------------------------------------------------------------------------------------------------

    def batch(self, pages: int) -> Batch:
        """Run one batch of up to `pages` pages in ksmd. `scanned` is 0 where the kernel does not count it."""
        scanned, full_scans = self.scanned(), self.counter("full_scans")
        self.store("pages_to_scan", str(pages))
        before = self.switches()
        now = self.read("sleep_millisecs")
        self.store("sleep_millisecs", WAKING if now != WAKING else REST["sleep_millisecs"])
        idle = self.sleeping() and self.switches() == before
        if not idle:
            self.settle()
        self.store("pages_to_scan", REST["pages_to_scan"])
        return Batch(self.scanned() - scanned, self.counter("full_scans") - full_scans, idle)

    def scanned(self) -> int:
        """Return the counter of scanned pages; 0 where the kernel does not count them."""
        return self.counter("scanned") if "scanned" in self.counters else 0

    def settle(self, seconds: int = ASLEEP_SECONDS_MAX) -> None:
        """Wait until ksmd sleeps between two batches, or waits for work."""
        until = monotonic() + seconds
        while not self.sleeping():
            if monotonic() > until:
                raise Disturbed(f"ksmd has not gone to sleep for {seconds} seconds")
            sleep(0.00005)

    def wait(self, milliseconds: int) -> None:
        """Do nothing for that long."""
        sleep(milliseconds / 1000)

    def sleeping(self) -> bool:
        """Whether ksmd sleeps in its own function: not on a lock, nor for its pages to be drained."""
        state = read_text(f"{self._ksmd}/stat").rpartition(")")[2].split(maxsplit=1)[0]
        return state == "S" and read_text(f"{self._ksmd}/wchan") == "ksm_scan_thread"

    def switches(self) -> int:
        """Return how often ksmd has gone to sleep."""
        status = read_text(f"{self._ksmd}/status")
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])
