"""The classic models on ksmactors and on the installable Python peers: schedules a second, and schedules to expose.

Each runs in a process of its own, since the peers patch what they find. `pip install .[peers]` brings them (Python
3.12 or later; frontrun has wheels for 3.13); one that is not installed is skipped. `python -m tests.bench.peers NAME`
measures one of them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Coroutine, Sequence
from functools import cache, partial
from pathlib import Path
from statistics import mean
from typing import Any, Final

import trio

from ksmactors.campaign.stress import Campaign, Plan
from ksmactors.garbage import collect_seldom
from ksmactors.interleave.task_pool import open_task_pool
from ksmactors.run.calibration import Calibration
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import make_subject
from tests.bench.shapes import SHAPES, Shape, World

RATED: Final = ("lost", "starve_20", "reorder_3", "twostage")
"""Two and three actors, and no schedule that ends in a deadlock."""

SECONDS: Final = 1.0
"""CPU time for each rate."""

ROOT: Final = Path(__file__).resolve().parents[2]

CAMPAIGNS, BUDGET = 20, 1_000
CHUNK: Final = 100
"""Schedules between looks at the clock."""

PATIENCE: Final = 5.0
"""Seconds for all campaigns of one model: what is told is what was come to by then."""

Make = Callable[[World], Shape]
Explore = Callable[[Make, int, int], tuple[int, bool]]
"""(model, seed, budget) -> schedules run, and whether the last of them failed."""


# -- the worlds in which peers play -------------------------------------------------------------------------------


class _TaskLock:
    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def acquire(self) -> None:
        await asyncio.sleep(0)
        await self._lock.acquire()

    async def release(self) -> None:
        await asyncio.sleep(0)
        self._lock.release()


class _Tasks:
    """asyncio: an operation is what follows a `sleep(0)`."""

    async def pause(self) -> None:
        await asyncio.sleep(0)

    def lock(self) -> _TaskLock:
        return _TaskLock()


class _ThreadLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def acquire(self) -> None:
        self._lock.acquire()

    async def release(self) -> None:
        self._lock.release()


class _Threads:
    """Threads: the peer sees memory and locks by itself, and `sleep(0)` is a place to switch at."""

    async def pause(self) -> None:
        time.sleep(0)  # noqa: ASYNC251  # no loop runs here

    def lock(self) -> _ThreadLock:
        return _ThreadLock()


def _to_its_end(actor: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an actor that never suspends."""
    try:
        actor().send(None)
    except StopIteration:
        return


async def _gathered(make: Make, *_: object) -> None:
    """All actors of a model as asyncio tasks."""
    shape = make(_Tasks())
    await asyncio.gather(*(actor() for actor in shape.actors))
    assert shape.holds()


# -- the peers ------------------------------------------------------------------------------------------------------


def _simloop(policy: str, make: Make, seed: int, budget: int) -> tuple[int, bool]:
    import simloop

    report = simloop.explore(partial(_gathered, make), range(seed, seed + budget), policy=policy)
    return (budget, False) if report is None else (report.seed - seed + 1, True)


def _simloom(scheduler: str, make: Make, seed: int, budget: int) -> tuple[int, bool]:
    import simloom

    found = simloom.explore(partial(_gathered, make), runs=budget, start_seed=seed, scheduler=scheduler)
    return found.runs, found.failed


def _seedloop(make: Make, seed: int, budget: int) -> tuple[int, bool]:
    import seedloop

    result = seedloop.check(partial(_gathered, make), seeds=range(seed, seed + budget), on_failure="return")
    return result.checked, result.failing_seed is not None


def _interleave_test(strategy: str, make: Make, seed: int, budget: int) -> tuple[int, bool]:
    import interleave_test

    def play() -> None:
        shape = make(_Threads())
        tasks = [interleave_test.spawn(_to_its_end, actor) for actor in shape.actors]
        for task in tasks:
            task.join()
        assert shape.holds()

    result = interleave_test.explore(
        play, iterations=budget, seed=seed, strategy=strategy, granularity="line",
        include=["/nowhere"], raise_on_failure=False,  # no line of ours is a place to switch at, only operations are
    )  # fmt: skip
    return result.schedules_run, not result.ok


def _frontrun_tasks(make: Make, seed: int, budget: int) -> tuple[int, bool]:
    import frontrun

    async def actor(number: int, shape: Shape) -> None:
        await shape.actors[number]()

    count = len(make(_Tasks()).actors)
    found = asyncio.run(
        frontrun.explore(
            setup=lambda: make(_Tasks()), workers=[partial(actor, number) for number in range(count)],
            invariant=Shape.holds, strategy="random", seed=seed, max_attempts=budget, detect_io=False,
            total_timeout=PATIENCE, deadlock_timeout=0.5,
        )
    )  # fmt: skip
    return found.num_explored, found.property_holds is False


def _frontrun_dpor(make: Make, seed: int, budget: int) -> tuple[int, bool]:
    import frontrun

    def actor(number: int, shape: Shape) -> None:
        _to_its_end(shape.actors[number])  # type: ignore[arg-type]

    count = len(make(_Threads()).actors)
    found = frontrun.explore(
        setup=lambda: make(_Threads()), workers=[partial(actor, number) for number in range(count)],
        invariant=Shape.holds, strategy="dpor", max_executions=budget, preemption_bound=None, reproduce_on_failure=0,
        detect_io=False, total_timeout=PATIENCE, deadlock_timeout=0.5,
    )  # fmt: skip
    return found.num_explored, found.property_holds is False


PEERS: Final[dict[str, tuple[str, Explore]]] = {
    "simloop": ("simloop", partial(_simloop, "random")),
    "simloop pct": ("simloop", partial(_simloop, "pct")),
    "simloom": ("simloom", partial(_simloom, "random")),
    "simloom pct": ("simloom", partial(_simloom, "pct:d=3,k=50")),
    "interleave-test": ("interleave_test", partial(_interleave_test, "random")),
    "interleave-test pct": ("interleave_test", partial(_interleave_test, "pct")),
    "frontrun random": ("frontrun", _frontrun_tasks),
    "frontrun dpor": ("frontrun", _frontrun_dpor),
    "seedloop": ("seedloop", _seedloop),
}
"""By name: the package it is in, and how it explores. seedloop draws times and faults, not the order of tasks."""

ORDERLESS: Final = ("seedloop",)
SYSTEMATIC: Final = ("frontrun dpor",)
"""Those that draw nothing: one campaign tells all."""

OURS: Final = ("random", "pos", "surw", "pct", "portfolio")


# -- measuring ------------------------------------------------------------------------------------------------------


def _rate(explore: Explore, model: str, seconds: float = SECONDS) -> float:
    """Schedules a second of CPU time. None fails: a peer may do more about a failure than run a schedule."""

    def make(world: World) -> Shape:
        shape = SHAPES[model](world)
        shape.holds = lambda: True  # type: ignore[method-assign]
        return shape

    explore(make, 0, 20)
    schedules, start, end = 0, time.process_time(), time.monotonic() + PATIENCE
    while (taken := time.process_time() - start) < seconds and (not schedules or time.monotonic() < end):
        schedules += explore(make, schedules, CHUNK)[0]
    return schedules / taken


def _exposed(look: Callable[[int, int], tuple[int, bool]], campaigns: int = CAMPAIGNS) -> dict[str, Any]:
    """In how many campaigns it is found, and in how many schedules on average (one without counts with all it had)."""
    counts: list[int] = []
    found, end = 0, time.monotonic() + PATIENCE
    while len(counts) < campaigns and time.monotonic() < end:
        ran, failed, seed = 0, False, 1_000_000 * (1 + len(counts))
        while ran < BUDGET and not failed and time.monotonic() < end:
            count, failed = look(seed + ran, CHUNK if campaigns > 1 else BUDGET)
            ran += count
        counts.append(ran)
        found += failed
    return {"mean": round(mean(counts), 1), "found": f"{found} of {len(counts)}"}


def _measured(explore: Explore, campaigns: int) -> dict[str, Any]:
    return {
        "schedules_per_second": {model: round(_rate(explore, model)) for model in RATED},
        "schedules_to_expose": {model: _exposed(partial(explore, make), campaigns) for model, make in SHAPES.items()},
    }


def _campaign_rate(strategy: str, model: str, seconds: float = SECONDS) -> float:
    """Schedules a second of CPU time of the campaign that `stress` runs: findings, digest, distinct ones and all, and
    garbage collected as the command does."""
    collect_seldom()
    subject, seeds, taken = make_subject(f"classic.{model}"), 0, 0.0
    while taken < seconds:
        campaign = Campaign(Plan([subject], range(seeds, seeds + 2_000), strategy))
        start = time.process_time()
        trio.run(campaign.run)
        taken += time.process_time() - start
        seeds += campaign.tally.schedules
    return seeds / taken


def _search(strategy: str, model: str, seed: int, budget: int) -> tuple[int, bool]:
    async def look() -> tuple[int, bool]:
        subject, calibration = _SUBJECTS[model], Calibration(run_schedule)
        async with open_task_pool() as task_pool:
            for count in range(1, budget + 1):
                deciding = await calibration.strategy(subject, seed + count, strategy)
                outcome = await run_schedule(
                    subject, seed + count, strategy, deciding=deciding, task_pool=task_pool, known=_ALL
                )
                if outcome.defect is not None:
                    return count, True
        return budget, False

    return trio.run(look)


class _All:
    """Every finding is known: none is told."""

    def __contains__(self, _: object) -> bool:
        return True


_ALL: Final = _All()
_SUBJECTS: Final = {model: make_subject(f"classic.{model}") for model in SHAPES}


def _ours(strategy: str) -> dict[str, Any]:
    return {
        "schedules_per_second": {model: round(_campaign_rate(strategy, model)) for model in RATED},
        "schedules_to_expose": {model: _exposed(partial(_search, strategy, model)) for model in SHAPES},
    }


def _one(name: str) -> dict[str, Any]:
    """What one of them comes to, measured in this process."""
    warnings.simplefilter("ignore")
    return (
        _ours(name.partition(" ")[2])
        if name.startswith("ksmactors ")
        else _measured(PEERS[name][1], 1 if name in SYSTEMATIC else CAMPAIGNS)
    )


def _rates(name: str, seconds: float) -> dict[str, float]:
    """Schedules a second of one of them for each model, measured in this process."""
    warnings.simplefilter("ignore")
    own = name.partition(" ")[2]
    return {
        model: _rate(PEERS[name][1], model, seconds) if name in PEERS else _campaign_rate(own, model, seconds)
        for model in RATED
    }


# -- under the interpreter that the peers need ----------------------------------------------------------------------


@cache
def interpreter() -> str:
    """The Python that the peers run under: a `python3.13` that has ksmactors, of the PATH or of uv; else this one."""
    found = [shutil.which("python3.13")]
    if uv := shutil.which("uv"):
        found.append(_output([uv, "python", "find", "3.13"]).strip())
    able = (one for one in found if one and _output([one, "-c", "import trio, orjson, ksmactors; print(1)"]))
    return next(able, sys.executable)


def describe_interpreter() -> str:
    """The interpreter as reports name it."""
    return _output([interpreter(), "-c", "import platform; print('Python', platform.python_version())"]).strip()


def installed() -> list[str]:
    """The peers that this interpreter has."""
    packages = sorted({package for package, _ in PEERS.values()})
    look = f"import importlib.util as u; print(*(p for p in {packages} if u.find_spec(p)))"
    there = _output([interpreter(), "-c", look]).split()
    return [name for name, (package, _) in PEERS.items() if package in there]


def why_none() -> str:
    """What to do where no peer is installed."""
    return f"no peer is installed under {describe_interpreter()}; they need Python 3.13 and `pip install .[peers]`"


def _output(command: list[str]) -> str:
    """Standard output of a command; "" if it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def rates_of(names: Sequence[str], seconds: float) -> dict[str, dict[str, float]]:
    """Schedules a second of each, one after the other; those that fail are left out."""
    answers = {name: _answer(name, "--rates", str(seconds)) for name in names}
    return {name: answer for name, answer in answers.items() if "skipped" not in answer}


def _apart(name: str) -> dict[str, Any]:
    """What one of them comes to, measured in a process of its own; or why not."""
    if name in PEERS and name not in installed():
        where = f"{describe_interpreter()}; see `pip install .[peers]`"
        return {"skipped": f"{PEERS[name][0]} is not installed under {where}"}
    return _answer(name)


def _answer(*words: str) -> dict[str, Any]:
    command = [interpreter(), "-m", "tests.bench.peers", *words]
    if PEERS.get(words[0], ("", None))[0] == "frontrun":
        command.insert(0, str(Path(interpreter()).with_name("frontrun")))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"skipped": f"it failed: {done.stderr.strip().splitlines()[-1:]}"}
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def peers_case() -> dict[str, Any]:
    """All of them, and ours against the fastest that explores the order of tasks."""
    figures = {name: _apart(name) for name in (*(f"ksmactors {one}" for one in OURS), *PEERS)}
    key, ratios = "schedules_per_second", {}
    for model in RATED:
        rates = {name: one[key][model] for name, one in figures.items() if name not in ORDERLESS and key in one}
        theirs = {name: rate for name, rate in rates.items() if name in PEERS}
        if theirs:
            fastest = max(theirs, key=theirs.__getitem__)
            ratios[model] = {"fastest_peer": fastest, "ratio": round(rates["ksmactors random"] / theirs[fastest], 2)}
    slowest = min(figures["ksmactors random"][key].values())
    return figures | {
        "relative_to_fastest_peer": ratios | {"at_least": 10},
        "slowest_of_ours": {"value": slowest, "at_least": 5_000},
    }


CASES = {"peers": peers_case}

if __name__ == "__main__":
    asked = _rates(sys.argv[1], float(sys.argv[3])) if "--rates" in sys.argv[2:] else _one(sys.argv[1])
    print(json.dumps(asked))  # noqa: T201
