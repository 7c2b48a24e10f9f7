"""The options that say what is run and how: the same in every command that runs schedules."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Final

import click

from ksmactors.cli.options import WholeNumber, apply_options
from ksmactors.injection import help_lines
from ksmactors.run.header import NODES_MAX, STEPS_LIMIT
from ksmactors.run.options import DEFAULTS, GivenOptions, SubjectOptions, split_params

_SUBJECT_NAMES: Final = tuple(GivenOptions.__annotations__)

_INJECT: Final = (
    "Faults to inject, each in A of B cases, as trylock=1/8 (default: the ratio shown). The kinds: "
    f"{'; '.join(help_lines())}."
)

_SUBJECT: Final = (
    click.option(
        "-p", "--param", "params", multiple=True, metavar="KEY=VALUE",
        help="A parameter of the workload; `list workloads` says which there are. Repeatable.",
    ),
    click.option(
        "--nodes", type=WholeNumber(1, NODES_MAX), default=DEFAULTS.nodes, show_default=True, metavar="N",
        help="NUMA nodes.",
    ),
    click.option(
        "--kernel", default=DEFAULTS.kernel, show_default=True, metavar="NAME",
        help="The kernel that is emulated; see `list kernels`.",
    ),
    click.option(
        "--without", multiple=True, metavar="NAME",
        help="Leave out a commit or a variant of the kernel; see `list commits` and `list variants`. Repeatable.",
    ),
    click.option(
        "--with", "with_", multiple=True, metavar="NAME",
        help="Add a variant: a name of `list variants`, path/to/file.py:Class, or package.module:Class. Repeatable.",
    ),
    click.option(
        "--watch", default=DEFAULTS.watch, show_default=True, metavar="NAME,...|all|none",
        help="Watchers; all: those that come with ksmactors, and all,NAME: one of a plug-in beside them. A "
        "NAME may also be path/to/file.py:Class or package.module:Class.",
    ),
    click.option(
        "--max-steps", type=WholeNumber(1, STEPS_LIMIT - 1), default=DEFAULTS.max_steps, metavar="N",
        help="Give a schedule up after so many steps.",
    ),
    click.option("--inject", default=DEFAULTS.inject, metavar="KIND[=A/B],...|all", help=_INJECT),
)  # fmt: skip


def subject_options(command: Callable[..., int]) -> Callable[..., int]:
    """How a workload is run. The command gets these options as one object, `options`."""

    @wraps(command)
    def with_options(**given: Any) -> int:
        asked = {name: given.pop(name) for name in _SUBJECT_NAMES}
        return command(options=SubjectOptions.of(**asked | {"params": split_params(asked["params"])}), **given)

    return apply_options(with_options, _SUBJECT)
