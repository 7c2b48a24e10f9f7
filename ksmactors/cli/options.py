"""Options that mean the same in every command that has them, but for those of `subject_options`, which need more."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan, nan
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from typing_extensions import override

from ksmactors.aside import keep_result_apart
from ksmactors.escaping import quoted

Command = TypeVar("Command", bound=Callable[..., Any])


class WholeNumber(click.IntRange):
    """A whole number within bounds; what is none is refused in words that say which there are."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or outside the bounds.
        """
        upto = "" if self.max is None else f" to {self.max}"
        try:
            number = int(value)
        except ValueError:
            number = None
        if number is None or number < (self.min or 0) or (self.max is not None and number > self.max):
            self.fail(f"{quoted(value)} is not a whole number from {self.min or 0}{upto}", param, ctx)
        return number


class Seconds(click.FloatRange):
    """A time in seconds: a range of numbers, among which NaN is none.

    Attributes:
        forms: what the user may write.
    """

    forms = "give a number of seconds, such as 90"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or outside the range.
        """
        try:
            seconds = float(value)
        except ValueError:
            seconds = nan
        if isnan(seconds):
            self.fail(f"{quoted(value)} is not a time; {self.forms}", param, ctx)
        return super().convert(seconds, param, ctx)


class NamedPath(click.Path):
    """A file or directory. An empty name is none: it comes from a variable that is not set, and would mean `.`."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path.

        Raises:
            click.BadParameter: the name is empty, or the path will not do.
        """
        if value == "":
            self.fail("an empty name; write . for this directory", param, ctx)
        return super().convert(value, param, ctx)


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Duration(Seconds):
    """A time in seconds, or with a unit: `90`, `30m`, `8h`, `2d`."""

    forms = "give seconds, minutes, hours or days, such as 90, 30m, 8h or 2d"

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number of seconds.

        Raises:
            click.BadParameter: it is none, or outside the range.
        """
        unit = value[-1:] if isinstance(value, str) else ""
        try:
            number = float(value[:-1]) if unit in _UNITS else nan
        except ValueError:
            number = nan
        return super().convert(value if isnan(number) else number * _UNITS[unit], param, ctx)


def _kept_apart(ctx: click.Context, _: click.Parameter, value: Any) -> Any:
    """Have nothing but the result of a command on standard output where a program reads it."""
    if value in (True, "-") and not ctx.resilient_parsing:
        keep_result_apart()
    return value


_OUTPUT: Final = (
    click.option(
        "--json", "as_json", is_flag=True, help="One JSON object on standard output.", callback=_kept_apart,
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print only the result and errors."),
    click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
        help="Colour; NO_COLOR is honoured.",
    ),
)  # fmt: skip


def output_options(command: Command) -> Command:
    """In which form the answer comes."""
    return apply_options(command, _OUTPUT)


_LOG: Final = (
    click.option(
        "--log", metavar="FILE", help="Every event as JSON lines; - is standard output.", callback=_kept_apart,
    ),
    click.option(
        "--log-config", metavar="MODULE:FUNCTION",
        help="A function of yours that returns structlog processors; each event of the log, or of the screen, passes "
        "through them first. MODULE may be path/to/file.py. Its code is run.",
    ),
    click.option(
        "--detail", is_flag=True,
        help="Log also locks, who blocks and who wakes whom, turns, and every change of pages and trees.",
    ),
)  # fmt: skip


def log_options(command: Command) -> Command:
    """Where every event goes as JSON lines, through what, and whether events of detail are among them."""
    return apply_options(command, _LOG)


def trust_option(command: Command) -> Command:
    """Whether a file may run code."""
    return click.option(
        "--trust", is_flag=True,
        help="Load code that the file names by path or module, and do as much work as it asks for. Without it, opening "
        "a file never runs code.",
    )(command)  # fmt: skip


def out_option(command: Command) -> Command:
    """Where finding files go."""
    return _out("Where findings go [default: ksmactors/findings in the XDG state directory].")(command)


def campaign_out_option(command: Command) -> Command:
    """Where finding files and the store of a campaign go."""
    return _out(
        "Where findings go, and the store of the campaign [default: ksmactors/findings and ksmactors/campaigns in the "
        "XDG state directory]."
    )(command)


def _out(text: str) -> Callable[[Command], Command]:
    return click.option("--out", type=NamedPath(file_okay=False, path_type=Path), metavar="DIR", help=text)


def strategy_option(default: str) -> Callable[[Command], Command]:
    """The strategy of a command."""
    return click.option(
        "--strategy", default=default, show_default=True, metavar="NAME[:K=V,...]",
        help="The strategy that chooses the next actor; see `list strategies`. NAME may also be "
        "path/to/file.py:Class or package.module:Class.",
    )  # fmt: skip


def apply_options(command: Command, options: tuple[Callable[[Any], Any], ...]) -> Command:
    """Give a command several options, in this order in its help."""
    for option in reversed(options):
        command = option(command)
    return command
