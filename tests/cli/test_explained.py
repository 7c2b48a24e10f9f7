"""The table of `replay --explain`: columns or blocks by the width, wide and control characters, gaps and states."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from ksmactors.cli.explained import COLUMN_MIN, MET, table_lines
from ksmactors.diagnose.interleaving import Change, Gap, Interleaving, RowOperation, TurnRow
from ksmactors.diagnose.object_states import Fact

WIDTHS = (40, 80, 120, 200)
WIDE = "\u5171\u6709\u9801" * 12
"""36 characters of two cells each."""
HOSTILE = "a\x1b]0;title\x07\x9b31m\u202egnp\x08\nb"


def row(actor: str, *operations: RowOperation, end: str = "ends", given_by: int = 0, **others: object) -> TurnRow:
    """A turn in which an actor does something, and holds a lock at its end."""
    changes = others.get("changes", ())
    assert isinstance(changes, tuple)
    return TurnRow(actor, 10, 20, operations, 3, end, 0, given_by, changes, {actor: (f"lock of {actor}",)})


def table(names: list[str]) -> Interleaving:
    """Each actor has a turn: the first two with the steps that met."""
    met = RowOperation("migrate_page_move_mapping", "writes mapping/1000000", 12, ("first",), met=True)
    other = RowOperation("get_ksm_page", "reads kpfn/1", 13)
    state = (Change("pfn 2 (node 0)", (Fact("refcount", "3", "2"), Fact("place", "", "in stable tree 1"))),)
    rows = [row(name, met if place < 2 else other, other, changes=state) for place, name in enumerate(names)]
    return Interleaving(tuple(names), (*rows, Gap(214, tuple(names), 20, 900, ())), 900, 220, 1)


def shown(one: Interleaving, width: int) -> list[str]:
    """The lines of a table without styles."""
    return [line.plain for line in table_lines(one, width)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    "names", [["ksmd", "migrationd/1"], ["a", "b", "c"], [f"actor/{n}" for n in range(5)]], ids=len
)
def test_everything_fits(names: list[str], width: int) -> None:
    """No line is wider than the terminal; every actor, operation, mark, state, lock and gap is there."""
    lines = shown(table(names), width)
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for name in names:
        assert name in text
        assert f"lock of {name}" in text
    assert text.count(MET) == 2
    assert text.count("get_ksm_page:") == len(names)
    assert "reads kpfn/1" in text
    assert "pfn 2 (node 0): refcount 3 -> 2, in stable tree 1" in text
    assert "214 turns by" in text


@pytest.mark.parametrize(
    ("actors", "width", "columns"),
    [(2, 40, False), (2, 80, True), (3, 80, True), (4, 80, False), (5, 120, False), (4, 120, True), (5, 200, True)],
)
def test_columns_or_blocks(actors: int, width: int, *, columns: bool) -> None:
    """Actors have columns as long as none is narrower than the least width; else blocks with their names."""
    names = [f"actor/{number}" for number in range(actors)]
    lines = shown(table(names), width)
    assert all(name in lines[0] for name in names) is columns
    assert (f"{names[1]}, step 10" in lines) is not columns
    if columns:
        assert min(len(part.strip()) for part in lines[1].split("|")[1:]) >= COLUMN_MIN


def test_a_turn_is_in_its_actors_column() -> None:
    """What an actor does stands below its name, and the locks it holds beside the turns of others."""
    first = TurnRow("a", 1, 2, (RowOperation("f", "reads x", 1),), 0, "waits for l", 0, 0, (), {"a": ("held by a",)})
    second = TurnRow("b", 2, 3, (RowOperation("g", "writes x", 2),), 0, "ends", 0, 0, (), {"a": ("held by a",)})
    lines = shown(Interleaving(("a", "b"), (first, second), 3, 2, 0), 80)
    left, right = lines[0].index("a"), lines[0].index("b")
    at = {text: next(line.index(text) for line in lines if text in line) for text in ("reads x", "writes x")}
    assert left <= at["reads x"] < right <= at["writes x"]
    beside = next(line for line in lines if "g:" in line)
    assert left <= beside.index("[held by a]") < right


@pytest.mark.parametrize("width", [20, *WIDTHS])
@pytest.mark.parametrize("name", [WIDE, "n" * 500, HOSTILE, ""], ids=["wide", "long", "hostile", "empty"])
def test_names_of_any_kind(name: str, width: int) -> None:
    """Wide characters count two cells, long names are cut, control characters are shown."""
    done = RowOperation(name, f"writes {name}", 12, (name,), met=True)
    change = Change(name, (Fact(name, name, f"{name}x"),))
    rows = (row(name, done, end=name, given_by=1, changes=(change,)), Gap(2, (name,) * 20, 1, 2, (change,)))
    for names in ((name, "other"), (name, "b", "c", "d", "e")):
        lines = shown(Interleaving(names, rows, 9, 9, 1), width)
        assert max(map(cell_len, lines)) <= width
        assert len(lines) < 400
        assert not any(character in line for line in lines for character in "\x1b\x07\x08\x9b\u202e\n")


def test_a_departure_says_who_gets_the_turn() -> None:
    """Before a turn that a departure gave stands its number; what did not change is said once."""
    same = (Change("pfn 2 (node 0)", (Fact("refcount", "3", "3"), Fact("mapping", "none", "none"))),)
    rows = tuple(row("a", given_by=number, changes=same) for number in (4, 5))
    lines = shown(Interleaving(("a",), rows, 30, 3000, 1234), 80)
    assert [line.partition(": ")[0] for line in lines if line.startswith("==")] == [
        "== departure 4 of 1,234", "== departure 5 of 1,234",
    ]  # fmt: skip
    assert [line.strip() for line in lines if "pfn 2" in line] == ["pfn 2 (node 0): refcount 3, mapping none"]


def test_a_table_without_turns() -> None:
    """A schedule of which nothing is shown has no lines."""
    assert shown(Interleaving((), (), 0, 0, 0), 80) == []
