"""What `conform` has compared, as results for a CI system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ksmactors.ci.checks import Check, Status
from ksmactors.conformance.compare import ScenarioComparison


def checks_of_comparisons(comparisons: Sequence[ScenarioComparison]) -> list[Check]:
    """Return a check for each scenario. Those of one name get numbers."""
    seen: Counter[str] = Counter()
    checks = []
    for comparison in comparisons:
        name = comparison.scenario.name
        seen[name] += 1
        checks.append(_check(comparison, name if seen[name] == 1 else f"{name} ({seen[name]})"))
    return checks


def _check(comparison: ScenarioComparison, name: str) -> Check:
    """The check of one scenario."""
    failure = comparison.failure
    lines = [*comparison.wrong, *comparison.diff]
    if comparison.found:
        message = str(failure) if failure is not None else comparison.found
        return Check("conform", name, Status.FAILED, message, "\n".join(lines))
    if reason := failure or comparison.not_run or comparison.not_comparable:
        return Check("conform", name, Status.INCONCLUSIVE, str(reason))
    return Check("conform", name, Status.PASSED, comparison.note or comparison.verdict)
