"""A folder of findings as regression tests: each is replayed, and should come out as it says (`expected`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import perf_counter
from typing import Final

from ksmactors.campaign.findings import EXPECTED, expected_of, read
from ksmactors.diagnose.explain import explain
from ksmactors.diagnose.replaying import Recorded, by_names, recorded
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERNAL, USAGE, KsmActorsError, UsageError
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule

SUFFIX: Final = ".json"
"""Of finding files."""

_OWN: Final = re.compile(r"\..*|exploration-.*\.json|campaign(\.\d+)?\.sqlite(-\w+)?")
"""Files that a campaign or an exploration keeps beside its findings, and hidden ones."""

FILES_MAX: Final = 100_000
"""Files of a folder."""

FAILS: Final = EXPECTED[0]


class Result(Enum):
    """How a regression came out."""

    AS_EXPECTED = "as expected"
    UNEXPECTED = "unexpected"
    CRASHED = "crashed"
    REFUSED = "refused"
    """Its file cannot be read, or names what does not exist here or may not be loaded."""
    INCONCLUSIVE = "inconclusive"


_STATUSES: Final = {
    Result.CRASHED: INTERNAL,
    Result.UNEXPECTED: FOUND,
    Result.REFUSED: USAGE,
    Result.INCONCLUSIVE: INCONCLUSIVE,
}
"""Exit statuses; of several, the first counts."""


@dataclass(frozen=True, slots=True)
class Regression:
    """A finding file that was replayed.

    Attributes:
        file: the finding file.
        result: how it came out.
        reason: one line that says why.
        expected: `fails` or `passes`; empty if the file could not be read.
        then: what was recorded.
        outcome: what the replay came to; explained if it found something.
        notes: lines about files that have changed, or were read on behalf of the finding.
        seconds: wall-clock time.
    """

    file: Path
    result: Result
    reason: str
    expected: str = ""
    then: Recorded | None = None
    outcome: Outcome | None = None
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


def exit_status(regressions: Sequence[Regression]) -> int:
    """Return 0 if each came out as expected."""
    results = {one.result for one in regressions}
    return next((status for result, status in _STATUSES.items() if result in results), 0)


def finding_files(directory: Path) -> tuple[list[Path], list[str]]:
    """Return the finding files of a folder in order of name, and the names of what else is in it.

    A finding file is one that ends in `.json` and is not the record of an exploration. Folders are not entered. Hidden
    files, and what a campaign keeps beside its findings, are not named.

    Raises:
        UsageError: the folder cannot be read, or has too many files.
    """
    files, others = [], []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if _OWN.fullmatch(entry.name):
                    continue
                if entry.name.endswith(SUFFIX) and not entry.is_dir():
                    files.append(directory / entry.name)
                else:
                    others.append(entry.name)
                if len(files) + len(others) > FILES_MAX:
                    raise UsageError(f"{directory}: has more than {FILES_MAX:,} files")
    except OSError as error:
        raise UsageError(f"{directory}: cannot be read ({error.strerror})") from None
    return sorted(files), sorted(others)


async def replay_regression(file: Path, *, trust: bool) -> Regression:
    """Replay a finding file, and compare. To be awaited in trio, outside of any schedule.

    Args:
        file: the finding file, which may come from an untrusted source.
        trust: as for `recorded`. Without it, a file never runs code.
    """
    started = perf_counter()
    notes: list[str] = []
    expected = ""
    try:
        expected = expected_of(read(str(file)))
        then = recorded(str(file), trust=trust, tell=notes.append)
        outcomes = [await run_schedule(then.subject, then.seed, then.strategy, deciding=Replay(then.schedule))]
        if not then.fits(outcomes[0]):
            outcomes.append(await by_names(then))
    except UsageError as error:
        return Regression(file, Result.REFUSED, _without_name(error, file), expected, notes=tuple(notes))
    except KsmActorsError as error:
        return Regression(file, Result.CRASHED, str(error), expected, notes=tuple(notes))
    result, reason = _compare(then, expected, outcomes)
    outcome = _telling(then, outcomes)
    if outcome.verdict is Verdict.FINDING:
        outcome = await explain(outcome, then.subject)
    return Regression(file, result, reason, expected, then, outcome, tuple(notes), perf_counter() - started)


def _without_name(error: UsageError, file: Path) -> str:
    """The message without the file's name, which is said before it anyway."""
    return str(error).removeprefix("finding file ").removeprefix(f"{file}: ")


def _compare(then: Recorded, expected: str, outcomes: Sequence[Outcome]) -> tuple[Result, str]:
    """Return how the replay, and what followed the departures by name if there was need, came out, and why."""
    last = outcomes[-1]
    reason = "; ".join(_sentences(then, outcomes))
    same = any(_is_same(then, outcome) for outcome in outcomes)
    if same:
        return Result.AS_EXPECTED if expected == FAILS else Result.UNEXPECTED, reason
    if any(outcome.verdict in (Verdict.CRASHED, Verdict.BROKEN) for outcome in outcomes):
        return Result.CRASHED, reason
    if any(outcome.verdict is Verdict.FINDING for outcome in outcomes):
        return Result.UNEXPECTED, reason
    if last.verdict is Verdict.INCONCLUSIVE:
        return Result.INCONCLUSIVE, reason
    return Result.UNEXPECTED if expected == FAILS else Result.AS_EXPECTED, reason


def _sentences(then: Recorded, outcomes: Sequence[Outcome]) -> Iterator[str]:
    first, *rest = outcomes
    if _is_same(then, first):
        assert first.defect is not None
        events = "event by event" if then.agrees(first) else "though its events differ from the recorded ones"
        yield f"the replay found {first.defect.signature} again, {events}"
    elif first.verdict in (Verdict.CRASHED, Verdict.BROKEN, Verdict.INCONCLUSIVE):
        assert first.defect is not None
        yield first.defect.message
    else:
        yield then.compare(first)
    for one in rest:
        yield then.compare_by_names(one)


def _is_same(then: Recorded, outcome: Outcome) -> bool:
    """Whether an outcome is what is on record; anything found, if nothing is."""
    if not then.signature:
        return outcome.verdict is Verdict.FINDING
    return outcome.defect is not None and outcome.defect.signature == then.signature


def _telling(then: Recorded, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the outcome that says most: the same finding, else anything that was found, else the last."""
    same = [one for one in outcomes if _is_same(then, one)]
    return next(iter(same or [one for one in outcomes if one.verdict in _BAD]), outcomes[-1])


_BAD: Final = (Verdict.FINDING, Verdict.CRASHED, Verdict.BROKEN)
