"""What is to be reproduced: a case of the corpus, a scenario file, or a finding."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from ksmactors.conformance.language import Scenario, read_scenario
from ksmactors.errors import UsageError, spelled
from ksmactors.escaping import escaped, quoted
from ksmactors.history.case import Case
from ksmactors.history.cases import ALIASES, CASES
from ksmactors.reproduce.measured import MEASURED

SCENARIOS: Final = Path(__file__).with_name("scenarios")
"""The scenarios of cases, each in a file that bears the name of its case."""

RECORDED_AS: Final = {"D1": "unshare-on-advice", "D2": "lost-while-full"}
"""Cases by what the recordings of real kernels call them (`d1_*`, `d2_*`). Cases of these names are controls, which no
program shows."""

GUEST: Final = "run it on a guest instead: ksmactors conform FILE --guest KERNEL (ksmactors docs guests)"


@dataclass(frozen=True, slots=True)
class ReproducedDefect:
    """A scenario, and the case that it shows, if it is one of the corpus."""

    scenario: Scenario
    case: Case | None = None
    taken_out: tuple[str, ...] = ()
    """The variants without which a finding was made."""
    measured: str = ""
    """How often its program met a race, and where."""
    is_finding: bool = False
    """Whether a watcher has reported it."""
    note: str = ""
    """What the user is told about the choice of the scenario."""

    @property
    def title(self) -> str:
        """What goes wrong, in a line."""
        return f"the scenario {escaped(self.scenario.name)}" if self.case is None else self.case.title

    @property
    def is_known(self) -> bool:
        """Whether it is a case with its own scenario, not a finding of that case."""
        return self.case is not None and self.scenario.name == self.case.name

    @property
    def added(self) -> tuple[str, ...]:
        """The variants that the case adds to the emulated kernel: what a real one does by chance."""
        return () if self.case is None else self.case.with_

    @property
    def repair(self) -> tuple[str, ...]:
        """The variants that repair the defect on a later kernel; none if it is not known."""
        if self.taken_out or self.case is None:
            return self.taken_out
        return self.case.repair or self.case.without


def cases_with_scenario() -> list[str]:
    """Return the names of the cases that a program can be made of."""
    return [name for name in CASES if _file(name).is_file()]


def of_case(name: str) -> ReproducedDefect | None:
    """Return the subject of a case; None if no case has that name.

    Raises:
        UsageError: the case has no scenario.
    """
    current = ALIASES.get(name, name)
    case = CASES.get(current)
    if case is None:
        return None
    file = _file(current)
    note = ""
    if not file.is_file() and current in RECORDED_AS:
        current = RECORDED_AS[current]
        case, file = CASES[current], _file(current)
        note = f"{name} is a control, and what recordings call {name.lower()}: case {current}, which this program shows"
    if not file.is_file():
        kind = "is a race, or of a kernel that none runs" if case.watcher else "is no defect"
        raise UsageError(
            f"case {name} {kind}: it has no scenario for a real kernel; these have one: "
            f"{', '.join(cases_with_scenario())} (the emulator shows it: ksmactors corpus {current})"
        )
    return ReproducedDefect(read_scenario(file), case, measured=MEASURED.get(current, ""), note=note)


def spelled_case(name: str) -> str:
    """Return the name of a case that is written in another case of letters, or the name as it is."""
    return spelled(name, [*CASES, *ALIASES])


def of_scenario(path: Path) -> ReproducedDefect:
    """Return the subject of a scenario file.

    Raises:
        ScenarioError: it is none.
    """
    return ReproducedDefect(read_scenario(path))


def no_such(name: str) -> UsageError:
    """Return the error for an argument that is no case and no file."""
    near = get_close_matches(name, [*CASES, *ALIASES], n=3, cutoff=0.6)
    also = f"cases near it: {', '.join(near)}; " if near else ""
    return UsageError(
        f"no case, scenario file or finding file {quoted(name)}; {also}cases with a program: "
        f"{', '.join(cases_with_scenario())}"
    )


def _file(name: str) -> Path:
    return SCENARIOS / f"{name}.txt"
