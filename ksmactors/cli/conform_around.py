"""`ksmactors conform --around N`: the same holds, everything else drawn; what watchers report, and on which seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final

import anyio
import orjson

from ksmactors.ci.checks import Check, Status
from ksmactors.cli.ci_output import CiOutput
from ksmactors.cli.screen import echo, echo_json
from ksmactors.conformance.contents import wrong_checks
from ksmactors.conformance.emulator import Around, Setting, perform
from ksmactors.conformance.language import Scenario
from ksmactors.errors import FOUND, INCONCLUSIVE, INTERRUPTED, Finding, KsmActorsError
from ksmactors.escaping import encodable
from ksmactors.quantity import quantity
from ksmactors.watch import BUILT_IN

STRATEGY: Final = "portfolio"
"""What decides where no hold does."""

WRONG_CONTENT: Final = "contents/wrong_content@check"
"""The signature of a check that did not read what was written."""


@dataclass(slots=True)
class _FindingCount:
    """One kind of finding: the first seed that had it and its message, and how many schedules had it."""

    seed: int
    message: str
    schedules: int = 0


@dataclass(slots=True)
class _AroundResult:
    """What came of the schedules around one scenario. `skipped` says what the kernel lacks."""

    scenario: Scenario
    schedules: int = 0
    found: dict[str, _FindingCount] = field(default_factory=dict)
    unfinished: int = 0
    skipped: str = ""


def perform_around(
    scenarios: Sequence[Scenario], setting: Setting, seeds: range, ci: CiOutput, as_json: bool, quiet: bool
) -> int:  # fmt: skip
    """Perform each scenario once for each seed, and say what was found; the exit status."""
    outcomes = [_AroundResult(scenario) for scenario in scenarios]
    watched = Setting(setting.kernel, setting.nodes, setting.without, setting.with_, watchers=BUILT_IN)
    interrupted, started = False, perf_counter()

    async def work() -> None:
        for outcome in outcomes:
            for seed in seeds:
                await _perform_once(outcome, watched, seed)
                if outcome.skipped:
                    break
            if not as_json:
                _show(outcome, watched, quiet)

    try:
        anyio.run(work, backend="trio")
    except* KeyboardInterrupt:
        interrupted = True
    if as_json:
        report = {"scenarios": [_report(outcome, watched) for outcome in outcomes]}
        echo_json(orjson.dumps(encodable(report), option=orjson.OPT_INDENT_2).decode())
    status = INTERRUPTED if interrupted else _status(outcomes)
    checks = [check for outcome in outcomes for check in _checks(outcome, watched)]
    return ci.finish(checks, perf_counter() - started, status)


def _status(outcomes: Sequence[_AroundResult]) -> int:
    if any(outcome.found for outcome in outcomes):
        return FOUND
    unfinished = any(outcome.unfinished for outcome in outcomes)
    return INCONCLUSIVE if unfinished or all(outcome.skipped for outcome in outcomes) else 0


def _checks(outcome: _AroundResult, setting: Setting) -> Iterator[Check]:
    """A check for each kind of finding around a scenario, or one if there is none."""
    name = outcome.scenario.name
    for signature, found in outcome.found.items():
        again = f"again: {_command(outcome, setting, found.seed)}"
        yield Check("conform", f"{name}: {signature}", Status.FAILED, found.message, again)
    if not outcome.found:
        why = outcome.skipped or (
            f"{quantity(outcome.unfinished, 'schedule')} without an end" if outcome.unfinished else ""
        )
        why = why or ("" if outcome.schedules else "interrupted")
        message = why or f"no finding in {quantity(outcome.schedules, 'schedule')} around it"
        yield Check("conform", name, Status.INCONCLUSIVE if why else Status.PASSED, message)


async def _perform_once(outcome: _AroundResult, setting: Setting, seed: int) -> None:
    scenario = outcome.scenario
    performance = await perform(scenario, setting, Around(STRATEGY, seed))
    failure: KsmActorsError | None = performance.failure
    skip = next((line for line in performance.lines if line.startswith("= skip")), "")
    if skip:
        outcome.skipped = skip.removeprefix("= ")
        return
    outcome.schedules += 1
    if isinstance(failure, Finding):
        signature, message = failure.signature, str(failure)
    elif failure is not None:
        outcome.unfinished += 1
        return
    elif wrong := wrong_checks(scenario, performance.lines):
        signature, message = WRONG_CONTENT, wrong[0]
    else:
        return
    outcome.found.setdefault(signature, _FindingCount(seed, message)).schedules += 1


def _show(outcome: _AroundResult, setting: Setting, quiet: bool) -> None:
    """What a person reads: each kind of finding with a command that shows it again."""
    name = outcome.scenario.name
    for signature, found in outcome.found.items():
        echo(f"{name}: {signature} in {found.schedules} of {quantity(outcome.schedules, 'schedule')}: {found.message}")
        echo(f"  again: {_command(outcome, setting, found.seed)}")
    if outcome.skipped:
        echo(f"{name}: {outcome.skipped}", err=True)
    elif not quiet:
        unfinished = f", {outcome.unfinished} without an end" if outcome.unfinished else ""
        kinds = len(outcome.found)
        findings = f"{quantity(kinds, 'kind')} of finding" if kinds else "no finding"
        echo(f"{name}: {quantity(outcome.schedules, 'schedule')} around it{unfinished}: {findings}", err=True)


def _command(outcome: _AroundResult, setting: Setting, seed: int) -> str:
    variants = [f"--without {name}" for name in setting.without] + [f"--with {name}" for name in setting.with_]
    words = ["ksmactors conform", outcome.scenario.origin, f"--kernel {setting.kernel}", f"--nodes {setting.nodes}"]
    return " ".join([*words, *variants, f"--around 1 --seed {seed}"])


def _report(outcome: _AroundResult, setting: Setting) -> dict[str, Any]:
    return {
        "name": outcome.scenario.name,
        "kernel": setting.kernel,
        "nodes": setting.nodes,
        "schedules": outcome.schedules,
        "unfinished": outcome.unfinished,
        "skipped": outcome.skipped,
        "findings": [
            {
                "signature": signature,
                "message": found.message,
                "schedules": found.schedules,
                "seed": found.seed,
                "again": _command(outcome, setting, found.seed),
            }
            for signature, found in outcome.found.items()
        ],
    }
