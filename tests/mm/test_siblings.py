"""The files of mm/: siblings, which call each other by what `mm/internal.py` declares."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from ksmactors.mm import internal
from ksmactors.mm.internal import MmInternal
from ksmactors.mm.kernel import Mm
from ksmactors.mm.state import MmState

FILES = Mm.__bases__
"""The classes of the files."""

SECTION = re.compile(r"^    # -- (\w+)\.py -*$|^    (?:async )?def (\w+)\(", re.MULTILINE)
"""In the declarations: the name of a file, and the functions that it has."""


def own(cls: type) -> set[str]:
    """The functions that a class defines itself, but for its constructor."""
    return {name for name, value in vars(cls).items() if callable(value)} - {"__init__"}


def declared() -> dict[str, str]:
    """The functions that are declared, each with the file that it is declared for."""
    found, file = {}, ""
    for match in SECTION.finditer(Path(internal.__file__).read_text()):
        file = match[1] or file
        if match[2]:
            found[match[2]] = file
    return found


def test_no_file_is_another_one() -> None:
    """Each class builds on the declarations alone."""
    assert {cls.__bases__ for cls in FILES} == {(MmInternal,)}


@pytest.mark.parametrize(("one", "other"), list(combinations(FILES, 2)))
def test_no_file_overrides_another_one(one: type, other: type) -> None:
    """The order in which they are put together does not matter."""
    assert own(one) & own(other) == set()


@pytest.mark.parametrize("name", declared())
def test_what_is_declared_is_where_it_is_said_to_be(name: str) -> None:
    """A declaration stands under the name of the file that has the function."""
    assert getattr(Mm, name).__module__ == f"ksmactors.mm.{declared()[name]}"


def test_every_function_that_is_declared_is_in_a_section() -> None:
    """The two tests above leave none out."""
    assert own(MmInternal) == set(declared())
    assert not own(MmInternal) & own(MmState)
