"""`ksmactors conform`: scenario files, or random ones, on the emulator; shown, or compared with recordings of real
kernels, with the kernel of this machine, or with the emulator itself on another road."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, Final

import click
import orjson

from ksmactors import interruption
from ksmactors.aside import keep_result_apart, stdout
from ksmactors.campaign.findings import default_directory, prepare, state_directory
from ksmactors.cli.ci_output import CiOutput, ci_options
from ksmactors.cli.conform_around import perform_around
from ksmactors.cli.conform_checks import checks_of_comparisons
from ksmactors.cli.conform_sides import (
    DEFAULT_NODES,
    Job,
    hunt_for,
    like_machine,
    planned_jobs,
    read_by,
    setting_for,
)
from ksmactors.cli.options import NamedPath, WholeNumber, output_options
from ksmactors.cli.outputs import refuse_overwriting
from ksmactors.cli.screen import LINE_SECONDS, echo, echo_colored, echo_json, notice
from ksmactors.conformance.compare import VERDICTS, ScenarioComparison, compare
from ksmactors.conformance.emulator import Setting
from ksmactors.conformance.fuzz import Hunt, Kept
from ksmactors.conformance.language import read_scenario
from ksmactors.conformance.live import Live
from ksmactors.conformance.recording import scenario_files
from ksmactors.conformance.transcript import Transcript
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERRUPTED, UsageError
from ksmactors.escaping import encodable
from ksmactors.events.colors import color_allowed
from ksmactors.guest.image import find
from ksmactors.guest.machine import Guest
from ksmactors.quantity import quantity
from ksmactors.run.async_run import run_async
from ksmactors.run.extensions import need

DIFF_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(slots=True)
class _Outcomes:
    """The comparisons so far, in order, of those that are `planned`; for random scenarios, the files of those that
    differed. Unless `quiet`, a line now and then says how far it is: on a guest each may take half a minute."""

    quiet: bool
    planned: int = 0
    comparisons: list[ScenarioComparison] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    kept: dict[str, Kept] = field(default_factory=dict)
    told_at: float = field(default_factory=monotonic)

    def add(self, comparison: ScenarioComparison, setting: Setting) -> None:
        self.comparisons.append(comparison)
        self.settings.append(setting)
        if not self.quiet and len(self.comparisons) < self.planned and monotonic() - self.told_at >= LINE_SECONDS:
            self.told_at = monotonic()
            notice(f"{len(self.comparisons)} of {quantity(self.planned, 'scenario')}: {_counted(self)}")


@click.command()
@click.argument("scenarios", nargs=-1, metavar="[SCENARIO]...", type=NamedPath(path_type=Path))
@click.option(
    "--against", metavar="FILE|DIR", type=NamedPath(path_type=Path),
    help="Compare with this recording, or with NAME.out in this directory, and print a unified diff.",
)  # fmt: skip
@click.option(
    "--live", "is_live", is_flag=True,
    help="Compare with the kernel of this machine: real processes, pages and ksmd, single-stepped. Needs root, and "
    "that no other process uses KSM. A scenario that ends in a memory error on the emulated kernel is refused. All "
    "knobs are always restored. With --against it is this machine's kernel that is compared with the "
    "recordings.",
)  # fmt: skip
@click.option(
    "--guest", metavar="KERNEL", type=NamedPath(path_type=Path),
    help="Compare with this kernel in a virtual machine: an image (vmlinuz), or a package of Debian or Ubuntu (.deb). "
    "Needs qemu, and the extra `guest`. No scenario is refused. If the kernel crashes, that is a result, and its "
    "console is kept.",
)  # fmt: skip
@click.option(
    "--random", "random_", type=WholeNumber(1), metavar="N",
    help="Compare on N random scenarios: with --live, or else the emulator with itself, its trees searched by their "
    "index and entry by entry. Every page must hold what was written last. Memory fails in them (hwpoison, "
    "softoffline), but never with --live. What differs is shrunk and kept in --out.",
)  # fmt: skip
@click.option(
    "--holds", is_flag=True,
    help="The scenarios of --random have tasks that are held at random places while others go on. Where a guest does "
    "not repeat itself, a scenario is not comparable.",
)  # fmt: skip
@click.option(
    "--around", type=WholeNumber(1), metavar="N",
    help="Perform each scenario N times with the holds that it has and everything else drawn at random, with all "
    "watchers on: the schedules of the seeds from --seed on. What watchers report ends with status 1.",
)  # fmt: skip
@click.option(
    "--seed",
    type=WholeNumber(0),
    metavar="S",
    help="Where the choices of --random and --around come from [default: 0].",
)
@click.option(
    "--out", type=NamedPath(file_okay=False, path_type=Path), metavar="DIR",
    help="Where scenarios of --random that differ go [default: ksmactors/findings in the XDG state directory].",
)  # fmt: skip
@click.option(
    "--kernel", metavar="NAME",
    help="The kernel that is emulated [default: the recording's or, with --live, the running one; else series].",
)  # fmt: skip
@click.option(
    "--nodes", type=WholeNumber(1, 64), metavar="N",
    help="NUMA nodes [default: the recording's or this machine's; else 2].",
)  # fmt: skip
@click.option(
    "--without", multiple=True, metavar="NAME",
    help="Leave out a commit or a variant of the kernel; see `list commits` and `list variants`. Repeatable.",
)  # fmt: skip
@click.option(
    "--with", "with_", multiple=True, metavar="NAME",
    help="Add a variant: a name, path/to/file.py:Class, or package.module:Class. Repeatable.",
)  # fmt: skip
@ci_options(sarif=False)
@output_options
def conform(
    scenarios: tuple[Path, ...],
    against: Path | None,
    is_live: bool,
    guest: Path | None,
    random_: int | None,
    holds: bool,
    around: int | None,
    seed: int | None,
    out: Path | None,
    kernel: str | None,
    nodes: int | None,
    without: tuple[str, ...],
    with_: tuple[str, ...],
    ci: CiOutput,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Run SCENARIO files (or the *.txt of directories), and compare with a recording or with the running kernel.

    Without --against, --live, --guest, --random and --around the results are printed in the form that recordings have.

    Interleavings are written with `hold TASK at|after PLACE [NTH] [in FUNC]`, `bg OPERATION`, `release TASK`, `disarm
    TASK`, `signal TASK` and `settle`. TASK is a process, or ksmd, migrate, set or reclaim; `ksmactors docs
    scenario` lists the places. A guest has holds; this machine has none.
    """
    keep_result_apart()
    for name in with_:
        need("variants", name)
    asked = Setting(kernel or "", nodes or 0, without, with_)
    _refuse_what_does_not_go_together(scenarios, against, is_live, guest, random_, holds, around, seed, out, asked)
    refuse_overwriting(ci.files, read_by(scenarios, against, guest, with_))
    if around is not None:
        read = [read_scenario(file) for file in scenario_files(scenarios)]
        seeds = range(seed or 0, (seed or 0) + around)
        return perform_around(read, setting_for(asked, None), seeds, ci, as_json, quiet)
    outcomes, printer = _Outcomes(quiet), _Printer(as_json, color)
    interrupted, started = False, perf_counter()
    interruption.work_begins()  # from here on the knobs of a live kernel are put back, whatever happens
    with ExitStack() as stack:
        real = Live() if is_live else None if guest is None else _booted(guest, asked)
        if real is not None:
            asked = like_machine(real, asked, against)
        if random_ is None:
            jobs = list(planned_jobs(scenario_files(scenarios), against, asked, real))
            planned, work = len(jobs), partial(_perform_all, jobs, outcomes, printer)
        else:
            directory, planned = prepare(out or default_directory()), random_
        if real is not None:
            stack.enter_context(real.taken())
        if random_ is not None:  # only a guest that has booted is known to have swap or not
            setting = setting_for(asked, None)
            hunt = hunt_for(setting, real, seed or 0, directory, holds=holds)
            work = partial(_hunt_all, hunt, random_, setting, outcomes, printer)
        outcomes.planned = planned
        try:
            run_async(work)
        except* KeyboardInterrupt:
            interrupted = True
    if as_json:
        echo_json(orjson.dumps(encodable(_report(outcomes)), option=orjson.OPT_INDENT_2).decode())
    elif not quiet and (against is not None or real is not None or planned > 1 or random_ is not None):
        echo(_summary(outcomes), err=True)
    if interrupted:
        done = len(outcomes.comparisons)
        notice(f"interrupted after {done} of {quantity(planned, 'scenario')}")
    status = INTERRUPTED if interrupted else _status(outcomes.comparisons)
    return ci.finish(checks_of_comparisons(outcomes.comparisons), perf_counter() - started, status)


def _refuse_what_does_not_go_together(
    scenarios: tuple[Path, ...], against: Path | None, is_live: bool, guest: Path | None, random_: int | None,
    holds: bool, around: int | None, seed: int | None, out: Path | None, asked: Setting,
) -> None:  # fmt: skip
    if around is not None:
        for option, given in (
            ("--against", against), ("--live", is_live), ("--guest", guest), ("--random", random_), ("--out", out)
        ):  # fmt: skip
            if given:
                raise UsageError(f"--around compares nothing, it looks for findings; leave {option} out")
    if holds and random_ is None:
        raise UsageError("--holds is for random scenarios; add --random N, or write holds into a scenario file")
    if holds and is_live:
        raise UsageError("--holds needs a kernel whose tasks can be held, which this machine's cannot; take --guest")
    if random_ is None:
        if not scenarios:
            raise UsageError("no scenario to perform; name files or directories of them, or ask for --random N")
        if out is not None:
            raise UsageError("--out is for random scenarios; add --random N, or leave it out")
        if seed is not None and around is None:
            raise UsageError("--seed is for random scenarios and schedules; add --random N or --around N")
    elif scenarios:
        raise UsageError(f"--random makes scenarios of its own; leave {scenarios[0]} out, or leave --random out")
    elif against is not None:
        raise UsageError("--random makes scenarios that have no recording; leave --against out, or name scenario files")
    if is_live and guest is not None:
        raise UsageError("--live takes this machine's kernel, and --guest another one; leave one of them out")
    if is_live and asked.nodes:
        raise UsageError("--live takes as many NUMA nodes as this machine has; leave --nodes out")
    real = "--live" if is_live else "" if guest is None else "--guest"
    if real and against is not None and (asked.kernel or asked.without or asked.with_):
        raise UsageError(
            f"{real} --against compares a real kernel with recordings, and emulates nothing; "
            "leave --kernel, --without and --with out"
        )


def _booted(kernel: Path, asked: Setting) -> Guest:
    """Return the guest that was asked for, not booted yet."""
    return Guest(find(kernel), asked.nodes or DEFAULT_NODES, state_directory() / "ksmactors" / "consoles", notice)


# -- performing -------------------------------------------------------------------------------------------------------


async def _perform_all(jobs: Sequence[Job], outcomes: _Outcomes, printer: _Printer) -> None:
    """Perform all scenarios in one trio run; each one's results or diff are printed as they come."""
    for job in jobs:
        if job.not_run:
            comparison = ScenarioComparison(job.scenario, None, Transcript(job.scenario, ()), not_run=job.not_run)
        else:
            comparison = await compare(job.scenario, job.expected, job.performed)
        outcomes.add(comparison, job.setting)
        printer.show(comparison)


async def _hunt_all(hunt: Hunt, scenarios: int, setting: Setting, outcomes: _Outcomes, printer: _Printer) -> None:
    """Perform random scenarios in one trio run; those that differ are shrunk and printed as they come."""
    async for comparison in hunt.run(scenarios):
        outcomes.add(comparison, setting)
        if not comparison.found:
            printer.show(comparison)
            continue
        name = comparison.scenario.name
        echo(f"{name}: {comparison.found}; making it shorter", err=True)
        kept = outcomes.kept[name] = await hunt.keep(comparison)
        outcomes.comparisons[-1] = kept.comparison
        printer.show(kept.comparison)
        before, now = (sum(1 for _ in one.scenario.operations) for one in (comparison, kept.comparison))
        shown = (
            f"{now} of {quantity(before, 'operation')}" if kept.again else "it did not show when it was tried once more"
        )
        echo(f"{name}: {kept.file} ({shown}), and what both sides did beside it", err=True)


@dataclass(frozen=True, slots=True)
class _Printer:
    """A person's form: results or a diff on standard output, what was not run or failed on standard error."""

    as_json: bool
    color: str

    def show(self, comparison: ScenarioComparison) -> None:
        name, failure = comparison.scenario.name, comparison.failure
        if failure is not None and not comparison.stopped:
            echo(f"{name} failed: {failure}", err=True)
        elif reason := _not_compared(comparison):
            echo(f"{name} {reason}", err=True)
        if (crash := comparison.kernel_crash) is not None:
            echo(f"{name} {crash.crash} (its console: {crash.console})", err=True)
        if comparison.note:
            echo(f"{name} {comparison.note}", err=True)
        for line in comparison.wrong:
            echo(f"{name}: {line}", err=True)
        if self.as_json:
            return
        if comparison.diff and not comparison.not_comparable:
            for line in comparison.diff:
                self._echo(line, DIFF_COLOURS.get(line[:1]))
        elif comparison.expected is None:
            for line in comparison.performed.lines:
                self._echo(line)

    def _echo(self, line: str, fg: str | None = None) -> None:
        echo_colored(line, fg, color=color_allowed(stdout(), self.color))


def _report(outcomes: _Outcomes) -> dict[str, Any]:
    comparisons = outcomes.comparisons
    counts = Counter(comparison.verdict for comparison in comparisons)
    return {
        "scenarios": [
            {
                "name": comparison.scenario.name,
                "kernel": setting.kernel,
                "nodes": setting.nodes,
                "verdict": comparison.verdict,
                "reason": str(
                    comparison.failure or _not_compared(comparison) or "; ".join(comparison.wrong) or _note(comparison)
                ),
                "diff": comparison.diff,
                "expected": [] if comparison.expected is None else comparison.expected.lines,
                "results": comparison.performed.lines,
                "console": None if (crash := comparison.kernel_crash) is None else crash.console,
                "file": str(kept.file) if (kept := outcomes.kept.get(comparison.scenario.name)) else None,
            }
            for comparison, setting in zip(comparisons, outcomes.settings, strict=True)
        ],
        **{verdict.replace(" ", "_"): counts[verdict] for verdict in VERDICTS},
    }


def _not_compared(comparison: ScenarioComparison) -> str:
    return comparison.not_run or comparison.not_comparable


def _note(comparison: ScenarioComparison) -> str:
    crash = comparison.kernel_crash
    return "; ".join(part for part in ("" if crash is None else crash.crash, comparison.note) if part)


def _summary(outcomes: _Outcomes) -> str:
    number = len(outcomes.comparisons)
    return f"{number} scenario{'s' * (number != 1)}: {_counted(outcomes)}"


def _counted(outcomes: _Outcomes) -> str:
    """How many have each verdict."""
    counts = Counter(comparison.verdict for comparison in outcomes.comparisons)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]) or "none"


def _status(comparisons: Sequence[ScenarioComparison]) -> int:
    if any(comparison.found for comparison in comparisons):
        return FOUND
    failed = any(comparison.failure is not None for comparison in comparisons)
    return INCONCLUSIVE if failed or all(map(_not_compared, comparisons)) else 0
