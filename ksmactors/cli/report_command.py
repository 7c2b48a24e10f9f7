"""`ksmactors report`: what a finding or a log looks like, in a viewer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ksmactors import interruption
from ksmactors.cli.options import NamedPath, WholeNumber, trust_option
from ksmactors.cli.pipes import tell_of_silent_pipes
from ksmactors.cli.plugin_events import read_plugin_events
from ksmactors.cli.screen import notice
from ksmactors.errors import UsageError
from ksmactors.escaping import escaped
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from ksmactors.analysis.compare import Comparison
    from ksmactors.cli.report_sources import Sources
    from ksmactors.report.findings import Examined


@click.command("report")
@click.argument("sources", metavar="FINDING|LOG...", nargs=-1, required=True)
@click.option("--html", type=NamedPath(path_type=Path), metavar="FILE", help="Write a page for the browser.")
@click.option("--perfetto", type=NamedPath(path_type=Path), metavar="FILE", help="Write a trace for ui.perfetto.dev.")
@click.option(
    "--max-schedules", type=WholeNumber(0), default=300, show_default=True, metavar="N",
    help="With --html: the most schedules that are tried to shrink a finding; 0 shows it as recorded only.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an output file that exists.")
@trust_option
@click.option("-q", "--quiet", is_flag=True, help="Only what went wrong.")
def report_command(
    sources: Sequence[str],
    html: Path | None,
    perfetto: Path | None,
    max_schedules: int,
    force: bool,
    trust: bool,
    quiet: bool,
) -> int:
    """Make a picture of findings, or of logs.

    A FINDING is a finding file, a file that holds a schedule string, or such a string: it is replayed with all detail,
    as `replay --detail` does; for a page it is explained and shrunk, too. A LOG has JSON lines, as `--log FILE` writes
    them, and may be packed with gzip or zstd; `-` is standard input. What it shows is what was logged: give --detail
    where it is made. The exit status is 1 if there is a finding.
    """
    if html is None and perfetto is None:
        raise UsageError("report: say what to write: --html FILE or --perfetto FILE")
    from ksmactors.cli.outputs import refuse_overwriting
    from ksmactors.cli.report_sources import Sources, refuse_existing

    refuse_overwriting(
        [("--html", html), ("--perfetto", perfetto)], [(source, "a finding or log that is read") for source in sources]
    )
    if perfetto is not None:
        refuse_existing(perfetto, "--perfetto", force=force)
    interruption.work_begins()
    tell_of_silent_pipes()
    status = 0
    if html is not None:
        from ksmactors.report.findings import examine

        refuse_existing(html, "--html", force=force)
        read_plugin_events()
        read = Sources(sources, replay=partial(examine, max_schedules=max_schedules), trust=trust, tell=notice)
        read.refuse_overwriting([("--html", html), ("--perfetto", perfetto)])
        status = write_page(read, html, force=force, quiet=quiet)
    if perfetto is not None:
        status = _write_trace(sources, perfetto, trust=trust, force=force, quiet=quiet) or status
    return status


def write_page(
    sources: Sources[Examined], path: Path, *, force: bool, quiet: bool, comparison: Comparison | None = None
) -> int:
    """Write the page of findings and logs; return the exit status.

    Args:
        sources, comparison: as for `PageMaker`.
        path, force: where, and whether a file of that name may be replaced.
        quiet: say only what went wrong.

    Raises:
        UsageError: a source cannot be read, or the file cannot be written.
    """
    from ksmactors.cli.report_page import PageMaker
    from ksmactors.cli.report_sources import write_output

    maker = PageMaker(sources)
    content = maker.make(comparison)
    write_output(path, "--html", lambda file: file.write(content), force=force)
    if not quiet:
        notice(f"{escaped(str(path))}: {quantity(maker.events, 'event')}; open it in a browser")
    return sources.status


def _write_trace(sources: Sequence[str], path: Path, *, trust: bool, force: bool, quiet: bool) -> int:
    from ksmactors.analysis.perfetto import write_trace
    from ksmactors.cli.report_sources import Sources, write_output
    from ksmactors.diagnose.in_detail import events_in_detail

    read_plugin_events()
    read = Sources(sources, replay=events_in_detail, trust=trust, tell=notice)
    read.refuse_overwriting([("--perfetto", path)])
    written = write_output(path, "--perfetto", partial(write_trace, read), force=force)
    if not quiet:
        notice(f"{escaped(str(path))}: {quantity(written, 'event')}; open it at https://ui.perfetto.dev")
    return read.status
