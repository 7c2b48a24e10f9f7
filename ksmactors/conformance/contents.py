"""The content of every page of a scenario, computed from the script alone.

Merging, unsharing and migration must never change what a process reads, so this needs no KSM: it predicts the answer of
every `check`, on any kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ksmactors.conformance.language import Operation, Scenario
from ksmactors.escaping import quoted

GONE: Final = -1
"""In place of a token: the page is not mapped any more."""

UNTOUCHED: Final = -2
"""In place of a token: nothing was written since the page was mapped or dropped; it reads as zeros."""

UNSURE: Final = -3
"""In place of a token: the kernel may discard what was written at any time (MADV_FREE)."""

TOKENS: Final = 1 << 64

CHECKS: Final = ("check", "checkrange", "checkseq")

ENDED: Final = ("killed SIGBUS", "error ESRCH")
"""Answers that say that the process of an operation was killed, now or before, since memory has failed."""


class ExpectedContents:
    """The pages of all living processes: process, region, and a token for each page."""

    def __init__(self) -> None:
        self.processes: dict[str, dict[str, list[int]]] = {}

    def apply(self, operation: Operation, answer: str = "ok") -> None:
        """Apply an operation with this answer."""
        operation = operation.done
        name, process = operation.name, operation.process
        if answer in ENDED:
            self.processes.pop(process, None)
        elif process and process not in self.processes:
            return  # killed before, and something is begun in the background nevertheless
        elif name == "proc":
            self.processes[operation.word] = {}
        elif name == "fork":
            self.processes[operation.word] = {
                region: list(pages) for region, pages in self.processes[process].items()
            }  # fmt: skip
        elif name == "exit":
            del self.processes[process]
        elif name == "exec" and answer == "ok":
            self.processes[process] = {}
        elif name == "map":
            self.processes[process][operation.word] = [UNTOUCHED] * operation.number
        elif name == "mremap" and answer == "ok":
            self._move(operation)
        elif name == "munmap":
            self._set(operation, GONE)
        elif name == "dontneed":
            self._set(operation, UNTOUCHED)
        elif name == "free" and answer == "ok":
            self._set(operation, UNSURE)
        elif name in ("fill", "fillrange", "fillseq"):
            self._fill(operation)

    def _pages(self, operation: Operation) -> list[int]:
        return self.processes[operation.process][operation.region]

    def _move(self, operation: Operation) -> None:
        regions = self.processes[operation.process]
        pages = regions[operation.region]
        moved = pages[operation.first : operation.end]
        if GONE in moved:  # mremap fails, and the region stays
            return
        regions[operation.word] = moved
        if len(moved) == len(pages):
            del regions[operation.region]
        else:
            self._set(operation, GONE)

    def _set(self, operation: Operation, token: int) -> None:
        pages = self._pages(operation)
        for page in range(operation.first, operation.end):
            if pages[page] != GONE and (token != UNSURE or pages[page] >= 0):
                pages[page] = token

    def _fill(self, operation: Operation) -> None:
        pages = self._pages(operation)
        for page, token in _tokens(operation):
            if pages[page] == GONE:
                return  # the fault ends it
            pages[page] = token

    def answer(self, operation: Operation) -> str | None:
        """Return what a check must answer, or None if that is up to the kernel."""
        if operation.process not in self.processes:
            return ENDED[1]
        pages = self._pages(operation)
        bad = 0
        for page, token in _tokens(operation):
            if pages[page] == GONE:
                return "error EFAULT"
            if pages[page] == UNSURE:
                return None
            bad += token != max(pages[page], 0)
        return f"BAD {bad}" if bad else "ok"


def _tokens(operation: Operation) -> list[tuple[int, int]]:
    """Return the pages of an operation, and the token of each."""
    stride = 1 if operation.name.endswith("seq") else 0
    return [
        (page, (operation.token + stride * (page - operation.first)) % TOKENS)
        for page in range(operation.first, operation.end)
    ]


def wrong_checks(scenario: Scenario, lines: Sequence[str]) -> list[str]:
    """Return a line about each check of a scenario that did not answer what it must.

    `lines` are its results: for each operation an echo that starts with `> `, then what it answered.
    """
    contents = ExpectedContents()
    answers = _answers(lines)
    wrong: list[str] = []
    failed = False  # who else has the failed memory, and is killed by touching it, is up to the kernel
    for index, operation in enumerate(scenario.operations):
        if index >= len(answers):
            break
        expected = contents.answer(operation) if operation.name in CHECKS else None
        may_be_killed = failed and answers[index] in ENDED
        if expected is not None and expected != answers[index] and not may_be_killed:
            wrong.append(
                f"line {operation.line}: {operation.text}: {quoted(answers[index])}, must be {quoted(expected)}"
            )
        failed = failed or operation.done.name == "hwpoison"
        contents.apply(operation, "ok" if operation.name == "bg" else answers[index])
    return wrong


def _answers(lines: Sequence[str]) -> list[str]:
    """Return the first line that each operation answered; empty if it answered nothing."""
    return [
        "" if following.startswith("> ") else following.removeprefix("=").strip()
        for line, following in zip(lines, [*lines[1:], "> "], strict=True)
        if line.startswith("> ")
    ]
