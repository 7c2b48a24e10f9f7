"""D8, *mm: cleanup "swapcache" in do_swap_page*: a local variable always says which page was in the swap cache."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm


class BeforeCleanupSwapcache(Ksm):
    """In do_swap_page, `swapcache` names the original page only if a copy was made of it.

    Before: it was None unless KSM had made a copy, and three places tested that. After: it always names the page found
    in the swap cache, and the tests ask whether the page to be mapped is another one. Nothing that can be observed
    changes, so there is nothing to override: a control.
    """
