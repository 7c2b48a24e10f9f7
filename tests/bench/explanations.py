"""Every commit undone and every mutant: whether the function that is wrong is named in a finding's first three lines.

To reach: in at least 90% of the findings the function that the variant overrides, or a kernel function that calls it,
is named there; and at most 5% have a pair of steps of which one touches nothing of what broke. A mutant whose cases are
all controls has nothing to find, and does not count.

    python -m tests.bench explanations
    python -m tests.bench.explanations --only s4a-no-removal
    python -m tests.bench.explanations --others    # the broken kernels that the watchers are tested by
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import trio

import ksmactors
from ksmactors.campaign.corpus import show, signature_of, subject_of
from ksmactors.campaign.summary import Found
from ksmactors.cli.report import described
from ksmactors.diagnose.explain import explain
from ksmactors.history.case import Case
from ksmactors.history.cases import CASES as CORPUS
from ksmactors.history.commits import COMMITS
from ksmactors.history.mutants import MUTANTS
from ksmactors.injection import describe_injection
from ksmactors.kernels import register
from ksmactors.ksm.kernel import Ksm
from ksmactors.run.calibration import Calibration
from ksmactors.run.outcome import Outcome, Verdict
from ksmactors.run.run_schedule import run_schedule
from ksmactors.run.subject import Subject, make_subject
from ksmactors.seams import PASSED_OVER
from tests.helpers import broken

LITMUS_SCHEDULES = 60
"""Random schedules of a case's litmus test in which it must be found."""

BIG_SCHEDULES = 3
"""Random schedules of each big workload in which it may be found."""

BIG = (
    "vm_fleet", "numa_pingpong", "fork_storm", "exit_race", "swap_pressure", "knob_flip", "hot_remove", "mremap_dance",
    "oom_kill", "pinned_pages",
)  # fmt: skip

AS_OFTEN = 2
"""How many times as many schedules are run without the variant, to know what is found without it."""

LINES = 3
"""Lines of a finding that a reader reads."""


@dataclass(frozen=True, slots=True)
class Row:
    """One finding: what was wrong, where it was found, its first lines, whether the function is among them."""

    variant: str
    run: str
    lines: tuple[str, ...]
    named: bool
    innocent: bool

    def as_json(self) -> dict[str, Any]:
        return {"run": self.run, "named": self.named, "innocent": self.innocent, "lines": self.lines}


# -- which functions are to be named ---------------------------------------------------------------------------


@cache
def callers() -> dict[str, frozenset[str]]:
    """By name of a function of the emulated kernel, those that call it, by name."""
    found: dict[str, set[str]] = {}
    root = Path(ksmactors.__file__).parent
    for path in sorted(file for part in ("mm", "ksm", "later", "history") for file in (root / part).rglob("*.py")):
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for node in ast.walk(function):
                    if isinstance(node, ast.Attribute) and node.attr != function.name:
                        found.setdefault(node.attr, set()).add(function.name)
    return {name: frozenset(by) for name, by in found.items()}


def to_be_named(cls: type[Ksm]) -> set[str]:
    """The functions that a variant overrides, and the kernel functions that call them; parts (`seams`) stand
    for the kernel functions that call those."""
    own = [name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("__")]
    names: set[str] = {name for name in own if not PASSED_OVER[name]}
    for name in own:
        names |= _kernel_functions_calling(name)
    return names


def _kernel_functions_calling(name: str) -> set[str]:
    found: set[str] = set()
    seen, left = {name}, [name]
    while left:
        for caller in callers().get(left.pop(), ()):
            if not PASSED_OVER[caller]:
                found.add(caller)
            elif caller not in seen:
                seen.add(caller)
                left.append(caller)
    return found


# -- what is run ------------------------------------------------------------------------------------------------


def cases_with(variant: str) -> list[Case]:
    """The cases with a finding in which a mutant is on, or a commit undone."""
    return [case for case in CORPUS.values() if case.watcher and variant in (*case.with_, *case.without)]


def layer_of(variant: str) -> type[Ksm]:
    """The class of a mutant, or of what a commit has replaced."""
    return MUTANTS[variant] if variant in MUTANTS else COMMITS[variant].layer


def big_subjects(case: Case) -> Iterator[Subject]:
    """The big workloads on the kernel of a case, with what it puts on."""
    for name in BIG:
        params = {key: value for key, value in case.params.items() if key == "merge_across_nodes"}
        yield make_subject(name, params=params, kernel=case.kernel, without=case.without, with_=case.with_)


async def first_found(subject: Subject, schedules: int, variant: str = "") -> Outcome | None:
    """The first schedule of the default strategy that finds anything but what is found in the same way without the
    variant: some kernels have defects of their own."""
    calibration, known = Calibration(run_schedule), await own_defects(subject, schedules, variant)
    for seed in range(schedules):
        deciding = await calibration.strategy(subject, seed, "portfolio")
        outcome = await run_schedule(subject, seed, "portfolio", deciding=deciding, keep=True)
        if outcome.verdict is Verdict.FINDING and signature_of(outcome) not in known:
            return outcome
    return None


async def own_defects(subject: Subject, schedules: int, variant: str) -> set[str]:
    """The signatures that are found without the variant, on the same kernel."""
    without, with_ = ([one for one in names if one != variant] for names in (subject.without, subject.with_))
    if (subject.kernel, without) == ("series", []):
        return set()
    plain = make_subject(
        subject.name, params=dict(subject.params), kernel=subject.kernel, without=without, with_=with_,
        inject=describe_injection(dict(subject.inject)),
    )  # fmt: skip
    calibration, found = Calibration(run_schedule), set()
    for seed in range(schedules * AS_OFTEN):
        deciding = await calibration.strategy(plain, seed, "portfolio")
        found.add(signature_of(await run_schedule(plain, seed, "portfolio", deciding=deciding, known=found)))
    return found


async def rows_of(variant: str) -> list[Row]:
    """What is found with one commit undone or one mutant on."""
    rows, wanted = [], to_be_named(layer_of(variant))
    for case in cases_with(variant):
        shown = (await show(case)).outcome
        rows.append(await classified(variant, f"case {case.name}", shown, subject_of(case), wanted))
        subject = subject_of(case)
        found = await first_found(subject, LITMUS_SCHEDULES, variant)
        if found is not None:
            rows.append(await classified(variant, subject.name, found, subject, wanted))
    for subject in big_subjects(cases_with(variant)[0]):
        found = await first_found(subject, BIG_SCHEDULES, variant)
        if found is not None:
            rows.append(await classified(variant, subject.name, found, subject, wanted))
    return rows


async def classified(variant: str, run: str, outcome: Outcome, subject: Subject, wanted: set[str]) -> Row:
    """One finding, explained, and whether it names what it should."""
    explained = await explain(outcome, subject)
    lines = tuple(described(Found(explained))[:LINES])
    words = {word for line in lines for word in re.findall(r"\w+", line)}
    return Row(variant, run, lines, bool(words & wanted), _innocent(explained))


def _innocent(outcome: Outcome) -> bool:
    """Whether one of the two steps named touches nothing of what broke: neither an object of what the finding is about,
    nor the same as the other step."""
    defect = outcome.defect
    if defect is None or len(defect.met) < 2:
        return False
    about = {number for text in defect.concerns for number in re.findall(r"\d+", text)}
    labels = [set(re.findall(r"[\w/]+$", step.operation)) for step in defect.met]
    if labels[0] & labels[1]:
        return False
    return any(about and not about & set(re.findall(r"\d+", step.operation)) for step in defect.met)


async def others() -> list[Row]:
    """The broken kernels that the watchers are tested by, on litmus tests and big workloads."""
    rows = []
    classes = [cls for cls in vars(broken).values() if inspect.isclass(cls) and issubclass(cls, Ksm) and cls is not Ksm]
    for cls in classes:
        if cls.__module__ != broken.__name__:
            continue
        name = f"broken-{cls.__name__}"
        register(name, cls, origin="tests")
        for workload, params in (
            ("litmus.scan_meets_migration", {"merge_across_nodes": "0"}), ("litmus.unmerge_meets_fork", {}),
            ("litmus.scan_meets_hotplug", {}), ("litmus.moved_page_finds_equal", {}), *((big, {}) for big in BIG),
        ):  # fmt: skip
            subject = make_subject(workload, params=params, with_=(name,))
            found = await first_found(subject, BIG_SCHEDULES)
            if found is not None:
                rows.append(await classified(cls.__name__, workload, found, subject, to_be_named(cls)))
    return rows


def summary(rows: Sequence[Row], variants: Iterable[str]) -> dict[str, Any]:
    """The shares, and each row by variant."""
    by: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by.setdefault(row.variant, []).append(row.as_json())
    return {
        "findings": len(rows),
        "named": sum(row.named for row in rows),
        "named_share": round(sum(row.named for row in rows) / len(rows), 3) if rows else None,
        "variants": len(by),
        "variants_named_always": sum(all(row["named"] for row in found) for found in by.values()),
        "innocent": sum(row.innocent for row in rows),
        "not_found": [name for name in variants if name not in by],
        "rows": by,
    }


def figures(names: Iterable[str] = ()) -> dict[str, Any]:
    """All commits undone and all mutants that have something to find, or those named."""
    wanted = set(names)
    variants = [name for name in (*COMMITS, *MUTANTS) if cases_with(name) and (not wanted or name in wanted)]
    rows = []
    for name in variants:
        for row in trio.run(rows_of, name):
            rows.append(row)
            mark = "named" if row.named else "MISSED"
            print(f"{mark}{' INNOCENT' if row.innocent else ''} {name} on {row.run}", file=sys.stderr)  # noqa: T201
            print("\n".join(f"    {line}" for line in row.lines), file=sys.stderr)  # noqa: T201
    return summary(rows, variants)


def main(words: Sequence[str]) -> int:
    """As the docstring of the module says."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.explanations")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a mutant, or a commit undone")
    parser.add_argument("--others", action="store_true", help="the broken kernels that the watchers are tested by")
    options = parser.parse_args(words)
    if options.others:
        rows = trio.run(others)
        figures_ = summary(rows, ())
    else:
        figures_ = figures(options.only)
    print(json.dumps(figures_, indent=2))  # noqa: T201
    return 0


CASES = {"explanations": figures}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
