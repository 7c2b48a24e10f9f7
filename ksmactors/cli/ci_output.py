"""`--junit` and `--sarif`, and what GitHub shows: checked before the work starts, written when it has ended."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from ksmactors.campaign.summary import Found, Summary
from ksmactors.ci.checks import Check, Status
from ksmactors.ci.runner import is_github
from ksmactors.cli.options import NamedPath
from ksmactors.cli.outputs import refuse_overwriting
from ksmactors.cli.report import described
from ksmactors.cli.screen import command_to_runner, notice
from ksmactors.errors import INTERRUPTED, USAGE, UsageError
from ksmactors.files import check_writable, write_atomically
from ksmactors.plugins import from_here
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.subject import Subject

if TYPE_CHECKING:
    from ksmactors.diagnose.interleaving import Interleaving

_JUNIT: Final = click.option(
    "--junit", type=NamedPath(path_type=Path), metavar="FILE",
    help="Write the results to FILE as JUnit XML, for a CI system. An old file is replaced.",
)  # fmt: skip
_SARIF: Final = click.option(
    "--sarif", type=NamedPath(path_type=Path), metavar="FILE",
    help="Write the findings to FILE as SARIF 2.1.0, for a code-scanning view. An old file is replaced.",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CiOutput:
    """Where the results of a command go besides the screen. `command` is its name.

    Raises:
        UsageError: a file cannot be written.
    """

    command: str
    junit: Path | None = None
    sarif: Path | None = None

    def __post_init__(self) -> None:
        refuse_overwriting(self.files, ())
        for option, path in self.files:
            try:
                check_writable(path)
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                raise UsageError(_unwritable(option, path, error)) from None

    @property
    def files(self) -> list[tuple[str, Path]]:
        """The options that are given, and the file of each."""
        files = (("--junit", self.junit), ("--sarif", self.sarif))
        return [(option, path) for option, path in files if path is not None]

    def finish(self, checks: Sequence[Check], seconds: float, status: int) -> int:
        """In a step of GitHub Actions print annotations and add to the summary; then write the files, SARIF last, since
        it takes time. Nothing that fails here takes anything else down.

        Args:
            checks: what came of the command.
            seconds: wall-clock time it took.
            status: its exit status.

        Returns:
            The exit status: 2 instead of 0 if a file cannot be written.
        """
        if is_github(os.environ):
            self._to_github(checks)
        for option, path in self.files:
            try:
                write_atomically(path, self._content(option, checks, seconds, status))
            except OSError as error:
                notice(_unwritable(option, path, error))
                status = status or USAGE
        return status

    def _content(self, option: str, checks: Sequence[Check], seconds: float, status: int) -> bytes:
        if option == "--junit":
            from ksmactors.ci.junit import junit

            return junit(self.command, checks, seconds)
        from ksmactors.ci.flows import interleavings
        from ksmactors.ci.sarif import sarif
        from ksmactors.ci.user_places import Workspace

        flows: dict[str, Interleaving] = {}
        if status != INTERRUPTED and any(check.found is not None for check in checks):
            try:
                run_async(partial(interleavings, checks, flows))
            except* KeyboardInterrupt:
                notice("interrupted: code flows have the steps that are known already")
        return sarif(checks, Workspace.here(), status=status, flows=flows)

    def _to_github(self, checks: Sequence[Check]) -> None:
        from ksmactors.ci.github import annotation_lines, summarize
        from ksmactors.ci.user_places import Workspace

        workspace = Workspace.here()
        for line in annotation_lines(checks, workspace):
            command_to_runner(line)
        path = os.environ.get("GITHUB_STEP_SUMMARY", "")
        if path:
            problem = summarize(Path(path), self.command, checks, workspace)
            if problem:
                notice(problem)


def _unwritable(option: str, path: Path, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or error
    return f"{option} {path}: cannot be written ({reason}); name another file"


def ci_options(*, sarif: bool) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """The options of a command whose results a CI system reads. The command gets them as one object, `ci`."""

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def with_files(junit: Path | None, sarif: Path | None = None, **given: Any) -> int:
            return command(ci=CiOutput(command.__name__, junit, sarif), **given)

        decorated = _SARIF(with_files) if sarif else with_files
        return _JUNIT(decorated)

    return decorate


def checks_of(command: str, tally: Summary, subjects: Sequence[Subject], unfinished: str = "") -> list[Check]:
    """Return a check for each finding, crash and schedule that ran out of steps, and one for each workload without.

    Args:
        command: the name of the command.
        tally: what the schedules came to.
        subjects: the workloads.
        unfinished: why the command ended before its end; empty if it did not. A workload without a finding has not
            passed then.
    """
    statuses = [
        *((found, Status.FAILED) for found in tally.found.values()),
        *((found, Status.CRASHED) for found in [tally.crash] if found is not None),
        *((found, Status.INCONCLUSIVE) for found in [tally.given_up] if found is not None),
    ]
    if tally.inconclusive and not unfinished:  # the sums do not say of which workloads
        unfinished = (
            f"{tally.inconclusive:,} of {quantity(tally.schedules, 'schedule')} of all workloads ran out of steps"
        )
    checks = []
    for subject in subjects:
        name = from_here(subject.name)
        own = [
            _found_check(command, name, subject, *one) for one in statuses if one[0].outcome.workload == subject.name
        ]
        if not own and unfinished:
            own = [Check(command, name, Status.INCONCLUSIVE, unfinished)]
        checks += own or [Check(command, name, Status.PASSED, str(tally.judgement))]
    return checks


def _found_check(command: str, name: str, subject: Subject, found: Found, status: Status) -> Check:
    defect = found.defect
    return Check(
        command, f"{name}: {defect.signature}", status, defect.message, "\n".join(details_of(found)), log_of(found),
        found, subject,
    )  # fmt: skip


def details_of(found: Found) -> list[str]:
    """The lines about a finding, without its signature and message."""
    return described(found)[2:]


def log_of(found: Found) -> str:
    """The traceback of a crash, and the last events."""
    story = found.defect.story
    return "\n".join(filter(None, [found.defect.traceback, *(("The last events:", *story) if story else ())]))
