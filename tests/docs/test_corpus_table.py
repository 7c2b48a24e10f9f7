"""The README's table of the corpus names every case as it is."""

from __future__ import annotations

from ksmactors.history.cases import CASES
from tests.docs.test_readme import README


def rows() -> dict[str, list[str]]:
    """The cells of each row, by case."""
    table = README.read_text().partition("## The corpus")[2]
    lines = [line.strip("| \n").split(" | ") for line in table.splitlines() if line.startswith("| ")]
    return {cells[0]: cells for cells in lines[2:]}


def test_every_case_is_in_the_table() -> None:
    """The table has a row for each case, in order, with its title and its witness; each was shown."""
    table = rows()

    assert list(table) == list(CASES)
    for name, case in CASES.items():
        assert table[name][1:3] == [case.title, case.watcher or "(control)"]
        assert table[name][-1] == ("shown" if case.watcher else "silent")


def test_the_default_strategy_finds_them_all() -> None:
    """In every campaign of the table the default strategy has found the case."""
    assert [name for name, cells in rows().items() if ">" in cells[-2]] == []
