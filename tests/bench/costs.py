"""The tables and the flame graph of the page `costs`, measured: `python -m tests.bench.costs [--write] [--only PART]`.

Without --write the tables are printed. With it they replace those of `ksmactors/docs/costs.md` that have the same first
line, and the picture is drawn again. All figures are CPU time of one process.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import trio

import ksmactors
from ksmactors import plugins
from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.events.logs import open_log
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from tests.bench import ksmd_alone, turns
from tests.bench.measure import command_cost, cpu_seconds, medians
from tests.bench.sampling import Stack, flame_graph, from_function, sampled, shares

PAGE: Final = Path(ksmactors.__file__).parent / "docs" / "costs.md"
PICTURE: Final = PAGE.with_name("step.svg")

STRATEGY: Final = "portfolio"

PROFILED: Final = 52
"""Schedules that are sampled: some of each workload."""

PLANNED: Final = 6
"""Schedules of each workload from which the figures for planning are taken."""

SMALL: Final = ("litmus.scan_meets_migration", "litmus.unmerge_meets_fork", "classic.lost", "classic.twostage_20")
"""Litmus tests and models of which the same is taken."""

SHORT: Final = 200
"""Schedules of each of these."""

PARTS: Final = (
    ("ksmactors.watch", "watchers", "#e66"),
    ("ksmactors.interleave.strategies", "strategies", "#fb5"),
    ("ksmactors.interleave.observ", "telling observers", "#fa8"),
    ("ksmactors.interleave.instrumented", "telling observers", "#fa8"),
    ("ksmactors.ksm.instrumented", "telling observers", "#fa8"),
    ("ksmactors.interleave", "conductor, points and locks", "#fd7"),
    ("ksmactors.ksm", "the emulated kernel", "#8c8"),
    ("ksmactors.mm", "the emulated kernel", "#8c8"),
    ("ksmactors.later", "the emulated kernel", "#8c8"),
    ("ksmactors.history", "the emulated kernel", "#8c8"),
    ("ksmactors.actors", "actors and workloads", "#8bd"),
    ("workloads", "actors and workloads", "#8bd"),
    ("ksmactors.events", "events", "#bb9"),
    ("ksmactors.campaign", "campaign and set-up", "#ccc"),
    ("ksmactors.run", "campaign and set-up", "#ccc"),
    ("ksmactors", "campaign and set-up", "#ccc"),
    ("trio", "trio", "#b9e"),
    ("outcome", "trio", "#b9e"),
)
"""By the beginning of a module's name: what it is part of, and its colour."""


def part_and_color(name: str) -> tuple[str, str]:
    """The part of a function, and its colour; a library belongs to what calls it and has none of its own."""
    return next(((part, color) for start, part, color in PARTS if name.startswith(start)), ("", "#eee"))


def part_of(stack: Stack) -> str:
    """The part of the innermost function that has one."""
    return next((part for name in reversed(stack) if (part := part_and_color(name)[0])), "other")


def big() -> list[str]:
    """The workloads that `stress` runs by default."""
    return [plugin.name for plugin in plugins.available("workloads")[0] if "." not in plugin.name]


def percent(share: float) -> str:
    """A share for people."""
    return f"{100 * share:.0f}%" if share >= 0.01 else f"{100 * share:.1f}%"


def table(first: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [first, ["---"] * len(first), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# -- where a step goes ------------------------------------------------------------------------------------------------


def samples(watch: str) -> dict[Stack, int]:
    """Stacks of a default campaign, from the function that runs a schedule on."""
    subjects = [make_subject(name, watch=watch) for name in big()]
    trio.run(Campaign(Plan(subjects, range(len(subjects)), STRATEGY)).run)  # what is imported late is imported now
    campaign = Campaign(Plan(subjects, range(PROFILED), STRATEGY))
    with sampled() as seen:
        trio.run(campaign.run)
    return _without_the_way_in(seen)


def _without_the_way_in(stacks: dict[Stack, int]) -> dict[Stack, int]:
    """What runs below trio's loop: actors are tasks of their own."""
    return from_function(stacks, ":unrolled_run")


def where(write: bool) -> str:
    """Shares of the parts, with all watchers and with none."""
    watched, bare = samples("all"), samples("none")
    if write:
        title = "Default stress with all watchers: CPU time by function. Green: emulated kernel. Red: watchers."
        PICTURE.write_text(flame_graph(watched, title, lambda name: part_and_color(name)[1]))
    without = dict(shares(bare, part_of))
    rows = [[part, percent(share), percent(without.get(part, 0))] for part, share in shares(watched, part_of)]
    return table(["part of a step", "with all watchers", "without watchers"], rows)


# -- figures for planning ---------------------------------------------------------------------------------------------


def rate(subject: Subject, seeds: int) -> tuple[float, float]:
    """Schedules an hour, and steps a schedule."""
    campaign = Campaign(Plan([subject], range(seeds), STRATEGY))
    seconds = cpu_seconds(partial(trio.run, campaign.run))
    return 3600 * seeds / seconds, campaign.tally.steps / seeds


def bytes_of_log(subject: Subject, seeds: int) -> tuple[float, float]:
    """Bytes of log a schedule: as `--log` writes it, and with `--detail`."""

    async def play(path: Path, detail: bool) -> None:
        with open_log(str(path)) as log:
            for seed in range(seeds):
                await run_schedule(subject, seed, "random", log=log, detail=detail)

    with TemporaryDirectory() as directory:
        sizes = []
        for detail in (False, True):
            path = Path(directory) / f"log-{detail}"
            trio.run(play, path, detail)
            sizes.append(path.stat().st_size / seeds)
    return sizes[0], sizes[1]


def planning(_: bool) -> str:
    """Schedules an hour and bytes of log by workload."""
    rows = []
    for name in (
        *big(),
        "litmus.scan_meets_migration",
        "litmus.unmerge_meets_fork",
        "classic.lost",
        "classic.twostage_20",
    ):
        seeds = PLANNED if "." not in name else SHORT
        watched, bare = make_subject(name), make_subject(name, watch="none")
        rate(watched, 2)
        (fast, steps), (fastest, _) = rate(watched, seeds), rate(bare, seeds)
        plain, detailed = bytes_of_log(bare, min(seeds, PLANNED))
        figures = (steps, fast, fastest, plain / 1000, detailed / 1000)
        rows.append([f"`{name}`", *(f"{figure:,.3g}" if figure < 100 else f"{figure:,.0f}" for figure in figures)])
    first = [
        "workload",
        "steps a schedule",
        "schedules an hour, all watchers",
        "without watchers",
        "KB of log a schedule",
    ]
    return table([*first, "with `--detail`"], rows)


def scanning(_: bool) -> str:
    """Pages a second that ksmd scans alone, and seconds for a full scan."""
    rows = []
    for pages in (1_000, 10_000, 100_000, 1_000_000):
        speed = ksmd_alone.rate(pages)
        rows.append([f"{pages:,}", f"{speed:,.0f}", f"{pages / speed:,.3g}"])
    return table(["pages, all different", "pages a second", "seconds for a full scan"], rows)


def points(_: bool) -> str:
    """What a point costs beside a checkpoint of trio."""
    seconds = turns.point_case()["microseconds"]
    names = {
        "checkpoint": "`trio.lowlevel.checkpoint()`, one task",
        "checkpoint_of_8_tasks": "the same with 8 runnable tasks",
        "point_alone": "a point with a single actor",
        "point_turn_stays": "a point of 8 actors at which the turn stays",
        "point_turn_passed": "a point at which the turn passes",
        "point_random": "a point under `random`, 8 actors",
        "point_pos": "a point under `pos`, 8 actors",
    }
    return table(["operation", "us"], [[names[name], f"{value:.2f}"] for name, value in seconds.items()])


def starting(_: bool) -> str:
    """CPU time of commands."""
    rows = []
    for words in ("--help", "list workloads", "list variants", "list events", "stress --seeds 1 -q"):
        (cpu,) = medians(lambda line=words: command_cost([sys.executable, "-m", "ksmactors", *line.split()]).cpu)
        rows.append([f"`ksmactors {words}`", f"{1000 * cpu:.0f} ms"])
    return table(["command", "CPU time"], rows)


TABLES: Final[dict[str, Callable[[bool], str]]] = {
    "where": where, "points": points, "planning": planning, "scanning": scanning, "starting": starting,
}  # fmt: skip


def replaced(page: str, made: str) -> str:
    """The page with a table in the place of the one that has the same first line.

    Raises:
        ValueError: there is none.
    """
    lines, first = page.splitlines(), made.splitlines()[0]
    start = lines.index(first)
    end = next((at for at in range(start, len(lines)) if not lines[at].startswith("|")), len(lines))
    return "\n".join([*lines[:start], *made.splitlines(), *lines[end:]]) + "\n"


def main(words: Sequence[str]) -> None:
    """Measure the tables, and print them or put them into the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.costs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="put the tables and the picture into the page")
    parser.add_argument("--only", choices=TABLES, action="append", default=[], help="only this table; repeatable")
    options = parser.parse_args(words)
    for name in options.only or TABLES:
        print(f"{name} ...", file=sys.stderr)  # noqa: T201
        made = TABLES[name](options.write)
        if options.write:
            PAGE.write_text(replaced(PAGE.read_text(), made))
        else:
            print(made, end="\n\n")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
