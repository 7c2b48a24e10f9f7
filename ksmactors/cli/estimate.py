"""`ksmactors estimate`: what KSM would save on real pages."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO

import click

from ksmactors import interruption
from ksmactors.aside import stderr, stdout
from ksmactors.cli.options import Seconds, WholeNumber, output_options
from ksmactors.cli.screen import console, echo_json, notice
from ksmactors.errors import INTERRUPTED, USAGE, UsageError
from ksmactors.escaping import LINE_WORD_MAX, encodable, shortened_words
from ksmactors.estimate.placement import POLICIES
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from rich.console import Console

    from ksmactors.estimate.page_index import Progress

UNFOLDED: Final = 10_000
"""Width of what is no terminal: a table in a file or a pipe is as wide as its rows."""

EPILOG: Final = "\b\n--spread, for pages whose node is unknown:\n" + "\n".join(
    f"  {policy:<11} {meaning}" for policy, meaning in POLICIES.items()
)


@click.command(epilog=EPILOG)
@click.argument("files", metavar="FILE...", nargs=-1)
@click.option("--pid", "pids", type=WholeNumber(1), multiple=True, metavar="PID", help="A process. Repeatable.")
@click.option("--all", "every", is_flag=True, help="Every process that can be read, but this one.")
@click.option("--comm", "comms", multiple=True, metavar="NAME", help="Processes by name, such as qemu. Repeatable.")
@click.option("--core", is_flag=True, help="Every FILE must be an ELF core [default: seen from its first bytes].")
@click.option("--nodes", type=WholeNumber(1, 64), metavar="N", help="NUMA nodes [default: 2; the machine's for --pid].")
@click.option(
    "--spread", type=click.Choice(tuple(POLICIES)),
    help="On which node a page is [default: interleave; actual for --pid].",
)  # fmt: skip
@click.option("--top", type=WholeNumber(0), default=10, show_default=True, metavar="K", help="Contents to show.")
@click.option(
    "--kernel",
    default="series",
    show_default=True,
    metavar="NAME",
    help="The kernel whose KSM it is; see `list kernels`.",
)
@click.option(
    "--max-page-sharing", type=WholeNumber(2), metavar="N",
    help="Mappings that a KSM page may have, where the kernel has that knob [default: 256].",
)  # fmt: skip
@click.option("--use-zero-pages", is_flag=True, help="Zeros go to the zero page, where the kernel has that knob.")
@click.option(
    "--pages-to-scan", type=WholeNumber(1, 2**32 - 1), default=100, show_default=True, metavar="N",
    help="The knob, to turn full scans into time.",
)  # fmt: skip
@click.option(
    "--sleep-millisecs",
    type=WholeNumber(0, 2**32 - 1),
    default=20,
    show_default=True,
    metavar="MS",
    help="As above.",
)
@click.option(
    "--interval", type=Seconds(0, 86_400), default=1.0, show_default=True, metavar="S",
    help="Seconds between the two reads of a process.",
)  # fmt: skip
@output_options
def estimate(
    files: Sequence[str],
    pids: Sequence[int],
    every: bool,
    comms: Sequence[str],
    core: bool,
    nodes: int | None,
    spread: str | None,
    top: int,
    kernel: str,
    max_page_sharing: int | None,
    use_zero_pages: bool,
    pages_to_scan: int,
    sleep_millisecs: int,
    interval: float,
    *,
    as_json: bool,
    quiet: bool,
    color: str,
) -> int:
    """Estimate what KSM would save on these pages, with merge_across_nodes 0 and 1 side by side.

    The first line says which setting to choose and why, net of the memory that KSM itself takes (`docs estimate`).

    A FILE is a memory image (its bytes are pages) or an ELF core (its PT_LOAD segments are; pages of files and
    untouched zero pages look like any others there), or a dump of LiME. --pid reads the memory of a live process
    without touching it: all that is anonymous, present and private, as if the process had advised it mergeable.
    It is read twice; pages that change in between are volatile. --comm takes the processes whose name (of at most 15
    characters, in /proc/PID/comm) begins with NAME, --all every process. Both pass over those that may not be read, and
    say how many these are.

    The counters are those that the kernel's scans converge to without further writes, and the number of full
    scans is how long that takes from a cold start; a page that shares its frame already (a fork, KSM) counts like
    one that does not. Only other users' processes and frame numbers, which give
    the node of each page, need root; without them a page is assumed to be on the node that has most of its mapping.

    The exit status is 2 if something could not be read completely; the rest is counted and shown. An incomplete last
    page of a file is left out with a warning.
    """
    from ksmactors.estimate.estimate_result import EstimateResult, EstimateSettings
    from ksmactors.estimate.process_choice import choose
    from ksmactors.estimate.protocol import Knobs
    from ksmactors.estimate.reader import Reader, Request

    knobs = Knobs.of_kernel(kernel, max_page_sharing=max_page_sharing, use_zero_pages=use_zero_pages)
    found = choose(every=every, comms=comms)
    others = [pid for pid in found.pids if pid not in pids]
    request = Request(files, [*dict.fromkeys(pids), *others], core, nodes, spread, interval, frozenset(others))
    interruption.work_begins()
    with _interruptible() as signals, _progress_bar(signals, color, wanted=not quiet) as progress:
        gathering = Reader(request, progress)
        gathering.warnings.extend(found.warnings)
        try:
            gathering.read()
        except Interruption:
            gathering.problems.append("interrupted; what was read until then is counted")
    interruption.work_ends()
    for problem in (*gathering.warnings, *gathering.problems):
        notice(shortened_words(problem, LINE_WORD_MAX))
    if gathering.page_index.pages:
        question = EstimateSettings(
            kernel, gathering.spread.nodes, gathering.spread.policy, top, pages_to_scan, sleep_millisecs, knobs
        )
        answer = EstimateResult.of(
            question, gathering.page_index, gathering.sources, [*gathering.warnings, *gathering.problems]
        )
        _print(answer, as_json=as_json, quiet=quiet, color=color)
    elif not gathering.problems:
        raise UsageError("estimate: there is no page that KSM would look at in what was named")
    if signals:
        return INTERRUPTED
    return USAGE if gathering.problems else 0


def _print(answer: Any, *, as_json: bool, quiet: bool, color: str) -> None:
    if as_json:
        import orjson

        from ksmactors.estimate.advice import advise

        printed = answer.as_json() | {"advice": advise(answer).as_json()}
        echo_json(orjson.dumps(encodable(printed), option=orjson.OPT_INDENT_2).decode())
        return
    from ksmactors.estimate.show import show

    show(answer, _console(stdout(), color), quiet=quiet)


def _console(stream: TextIO, color: str) -> Console:
    """A console; what is no terminal is as wide as its rows."""
    return console(stream, color, width=None if stream.isatty() else UNFOLDED)


class Interruption(Exception):
    """Ctrl-C was pressed."""


@contextmanager
def _interruptible() -> Iterator[list[int]]:
    """Collect SIGINT instead of raising amid the books: the next progress call ends the reading."""
    caught: list[int] = []

    def catch(number: int, _: FrameType | None) -> None:
        caught.append(number)

    before = signal.signal(signal.SIGINT, catch)
    try:
        yield caught
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress_bar(interruption: Sequence[int], color: str, *, wanted: bool) -> Iterator[Progress]:
    """A bar on standard error where that is a terminal; its callback ends the reading after an interruption."""

    def silent(*_: object) -> None:
        if interruption:
            raise Interruption

    if not (wanted and stderr().isatty()):
        yield silent
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[pages]}"),
        TimeRemainingColumn(), console=_console(stderr(), color), transient=True,
    )  # fmt: skip
    with bar:
        tasks: dict[str, Any] = {}

        def advance(label: str, done: int, total: int | None) -> None:
            silent()
            if label not in tasks:
                for task in tasks.values():
                    bar.update(task, visible=False)
                tasks[label] = bar.add_task(label, total=total, pages="")
            bar.update(tasks[label], completed=done, total=total, pages=quantity(done, "page"))

        yield advance
