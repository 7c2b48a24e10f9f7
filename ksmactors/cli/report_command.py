"""`ksmactors report`: what a finding or a log looks like, in a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from ksmactors import interruption
from ksmactors.cli.options import trust_option
from ksmactors.cli.screen import notice
from ksmactors.errors import FOUND, UsageError
from ksmactors.escaping import escaped


@click.command("report")
@click.argument("sources", metavar="FINDING|LOG...", nargs=-1, required=True)
@click.option("--perfetto", type=click.Path(path_type=Path), metavar="FILE", help="Write a trace for ui.perfetto.dev.")
@click.option("--force", is_flag=True, help="Replace an output file that exists.")
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="Only what went wrong.")
def report_command(sources: Sequence[str], perfetto: Path | None, force: bool, trust: bool, quiet: bool) -> int:
    """Make a picture of findings, or of logs.

    A FINDING is a finding file, a file that holds a schedule string, or such a string: it is replayed with all detail,
    as `replay --detail` does. A LOG has JSON lines, as `--log FILE` writes them, and may be packed with gzip or zstd;
    `-` is standard input. What it shows is what was logged: give --detail where it is made. The exit status is 1 if
    there is a finding.
    """
    if perfetto is None:
        raise UsageError("report: say what to write: --perfetto FILE")
    from ksmactors.analysis.perfetto import write_trace
    from ksmactors.cli.report_sources import Sources, refuse_existing, write_output

    refuse_existing(perfetto, "--perfetto", force=force)
    interruption.work_begins()
    read = Sources(sources, trust=trust, tell=notice)
    written = write_output(perfetto, "--perfetto", partial(write_trace, read), force=force)
    if not quiet:
        notice(f"{escaped(str(perfetto))}: {written:,} events; open it at https://ui.perfetto.dev")
    return FOUND if read.found else 0
