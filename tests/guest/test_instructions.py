"""Places inside of functions of an unknown build: the instructions that access members, in machine code."""

from __future__ import annotations

import sys

import pytest

from ksmactors.errors import UsageError
from ksmactors.guest.instructions import find

KPFN, MAPPING = 0x30, 0x18

GETS = bytes.fromhex(
    "4989fd 4983cd03 4989fc eb0b"  # the stable node, and the mapping that its page must have
    "498b442430 4839c5 7422"  # 12: kpfn once more, compared: has the page moved?
    "498b6c2430 4889e8 48c1e006"  # 22: kpfn, kept
    "4c8b7c2418"  # 34: a variable on the stack
    "488b4318 4939c5 75dc"  # 39: mapping; if it is another one, back to 12
    "8b4334"  # 48: the reference count
    "488b4318 c3"  # 51: mapping once more
)
"""What gcc makes of get_ksm_page(), the beginning of it, and shortened."""

MIGRATES = bytes.fromhex("488b4618 48897830 48c7461803000000 c3")
"""folio_migrate_ksm(): reads the mapping, writes kpfn, and then takes the mapping from the old page."""

pytest.importorskip("capstone", reason="the extra `guest` is not installed")


@pytest.mark.parametrize(
    ("rule", "member", "nth", "offset"),
    [
        ("kept", KPFN, 1, 22), ("load", MAPPING, 1, 39), ("passed", MAPPING, 1, 48), ("missed", MAPPING, 1, 12),
        ("load", MAPPING, 2, 51), ("load", MAPPING, 3, None), ("store", MAPPING, 1, None),
    ],
)  # fmt: skip
def test_places_are_found_by_what_they_access(rule: str, member: int, nth: int, offset: int | None) -> None:
    """Not by their offset in the function; the stack is no structure."""
    assert find(GETS, rule, member, nth) == offset
    moved = find(b"\x66\x90" + GETS, rule, member, nth)
    assert moved == (None if offset is None else offset + 2)


def test_the_other_way_round_it_is_the_same_place() -> None:
    """A compiler may jump where the values are equal: `je` to what `jne` falls through to."""
    code = bytes.fromhex("488b4318 4939c5 7401 c3 8b4334 c3")
    assert (find(code, "passed", MAPPING), find(code, "missed", MAPPING)) == (10, 9)


def test_a_store_is_no_load() -> None:
    """W5 is the store to the mapping of the old page."""
    assert find(MIGRATES, "store", MAPPING) == 8
    assert find(MIGRATES, "load", MAPPING) == 0


@pytest.mark.parametrize(
    "code",
    ["", "c3", "ffff", "498b6c2430 c3", "498b6c2430 498b442430 4839c5 498b5c2430 c3"],
    ids=["none", "no access", "no code", "never compared", "kept twice"],
)
def test_code_that_is_different_has_no_place(code: str) -> None:
    """Nothing is held then: a wrong place would be worse than none."""
    assert find(bytes.fromhex(code), "kept", KPFN) is None
    assert find(bytes.fromhex(code), "passed", MAPPING) is None


def test_capstone_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    monkeypatch.setitem(sys.modules, "capstone", None)
    with pytest.raises(UsageError, match=r"need capstone; install it: pip install 'ksmactors\[guest\]'"):
        find(GETS, "kept", KPFN)
