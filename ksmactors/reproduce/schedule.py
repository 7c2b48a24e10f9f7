"""The scenario of a finding: its schedule is shrunk, its calls are made one by one, and then all is looked at."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from ksmactors.conformance.contents import ExpectedContents
from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import Scenario, parse
from ksmactors.diagnose.replaying import Recorded
from ksmactors.diagnose.scenario_text import write_scenario
from ksmactors.diagnose.shrink import shrink
from ksmactors.errors import Finding, ScenarioError, UsageError
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES
from ksmactors.kernels import kind_of
from ksmactors.reproduce.prediction import predict
from ksmactors.reproduce.races import has_holds
from ksmactors.reproduce.subject import GUEST, ReproducedDefect, cases_with_scenario, of_case
from ksmactors.run.subject import Subject

SCHEDULES_MAX: Final = 300
"""Schedules that are tried to shrink a finding."""

PAGES_MAX: Final = 8
"""Pages that are looked at in the end."""

HELD: Final = re.compile(r"(hold|release|disarm|signal|settle|device)\b")


async def of_finding(then: Recorded, origin: str) -> ReproducedDefect:
    """Return the subject of a finding. To be awaited in trio, outside of any other schedule.

    Raises:
        UsageError: the finding is not found again, is a race, or needs what no scenario has.
    """
    shrunk = await shrink(then, max_schedules=SCHEDULES_MAX)
    written = await write_scenario(shrunk.subject, then.seed, shrunk.outcome, shrunk.departures)
    defect = shrunk.outcome.defect
    assert defect is not None, "it was shrunk to a finding"
    held = [line for line in written.text.splitlines() if not line.startswith("#")]
    lines = list(_one_after_the_other(held))
    subject, signature = shrunk.subject, defect.signature
    case = _case(subject, signature)
    _refuse_unreal(subject.without, subject.with_, case, origin)
    taken_out = tuple(name for name in subject.without if kind_of(name) == "repair")
    head = f"# {signature}: {defect.message}"
    looks = [*_looks(parse("\n".join(lines), name="finding", origin=origin), subject.nodes)]

    def defect_of(body: Sequence[str]) -> ReproducedDefect:
        text = "\n".join([head, *body, *looks])
        return ReproducedDefect(parse(text, name="finding", origin=origin), case, taken_out, is_finding=True)

    calls, found = parse("\n".join(lines), name="finding", origin=origin), defect_of(lines)
    setting = Setting(subject.kernel, subject.nodes, subject.without, subject.with_, watchers=subject.watchers)
    if await _leads_to(calls, setting, signature) or await _shows(found, setting):
        return found
    if luck := [what for what in written.missing if "inject." in what or "memory." in what]:
        raise UsageError(f"{origin}: {signature} needs more than its calls and a race: {luck[0]}; {GUEST}")
    if await _races_to(held, setting, signature):
        return defect_of(held)
    if case is not None and case.name in cases_with_scenario():
        return _of_its_case(case, origin, signature)
    raise UsageError(
        f"{origin}: its calls lead to {signature} only as a race, and the scenario written for it does not; look "
        f"what it lacks: ksmactors shrink {origin} --scenario FILE"
    )


def _of_its_case(case: Case, origin: str, signature: str) -> ReproducedDefect:
    """Return the case that a finding is of: its scenario stands for that of the finding."""
    known = of_case(case.name)
    assert known is not None, "the case has a scenario"
    note = f"{origin}: its calls lead to {signature} only as a race; this is the program of the case that it is of, "
    return replace(known, note=f"{note}{case.name}")


def _refuse_unreal(without: Iterable[str], with_: Iterable[str], case: Case | None, origin: str) -> None:
    """Refuse a finding of what no real kernel is, unless a real kernel has shown it."""
    unreal = [name for name in (*without, *with_) if kind_of(name) in ("commit undone", "mutant")]
    if unreal and (case is None or not case.confirmed):
        raise UsageError(
            f"{origin}: it is a finding of {unreal[0]} ({kind_of(unreal[0])}), which no kernel of today has; there is "
            "nothing to run a program on"
        )


async def _leads_to(scenario: Scenario, setting: Setting, signature: str) -> bool:
    """Whether a watcher reports the same when the calls are made one after the other."""
    failure = (await perform(scenario, setting)).failure
    return isinstance(failure, Finding) and failure.signature == signature


async def _races_to(held: Sequence[str], setting: Setting, signature: str) -> bool:
    """Whether a watcher reports the same when tasks are held as these lines say, if they are a scenario."""
    try:
        scenario = parse("\n".join(held), name="finding")
        return has_holds(scenario) and await _leads_to(scenario, setting, signature)
    except ScenarioError:
        return False


async def _shows(found: ReproducedDefect, setting: Setting) -> bool:
    """Whether a kernel with the defect and a repaired one show something else in the end."""
    if not found.repair:
        return False
    prediction = await predict(found.scenario, replace(setting, watchers=()), found.repair)
    return prediction.crash >= 0 or any(prediction.different.seen)


def _one_after_the_other(lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a scenario, its comments and holds left out, each operation in the foreground."""
    wanted = [line.removeprefix("bg ") for line in lines if not line.startswith("#") and not HELD.match(line)]
    if any(line.startswith(("reclaim ", "swapout ")) for line in wanted):
        yield "requires swap"
    yield from wanted


def _looks(scenario: Scenario, nodes: int) -> Iterator[str]:
    """Yield operations that show what is left: can pages be moved, do they hold what was written, are knobs busy?"""
    contents, across = ExpectedContents(), "1"
    for operation in scenario.operations:
        contents.apply(operation)
        if operation.name == "set" and operation.word == "merge_across_nodes":
            across = operation.value
    pages = [
        (f"{process} {region} {index}", token)
        for process, regions in contents.processes.items()
        for region, tokens in regions.items()
        for index, token in enumerate(tokens)
        if token >= 0
    ][:PAGES_MAX]
    yield "counters"
    yield "frames"
    for page, token in pages:
        yield f"check {page} {token}"
    for page, _ in pages if nodes > 1 else ():
        yield f"migrate {page} 1"
        yield f"migrate {page} 0"
    yield "set run 2"
    yield f"set merge_across_nodes {1 - int(across)}"


def _case(subject: Subject, signature: str) -> Case | None:
    """Return the case that a finding is of, if one has its workload and signature: best one of the same kernel, or else
    one that has a scenario."""
    cases = [case for case in CASES.values() if case.workload == subject.name and case.explains(signature)]
    scenarios = cases_with_scenario()

    def farther(case: Case) -> tuple[bool, bool]:
        same = (set(case.without), set(case.with_)) == (set(subject.without), set(subject.with_))
        return not same, case.name not in scenarios

    return min(cases, key=farther, default=None)
