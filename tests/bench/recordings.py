"""The recordings of real kernels: what equals them, line by line, and how many mutants they notice.

`recordings` is the table kernel x set. `mutants` puts each mutant on each kernel, undoes each commit, and leaves each
repair out that upstream has; a variant is noticed if some recording comes out different with it, or ends with a
finding. One that no recording notices only the watchers can find, or an interleaving that nobody has recorded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

import trio

from ksmactors.conformance.comparing import Comparison, Side, compare
from ksmactors.conformance.emulator import Performance, Setting, perform
from ksmactors.conformance.language import Scenario, read_scenario
from ksmactors.conformance.recording import read_recording
from ksmactors.errors import KsmActorsError, UsageError
from ksmactors.history import COMMITS
from ksmactors.history.cases import CASES as CORPUS
from ksmactors.history.mutants import MUTANTS
from ksmactors.kernels import kernel_class
from tests.conformance.recorded import KERNELS, LUCK, SETS, recording_file, recordings, scenario_file

EQUAL: Final = frozenset({"same", "stopped"})
"""Verdicts that agree with a recording: as far as the emulator went, if it stops where memory is corrupted."""


async def compared(kind: str, name: str, setting: Setting) -> Comparison:
    """A recording of the setting's kernel beside what the emulator does."""
    recording = read_recording(recording_file(kind, setting.kernel, name))

    async def recorded(scenario: Scenario) -> Performance:
        return Performance(scenario, recording.lines)

    async def performed(scenario: Scenario) -> Performance:
        return await perform(scenario, setting)

    scenario = read_scenario(scenario_file(kind, setting.kernel, name))
    return await compare(scenario, Side("recorded", recorded), Side("emulated", performed))


async def _table() -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    for kind, kernel, name in recordings():
        row = rows.setdefault(f"{kernel} {kind}", Counter(scenarios=0, lines=0, equal=0))
        comparison = await compared(kind, name, Setting(kernel, 2))
        row["scenarios"] += 1
        row["lines"] += len(comparison.expected.lines) if comparison.expected is not None else 0
        row["equal"] += comparison.verdict in EQUAL
        if comparison.verdict == "stopped" or (kernel, name) in LUCK:
            row["by_luck" if (kernel, name) in LUCK else "stopped_at_the_corruption"] += 1
    return {name: dict(row) for name, row in rows.items()}


def table() -> dict[str, Any]:
    """By kernel and set: scenarios, lines, how many are equal, and which are equal only up to a corruption."""
    return trio.run(_table)


def subjects() -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """What is put on and taken off: (name, without, with)."""
    silent = {name for case in CORPUS.values() if not case.watcher for name in (*case.with_, *case.without)}
    yield from ((name, (), (name,)) for name in MUTANTS if name not in silent)
    yield from ((slug, (slug,), ()) for slug in COMMITS if slug not in silent)


async def noticed_by(without: tuple[str, ...], with_: tuple[str, ...]) -> str:
    """The first recording that comes out different, as kernel/set/name; empty if none does."""
    for kernel in KERNELS:
        try:
            kernel_class(kernel=kernel, without=without, with_=with_)
        except UsageError:  # this kernel cannot be without that, or with it
            continue
        setting = Setting(kernel, 2, without=without, with_=with_)
        for kind in SETS:
            for _, of, name in recordings(kind):
                if of == kernel and (kernel, name) not in LUCK and not await _agrees(kind, name, setting):
                    return f"{kernel}/{kind}/{name}"
    return ""


async def _agrees(kind: str, name: str, setting: Setting) -> bool:
    try:
        return (await compared(kind, name, setting)).verdict in EQUAL
    except KsmActorsError:
        return False


async def _noticed() -> dict[str, str]:
    return {name: await noticed_by(without, with_) for name, without, with_ in subjects()}


def noticed() -> dict[str, Any]:
    """How many mutants and undone commits the recordings notice, and the first recording that notices each."""
    by_name = trio.run(partial(_noticed))
    return {
        "mutants_and_commits": len(by_name),
        "noticed": sum(bool(by) for by in by_name.values()),
        "unnoticed": [name for name, by in by_name.items() if not by],
        "noticed_by": {name: by for name, by in by_name.items() if by},
    }


CASES = {"recordings": table, "recordings_mutants": noticed}
