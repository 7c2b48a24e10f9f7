"""Names of pages: of the latest region at an address, with the mark of a process that has exited."""

from __future__ import annotations

import pytest

from ksmactors.conformance.page_map import NamedPages, NamedRegion
from ksmactors.mm.const import PAGE_SIZE

START = 0x10000


def shown(process: NamedPages) -> list[str]:
    """The names of three pages, asked together and alone."""
    together = [str(name) for name in process.pages(START, START + 3 * PAGE_SIZE)]
    assert together == [str(process.page(START + number * PAGE_SIZE)) for number in range(3)]
    return together


def test_a_later_region_gives_its_name_to_pages_that_had_one() -> None:
    """What was asked before does not keep an older name; neither does it keep that of a living process."""
    process = NamedPages("A")
    process.add(NamedRegion("r", START, 3))
    assert shown(process) == ["A.r.0", "A.r.1", "A.r.2"]
    process.add(NamedRegion("s", START + PAGE_SIZE, 1))
    assert shown(process) == ["A.r.0", "A.s.0", "A.r.2"]
    process.exited = True
    assert shown(process) == ["A!.r.0", "A!.s.0", "A!.r.2"]


def test_an_address_without_a_region_has_no_name() -> None:
    """It is refused, each time."""
    process = NamedPages("A")
    for _ in range(2):
        with pytest.raises(LookupError, match="no region of A was ever at address 0x10000"):
            process.page(START)
