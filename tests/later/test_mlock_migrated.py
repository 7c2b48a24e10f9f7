"""A page that is locked in memory stays Mlocked when it is migrated, on kernels since v4.4."""

from __future__ import annotations

import pytest

from tests.helpers.directed import Stage, perform


def mlocked_after_migration(kernel: str, *, locked: bool, shared: bool, without: tuple[str, ...] = ()) -> bool:
    """Whether a page has the flag when it has been migrated, and what mapped it maps it again."""
    flags = []

    async def play(s: Stage) -> None:
        a = await s.process("A", 7)
        if shared:
            await s.process("B", 7)
            await s.scan(2)
        old = s.frame(a, 0)
        if locked:
            a.mm.vma_at(a.at(0)).locked = True  # mlock itself would copy what is merged
            await old.lock()
            await s.kernel.mlock_vma_page(old)
            await old.unlock()
        await s.migrate(a, 0, 1)
        assert s.frame(a, 0) is not old
        assert not old.mlocked
        flags.append(s.frame(a, 0).mlocked)

    perform(play, kernel=kernel, without=without)
    return flags[0]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kernel", ["v6.1", "v6.12", "v6.18", "v7.3"])
def test_the_new_page_is_mlocked(kernel: str, shared: bool) -> None:
    """An ordinary page and a KSM page alike; and nothing is marked where the vma is not locked."""
    assert mlocked_after_migration(kernel, locked=True, shared=shared)
    assert not mlocked_after_migration(kernel, locked=False, shared=shared)


@pytest.mark.parametrize("kernel", ["v3.9", "series"])
def test_before_v4_4_the_mark_is_lost(kernel: str) -> None:
    """The mark goes with the last mapping of the old page, and nobody sets it anew."""
    assert not mlocked_after_migration(kernel, locked=True, shared=False)


def test_the_layer_is_what_keeps_it() -> None:
    """Without it a later kernel loses the mark, too."""
    assert not mlocked_after_migration("v6.12", locked=True, shared=False, without=("mlock-migrated",))
