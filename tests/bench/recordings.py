"""The recordings of real kernels: what equals them, line by line, and how many mutants they notice.

`recordings` is the table kernel x set. `mutants` puts each mutant on each kernel, undoes each commit, and leaves each
repair out that upstream has; a variant is noticed if some recording comes out different with it, or ends with a
finding. One that no recording notices only the watchers can find, or an interleaving that nobody has recorded.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any, Final

import trio

from ksmactors.conformance.compare import ScenarioComparison, Side, compare
from ksmactors.conformance.emulator import Setting, Transcript, perform
from ksmactors.conformance.language import Scenario, read_scenario
from ksmactors.conformance.recording import read_recording
from ksmactors.errors import UsageError
from ksmactors.history import COMMITS
from ksmactors.history.cases import CASES as CORPUS
from ksmactors.history.mutants import MUTANTS
from ksmactors.kernels import kernel_class
from ksmactors.ksm.kernel import Ksm
from ksmactors.later import LATER
from tests.conformance.recorded import KERNELS, LUCK, SETS, recording_file, recordings, scenario_file

EQUAL: Final = frozenset({"same", "stopped"})
"""Verdicts that agree with a recording: as far as the emulator went, if it stops where memory is corrupted."""


async def compared(kind: str, name: str, setting: Setting) -> ScenarioComparison:
    """A recording of the setting's kernel beside what the emulator does."""
    recording = read_recording(recording_file(kind, setting.kernel, name))

    async def recorded(scenario: Scenario) -> Transcript:
        return Transcript(scenario, recording.lines)

    async def performed(scenario: Scenario) -> Transcript:
        return await perform(scenario, replace(setting, nodes=recording.nodes))

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


Recorded = tuple[str, str, str]
"""A recording: (set, kernel, name)."""


async def reached() -> dict[Recorded, frozenset[str]]:
    """By recording: the names of all functions that its scenario calls, on the kernel as it is."""
    calls: dict[Recorded, frozenset[str]] = {}
    for kind, kernel, name in recordings():
        if (kernel, name) in LUCK:
            continue
        names: set[str] = set()

        def note(frame: FrameType, event: str, arg: object, names: set[str] = names) -> None:
            names.add(frame.f_code.co_name)

        sys.setprofile(note)
        try:
            await _agrees(kind, name, Setting(kernel, 2))
        finally:
            sys.setprofile(None)
        calls[kind, kernel, name] = frozenset(names)
    return calls


def changed(plain: type[Ksm], variant: type[Ksm]) -> frozenset[str]:
    """The names of what two kernels have from different classes: a scenario that calls none of them cannot tell."""
    apart = set(plain.__mro__) ^ set(variant.__mro__)
    return frozenset(name for cls in apart for name in vars(cls) if name not in BOOKKEEPING)


BOOKKEEPING: Final = frozenset({"__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__qualname__"})
"""What every class has of its own."""


async def noticed_by(
    without: tuple[str, ...], with_: tuple[str, ...], calls: Mapping[Recorded, frozenset[str]]
) -> str:  # fmt: skip
    """The first recording that comes out different, as kernel/set/name; empty if none does.

    Only those are performed whose scenarios call a function that the variant changes.
    """
    for kernel in KERNELS:
        try:
            variant = kernel_class(kernel=kernel, without=without, with_=with_)
        except UsageError:  # this kernel cannot be without that, or with it
            continue
        plain = kernel_class(kernel=kernel)
        if any(issubclass(variant, layer) and not issubclass(plain, layer) for layer in LATER.values()):
            continue  # the variant is of what later kernels have
        names = changed(plain, variant)
        setting = Setting(kernel, 2, without=without, with_=with_)
        for kind in SETS:
            for _, of, name in recordings(kind):
                concerned = not names.isdisjoint(calls.get((kind, of, name), frozenset()))
                if of == kernel and concerned and not await _agrees(kind, name, setting):
                    return f"{kernel}/{kind}/{name}"
    return ""


async def _agrees(kind: str, name: str, setting: Setting) -> bool:
    try:
        return (await compared(kind, name, setting)).verdict in EQUAL
    except Exception:  # a variant may break anything: a kernel that ends in a traceback differs, too
        return False


async def _noticed() -> dict[str, str]:
    calls = await reached()
    by_name: dict[str, str] = {}
    for name, without, with_ in subjects():
        by_name[name] = await noticed_by(without, with_, calls)
        print(f"{name}: {by_name[name] or 'not noticed'}", file=sys.stderr)  # noqa: T201
    return by_name


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
