"""`ksmactors replay`: a finding or a schedule, exactly."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from shlex import quote
from time import perf_counter
from typing import Any

import click

from ksmactors.aside import stderr
from ksmactors.campaign.findings import EXPECTED, replay_command
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.campaign.summary import Found
from ksmactors.ci.checks import Status
from ksmactors.cli.ci_output import CiOutput, checks_of, ci_options
from ksmactors.cli.explanation import Explanation
from ksmactors.cli.options import log_options, output_options, trust_option
from ksmactors.cli.outputs import files_of, refuse_overwriting, written_by
from ksmactors.cli.replay_folder import expect, is_folder, refuse_for_folder, refuse_with_set_expected, replay_folder
from ksmactors.cli.report import print_found, warn_of_removed, warn_of_rivals
from ksmactors.cli.screen import notice
from ksmactors.cli.single import open_run_log, perform, refuse_two_on_stdout
from ksmactors.cli.walking import Walk, walk_options
from ksmactors.diagnose.replaying import by_names, recorded
from ksmactors.errors import FOUND, UsageError
from ksmactors.interleave.schedule_string import looks_like_schedule
from ksmactors.run.async_run import run_async
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.trust import NotTrusted


@click.command()
@click.argument("source", metavar="FILE|DIR|SCHEDULE")
@click.option(
    "--explain", is_flag=True,
    help="Instead of the log, show the schedule as a table with one column an actor: what each does, the steps that "
    "met (>>), the state of the objects concerned, locks held, and the promise that broke. A finding is shrunk first.",
)  # fmt: skip
@click.option(
    "--set-expected", type=click.Choice(EXPECTED),
    help="Replay nothing; write into FILE, or each finding of DIR, that its replay is expected to show the finding "
    "(fails; the default of a file), or to find nothing any more (passes).",
)  # fmt: skip
@walk_options
@trust_option
@log_options
@ci_options(sarif=True)
@output_options
def replay(
    source: str,
    explain: bool,
    set_expected: str | None,
    trust: bool,
    log: str | None,
    log_config: str | None,
    detail: bool,
    ci: CiOutput,
    as_json: bool,
    quiet: bool,
    color: str,
    **walk: Any,
) -> int:
    """Run a finding or a schedule again, exactly, and show its log; or all findings of a directory, as
    regression tests.

    FILE is a finding file, or a file that holds a schedule string; - is standard input. A schedule string itself
    is accepted, too. Exits with 1 if the replay finds something, or differs from the recording. If the recorded steps
    do not fit any more, its departures from the default order are followed by name, as far as they can be found.

    DIR is a directory of findings. Each is replayed, and should come out as its file says; `--set-expected` writes
    that. Exits with 0 if each came out as expected.

    --step walks through the replay, --until stops on the way, and --explore says what can still come of it there; see
    `ksmactors docs log`.

    FILE may come from an untrusted source. Code that it names by path or module runs with --trust only; a file that
    one of its parameters names is read, with a message.
    """
    if set_expected is not None:
        refuse_with_set_expected(
            explain=explain, log=log, log_config=log_config, detail=detail, junit=ci.junit, sarif=ci.sarif, **walk
        )
        return expect(source, set_expected, as_json=as_json, quiet=quiet)
    if is_folder(source):
        refuse_for_folder(explain=explain, log=log, log_config=log_config, detail=detail, **walk)
        return replay_folder(Path(source), trust=trust, ci=ci, as_json=as_json, quiet=quiet, color=color)
    walking = Walk.of(source, walk, log=log, detail=detail, as_json=as_json, explain=explain)
    if walking is not None and (ci.junit or ci.sarif):
        raise UsageError("--junit and --sarif are about whole replays: leave them out, or what stops on the way")
    refuse_overwriting([("--log", log), *ci.files], [(source, "the finding that is replayed")])
    try:
        then = recorded(source, trust=trust, tell=notice)
    except NotTrusted as error:
        again = "" if looks_like_schedule(source) else f": ksmactors replay --trust {quote(source)}"
        raise NotTrusted(f"{error}{again}") from None
    refuse_two_on_stdout(as_json, log)
    named = files_of([then.subject], then.strategy, log_config=log_config)
    refuse_overwriting([("--log", log), *ci.files, *written_by(then.strategy)], named)
    if not quiet:
        warn_of_removed(then.subject)
        warn_of_rivals([then.subject], then.strategy)
    if walking is not None:
        return walking.run(then, as_json=as_json, quiet=quiet, color=color)
    second: list[Outcome] = []
    explanation = Explanation(then, quiet=quiet, color=color) if explain else None

    def after() -> dict[str, Any]:
        if campaign.last is not None and not then.fits(campaign.last) and not second:
            second.append(run_async(partial(by_names, then)))
        more: dict[str, Any] = {"by_names": by_names_as_json(second[0])} if second else {}
        if explanation is not None and as_json and campaign.last is not None:
            more |= explanation.as_json(campaign.last)
        return more

    shown = not (as_json or quiet or explain)
    with open_run_log(log, shown=shown, color=color, detail=detail, log_config=log_config) as writer:
        seeds, detail = range(then.seed, then.seed + 1), detail and writer is not None
        plan = Plan(
            [then.subject], seeds, then.strategy, log=writer, replayed=then.schedule, detail=detail,
            file_of=then.file_of,
        )  # fmt: skip
        campaign = Campaign(plan)
        started = perf_counter()
        status = perform(campaign, as_json=as_json, quiet=quiet, color=color, more=after)
        seconds = perf_counter() - started
    if writer is not None:
        status = writer.status(status)
    outcome = campaign.last
    if outcome is None:
        return ci.finish(checks_of("replay", campaign.tally, [then.subject], "interrupted"), seconds, status)
    after()
    same, told = then.confirms(outcome), then.compare(outcome)
    if outcome.verdict is not Verdict.DIVERGED and not (quiet and same):
        notice(told)
    for one in second:
        notice(then.compare_by_names(one))
        if one.verdict is Verdict.FINDING and not quiet:
            print_found(Found(one, replay=replay_command(one.schedule)), stream=stderr(), color=color)
    if explanation is not None and not as_json:
        explanation.show(outcome)
    status = status or (0 if same else FOUND)
    checks = checks_of("replay", campaign.tally, [then.subject])
    if status == FOUND and campaign.tally.exit_status == 0:
        checks = [checks[0]._replace(status=Status.FAILED, message=told)]
    return ci.finish(checks, seconds, status)


def by_names_as_json(outcome: Outcome) -> dict[str, Any]:
    """What following the departures by name has come to, for scripts."""
    return {"verdict": outcome.verdict.value, "finding": outcome.finding() or None}
