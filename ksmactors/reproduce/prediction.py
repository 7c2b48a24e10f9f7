"""What a program can observe of each operation, and what the emulator says of it with the defect and without.

All quantities are integers: an errno, a node, a counter, a number of pages. They are written as C has them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import Operation, Scenario
from ksmactors.conformance.live import STAT
from ksmactors.conformance.live_ksm import COUNTERS
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import Finding, UsageError

OBSERVED_COUNTERS: Final = ("shared", "sharing", "unshared", "volatile", "chains", "dups")
"""Counters that do not depend on what a machine did before."""

PAGES_MAX: Final = 100
"""Pages that are compared with each other after one operation."""

FRAMES_MAX: Final = 8
"""Pairs of pages that are looked at after one operation."""

Page = tuple[str, str, int]
"""Process, region, index."""


@dataclass(frozen=True, slots=True, order=True)
class Quantity:
    """Something that a program can see: its `kind`, and the knob, counter or pages that it is about."""

    kind: str
    about: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()


@dataclass(frozen=True, slots=True)
class Prediction:
    """What kernels show: for each operation, by quantity, the value with the defect and the one without.

    `crash` is the index of the operation at which the kernel with the defect fails, and `why` how; -1 if it does not.
    `answered` has, for each operation, whether both succeed. Without a repair both values are the same.
    """

    seen: tuple[dict[Quantity, tuple[str, str]], ...]
    answered: tuple[bool, ...]
    crash: int = -1
    why: str = ""
    repaired: bool = True

    @property
    def different(self) -> Prediction:
        """Only the quantities that tell a kernel with the defect from one without."""
        if not self.repaired:
            return self
        seen = tuple({key: both for key, both in one.items() if both[0] != both[1]} for one in self.seen)
        return replace(self, seen=seen)


async def predict(scenario: Scenario, broken: Setting, repair: Sequence[str]) -> Prediction:
    """Perform a scenario on a kernel, and on the same one with a repair. To be awaited in trio.

    Raises:
        UsageError: one of them cannot perform it, or the repaired kernel fails, too.
    """
    first = await perform(scenario, broken)
    second = await perform(scenario, replace(broken, with_=(*broken.with_, *repair))) if repair else first
    for transcript in (first, second):
        if transcript.missing:
            raise UsageError(f"{scenario.origin}: {transcript.missing}")
    if second.failure is not None:
        which = f"repaired with {', '.join(repair)}, too" if repair else "; name its repair with --repair"
        raise UsageError(f"{scenario.origin}: {second.failure}, on the kernel {broken.kernel}{which}")
    if first.failure is not None and not isinstance(first.failure, Finding):
        raise UsageError(f"{scenario.origin}: {first.failure}")
    operations = list(scenario.operations)
    defect, without = (answers_of(transcript) for transcript in (first, second))
    seen: list[dict[Quantity, tuple[str, str]]] = []
    answered: list[bool] = []
    for index, operation in enumerate(operations):
        one = quantities_of(operation, defect[index]) if index < len(defect) else {}
        other = quantities_of(operation, without[index])
        seen.append({key: (one[key], other[key]) for key in one if key in other})
        answered.append(all(succeeded(answers[index]) for answers in (defect, without) if index < len(answers)))
    if first.failure is None:
        return Prediction(tuple(seen), tuple(answered), repaired=bool(repair))
    return Prediction(tuple(seen), tuple(answered), len(defect) - 1, str(first.failure))


def answers_of(transcript: Transcript) -> list[list[str]]:
    """Return the result lines of each operation that was begun."""
    answers: list[list[str]] = []
    for line in transcript.lines:
        if line.startswith("> "):
            answers.append([])
        elif line.startswith("=") and answers:
            answers[-1].append(line[1:].removeprefix(" "))
    return answers


def succeeded(lines: Sequence[str]) -> bool:
    """Whether an operation that has these result lines has done what it was to do."""
    return not lines or not re.match(r"(error )?E[A-Z]+\b|BAD|absent|none", lines[0])


def quantities_of(operation: Operation, lines: Sequence[str]) -> dict[Quantity, str]:
    """Return what a program can see of an operation, from its result lines."""
    read = READERS.get(operation.name)
    return dict(read(operation, lines)) if read is not None and lines else {}


Read = Iterator[tuple[Quantity, str]]


def _error(_operation: Operation, lines: Sequence[str]) -> Read:
    """An errno, or 0."""
    words = lines[0].removeprefix("error ").split()
    yield Quantity("error"), "0" if words[0] == "ok" else words[0]


def _knob(operation: Operation, lines: Sequence[str]) -> Read:
    if lines[0].split()[0] != "absent":
        yield from _error(operation, lines)


def _value(operation: Operation, lines: Sequence[str]) -> Read:
    if lines[0].isdigit() and operation.word not in ("full_scans", "pages_scanned", "pages_skipped"):
        yield Quantity("value"), lines[0]


def _wrong(_operation: Operation, lines: Sequence[str]) -> Read:
    if not lines[0].startswith("error"):
        yield Quantity("wrong"), lines[0].removeprefix("BAD ").replace("ok", "0")


def _moved(operation: Operation, lines: Sequence[str]) -> Read:
    """0 if the page is on that node, else what move_pages says: pages not moved, or a negative errno."""
    returned, status = (word.partition("=")[2] for word in lines[0].split())
    if returned != "0":
        yield Quantity("moved"), returned
    elif status.isdigit():
        yield Quantity("moved"), str(int(int(status) != operation.node))
    else:
        yield Quantity("moved"), status


def _node(operation: Operation, lines: Sequence[str]) -> Read:
    page = (operation.process, operation.region, operation.first)
    yield Quantity("node", pages=(page,)), lines[0].removeprefix("node ")


def _counters(_operation: Operation, lines: Sequence[str]) -> Read:
    words = dict(word.split("=") for word in lines[0].split()[1:])
    for name in OBSERVED_COUNTERS:
        if name in words:
            yield Quantity("counter", (COUNTERS[name],)), words[name]


def _status(_operation: Operation, lines: Sequence[str]) -> Read:
    for word in lines[0].split():
        name, value = word.split("=")
        if value.isdigit():
            yield Quantity("status", (STAT[name],)), value


def _frames(_operation: Operation, lines: Sequence[str]) -> Read:
    """Which of the pages share a frame: every pair."""
    frame: dict[Page, str] = {}
    for number, line in enumerate(lines):
        kind, _, names = line.strip().partition(" ")
        for page in _pages(names.partition(": ")[2]):
            if kind in ("ksm", "anon", "alone"):
                frame[page] = str(number) if kind != "alone" else str(page)
    ordered = sorted(frame)[:PAGES_MAX]
    for index, page in enumerate(ordered):
        for other in ordered[index + 1 :]:
            yield Quantity("one_frame", pages=(page, other)), str(int(frame[page] == frame[other]))


def _pages(names: str) -> Iterator[Page]:
    """Yield the pages of a list such as `A.r.0-3 B.r.0`."""
    for name in names.split():
        process, region, indices = name.split(".")
        first, _, last = indices.partition("-")
        for index in range(int(first), int(last or first) + 1):
            yield process, region, index


READERS: Final[dict[str, Callable[[Operation, Sequence[str]], Read]]] = {
    **dict.fromkeys(
        ("mergeable", "unmergeable", "dontneed", "munmap", "swapout", "free", "mlock", "munlock", "mremap",
         "process_vm_readv"), _error,
    ),
    **dict.fromkeys(("check", "checkrange", "checkseq"), _wrong),
    **dict.fromkeys(("migrate", "migrate1"), _moved),
    "set": _knob, "get": _value, "where": _node, "counters": _counters, "procstat": _status, "frames": _frames,
}  # fmt: skip
"""What is read from the answer of an operation; from those of others nothing is."""


def fewer_frames(quantities: dict[Quantity, tuple[str, str]]) -> dict[Quantity, tuple[str, str]]:
    """Return the quantities with the first pairs of pages alone, those that share a frame with the defect first."""
    pairs = [key for key in quantities if key.kind == "one_frame"]
    kept = sorted(pairs, key=lambda key: (quantities[key][0] == "0", key))[:FRAMES_MAX]
    return {key: value for key, value in quantities.items() if key.kind != "one_frame" or key in kept}
