"""Budgets: which workload and strategy a seed gets, and that this depends on nothing but earlier results."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

import ksmactors
from ksmactors.campaign.blocks import SCHEDULES_MAX, Arm, block_ends, pieces
from ksmactors.campaign.curves import curves_of
from ksmactors.campaign.dealing import (
    ADAPTIVE,
    HAND,
    IN_TURN,
    AdaptiveDeal,
    Interleavings,
    InTurn,
    Share,
    StoredDeal,
    deal_of,
    strategies_of,
)
from ksmactors.campaign.driving import Drive
from ksmactors.campaign.overview import overview_of
from ksmactors.campaign.placing import store_of
from ksmactors.campaign.store_files import FILE, open_to_read
from ksmactors.campaign.stress import Plan
from ksmactors.campaign.worker_pool import workers_of
from ksmactors.cli import main
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.run.outcome import Outcome
from ksmactors.run.subject import Subject, make_subject

NAMES = ("classic.abba", "classic.reorder_3", "classic.reorder_20")
SEEDS = range(3, 260)

NIGHTLY = pytest.mark.nightly


def shape(*parts: object) -> bytes:
    """A shape of its own for each combination of parts."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()


def deal_all(deal: AdaptiveDeal, seeds: range, shown: Callable[[int, Arm], bytes]) -> dict[int, Arm]:
    """Deal the seeds in pieces, each learned from before the next one."""
    dealt: dict[int, Arm] = {}
    for piece in pieces(seeds, block_ends("random", 1), {}):
        assert deal.decided(piece.seeds)
        dealt |= zip(piece.seeds, deal.deal(piece.seeds), strict=True)
        deal.learn(piece.seeds, [shown(seed, dealt[seed]) for seed in piece.seeds])
    return dealt


def exhausted_but_one(seed: int, arm: Arm) -> bytes:
    """The last workload shows something new each time, the others one interleaving each."""
    return shape(seed) if arm.workload == 2 else shape(arm.workload)


def test_seeds_are_dealt_in_turn() -> None:
    """By default seed s runs workload number s mod W, and a strategy that learns knows the distance."""
    assert [InTurn(3, "random").of(seed) for seed in (0, 4, 8)] == [(0, "random"), (1, "random"), (2, "random")]
    assert InTurn(3, "guided").of(1).strategy == "guided:every=3"


def test_a_budget_follows_new_interleavings() -> None:
    """Most seeds go where interleavings are new; one hand in IN_TURN is dealt in turn, so every arm gets some."""
    deal = AdaptiveDeal(3, ("a", "b"), 3)
    late = [arm for seed, arm in deal_all(deal, range(3, 3000), exhausted_but_one).items() if seed >= 1000]
    by_workload = Counter(arm.workload for arm in late)

    assert by_workload[2] > 0.8 * len(late)
    assert set(late) == {Arm(workload, strategy) for workload in range(3) for strategy in "ab"}
    assert min(by_workload.values()) >= len(late) // IN_TURN // 3 - 2 * HAND


def test_it_follows_strategies_too() -> None:
    """Of the strategies of a workload, the one that shows new interleavings gets more."""
    deal = AdaptiveDeal(1, ("a", "b", "c"), 0)
    dealt = deal_all(deal, range(2000), lambda seed, arm: shape(seed) if arm.strategy == "b" else shape(arm))
    assert Counter(arm.strategy for seed, arm in dealt.items() if seed >= 500)["b"] > 1000


def test_what_becomes_exhausted_gets_less() -> None:
    """A workload whose interleavings are new at first loses its share once they repeat."""

    def shown(seed: int, arm: Arm) -> bytes:
        return shape(seed) if arm.workload or seed < 400 else shape(seed % 200)

    dealt = deal_all(AdaptiveDeal(2, ("a",), 0), range(4000), shown)
    early, late = (Counter(dealt[seed].workload for seed in seeds) for seeds in (range(400), range(3000, 4000)))
    assert early[0] > 120
    assert late[0] < 300


def test_the_same_on_every_machine() -> None:
    """What is dealt is pinned: no float, no order of a set and no version of Python has a part in it."""
    dealt = deal_all(AdaptiveDeal(3, ("a", "b"), 3), range(3, 1000), exhausted_but_one)
    text = "".join(f"{arm.workload}{arm.strategy}" for arm in dealt.values())
    assert hashlib.blake2b(text.encode(), digest_size=8).hexdigest() == "71957cfff65677e0"


def test_a_round_waits_for_the_one_before_the_last() -> None:
    """Seeds can be dealt while the round before theirs is under way, and not before."""
    deal = AdaptiveDeal(2, ("a",), 0)
    seeds, open_pieces = iter(pieces(range(400), block_ends("random", 1), {})), []
    while deal.decided((piece := next(seeds)).seeds):
        deal.deal(piece.seeds)
        open_pieces.append(piece.seeds)
    first_round = open_pieces[: len(open_pieces) // 2]
    for one in first_round:
        assert not deal.decided(piece.seeds)
        deal.learn(one, [shape(seed) for seed in one])
    assert deal.decided(piece.seeds)
    assert not deal.within_a_round(range(399))


def test_interleavings_that_one_schedule_had() -> None:
    """An interleaving counts for the strategy that showed it until any strategy shows it again."""
    seen = Interleavings([Share(), Share()])
    for strategy, one in ((0, b"x"), (1, b"y"), (1, b"x"), (1, b"z"), (0, b"x")):
        seen.note(strategy, one)
    assert seen.by_strategy == [Share(2, 0), Share(3, 2)]


def test_the_portfolio_is_taken_apart() -> None:
    """Its strategies are the arms; another strategy is the only one; one that learns is refused."""
    assert strategies_of("portfolio") == ("pos", "surw", "pct", "random", "starvation")
    assert strategies_of("metrics:of=pct") == ("metrics:of=pct",)
    with pytest.raises(UsageError, match=r"guided:family=7 learns from smaller seeds"):
        strategies_of("guided:family=7")
    with pytest.raises(UsageError, match="no budget 'greedy'; there are: equal, adaptive"):
        deal_of("greedy", 1, "random", range(3))


# -- campaigns --------------------------------------------------------------------------------------------------------


def subjects() -> list[Subject]:
    """Models of different size."""
    return [make_subject(name) for name in NAMES]


def run(
    out: Path, seeds: range = SEEDS, *, jobs: int = 1, resume: bool = False, stop_at_first: bool = False
) -> tuple[Drive, dict[int, Outcome]]:
    """Run a campaign with a store; returns it, and the outcomes that were added up from schedules that were run."""
    out.mkdir(exist_ok=True)
    of, outcomes = subjects(), dict[int, Outcome]()
    deal = deal_of(ADAPTIVE, len(of), "portfolio", seeds)
    plan = Plan(of, seeds, "portfolio", out, deal=deal)
    with ExitStack() as stack:
        workers = workers_of(plan, jobs, stop_at_first=stop_at_first)
        if workers is not None:
            stack.callback(workers.close)
        store = stack.enter_context(store_of(out, of, "portfolio", resume=resume, budget=ADAPTIVE))
        drive = Drive(plan, store, resume, workers, stop_at_first)
        drive.campaign.on_taken = lambda outcome: outcomes.__setitem__(outcome.seed, outcome)
        store.ask(seeds)
        trio.run(drive.run)
    return drive, outcomes


def said(drive: Drive) -> dict[str, Any]:
    """What a campaign says, apart from the directory of its files."""
    content = drive.tally.as_json()
    for finding in content["findings"]:
        finding["file"] = finding["file"] and Path(finding["file"]).name
    assert isinstance(drive.plan.deal, AdaptiveDeal)
    return content | {"shares": drive.plan.deal.as_json(NAMES)}


@dataclass(frozen=True)
class Whole:
    """A campaign that was not disturbed: its directory, what it says, and its outcomes."""

    directory: Path
    drive: Drive
    outcomes: dict[int, Outcome]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """The campaign in one process, run once for all tests that compare with it or copy its store."""
    directory = tmp_path_factory.mktemp("whole")
    return Whole(directory, *run(directory))


@pytest.mark.slow
def test_processes_make_no_difference(whole: Whole, tmp_path: Path) -> None:
    """One process and two deal the same, find the same and have the same digest."""
    one, outcomes = whole.drive, whole.outcomes
    assert len({outcome.strategy for outcome in outcomes.values()}) == 5
    assert said(run(tmp_path / "2", jobs=2)[0]) == said(one)


@pytest.mark.slow
@pytest.mark.parametrize(
    "lost",
    [
        "first >= 40",
        "first = 200",
        *(pytest.param(lost, marks=NIGHTLY) for lost in ("0", "first = 3", "first < 150", "1")),
    ],
)
def test_resume_deals_the_same(lost: str, whole: Whole, tmp_path: Path) -> None:
    """Whatever blocks are missing, going on runs them as the undisturbed campaign did, and only them."""
    shutil.copytree(whole.directory, tmp_path, dirs_exist_ok=True)
    with sqlite3.connect(tmp_path / FILE) as db:
        (missing,) = db.execute(f"SELECT coalesce(sum(schedules), 0) FROM blocks WHERE {lost}").fetchone()
        db.execute(f"DELETE FROM blocks WHERE {lost}")
    db.close()
    again, outcomes = run(tmp_path, resume=True)
    assert said(again) == said(whole.drive)
    assert len(outcomes) == missing


def test_more_seeds_go_on(tmp_path: Path) -> None:
    """A campaign that is gone on with and has more seeds now is the campaign that had them at once."""
    whole, _ = run(tmp_path / "whole", range(160))
    run(tmp_path / "parts", range(80))
    assert said(run(tmp_path / "parts", range(160), resume=True)[0]) == said(whole)


def test_another_first_seed_runs_again(tmp_path: Path) -> None:
    """Blocks of a campaign that began with another seed were dealt by other results: they are run again."""
    run(tmp_path / "out", range(160))
    later, outcomes = run(tmp_path / "out", range(50, 160), resume=True)
    alone, _ = run(tmp_path / "alone", range(50, 160))
    assert said(later) == said(alone)
    assert outcomes


@pytest.mark.slow
def test_the_first_finding_ends_it(whole: Whole, tmp_path: Path) -> None:
    """With `stop_at_first` any number of processes stops at the same schedule; going on without it does the rest."""
    stopped = [run(tmp_path / str(jobs), jobs=jobs, stop_at_first=True)[0] for jobs in (1, 3)]
    assert said(stopped[0]) == said(stopped[1])
    assert stopped[0].seeds_left == stopped[1].seeds_left != ""
    assert said(run(tmp_path / "3", resume=True)[0]) == said(whole.drive)


def test_a_store_says_what_was_run(whole: Whole) -> None:
    """Workload and strategy of each schedule are read as they were, in rates, findings and curves."""
    drive, outcomes = whole.drive, whole.outcomes
    with open_to_read(whole.directory) as store:
        view = overview_of(store, whole.directory)
        curves = curves_of(store, view)
        deal = StoredDeal.of(view.of)
        arms = [arm for block, _ in store.blocks() for arm in deal.arms(block)]
    assert arms == [(outcome.workload, outcome.strategy) for _, outcome in sorted(outcomes.items())]
    assert view.tally.digest == drive.tally.digest
    assert {key: rate.schedules for key, rate in view.rates.items() if rate.schedules} == Counter(arms)
    assert sum(rate.once for rate in view.rates.values()) == sum(one["once"] for one in said(drive)["shares"])
    assert {name: points[-1][1] for name, points in curves.done.items()} == Counter(name for name, _ in arms)
    assert sum((Counter(counts) for _, counts in curves.shares), Counter[str]()) == Counter(name for name, _ in arms)
    assert curves.distinct[-1] == (len(SEEDS), drive.tally.distinct)
    assert curves.unseen[-1][1] == pytest.approx(drive.tally.unseen, abs=1e-4)


def test_another_budget_is_another_campaign(tmp_path: Path) -> None:
    """The store of an equal budget is not gone on with by an adaptive one."""
    with store_of(tmp_path, subjects(), "portfolio", resume=False):
        pass
    with pytest.raises(UsageError, match="its budget is equal, not adaptive"):
        run(tmp_path, resume=True)


def test_a_store_of_impossible_blocks(tmp_path: Path) -> None:
    """A block that no adaptive budget makes, or that does not say what was run, is a damaged store."""
    run(tmp_path, range(40))
    with open_to_read(tmp_path) as store:
        of = store.about()["identity"]
        (block, _), *_ = store.blocks()
    with pytest.raises(ValueError, match="does not say what was run"):
        StoredDeal.of(of | {"subjects": of["subjects"][:1], "strategies": ["random"]}).arms(block)
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE blocks SET schedules = 300 WHERE first = 20")
    db.close()
    with pytest.raises(ScheduleFormatError, match="that no adaptive budget makes"):
        run(tmp_path, range(400), resume=True)


def test_from_python_and_from_the_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`stress(budget=...)` and `stress --budget` are the same; the result says what was dealt, and how to go on."""
    tally = ksmactors.stress("classic.reorder_3", seeds=60, budget=ADAPTIVE)
    line = ["stress", "classic.reorder_3", "--seeds", "60", "--budget", ADAPTIVE, "--out", str(tmp_path)]
    main(line)
    out = capsys.readouterr().out
    assert tally.digest in out
    assert "dealt to classic.reorder_3: 60 schedules, unseen" in out
    main([*line, "--seconds", "0.000001"])
    assert f"the time is over; go on with --resume --out {tmp_path}\n" in capsys.readouterr().err
    assert main([*line, "--strategy", "guided"]) == 2
    assert "learns from smaller seeds" in capsys.readouterr().err


def test_blocks_are_within_rounds() -> None:
    """No block goes beyond a round, wherever a campaign begins."""
    for first in (0, 3, 19, 20, (1 << 63) - 5000):
        deal = AdaptiveDeal(7, ("a",), first)
        cut = pieces(range(first, first + 4000), block_ends("random", 1), {})
        assert all(deal.within_a_round(piece.seeds) for piece in cut)
        assert SCHEDULES_MAX % HAND == 0


def test_shards_merge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stores of adaptive campaigns with different seeds become one, which says what each schedule was run with."""
    for name, seeds in (("a", range(80)), ("b", range(80, 160))):
        run(tmp_path / name, seeds)
    a, b, out = (str(tmp_path / name) for name in ("a", "b", "out"))
    main(["campaign", "merge", a, b, "--out", out, "--json"])
    content = json.loads(capsys.readouterr().out)
    rates = Counter((one["workload"], one["strategy"]) for one in content["rates"] for _ in range(one["schedules"]))
    parts = []
    for name in (a, b):
        with open_to_read(Path(name)) as store:
            deal = StoredDeal.of(store.about()["identity"])
            parts += [arm for block, _ in store.blocks() for arm in deal.arms(block)]
    assert rates == Counter(parts)
    assert content["left"] == 0


KILLER = """
import os, signal
from ksmactors.workload import Host, Workload

class Killer(Workload):
    "kills its process now and then, if it is a worker"
    async def run(self, host: Host) -> None:
        if host.draw("kill", 40) == 7 and os.getpid() != {parent}:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_what_kills_its_worker_is_found_in_its_workload(tmp_path: Path) -> None:
    """A schedule that kills its process is a finding of the workload and strategy that the budget gave to its seed."""
    source = tmp_path / "killer.py"
    source.write_text(KILLER.format(parent=os.getpid()))
    of, seeds = [make_subject("classic.lost"), make_subject(f"{source}:Killer")], range(80)
    plan = Plan(of, seeds, "portfolio", deal=deal_of(ADAPTIVE, len(of), "portfolio", seeds))
    outcomes: list[Outcome] = []
    with closing(workers_of(plan, 2)) as workers:
        drive = Drive(plan, workers=workers)
        drive.campaign.on_taken = outcomes.append
        trio.run(drive.run)
    died = [one for one in outcomes if one.defect is not None and one.defect.kind == "worker_died"]
    assert died
    assert {one.workload for one in died} == {of[1].name}
    assert len(outcomes) == 80
