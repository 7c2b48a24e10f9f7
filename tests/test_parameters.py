"""Typed parameters: from text and from values, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ksmactors.errors import UsageError
from ksmactors.workload import Bool, FilePath, Host, Int, Str, Workload


class Sample(Workload):
    """A workload with one parameter of each type."""

    name = "sample"
    count = Int(3, "how many", low=1, high=9)
    fast = Bool(False, "whether to hurry")
    mode = Str("soft", "which way", choices=("soft", "hard"))
    note = Str("", "anything")
    file = FilePath(None, "what to read")
    balance_us = Workload.balance_us.with_default(7)

    async def run(self, host: Host) -> None:
        pass


def test_defaults() -> None:
    """Without values every parameter has its default; a subclass may change that of its base alone."""
    sample = Sample()

    assert (
        sample.count, sample.fast, sample.mode, sample.note, sample.file, sample.balance_us,
    ) == (3, False, "soft", "", None, 7)  # fmt: skip
    assert Workload.balance_us.default != 7


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("count", "9", 9), ("count", 1, 1), ("fast", "yes", True), ("fast", "OFF", False), ("fast", True, True),
        ("mode", "hard", "hard"), ("note", "a=b", "a=b"), ("file", "x/y", Path("x/y")), ("file", Path("z"), Path("z")),
        ("pages_to_scan", "0", 0),
    ],
)  # fmt: skip
def test_values(name: str, given: object, value: object) -> None:
    """A value may be given as text or as itself."""
    assert value == getattr(Sample(**{name: given}), name)


@pytest.mark.parametrize(
    ("name", "given", "allowed"),
    [
        ("count", "10", "a whole number from 1 to 9"), ("count", "0", "a whole number from 1 to 9"),
        ("count", "x", "a whole number from 1 to 9"), ("count", "", "a whole number"), ("count", 2.0, "a whole number"),
        ("count", True, "a whole number"), ("fast", "maybe", "true or false"), ("fast", 1, "true or false"),
        ("mode", "mild", "one of soft, hard"), ("note", 3, "a text"), ("file", "", "the path of a file"),
        ("merge_across_nodes", "2", "a whole number from 0 to 1"),
    ],
)  # fmt: skip
def test_wrong_values(name: str, given: object, allowed: str) -> None:
    """A wrong value is a usage error that says what it must be and what it was."""
    with pytest.raises(UsageError) as caught:
        Sample(**{name: given})

    assert str(caught.value).startswith(f"workload sample: {name} must be {allowed}")
    assert str(caught.value).endswith(f", not {given!r}")


def test_wrong_name() -> None:
    """A wrong name is a usage error that lists the right ones, with the near one first."""
    with pytest.raises(UsageError, match=r"no parameter 'cuont' \(did you mean count\?\); .* are: count \(int, 3\)"):
        Sample(cuont="3")


def test_objects_do_not_share_values() -> None:
    """Values belong to one object, not to the class."""
    Sample(count=5)

    assert Sample().count == 3


def test_listing() -> None:
    """The parameters of a class are its own in the order of declaration, then those of its base."""
    rows: list[dict[str, Any]] = [parameter.describe() for parameter in Sample.parameters()]

    assert [row["name"] for row in rows[:6]] == ["count", "fast", "mode", "note", "file", "balance_us"]
    assert {"pages_to_scan", "sleep_millisecs", "merge_across_nodes", "reclaim_us"} == {row["name"] for row in rows[6:]}
    assert list(rows[0].values()) == ["count", "int", 3, "how many", "a whole number from 1 to 9"]
    assert [rows[4]["default"], rows[4]["type"]] == [None, "path"]
