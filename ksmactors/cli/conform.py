"""`ksmactors conform`: scenario files on the emulator, shown or compared with recordings."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import anyio
import click
import orjson

from ksmactors.cli.options import output_options
from ksmactors.conformance.emulator import Performance, Setting, perform
from ksmactors.conformance.language import Scenario, read_scenario
from ksmactors.conformance.recording import Recording, read_recording, recording_for, scenario_files
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERRUPTED, Finding, UsageError
from ksmactors.events.terminal import color_allowed
from ksmactors.later import KERNELS

DEFAULT_KERNEL: Final = "series"
DEFAULT_NODES: Final = 2
VERDICTS: Final = ("same", "different", "run", "failed", "not run")
DIFF_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class _Job:
    """A scenario to be performed; `not_run` says why it is not."""

    scenario: Scenario
    setting: Setting
    recording: Recording | None
    not_run: str = ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A scenario that was performed, and how its results differ from the recording, if there is one."""

    performance: Performance
    job: _Job
    diff: tuple[str, ...]
    not_run: str

    @property
    def verdict(self) -> str:
        if self.performance.failure is not None:
            return "failed"
        if self.not_run:
            return "not run"
        if self.job.recording is None:
            return "run"
        return "different" if self.diff else "same"


@click.command()
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO...", type=click.Path(path_type=Path))
@click.option(
    "--against", metavar="FILE|DIR", type=click.Path(path_type=Path),
    help="Compare with this recording, or with NAME.out in this directory, and print a unified diff.",
)  # fmt: skip
@click.option("--kernel", metavar="NAME", help="The kernel that is emulated [default: the recording's, else series].")
@click.option("--nodes", type=click.IntRange(1, 64), help="NUMA nodes [default: the recording's, else 2].")
@click.option("--without", multiple=True, metavar="NAME", help="Leave a repair out. Repeatable.")
@click.option("--with", "with_", multiple=True, metavar="NAME", help="Add a variant. Repeatable.")
@output_options
def conform(
    scenarios: tuple[Path, ...],
    against: Path | None,
    kernel: str | None,
    nodes: int | None,
    without: tuple[str, ...],
    with_: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Perform SCENARIO files (or the *.txt of directories), and compare with what a real kernel did.

    Without --against the results are printed in the form that recordings have.
    """
    files = scenario_files(scenarios)
    if against is not None and not against.is_dir() and len(files) > 1:
        raise UsageError(
            f"{against} is one recording, but there are {len(files)} scenarios; name a directory of recordings"
        )
    asked = Setting(kernel or "", nodes or 0, without, with_)
    jobs = list(_jobs(files, against, asked))
    outcomes: list[_Outcome] = []
    interrupted = False
    try:
        anyio.run(_perform_all, jobs, outcomes, _Printer(as_json, color), backend="trio")
    except* KeyboardInterrupt:
        interrupted = True
    if as_json:
        click.echo(orjson.dumps(_report(outcomes), option=orjson.OPT_INDENT_2).decode())
    elif not quiet and (against is not None or len(jobs) > 1):
        click.echo(_summary(outcomes), err=True)
    if interrupted:
        click.echo(f"ksmactors: interrupted after {len(outcomes)} of {len(jobs)} scenarios", err=True)
        return INTERRUPTED
    return _status(outcomes)


def _jobs(files: Sequence[Path], against: Path | None, asked: Setting) -> Iterator[_Job]:
    """Read all that is needed, so that what is wrong with any of it is said before anything is run."""
    recordings = [None if against is None else recording_for(file, against) for file in files]
    if against is not None and not any(recordings):
        raise UsageError(f"{against}: no recording of any of these scenarios in it, such as {files[0].stem}.out")
    for file, path in zip(files, recordings, strict=True):
        scenario = read_scenario(file)
        recording = None if path is None else read_recording(path)
        yield _Job(
            scenario, _setting(asked, recording), recording,
            f"has no recording {against / scenario.name}.out" if against is not None and recording is None else "",
        )  # fmt: skip


def _setting(asked: Setting, recording: Recording | None) -> Setting:
    """What was asked for; where nothing was, what the recording says."""
    kernel = asked.kernel or (DEFAULT_KERNEL if recording is None else recording.kernel_name)
    if recording is not None and not asked.kernel and kernel not in KERNELS:
        raise UsageError(
            f"{recording.path}: recorded on {recording.kernel}, and {kernel} is not emulated; "
            f"choose one of {', '.join(KERNELS)} with --kernel"
        )
    return replace(asked, kernel=kernel, nodes=asked.nodes or (DEFAULT_NODES if recording is None else recording.nodes))


async def _perform_all(jobs: Sequence[_Job], outcomes: list[_Outcome], printer: _Printer) -> None:
    """Perform all scenarios in one trio run; each one's results or diff are printed as they come."""
    for job in jobs:
        performance = Performance(job.scenario, ()) if job.not_run else await perform(job.scenario, job.setting)
        outcome = _judge(job, performance)
        outcomes.append(outcome)
        printer.show(outcome)


def _judge(job: _Job, performance: Performance) -> _Outcome:
    not_run = job.not_run or performance.missing
    diff: list[str] = []
    if job.recording is not None and not not_run and performance.failure is None:
        diff = job.recording.differences(performance.lines, performer=job.setting.label)
    return _Outcome(performance, job, tuple(diff), not_run)


@dataclass(frozen=True, slots=True)
class _Printer:
    """A person's form: results or a diff on standard output, what was not run or failed on standard error."""

    as_json: bool
    color: str

    def show(self, outcome: _Outcome) -> None:
        name, failure = outcome.job.scenario.name, outcome.performance.failure
        if failure is not None:
            click.echo(f"{name} failed: {failure}", err=True)
        elif outcome.not_run:
            click.echo(f"{name} {outcome.not_run}", err=True)
        if self.as_json:
            return
        if outcome.diff:
            for line in outcome.diff:
                self._echo(click.style(line, fg=DIFF_COLOURS.get(line[:1])))
        elif outcome.job.recording is None:
            for line in outcome.performance.lines:
                self._echo(line)

    def _echo(self, line: str) -> None:
        click.echo(line, color=color_allowed(sys.stdout, self.color))


def _report(outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    counts = Counter(outcome.verdict for outcome in outcomes)
    return {
        "scenarios": [
            {
                "name": outcome.job.scenario.name,
                "kernel": outcome.job.setting.kernel,
                "nodes": outcome.job.setting.nodes,
                "verdict": outcome.verdict,
                "reason": str(outcome.performance.failure or outcome.not_run),
                "diff": outcome.diff,
                "results": outcome.performance.lines,
            }
            for outcome in outcomes
        ],
        **{verdict.replace(" ", "_"): counts[verdict] for verdict in VERDICTS},
    }


def _summary(outcomes: Sequence[_Outcome]) -> str:
    counts = Counter(outcome.verdict for outcome in outcomes)
    parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    return f"{len(outcomes)} scenario{'s' * (len(outcomes) != 1)}: {', '.join(parts) or 'none'}"


def _status(outcomes: Sequence[_Outcome]) -> int:
    failures = [outcome.performance.failure for outcome in outcomes if outcome.performance.failure is not None]
    if any(isinstance(failure, Finding) for failure in failures) or any(outcome.diff for outcome in outcomes):
        return FOUND
    if failures or all(outcome.not_run for outcome in outcomes):
        return INCONCLUSIVE
    return 0
