"""Where ksmd's scans lead to without writes: the counters, and the full scans that it takes.

Every page is an rmap_item, and its way through `cmp_and_merge_page` from a cold start is short:

- Full scan 1: nothing is in the stable tree, and the checksum is not the one remembered (there is none): the page is
  *volatile*, its checksum is remembered now.
- Full scan 2: the checksum is confirmed. The first page of a content (in its tree) goes into the unstable tree; the
  second one finds it there, both become a KSM page; all others find that one in the stable tree. So a content that n
  pages of a tree have gives one page `shared` and n - 1 `sharing`; one that a single page has is `unshared`.
- Later scans change nothing: the merged are passed over, the single ones go into the unstable tree again.

With `max_page_sharing` (kernels that have it) a KSM page takes that many mappings and no more. The next page of the
content finds no room, goes into the unstable tree, and makes a second KSM page together with the one after it; one
that is left over has no equal, and is unshared.

With `use_zero_pages` (kernels that have it, when it is set) pages of zeros are none of this: at full scan 2 each is
replaced by the kernel's zero page; its rmap_item stays, volatile, until full scan 3 finds no page there to look at.
With `smart_scan` the same happens in the first three scans; after that pages that did not merge are looked at less
often, and count as volatile while they are skipped. The counters below are those without that coming and going.

A page that is written between two scans has another checksum in each: it stays volatile. Left out: a page whose
checksum is 0 counts as seen before, by one chance in 2**32 (its content is merged one scan early; it ends the same).

Source: cmp_and_merge_page(), v3.9; max_page_sharing: `stable_tree_search`, v4.13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ksmactors.errors import UsageError
from ksmactors.kernels import KERNELS, kernel_class
from ksmactors.later.chain_nodes import ChainNodes
from ksmactors.later.checksum_first import ChecksumFirst
from ksmactors.later.smart_scan import SKIPS_MAX, SmartScan
from ksmactors.later.zero_pages import ZeroPages
from ksmactors.mm.const import PAGE_SIZE

MAX_PAGE_SHARING: Final = 256
"""The default of that knob."""

RMAP_ITEM_BYTES: Final = 64
"""sizeof(struct ksm_rmap_item) on 64-bit machines; what `general_profit` takes off for each page scanned (v6.4)."""


@dataclass(frozen=True, slots=True)
class EstimatedCounters:
    """The files of /sys/kernel/mm/ksm once the scans have converged; `full_scans` is when that is first so."""

    pages_shared: int
    pages_sharing: int
    pages_unshared: int
    pages_volatile: int
    full_scans: int
    ksm_zero_pages: int = 0
    chains: int = field(default=0, compare=False)
    """Contents with more than one KSM page: each has one stable node more, the chain. No file shows that number."""

    @property
    def rmap_items(self) -> int:
        """Addresses that ksmd keeps an rmap_item for."""
        return self.pages_shared + self.pages_sharing + self.pages_unshared + self.pages_volatile

    @property
    def saved_bytes(self) -> int:
        """Memory that merging gives back."""
        return (self.pages_sharing + self.ksm_zero_pages) * PAGE_SIZE

    @property
    def profit_bytes(self) -> int:
        """What is left of it after ksmd's own notes about every page scanned: `general_profit`; may be negative."""
        return self.saved_bytes - self.rmap_items * RMAP_ITEM_BYTES


@dataclass(frozen=True, slots=True)
class Knobs:
    """What else decides about merging. `max_page_sharing`: at least 2; None where the kernel has no limit.

    `late_full_scans`: by how many full scans smart_scan may delay the merge of a page that becomes equal to a KSM page
    long after it was first seen. 0 without smart_scan.
    """

    max_page_sharing: int | None = None
    use_zero_pages: bool = False
    late_full_scans: int = 0

    @classmethod
    def of_kernel(cls, kernel: str, *, max_page_sharing: int | None = None, use_zero_pages: bool = False) -> Knobs:
        """The knobs of a kernel by its name, None standing for its default.

        Raises:
            UsageError: no such kernel, or it has no such knob.
        """
        layers = kernel_class(kernel=kernel)
        if use_zero_pages and not issubclass(layers, ZeroPages):
            raise UsageError(f"--use-zero-pages: kernel {kernel} has no such knob; those that have: {_with(ZeroPages)}")
        late = _late_full_scans(layers)
        if issubclass(layers, ChainNodes):
            return cls(max_page_sharing or MAX_PAGE_SHARING, use_zero_pages, late)
        if max_page_sharing is not None:
            raise UsageError(
                f"--max-page-sharing: kernel {kernel} has no such knob; those that have: {_with(ChainNodes)}"
            )
        return cls(None, use_zero_pages, late)


def _late_full_scans(layers: type) -> int:
    """An old page is looked at, then skipped SKIPS_MAX times. Where the checksum comes before the stable tree, it takes
    two looks to merge: the first sees that the page has changed, the second that it has not."""
    if not issubclass(layers, SmartScan):
        return 0
    return SKIPS_MAX * (2 if issubclass(layers, ChecksumFirst) else 1)


def _with(layer: type) -> str:
    return ", ".join(name for name in KERNELS if issubclass(kernel_class(kernel=name), layer))


def converge(multiplicities: Mapping[int, int], volatile: int, zero_pages: int, knobs: Knobs) -> EstimatedCounters:
    """The counters that ksmd's scans lead to.

    Args:
        multiplicities: n -> how many pairs of a tree and a content have n pages. With `use_zero_pages` without zeros.
        volatile: pages that change from one scan to the next.
        zero_pages: pages of zeros; they matter with `use_zero_pages` only.
    """
    limit = knobs.max_page_sharing
    shared = sharing = unshared = chains = 0
    for pages, contents in multiplicities.items():
        full, rest = divmod(pages, limit) if limit else (0, pages)
        ksm_pages = full + (rest > 1)
        alone = rest == 1
        shared += contents * ksm_pages
        chains += contents * (ksm_pages > 1)
        unshared += contents * alone
        sharing += contents * (pages - ksm_pages - alone)
    replaced = zero_pages if knobs.use_zero_pages else 0
    full_scans = 3 if replaced else 2 if shared + unshared else 1 if volatile else 0
    return EstimatedCounters(shared, sharing, unshared, volatile, full_scans, replaced, chains)


def batches(pages: int, full_scans: int, pages_to_scan: int) -> int:
    """How often ksmd wakes for so many full scans; a batch is also what only finds the end of a scan.

    Args:
        pages: rmap_items a full scan.
        pages_to_scan: the knob, at least 1.
    """
    return full_scans * (pages // pages_to_scan + 1)
