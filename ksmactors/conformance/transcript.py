"""The transcript of a scenario, for every driver.

The form is that of the recordings: a head, each operation echoed, its results, and after every batch of ksmd the
counters and the pages that share frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from errno import ESRCH, errorcode
from typing import Final, NamedTuple

from ksmactors.conformance.language import Comment, Operation, Scenario
from ksmactors.errors import Finding, ScenarioError, StepLimit
from ksmactors.mm.const import EHWPOISON, ERESTARTSYS

NAMED: Final = {ERESTARTSYS: "EINTR", EHWPOISON: "EHWPOISON"}
"""The names of errnos that Python does not know."""

WHOLE_SCAN: Final = (1 << 32) - 1
"""pages_to_scan of a batch that runs to the end of the scan: the knob's maximum."""


REST: Final = {"pages_to_scan": "0", "sleep_millisecs": "3600000"}
"""The knobs used for stepping, with their values between two steps."""


UNMET: Final = "# a hold was not met"
"""How the last line of a transcript begins if a task never came to a hold. Its end, which names the holds, is not
compared: older recordings do not have it."""


def unmet_line(holds: Sequence[str]) -> str:
    """Return the line about holds that no task has met, each as `TASK at PLACE`."""
    return f"{UNMET}: {', '.join(holds)}"


class Batch(NamedTuple):
    """What one batch did: pages scanned, full scans ended; `idle` if ksmd could not be woken."""

    scanned: int
    full_scans: int
    idle: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    """The results of a scenario: its lines; `missing` says what this version does not emulate (then the lines end with
    the recorded form of a skip, or there are none); `failure` is the error that ended the schedule.

    `crash` says how a real kernel crashed after the last line, and `console` is the file with its last words.
    """

    scenario: Scenario
    lines: tuple[str, ...]
    missing: str = ""
    failure: Finding | StepLimit | None = None
    crash: str = ""
    console: str = ""


class ScenarioEnded(Exception):  # no error: the scenario ends early and says why
    """End the scenario here."""


class NoSuchProcess(Exception):  # no error: the result of an operation
    """The process of an operation was killed before."""


class Reporter(ABC):
    """Runs a scenario line by line. A method `_do_...` does an operation and returns its result lines."""

    def __init__(self, scenario: Scenario, label: str, nodes: int) -> None:
        self.scenario, self.label, self.nodes = scenario, label, nodes
        self.lines: list[str] = []
        self.missing = ""
        self.killed: set[str] = set()
        """The processes that a signal has ended."""
        self.pins_failed: set[tuple[str, int]] = set()
        """Pins that were refused, by process and index of the page."""
        self.current: Operation
        """The current operation, or the last one."""

    @abstractmethod
    async def perform(self, operation: Operation) -> list[str]:
        """Do an operation; return its result lines, without the `= `."""

    async def before(self, operation: Operation) -> None:
        """Called before each operation."""

    @abstractmethod
    async def batch(self, pages: int) -> Batch:
        """Run one batch of up to `pages` pages in ksmd."""

    @abstractmethod
    def counters(self) -> str:
        """Return the kernel's counters."""

    @abstractmethod
    def counts_scanned(self) -> bool:
        """Whether the kernel counts the pages that it scans."""

    @abstractmethod
    def partition(self) -> list[str]:
        """Return the groups of pages that share a frame."""

    @abstractmethod
    def structures(self) -> list[str]:
        """Return KSM's trees, if they can be read."""

    async def report(self) -> None:
        """Do all operations in order."""
        self.write(
            f"# scenario {self.scenario.name}", f"# kernel {self.label}", f"# nodes {self.nodes}",
            f"# start {self.counters()}",
        )  # fmt: skip
        for line in self.scenario.lines:
            if isinstance(line, Comment):
                self.write(line.text)
                continue
            self.write(f"> {line.text}")
            self.current = line
            if line.node >= self.nodes:
                text = f"there is no node {line.node}; the machine has {self.nodes} (--nodes), numbered from 0"
                raise self.refused(line, text)
            await self.before(line)
            try:
                self.answer(await self.perform(line))
            except NoSuchProcess:
                if line.done.name == "fork":
                    self.killed.add(line.done.word)  # there is no child either
                self.answer([f"error {errorcode[ESRCH]}"])
            except ScenarioEnded:
                return
        self.finish()

    def finish(self) -> None:
        """Write lines about the whole scenario, after its last operation."""

    def answer(self, results: Sequence[str]) -> None:
        """Write result lines."""
        self.write(*(f"= {result}" if result else "=" for result in results))

    def write(self, *lines: str) -> None:
        """Append lines to the transcript."""
        self.lines += lines

    def refused(self, operation: Operation, what: str) -> ScenarioError:
        """Return the error for an operation that cannot be done."""
        return ScenarioError(f"{self.scenario.origin}:{operation.line}: {what}")

    async def _do_step(self, operation: Operation) -> list[str]:
        return [self._done(f"step asked={operation.number}", await self.batch(operation.number))]

    async def _do_scan(self, operation: Operation) -> list[str]:
        done = Batch(0, 0, idle=False)
        for _ in range(operation.number):
            batch = await self.batch(WHOLE_SCAN)
            done = Batch(done.scanned + batch.scanned, done.full_scans + batch.full_scans, batch.idle)
            if batch.idle:
                break
        return [self._done("scan", done)]

    def _done(self, what: str, batch: Batch) -> str:
        scanned = f" scanned={batch.scanned}" if self.counts_scanned() else ""
        return f"{what} full_scans=+{batch.full_scans}{scanned}" + " idle" * batch.idle

    async def _do_trace(self, operation: Operation) -> list[str]:
        views = [view for flag, view in (("frames", self._frames), ("trees", self._trees)) if flag in operation.flags]
        shown = [view() for view in views]
        steps = full_scans = 0
        idle = False
        while not idle and (full_scans if operation.name == "tracescan" else steps) < operation.number:
            batch = await self.batch(1)
            steps, full_scans, idle = steps + 1, full_scans + batch.full_scans, batch.idle
            note = " idle" if idle else " end-of-scan" if batch.full_scans else ""
            self.answer([f"t{steps} {self.counters()}{note}"])  # at once: the next step may be the last
            for index, view in enumerate(views):
                now = view()
                if now != shown[index]:
                    shown[index] = now
                    self.answer(now)
        return []

    async def _do_counters(self, operation: Operation) -> list[str]:
        return [f"counters {self.counters()}"]

    async def _do_frames(self, operation: Operation) -> list[str]:
        return ["frames", *self._frames()]

    def _frames(self) -> list[str]:
        return [f"  {line}" for line in self.partition()]

    def _trees(self) -> list[str]:
        return [f"    {line}" for line in self.structures()]


def errno_name(error: int) -> str:
    """Return the name of a negative errno, without its sign; EINTR for a system call that a signal has ended."""
    return NAMED.get(-error) or errorcode[-error]


def status_word(status: int) -> str:
    """Return the status of move_pages for a page: its node, or a negative errno by name."""
    return str(status) if status >= 0 else f"-{errno_name(status)}"


def result_word(error: int) -> str:
    """Return the answer of most operations."""
    return f"error {errno_name(error)}" if error < 0 else "ok"


def bare_word(error: int) -> str:
    """Return the answer of the operations that were added later."""
    return errno_name(error) if error < 0 else "ok"
