"""The console that commands print tables on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def console(stream: TextIO, color: str, *, width: int | None = None) -> Console:
    """A rich console on a stream, coloured as `--color` and the environment say; `width` in columns if it is fixed."""
    from rich.console import Console

    from ksmactors.events.terminal import color_allowed

    colored = color_allowed(stream, color)
    return Console(
        file=stream,
        width=width,
        height=None if width is None else 25,  # rich heeds a width only together with a height where TERM is dumb
        force_terminal=colored or None,  # --color always holds for a pipe too
        color_system="standard" if colored else None,
        no_color=not colored,
        highlight=False,
        markup=False,  # what is printed may hold brackets of its own
    )
