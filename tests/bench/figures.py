"""The figures that stand for the speed of this version: each with the least it must come to, and the goal.

`TABLE` has them in the order in which they are shown. A figure that compares with an older commit, or with a peer, runs
both alternately, and its value is the median of the ratios of the rounds. `noise` is how far the rounds lie apart,
relative to their median; a figure that is measured once has none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any, Final, Self

import trio

from ksmactors.errors import KsmActorsError
from tests.bench import analysis, campaigns, headlines, ksmd_alone, peers
from tests.bench.baseline import CURRENT, RENAMED, NoBaseline, Tree, unpacked
from tests.bench.measure import CommandCost, command_cost

Rounds = Sequence[float]
"""What each round came to."""


Ratios = Mapping[str, Mapping[str, float]]
"""By peer and model: how many times as many schedules a second ours runs."""


class NotMeasured(Exception):
    """A figure cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table: `least` must be reached, or not be exceeded if `at_most`; so with the goal."""

    name: str
    unit: str
    least: float
    goal: float
    measure: Callable[[Session], Rounds]
    at_most: bool = False

    def row(self, session: Session) -> dict[str, Any]:
        """The figure as the table shows it; `value` is None and `not_measured` says why if it cannot be had."""
        limits = {"unit": self.unit, "least": self.least, "goal": self.goal, "at_most": self.at_most}
        try:
            rounds = self.measure(session)
        except (NotMeasured, NoBaseline, KsmActorsError) as error:
            return {"value": None, "not_measured": str(error), **limits}
        value = median(rounds)
        noise = round((max(rounds) - min(rounds)) / value, 3) if len(rounds) > 1 and value else None
        return {
            "value": float(f"{value:.4g}"), "noise": noise, "rounds": len(rounds), **limits,
            "least_met": self._meets(value, self.least), "goal_met": self._meets(value, self.goal),
        }  # fmt: skip

    def _meets(self, value: float, limit: float) -> bool:
        return value <= limit if self.at_most else value >= limit


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is run: `seeds` schedules of the big workloads, `litmus_seeds` of litmus tests, `pages` of a large
    machine, `events` of a large log, `campaigns` for each headline case, in so many `rounds`."""

    rounds: int = 5
    seeds: int = 110
    litmus_seeds: int = 1_400
    pages: int = 1_000_000
    real_pages: int = 200_000
    events: int = 10_000_000
    campaigns: int = 5
    job_seeds: int = 500
    peer_seconds: float = 1.0


FULL: Final = Sizes()

QUICK: Final = Sizes(
    rounds=3, seeds=22, litmus_seeds=140, pages=100_000, real_pages=50_000, events=1_000_000, campaigns=3,
    job_seeds=200, peer_seconds=0.2,
)  # fmt: skip
"""For development: a figure at a smaller size is another figure, so the least may be missed."""


class Session:
    """One run of the table: what several figures are taken from is measured once."""

    def __init__(self, sizes: Sizes, *, quiet: bool = False) -> None:
        self.sizes = sizes
        self._quiet = quiet
        self._open = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def tell(self, text: str) -> None:
        """Say on standard error what is being done."""
        if not self._quiet:
            print(text, file=sys.stderr, flush=True)  # noqa: T201

    def rounds(self) -> Iterator[int]:
        """Count the rounds."""
        return iter(range(self.sizes.rounds))

    @cached_property
    def old(self) -> Tree:
        """The tree of the older commit.

        Raises:
            NoBaseline: it cannot be had here.
        """
        return self._open.enter_context(unpacked())

    @cached_property
    def place(self) -> Path:
        """A directory for files."""
        return Path(self._open.enter_context(TemporaryDirectory(prefix="ksmactors-bench-")))

    @cached_property
    def old_watchers(self) -> list[str]:
        """All watchers of the older commit."""
        return self.old.names("watchers")

    @cached_property
    def big(self) -> list[str]:
        """The workloads that `stress` of the older commit runs by default."""
        return [name for name in self.old.names("workloads") if "." not in name]

    @cached_property
    def litmus(self) -> list[str]:
        """The litmus tests that both have."""
        both = set(CURRENT.names("workloads"))
        return [name for name in self.old.names("workloads") if name.startswith("litmus.") and name in both]

    @cached_property
    def stress(self) -> dict[str, list[dict[str, Any]]]:
        """Default campaigns, round by round: `old` and `new` with the watchers of the older commit, `old_none` and
        `new_none` without any, `new_all` with all watchers there are, `new_log` with a log and no watcher fewer."""
        watched = ",".join(self.old_watchers)
        renamed = ",".join(RENAMED.get(name, name) for name in self.old_watchers)
        log = str(self.place / "log")
        kinds: dict[str, tuple[Tree, list[str]]] = {
            "old": (self.old, ["--watch", watched]),
            "new": (CURRENT, ["--watch", renamed]),
            "old_none": (self.old, ["--watch", "none"]),
            "new_none": (CURRENT, ["--watch", "none"]),
            "new_all": (CURRENT, []),
            "new_log": (CURRENT, ["--log", log]),
        }
        return self.campaigns(kinds, self.big, self.sizes.seeds)

    def campaigns(
        self, kinds: Mapping[str, tuple[Tree, list[str]]], workloads: Sequence[str], seeds: int
    ) -> dict[str, list[dict[str, Any]]]:
        """Run each kind of campaign once a round, one after the other, each with the same seeds."""
        taken: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for number in self.rounds():
            for kind, (tree, more) in kinds.items():
                self.tell(f"  round {number + 1}: {kind}")
                line = ["stress", *workloads, *more, "--json", "--quiet", "--strategy", "portfolio"]
                if tree is CURRENT:
                    line += ["--jobs", "1"]  # the older commit has one process and no such option
                warm = [*line, "--seeds", str(min(seeds, len(workloads)))]
                taken[kind].append(tree.probe(warm, [*line, "--seeds", str(seeds)]))
        return taken

    @cached_property
    def peer_ratios(self) -> list[Ratios]:
        """How many times as many schedules a second ours runs as each peer, round by round.

        Each peer is measured right after ours, since a machine may change its clock within minutes. From the second
        round on, those are left out that cannot become the fastest.

        Raises:
            NotMeasured: there is no peer.
        """
        names, taken = peers.installed(), []
        if not names:
            raise NotMeasured(peers.why_none())
        self.tell(f"  peers and ksmactors under {peers.describe_interpreter()}")
        for number in self.rounds():
            self.tell(f"  round {number + 1}: {', '.join(names)}")
            taken.append({name: _against(name, self.sizes.peer_seconds) for name in names})
            names = (
                names if number else [*_contenders(_of_kind(taken[0], True)), *_contenders(_of_kind(taken[0], False))]
            )
        return taken

    @cached_property
    def analysed(self) -> CommandCost:
        """What `ksmactors analyze --json` takes for a large log."""
        return analysis.analysed(self.sizes.events)


def _per_second(rows: Sequence[Mapping[str, Any]], what: str) -> list[float]:
    return [row[what] / row["cpu"] for row in rows]


def _ratios(above: Rounds, below: Rounds) -> Rounds:
    return [one / other for one, other in zip(above, below, strict=True)]


def _steps(kind: str, against: str) -> Callable[[Session], Rounds]:
    """Steps a second of one kind of default campaign against another."""

    def measure(session: Session) -> Rounds:
        taken = session.stress
        return _ratios(_per_second(taken[kind], "steps"), _per_second(taken[against], "steps"))

    return measure


def _litmus(session: Session) -> Rounds:
    old = ",".join(session.old_watchers)
    new = ",".join(RENAMED.get(name, name) for name in session.old_watchers)
    kinds = {"old": (session.old, ["--watch", old]), "new": (CURRENT, ["--watch", new])}
    taken = session.campaigns(kinds, session.litmus, session.sizes.litmus_seeds)
    return _ratios(_per_second(taken["new"], "schedules"), _per_second(taken["old"], "schedules"))


def _against(peer: str, seconds: float) -> dict[str, float]:
    """Ours against one peer, by model; nothing where it fails."""
    ours, theirs = (peers.rates_of([name], seconds).get(name, {}) for name in ("ksmactors random", peer))
    return {model: ours[model] / rate for model, rate in theirs.items()}


def _of_kind(ratios: Ratios, ordered: bool) -> Ratios:
    """Those of the peers that explore the order of tasks, or of those that do not."""
    return {name: of for name, of in ratios.items() if ordered is (name not in peers.ORDERLESS)}


def _contenders(ratios: Ratios) -> list[str]:
    """The peers that come to at least half of the rate of the fastest, for some model."""
    least = {model: min(of[model] for of in ratios.values() if model in of) for model in _models(ratios)}
    return [name for name, of in ratios.items() if any(ratio <= 2 * least[model] for model, ratio in of.items())]


def _models(ratios: Ratios) -> list[str]:
    return [model for model in peers.RATED if any(model in of for of in ratios.values())]


def _against_fastest(*, ordered: bool, combine: Callable[[list[float]], float]) -> Callable[[Session], Rounds]:
    """Ours against the fastest of the peers that explore the order of tasks, or of those that do not, for each model;
    `combine` makes one figure of them."""

    def measure(session: Session) -> Rounds:
        rounds = []
        for ratios in session.peer_ratios:
            of_kind = _of_kind(ratios, ordered)
            models = _models(of_kind)
            if not models:
                raise NotMeasured(f"no such peer is installed under {peers.describe_interpreter()}")
            rounds.append(combine([min(of[model] for of in of_kind.values() if model in of) for model in models]))
        return rounds

    return measure


def _real_ksmd(session: Session) -> Rounds:
    if os.geteuid() != 0:
        raise NotMeasured("needs root")
    if not Path("/sys/kernel/mm/ksm").is_dir():
        raise NotMeasured("this kernel has no KSM")
    pages = session.sizes.real_pages
    return [ksmd_alone.rate(pages) / ksmd_alone.real_rate(pages) for _ in session.rounds()]


def _growth(session: Session) -> Rounds:
    rounds = []
    for _ in session.rounds():
        small, large = (ksmd_alone.rate(pages) for pages in (1_000, session.sizes.pages))
        rounds.append(large / small)
    return rounds


def _two_jobs(session: Session) -> Rounds:
    if (os.cpu_count() or 1) < 2:
        raise NotMeasured("needs two cores")
    seeds = session.sizes.job_seeds
    return [campaigns.cost(1, seeds).wall / campaigns.cost(2, seeds).wall for _ in session.rounds()]


def _starting(*words: str) -> Callable[[Session], Rounds]:
    """Milliseconds of CPU time of a command, from the start of its process to its end."""

    def measure(session: Session) -> Rounds:
        return [1000 * command_cost([sys.executable, "-m", "ksmactors", *words]).cpu for _ in session.rounds()]

    return measure


def _analysis(what: str) -> Callable[[Session], Rounds]:
    return lambda session: [getattr(session.analysed, what)]


def _headlines(session: Session) -> Rounds:
    return [trio.run(headlines.seconds_until_found, session.sizes.campaigns)]


TABLE: Final = (
    Figure("default stress, all watchers, steps/s", "times 99b55bc", 1.6, 2.5, _steps("new", "old")),
    Figure("default stress, no watchers, steps/s", "times 99b55bc", 1.5, 2, _steps("new_none", "old_none")),
    Figure("all watchers against none", "times the CPU time", 2.4, 1.8, _steps("new_none", "new_all"), at_most=True),
    Figure("classic models, the least of them", "times the fastest peer that explores order", 2.5, 5,
           _against_fastest(ordered=True, combine=min)),
    Figure("classic models, mean", "times the fastest peer that does not", 1, 1.5,
           _against_fastest(ordered=False, combine=mean)),
    Figure("litmus tests, all watchers, schedules/s", "times 99b55bc", 1.3, 2, _litmus),
    Figure("recording a log, steps/s", "times no log", 0.75, 0.9, _steps("new_log", "new_all")),
    Figure("ksmd alone, unique pages, pages/s", "times the real ksmd", 0.3, 0.6, _real_ksmd),
    Figure("memory, content aside", "bytes a page", 600, 300,
           lambda session: [ksmd_alone.bytes_a_page(session.sizes.pages)], at_most=True),
    Figure("memory, content made on demand", "bytes a page", 900, 500,
           lambda session: [ksmd_alone.bytes_a_page(session.sizes.pages, with_content=True)], at_most=True),
    Figure("pages/s, large against 10^3", "ratio", 0.6, 0.8, _growth),
    Figure("two jobs against one", "times, by the clock", 1.9, 1.95, _two_jobs),
    Figure("every headline case found, sum of medians", "s of CPU time", 30, 5, _headlines, at_most=True),
    Figure("ksmactors --help", "ms of CPU time", 100, 60, _starting("--help"), at_most=True),
    Figure("ksmactors list workloads", "ms of CPU time", 300, 150, _starting("list", "workloads"), at_most=True),
    Figure("ksmactors stress --seeds 1", "ms of CPU time", 500, 300,
           _starting("stress", "--seeds", "1", "-q"), at_most=True),
    Figure("events analysed, time", "s by the clock", 60, 20, _analysis("wall"), at_most=True),
    Figure("events analysed, memory", "MiB", 2048, 1024, _analysis("mib"), at_most=True),
)  # fmt: skip


def measured(sizes: Sizes, names: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """The table, or the named rows of it: figure -> value, noise, least and goal."""
    with Session(sizes) as session:
        rows = {}
        for figure in TABLE:
            if not names or figure.name in names:
                session.tell(f"{figure.name} ...")
                rows[figure.name] = row = figure.row(session)
                session.tell(f"  {row['value']} {row['unit']} (least {row['least']}, goal {row['goal']})")
        return rows


def missed(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The figures that are measured and miss their least."""
    return [name for name, row in rows.items() if row["value"] is not None and not row["least_met"]]
