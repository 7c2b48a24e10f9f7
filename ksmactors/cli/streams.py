"""Rows of a query, printed as they come: as JSON, or as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ksmactors.aside import stdout
from ksmactors.cli.screen import console as screen
from ksmactors.cli.screen import echo_json
from ksmactors.escaping import escaped_json

if TYPE_CHECKING:
    from rich.console import Console

    from ksmactors.analysis.store import Stream

UNFOLDED: Final = 10_000
"""Width of what is no terminal: a table in a file or a pipe is as wide as its rows."""


def screen_for(color: str) -> Console:
    """Standard output; lines are not folded where it is no terminal."""
    return screen(stdout(), color, width=None if stdout().isatty() else UNFOLDED)


def print_stream(stream: Stream) -> None:
    """One JSON object, written as the rows come."""
    echo_json(f'{{"columns":{json_of(stream.columns)},"rows":[', nl=False)
    separator = ""
    for block in stream.blocks:
        rows = json_of(block)[1:-1]
        echo_json(f"{separator}{rows}", nl=False)
        separator = ","
    echo_json("]}")


def show_stream(stream: Stream, console: Console) -> None:
    """Tables of as many rows as are in memory at once."""
    from ksmactors.analysis.report import show_rows

    empty = True
    for block in stream.blocks:
        show_rows(stream.columns, block, console)
        empty = False
    if empty:
        show_rows(stream.columns, [], console)


def json_of(value: Any) -> str:
    """Compact JSON, in which no character is one that a terminal would perform."""

    import orjson

    return escaped_json(orjson.dumps(_plain(value)).decode())


def _plain(value: Any) -> Any:
    """What SQL answered, as JSON has it: dates, intervals, blobs and integers over 64 bits become strings."""
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if value is None or isinstance(value, (bool, str, float)) or (isinstance(value, int) and abs(value) >> 63 == 0):
        return value
    return str(value)
