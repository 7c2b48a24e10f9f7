"""`ksmactors replay`: a finding or a schedule, exactly."""

from __future__ import annotations

import click

from ksmactors.campaign.outcome import Verdict
from ksmactors.campaign.replaying import recorded
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.cli.options import log_option, output_options
from ksmactors.cli.single import open_run_log, perform, refuse_two_on_stdout
from ksmactors.errors import FOUND


@click.command()
@click.argument("source", metavar="FILE|SCHEDULE")
@log_option
@output_options
def replay(source: str, log: str | None, as_json: bool, quiet: bool, color: str) -> int:
    """Run a finding or a schedule again, exactly, and show its log.

    FILE is a finding file, or a file that holds a schedule string; - is standard input. A schedule string itself
    will do as well. Exits with 1 if the replay finds something, or differs from the recording.
    """
    then = recorded(source)
    refuse_two_on_stdout(as_json, log)
    with open_run_log(log, shown=not (as_json or quiet), color=color) as writer:
        plan = Plan([then.subject], range(then.seed, then.seed + 1), then.strategy, log=writer, replayed=then.schedule)
        campaign = Campaign(plan)
        status = perform(campaign, as_json=as_json, quiet=quiet, color=color)
    outcome = campaign.last
    if outcome is None:
        return status
    if outcome.verdict is not Verdict.DIVERGED and not (quiet and then.agrees(outcome)):
        click.echo(f"ksmactors: {then.compare(outcome)}", err=True)
    return status or (0 if then.agrees(outcome) else FOUND)
