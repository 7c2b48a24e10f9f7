"""What is printed, and how: every line of every command passes through here, and so does every table.

Names, messages, schedules and exceptions may come from files, plug-ins and other people. Their control characters are
shown, never performed, and so are commands to the runner of GitHub Actions: no module of the command line prints in any
other way.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TextIO

import click
from typing_extensions import override

from ksmactors.aside import stderr, stdout
from ksmactors.ci.runner import annotation, is_github
from ksmactors.escaping import (
    LINE_WORD_MAX,
    ascii_json,
    escaped,
    escaped_json,
    escaped_lines,
    inert,
    inert_json,
    is_utf8,
    shortened_words,
)
from ksmactors.events.colors import color_allowed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

LINE_SECONDS: Final = 60.0
"""Seconds from one plain line about how far a command is to the next."""


def echo(text: str, *, err: bool = False, file: TextIO | None = None, nl: bool = True) -> None:
    """Print text, of one line or several, on standard output, standard error or `file`."""
    click.echo(_safe(text), file=file or (stderr() if err else stdout()), nl=nl)


def echo_colored(line: str, fg: str | None, *, color: bool) -> None:
    """Print a line on standard output, in a colour if there is one and `color` allows it."""
    echo_styled((line, {"fg": fg}), color=color)


def echo_styled(*parts: tuple[str, Mapping[str, Any]], color: bool) -> None:
    """Print parts of one line on standard output, each as `click.style` shows it if `color` allows that."""
    texts = [_safe(escaped(text)) for text, _ in parts]
    if color:
        texts = [click.style(text, **style) if style else text for text, (_, style) in zip(texts, parts, strict=True)]
    click.echo("".join(texts), file=stdout(), color=color)


def _safe(text: str) -> str:
    """Return a text of one line or several that neither a terminal nor the runner of GitHub Actions obeys."""
    shown = escaped_lines(text)
    return inert(shown) if is_github(os.environ) else shown


def command_to_runner(line: str) -> None:
    """Print a command for the runner of GitHub Actions, on standard error. Its texts are escaped already."""
    click.echo(line, file=stderr())


def notice(line: str) -> None:
    """Say something in one line on standard error, and who says it."""
    echo(f"ksmactors: {escaped(line)}", err=True)


def echo_json(text: str, *, nl: bool = True) -> None:
    """Print JSON on standard output, or a piece of it, without a character that a terminal or pager would perform or
    that the stream cannot encode, and for the runner of GitHub Actions without a command. Its value is the same."""
    shown, out = escaped_json(text), stdout()
    shown = inert_json(shown) if is_github(os.environ) else shown
    click.echo(shown if is_utf8(out.encoding) else ascii_json(shown), file=out, nl=nl)


def warn(line: str) -> None:
    """Say what is wrong although the command works; in a step of GitHub Actions also as an annotation."""
    notice(line)
    if is_github(os.environ):
        command_to_runner(annotation("warning", line, title="ksmactors"))


def report_error(line: str) -> None:
    """Say why a command ends without having worked; in a step of GitHub Actions also as an annotation. No word of it is
    longer than a path may be: a file of another person does not fill the screen."""
    line = shortened_words(line, LINE_WORD_MAX)
    notice(line)
    if is_github(os.environ):
        command_to_runner(annotation("error", line, title="ksmactors"))


def page(rendered: str, color: str) -> None:
    """Show text that a `console` has rendered, in the user's pager: PAGER, or less; without one it is printed."""
    allowed = color_allowed(stdout(), color)
    text = rendered.rstrip("\n")
    try:
        click.echo_via_pager(text, color=None if allowed and color == "auto" else allowed)
    except ValueError:  # PAGER has a quote that is never closed
        click.echo(text, file=stdout(), color=allowed)


def console(stream: TextIO, color: str, *, width: int | None = None) -> Console:
    """A rich console on a stream, coloured as `--color` and the environment say; `width` in columns if it is fixed."""
    colored = color_allowed(stream, color)
    made: Console = _safe_console()(
        file=stream,
        width=width,
        height=None if width is None else 25,  # rich heeds a width only together with a height where TERM is dumb
        force_terminal=colored or None,  # --color always holds for a pipe too
        color_system="standard" if colored else None,
        no_color=not colored,
        highlight=False,
        markup=False,  # what is printed may hold brackets of its own
    )
    return made


@cache
def _safe_console() -> type[Console]:
    """A console that shows control characters of whatever it renders; rich is imported when one is wanted."""
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    class SafeConsole(Console):
        @override
        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
            safe = inert if is_github(os.environ) else str
            for segment in super().render(renderable, options):
                text = segment.text if segment.control else safe(escaped_lines(segment.text))
                # rich renders what is in what: most segments come through here several times
                yield segment if text is segment.text else Segment(text, segment.style)

        @override
        def show_cursor(self, show: bool = True) -> bool:
            """Leave the cursor visible: a process that is killed could not show it again."""
            return False

        @override
        def render_str(self, text: str, **options: Any) -> Text:  # before its width is measured
            return super().render_str(escaped_lines(text), **options)

    return SafeConsole
