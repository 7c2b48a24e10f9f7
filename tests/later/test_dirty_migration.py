"""An entry that was dirty before its page was migrated is dirty afterwards, on kernels since v6.1."""

from __future__ import annotations

import pytest

from tests.helpers.directed import Stage, perform


def dirty_after_migration(kernel: str, *, pinned: bool, merged: bool = False) -> tuple[bool, bool]:
    """Whether the page and its entry are dirty when it has been migrated, or a pin has made that fail."""
    found = []

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        if merged:
            await s.process("B", 7)
            await s.scan(2)
        old = s.frame(a, 0)
        if pinned:
            await old.get()
        await s.migrate(a, 0, 1)
        assert (s.frame(a, 0) is old) is pinned
        pte = s.kernel.page_at(a.mm, a.at(0))
        assert pte is not None
        assert not pte.migration
        found.append((pte.frame.dirty, pte.dirty))
        if pinned:
            await old.put()
        await s.farewell()

    perform(play, kernel=kernel)
    return found[0]


@pytest.mark.parametrize("pinned", [False, True])
def test_the_entry_is_dirty_again(pinned: bool) -> None:
    """Moved or not; before v6.1 the page alone remembers it."""
    for kernel in ("v6.1", "v6.12", "v6.18", "v7.3"):
        assert dirty_after_migration(kernel, pinned=pinned) == (True, True)
    assert dirty_after_migration("v3.9", pinned=pinned) == (True, False)


def test_a_clean_entry_stays_clean() -> None:
    """As those of KSM pages are, though the page is dirty."""
    assert dirty_after_migration("v6.12", pinned=False, merged=True) == (True, False)
