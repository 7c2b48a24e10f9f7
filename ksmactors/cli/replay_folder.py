"""`ksmactors replay DIR`: a folder of findings as regression tests, and what each is expected to come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import orjson

from ksmactors.aside import stderr, stdout
from ksmactors.campaign.findings import replay_command, set_expected
from ksmactors.campaign.summary import Found, Summary
from ksmactors.ci.checks import Check, Status
from ksmactors.cli.ci_output import CiOutput, details_of, log_of
from ksmactors.cli.outputs import files_of, refuse_overwriting
from ksmactors.cli.report import print_found, report_crash
from ksmactors.cli.screen import echo, echo_colored, echo_json, notice
from ksmactors.diagnose.regressions import Regression, Result, exit_status, finding_files, replay_regression
from ksmactors.errors import INTERRUPTED, USAGE, UsageError
from ksmactors.escaping import encodable, escaped
from ksmactors.events.colors import color_allowed
from ksmactors.interleave.schedule_string import looks_like_schedule
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.outcome import Verdict

SKIPPED_MAX: Final = 5
"""Files that are not findings, by name."""

_CHECKS: Final = {
    Result.AS_EXPECTED: Status.PASSED,
    Result.UNEXPECTED: Status.FAILED,
    Result.CRASHED: Status.CRASHED,
    Result.REFUSED: Status.CRASHED,
    Result.INCONCLUSIVE: Status.INCONCLUSIVE,
}

_COLORS: Final = {Result.AS_EXPECTED: "green", Result.INCONCLUSIVE: "yellow"}

_WIDTH: Final = max(len(result.value) for result in Result)


def replay_folder(directory: Path, *, trust: bool, ci: CiOutput, as_json: bool, quiet: bool, color: str) -> int:
    """Replay each finding of a folder, and print a line about each; returns the exit status.

    Raises:
        UsageError: the folder cannot be read, or has no finding.
    """
    files = _findings_in(directory)
    refuse_overwriting(ci.files, [(file, "a finding that is replayed") for file in files])
    done: list[Regression] = []
    shown = None if as_json else color

    async def work() -> None:
        for file in files:
            done.append(_checked(await replay_regression(file, trust=trust)))
            if shown is not None and not (quiet and done[-1].result is Result.AS_EXPECTED):
                _print(done[-1], shown)

    started, interrupted = perf_counter(), False
    try:
        run_async(work)
    except* KeyboardInterrupt:
        interrupted = True
    seconds = perf_counter() - started
    if as_json:
        echo_json(_report(done, seconds))
    elif not quiet:
        echo(_summary(done))
    if interrupted:
        notice(f"interrupted after {len(done)} of {quantity(len(files), 'finding')}")
    run = [one.then for one in done if one.then is not None]
    refuse_overwriting(ci.files, (file for then in run for file in files_of([then.subject], then.strategy)))
    left = [Check("replay", file.name, Status.INCONCLUSIVE, "interrupted") for file in files[len(done) :]]
    status = INTERRUPTED if interrupted else exit_status(done)
    return ci.finish([*map(_check, done), *left], seconds, status)


def _checked(one: Regression) -> Regression:
    """Have a file that says something else than its replay come out as unexpected: it was altered by hand."""
    if one.then is None or one.outcome is None or not one.then.agrees(one.outcome):
        return one
    wrong = one.then.wrong_claims(one.outcome)
    if not wrong:
        return one
    result = Result.UNEXPECTED if one.result is Result.AS_EXPECTED else one.result
    return replace(one, result=result, reason=f"{one.reason}, but the file says otherwise: {', '.join(wrong)}")


def is_folder(source: str) -> bool:
    """Return whether what `replay` is given is the name of a folder."""
    try:
        return source != "" and not looks_like_schedule(source) and Path(source).is_dir()
    except (OSError, ValueError):  # a name that is too long, or has a NUL
        return False


def refuse_for_folder(**given: object) -> None:
    """Refuse options that are about one schedule.

    Raises:
        UsageError: one is given.
    """
    for name in _options(given):
        raise UsageError(f"{name} is about one schedule: leave it out, or replay one file of the directory")


def refuse_with_set_expected(**given: object) -> None:
    """Refuse options that are about a replay.

    Raises:
        UsageError: one is given.
    """
    for name in _options(given):
        raise UsageError(f"--set-expected replays nothing: leave {name} out")


def _options(given: Mapping[str, object]) -> list[str]:
    """The options that have a value, as they are written."""
    return [f"--{option.replace('_', '-')}" for option, value in given.items() if value]


def expect(source: str, expected: str, *, as_json: bool, quiet: bool) -> int:
    """Write into a finding file, or into each of a folder, what its replay is expected to come to.

    Raises:
        UsageError: it is no finding file, or cannot be written; or the folder has none.
    """
    files, failed = [], 0
    if not is_folder(source):
        set_expected(source, expected)
        files = [Path(source)]
    else:
        for file in _findings_in(Path(source)):
            try:
                set_expected(str(file), expected)
                files.append(file)
            except UsageError as error:
                notice(str(error))
                failed += 1
    if as_json:
        content = {"expected": expected, "files": [str(file) for file in files]}
        echo_json(orjson.dumps(encodable(content), option=orjson.OPT_INDENT_2).decode())
    elif not quiet:
        for file in files:
            echo(escaped(f"{file}: expected {expected}"))
    return USAGE if failed else 0


def _findings_in(directory: Path) -> list[Path]:
    files, others = finding_files(directory)
    if others:
        more = f" and {len(others) - SKIPPED_MAX} more" if len(others) > SKIPPED_MAX else ""
        notice(f"{directory}: skipped, since these are no finding files: {', '.join(others[:SKIPPED_MAX])}{more}")
    if not files:
        raise UsageError(f"{directory}: has no finding file (*.json); `stress --out` and `explore --out` write them")
    return files


def _print(one: Regression, color: str) -> None:
    """A line about a regression, and what was found instead."""
    expected = f"expected {one.expected}: " if one.expected else ""
    line = escaped(f"{one.result.value:<{_WIDTH}}  {one.file.name}: {expected}{one.reason}")
    echo_colored(line, _COLORS.get(one.result, "red"), color=color_allowed(stdout(), color))
    for note in one.notes:
        echo(escaped(f"{'':<{_WIDTH}}  {note}"))
    found = _found(one)
    if found is not None and one.result is Result.CRASHED:
        report_crash(found)
    elif found is not None and one.result is Result.UNEXPECTED:
        print_found(found, stream=stderr(), color=color)


def _summary(done: Sequence[Regression]) -> str:
    counts = Counter(one.result for one in done)
    parts = [f"{counts[result]} {result.value}" for result in Result if counts[result]]
    return f"{len(done)} finding{'s' * (len(done) != 1)}: {', '.join(parts) or 'none was replayed'}"


def _found(one: Regression) -> Found | None:
    """What a replay has found."""
    outcome = one.outcome
    if outcome is None or outcome.defect is None or outcome.verdict in (Verdict.DIVERGED, Verdict.INCONCLUSIVE):
        return None
    return Found(outcome, one.file, replay=replay_command(outcome.schedule, one.file))


def _check(one: Regression) -> Check:
    found = _found(one)
    lines = [*one.notes, *(details_of(found) if found is not None else ())]
    message = f"expected {one.expected}: {one.reason}" if one.expected else one.reason
    return Check(
        "replay", one.file.name, _CHECKS[one.result], message, "\n".join(lines),
        log_of(found) if found is not None else "", found, one.then.subject if one.then is not None else None,
        one.file, one.result is Result.AS_EXPECTED, one.seconds,
    )  # fmt: skip


def _report(done: Sequence[Regression], seconds: float) -> str:
    """The JSON object: what `replay` of one finding has, summed up, and each regression."""
    tally = Summary()
    for one in done:
        found = _found(one)
        if one.outcome is not None:
            tally.add(one.outcome)
        if found is not None and tally.known(found.outcome) is None:
            tally.keep(found)
    subjects = [one.then.subject for one in done if one.then is not None]
    counts = Counter(one.result for one in done)
    content: Mapping[str, Any] = {
        "workloads": list(dict.fromkeys(subject.name for subject in subjects)),
        "kernel": ",".join(dict.fromkeys(subject.kernel for subject in subjects)),
        "without": list(dict.fromkeys(name for subject in subjects for name in subject.without)),
        "with": list(dict.fromkeys(name for subject in subjects for name in subject.with_)),
        **tally.as_json(),
        "seconds": round(seconds, 3),
        "regressions": [_as_json(one) for one in done],
        "results": {result.value.replace(" ", "_"): counts[result] for result in Result},
    }
    return orjson.dumps(encodable(content), option=orjson.OPT_INDENT_2).decode()


def _as_json(one: Regression) -> dict[str, Any]:
    defect = one.outcome.defect if one.outcome is not None else None
    return {
        "file": str(one.file),
        "expected": one.expected or None,
        "result": one.result.value,
        "reason": one.reason,
        "recorded": one.then.signature if one.then is not None else None,
        "found": defect.signature if defect is not None else None,
        "notes": list(one.notes),
        "seconds": round(one.seconds, 3),
    }
