"""The groups of pages that share a frame are those of now, whatever has changed since they were shown before."""

from __future__ import annotations

from operator import ne

import pytest

from ksmactors.conformance.emulator import Setting, perform
from ksmactors.conformance.language import parse
from ksmactors.conformance.page_map import PageMap, partition

CHANGES = [
    "fill A r 0 5",
    "fillrange A r 1 3 5",
    "migrate A r 0 1",  # the mapping moves with the page
    "mergeable A r",
    "set run 1",
    "scan 3",
    "fork A B",
    "fill B r 0 6",
    "exit B",
    "hwpoison A r 1",  # the frame stays mapped: only what is known of its memory changes
    "unmergeable A r",
    "swapout A r",
    "dontneed A r 1 3",  # of pages that were swapped out: no entry that is present changes
    "read A r 1 2",
    "fill A r 2 7",
    "hwpoison A r 2",
    "dontneed A r 2 3",
    "mremap A r s 0 1",
    "exit A",
]
"""Operations after each of which the groups are shown."""


@pytest.mark.parametrize(
    ("kernel", "without_effect"),
    [
        ("v3.9", ["mergeable A r", "set run 1", "swapout A r"]),  # it has no MADV_PAGEOUT
        ("v6.1", ["mergeable A r", "set run 1"]),
    ],
)
async def test_groups_are_those_of_now(kernel: str, without_effect: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """They are what the pages and their states give, after each change, and all but a few operations change them."""
    remembered, shown = PageMap.frames, list[list[str]]()

    def frames(self: PageMap) -> list[str]:
        shown.append(remembered(self))
        assert shown[-1] == partition(self.pages()), CHANGES[len(shown) - 1]
        return shown[-1]

    monkeypatch.setattr(PageMap, "frames", frames)
    text = "".join(f"{change}\nframes\n" for change in CHANGES)
    performance = await perform(parse(f"proc A\nmap A r 3\n{text}"), Setting(kernel, 2))

    assert performance.failure is None
    assert not performance.missing
    changed = map(ne, shown, shown[1:])
    assert [change for change, effect in zip(CHANGES[1:], changed, strict=True) if not effect] == without_effect
