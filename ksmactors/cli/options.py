"""Options that mean the same in every command that has them."""

from __future__ import annotations

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from typing_extensions import override

from ksmactors.injection import help_lines

Command = TypeVar("Command", bound=Callable[..., Any])


class Seconds(click.FloatRange):
    """A time in seconds: a range of numbers, among which NaN is none."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number.

        Raises:
            click.BadParameter: it is none, or outside the range.
        """
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not a time.", param, ctx)
        return number


_INJECT: Final = (
    "Faults to inject, each in A of B cases, as trylock=1/8 (default: the ratio shown). The kinds: "
    f"{'; '.join(help_lines())}."
)

_SUBJECT: Final = (
    click.option(
        "-p", "--param", "params", multiple=True, metavar="KEY=VALUE",
        help="A parameter of the workload; `list workloads` says which there are. Repeatable.",
    ),
    click.option("--nodes", type=click.IntRange(1, 64), default=2, show_default=True, help="NUMA nodes."),
    click.option("--kernel", default="series", show_default=True, help="The kernel that is emulated."),
    click.option("--without", multiple=True, metavar="NAME", help="Leave out a variant of the kernel. Repeatable."),
    click.option(
        "--with", "with_", multiple=True, metavar="NAME",
        help="Add a variant: a name, path/to/file.py:Class, or package.module:Class. Repeatable.",
    ),
    click.option(
        "--watch", default="all", show_default=True, metavar="NAME,...|all|none",
        help="Watchers; all: those that come with ksmactors, and all,NAME: one of a plug-in beside them. A "
        "NAME may also be path/to/file.py:Class or package.module:Class.",
    ),
    click.option(
        "--max-steps", type=click.IntRange(1, (1 << 63) - 1), default=None, metavar="N",
        help="Give up a schedule after N steps.",
    ),
    click.option("--inject", default="", metavar="KIND[=A/B],...|all", help=_INJECT),
)  # fmt: skip

_OUTPUT: Final = (
    click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
    click.option("-q", "--quiet", is_flag=True, help="Print only the result and errors."),
    click.option(
        "--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True,
        help="Colour; NO_COLOR is honoured.",
    ),
)  # fmt: skip


def subject_options(command: Command) -> Command:
    """What is run: the workload's parameters, the machine, the kernel, the watchers."""
    return _apply(command, _SUBJECT)


def output_options(command: Command) -> Command:
    """In which form the answer comes."""
    return _apply(command, _OUTPUT)


def log_option(command: Command) -> Command:
    """Where every event goes as JSON lines."""
    return click.option("--log", metavar="FILE", help="Every event as JSON lines; - is standard output.")(command)


def detail_option(command: Command) -> Command:
    """Whether events of detail are recorded."""
    return click.option(
        "--detail", is_flag=True,
        help="Log also locks, who blocks and who wakes whom, turns, and every change of pages and trees.",
    )(command)  # fmt: skip


def trust_option(command: Command) -> Command:
    """Whether a file may run code."""
    return click.option(
        "--trust", is_flag=True,
        help="Load code that the file names by path or module, and do as much work as it asks for. Without it, opening "
        "a file never runs code.",
    )(command)  # fmt: skip


def out_option(command: Command) -> Command:
    """Where finding files go."""
    return click.option(
        "--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
        help="Where findings go [default: ksmactors/findings in the XDG state directory].",
    )(command)  # fmt: skip


def strategy_option(default: str) -> Callable[[Command], Command]:
    """The strategy of a command."""
    return click.option(
        "--strategy", default=default, show_default=True, metavar="NAME[:K=V,...]",
        help="The strategy that chooses the next actor; see `list strategies`. NAME may also be "
        "path/to/file.py:Class or package.module:Class.",
    )  # fmt: skip


def _apply(command: Command, options: tuple[Callable[[Any], Any], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command
