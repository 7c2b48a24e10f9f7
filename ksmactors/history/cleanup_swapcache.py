"""D8, *mm: cleanup "swapcache" in do_swap_page*: a local variable always says which page was in the swap cache."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm


class BeforeCleanupSwapcache(Ksm):
    """In do_swap_page, `swapcache` names the original page only if a copy was made of it.

    Before: it was None unless KSM had made a copy, and that is what was asked at three places. After: it always names
    the page that was found in the swap cache, and what is asked is whether the page to be mapped is another one. It
    makes no difference to anything that can be observed, so there is nothing to override: a control.
    """
