"""`ksmactors analyze` of the store of a campaign: its schedules and findings as tables."""

from __future__ import annotations

from pathlib import Path

from ksmactors import interruption
from ksmactors.cli.streams import print_stream, screen_for, show_stream
from ksmactors.errors import FOUND


def is_store(path: str) -> bool:
    """Whether a path is the directory of a campaign's store."""
    if not Path(path).is_dir():
        return False
    from ksmactors.campaign.store_files import has_store

    return has_store(Path(path))


def analyze_store(
    path: Path, *, sql: str | None, unsafe: bool, parquet: Path | None, force: bool, as_json: bool, quiet: bool,
    color: str,
) -> int:  # fmt: skip
    """Answer a query, write tables, or show the campaign. Returns the exit status."""
    from ksmactors.cli.campaign import refuse_overwriting_stores, show

    refuse_overwriting_stores([str(path)], [], ("--parquet", parquet))
    interruption.work_begins()
    if sql is None:
        return show(path, export=parquet, force=force, as_json=as_json, quiet=quiet, color=color)
    from ksmactors.campaign.store_files import open_to_read
    from ksmactors.campaign.tables import tables_of

    with open_to_read(path) as store, tables_of(store, unsafe=unsafe) as tables:
        found = bool(tables.rows("SELECT 1 FROM findings LIMIT 1"))
        stream = tables.stream(sql)
        print_stream(stream) if as_json else show_stream(stream, screen_for(color))
    return FOUND if found else 0
