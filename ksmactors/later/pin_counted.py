"""A page that is pinned for DMA can be distinguished from one with a plain reference, v5.7 (3faa52c03f44)."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.interleave.actor import YIELD
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.frame import Frame
from ksmactors.seams import seam

GUP_PIN_COUNTING_BIAS: Final = 1 << 10
"""How many references a pin is."""


class PinCounted(Ksm):
    """pin_user_pages takes many references at once, and reclaim leaves a page with so many out of the swap cache.

    The latter is v5.11 (feb889fb40fa). v3.9 cannot distinguish a pin from a reference that is about to be dropped:
    it puts a pinned page into the swap cache and unmaps it, though it cannot free it then. Here, too, a page that is in
    the swap cache when it is pinned stays there.
    """

    @override
    async def try_grab_page(self, page: Frame, *, pin: bool) -> None:
        if pin:
            await page.get(GUP_PIN_COUNTING_BIAS)
        else:
            await super().try_grab_page(page, pin=pin)

    @override
    async def unpin_user_page(self, page: Frame) -> None:
        await page.put(GUP_PIN_COUNTING_BIAS)

    @seam
    def page_maybe_dma_pinned(self, page: Frame) -> bool:
        """Whether a page may be pinned: or so many have plain references on it."""
        self.conductor.touch(YIELD, page, "refcount")
        return page.refcount >= GUP_PIN_COUNTING_BIAS

    @override
    async def add_to_swap(self, page: Frame) -> bool:
        return not self.page_maybe_dma_pinned(page) and await super().add_to_swap(page)
