"""`ksmactors campaign`: what a campaign's store says; two stores put together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
import orjson

from ksmactors import interruption, plugins
from ksmactors.aside import stdout
from ksmactors.cli.options import NamedPath, output_options
from ksmactors.cli.outputs import Output, refuse_overwriting
from ksmactors.cli.report import print_defects, print_unreached, report_crash
from ksmactors.cli.report_sources import refuse_existing, write_output
from ksmactors.cli.screen import console, echo, echo_json, notice
from ksmactors.errors import FOUND, UsageError
from ksmactors.escaping import encodable, escaped
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from ksmactors.campaign.overview import Overview
    from ksmactors.campaign.store import CampaignStore

MERGE: Final = "merge"
"""The first argument that asks for a merge; a directory of that name is `./merge`."""


@click.command()
@click.argument("paths", metavar="DIR | merge DIR...", nargs=-1, required=True)
@click.option(
    "--out", type=NamedPath(file_okay=False, path_type=Path), metavar="DIR",
    help="With merge: where the new store and its finding files go.",
)  # fmt: skip
@click.option(
    "--export", type=NamedPath(file_okay=False, path_type=Path), metavar="DIR",
    help="Write the schedules and the findings as Parquet files.",
)  # fmt: skip
@click.option(
    "--html", type=NamedPath(path_type=Path), metavar="FILE", help="Write a page for the browser, with curves."
)
@click.option("--force", is_flag=True, help="With --export and --html: replace files that exist.")
@output_options
def campaign(
    paths: tuple[str, ...],
    *,
    out: Path | None,
    export: Path | None,
    html: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Show what the store of a campaign says: progress, rates, findings, and what is left to do.

    DIR is what `stress` was given as --out. A campaign may be under way there. Nothing that a store names is loaded or
    run.

    `campaign merge A B --out C` puts stores of one campaign together that have no seed in common. The exit status is 1
    if there is a finding.
    """
    merging = paths[0] == MERGE
    if out is not None and not merging:
        raise UsageError("--out says where `campaign merge` writes; give `merge` and the stores first")
    if force and export is None and html is None:
        raise UsageError("--force says that --export or --html may replace files: give one of them, too")
    refuse_overwriting_stores(paths[1:] if merging else paths, [("--html", html)], ("--export", export), out)
    if html is not None:
        refuse_existing(html, "--html", force=force)
    interruption.work_begins()
    if merging:
        directory = _merged(paths[1:], out)
    elif len(paths) == 1:
        directory = Path(paths[0])
    else:
        raise UsageError(f"campaign shows one store, not {len(paths)}; `campaign merge` puts several together")
    return show(directory, export=export, html=html, force=force, as_json=as_json, quiet=quiet, color=color)


def refuse_overwriting_stores(
    stores: Iterable[str], files: Iterable[Output], tables: tuple[str, Path | None], out: Path | None = None
) -> None:
    """Refuse to replace a store that is read, or one file by two options.

    Args:
        stores: their directories.
        files: options that name a file.
        tables: the option that names a directory for Parquet files, and the directory.
        out: where a new store is made.

    Raises:
        UsageError: two of them are the same file.
    """
    from ksmactors.campaign.store_files import FILE
    from ksmactors.campaign.tables import FILES

    option, directory = tables
    outputs = [*files, *((option, directory / name) for name in FILES if directory is not None)]
    if out is not None and not (out / FILE).exists():  # else `merge_stores` refuses it
        outputs.append(("--out", out / FILE))
    refuse_overwriting(outputs, [(Path(store) / FILE, "a store that is read") for store in stores])


def show(
    directory: Path,
    *,
    as_json: bool,
    quiet: bool,
    color: str,
    export: Path | None = None,
    html: Path | None = None,
    force: bool = False,
) -> int:
    """Print what a store says, or write it to Parquet files or a page; returns the exit status.

    Raises:
        UsageError: there is no store, it is damaged, or a file cannot be written.
    """
    from ksmactors.campaign.overview import overview_of
    from ksmactors.campaign.store_files import open_to_read

    with open_to_read(directory) as store:
        if export is not None or html is not None:
            files = [*_tables(store, export, force=force), *_page(store, directory, html, force=force)]
            if as_json:
                echo_json(orjson.dumps(encodable({"files": files})).decode())
            elif not quiet:
                for file in files:
                    echo(file)
            return FOUND if any(True for _ in store.findings()) else 0
        view = overview_of(store, directory)
    if as_json:
        echo_json(orjson.dumps(encodable(view.as_json()), option=orjson.OPT_INDENT_2).decode())
    elif quiet:
        print_defects(view.tally, stream=stdout(), color=color)
    else:
        _print(view, color)
    return view.tally.exit_status


def _tables(store: CampaignStore, export: Path | None, *, force: bool) -> list[str]:
    """Write Parquet files if that is wanted; return them."""
    if export is None:
        return []
    from ksmactors.campaign.tables import write_tables

    return [str(file) for file in write_tables(store, export, force=force)]


def _page(store: CampaignStore, directory: Path, path: Path | None, *, force: bool) -> list[str]:
    """Write the page for the browser if that is wanted; return it."""
    if path is None:
        return []
    from ksmactors.campaign.curves import curves_of
    from ksmactors.campaign.overview import overview_of
    from ksmactors.cli.campaign_page import campaign_page

    view = overview_of(store, directory)
    content = campaign_page(view, curves_of(store, view))
    write_output(path, "--html", lambda file: file.write(content), force=force)
    return [str(path)]


def _merged(paths: tuple[str, ...], out: Path | None) -> Path:
    """Merge stores; returns where the new one is."""
    from ksmactors.campaign.joining import merge_stores

    if len(paths) < 2 or out is None:
        raise UsageError("campaign merge takes two or more directories, and --out DIR for the new store")
    for problem in merge_stores([Path(path) for path in paths], out):
        notice(problem)
    return out


def _print(view: Overview, color: str) -> None:
    """A campaign on a screen: what it is, how far it is, rates, findings, and the slowest schedules."""
    from rich.table import Table

    from ksmactors.campaign.blocks import as_text, size_of
    from ksmactors.campaign.dealing import EQUAL

    out = console(stdout(), color)
    tally, done = view.tally, view.tally.schedules
    asked = size_of(view.asked)
    subjects = view.of["subjects"]
    names = " ".join(plugins.from_here(escaped(str(one["workload"]))) for one in subjects)
    echo(f"{names}: strategy {view.of['strategy']}, budget {view.budget}, kernel {subjects[0].get('kernel')}")
    left = (
        f"{size_of(view.left):,} of {quantity(asked, 'schedule')} left"
        if view.left
        else f"all {quantity(asked, 'schedule')} done"
    )
    echo(f"{left}, in {_hours(view.seconds)}")
    for group in view.shards:
        names = ", ".join(shard.name for shard in group)
        echo(f"shard {names} of seeds {as_text([group[0].whole])}; `campaign merge` puts it together with the others")
    table = Table(title=None, show_header=True, header_style="bold", box=None, padding=(0, 1, 0, 0))
    for title in ("workload", "strategy", "schedules", "a second", "steps each", "unseen", "findings"):
        table.add_column(title, justify="left" if title in ("workload", "strategy") else "right", overflow="fold")
    for rate in view.rates.values():
        if not rate.schedules and view.budget != EQUAL:
            continue
        each = f"{rate.steps / rate.schedules:,.0f}" if rate.schedules else "-"
        name = escaped(plugins.from_here(rate.workload))
        table.add_row(
            name, escaped(rate.strategy), f"{rate.schedules:,}", f"{rate.per_second:,.1f}", each, f"{rate.unseen:.1%}",
            f"{rate.findings:,}",
        )  # fmt: skip
    out.print(table)
    print_defects(tally, stream=stdout(), color=color)
    if tally.races and tally.races_never_met:
        echo(f"kinds of race that never happened: {', '.join(tally.races_never_met)}")
    for signature, after in view.found_after.items():
        echo(f"found after {_hours(after)}: {signature}")
    if tally.crash is not None:
        report_crash(tally.crash)
    for seconds, seed, workload, steps in view.slowest:
        echo(f"slow: seed {seed}, {plugins.from_here(workload)}: {seconds:.2f} s, {quantity(steps, 'step')}")
    print_unreached(view.never_reached, stream=stdout())
    echo(f"{quantity(done, 'schedule')}; verdict: {tally.judgement}; digest {tally.digest}")


def _hours(seconds: float) -> str:
    """A time as a person reads it."""
    if seconds < 60:
        return f"{max(0.0, seconds):.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
