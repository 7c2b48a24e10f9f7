"""The table of `docs corpus` names every case as it is, and its column `directed` is what a run gives."""

from __future__ import annotations

import pytest
import trio

from ksmactors.campaign.corpus import Row, measure
from ksmactors.history.cases import CASES
from tests.docs.examples import PAGES

SOME = ("S2a", "S5a", "S6i", "R1", "G4", "H1", "X1", "S1a", "S5h")
"""Cases that are run: of each part of the table one, and two controls. `tests/history` runs them all."""


def rows() -> dict[str, list[str]]:
    """The cells of each row, by case."""
    table = PAGES["corpus.md"].read_text().partition("| case | what goes wrong")[2]
    lines = [line.strip("| \n").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in lines if cells[0] != "---"}


def test_every_case_is_in_the_table() -> None:
    """The table has a row for each case, in order, with its title and its watcher; each was shown."""
    table = rows()

    assert list(table) == list(CASES)
    for name, case in CASES.items():
        assert table[name][1:3] == [case.title, case.watcher or "(control)"]
        assert table[name][-1] == ("shown" if case.watcher else "silent")


def test_the_default_strategy_finds_them_all() -> None:
    """In every campaign of the table the default strategy has found the case."""
    assert [name for name, cells in rows().items() if ">" in cells[-2]] == []


@pytest.mark.parametrize("name", SOME)
def test_directed_is_what_a_run_gives(name: str) -> None:
    """The directed schedule of a case does what the table says; of a control, it stays silent."""
    measured: list[Row] = []

    async def run() -> None:
        await measure([CASES[name]], (), campaigns=0, budget=1, on_row=measured.append)

    trio.run(run)

    assert [row.directed for row in measured] == [True]
    assert rows()[name][-1] == ("shown" if CASES[name].watcher else "silent")
