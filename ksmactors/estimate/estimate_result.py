"""The answer: counters for both values of `merge_across_nodes`, how long it takes, and who shares with whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ksmactors.estimate.overhead import Overhead
from ksmactors.estimate.page_index import PageIndex, PageSource, SharedContent
from ksmactors.estimate.protocol import EstimatedCounters, Knobs, batches, converge

OWNERS: Final = 8
"""Owners of a content that are listed in the JSON object; `owners_total` says how many there are."""


@dataclass(frozen=True, slots=True)
class EstimateSettings:
    """What is asked about the pages.

    `spread` is the policy that says on which node a page is; `pages_to_scan`, `sleep_millisecs`: the knobs.
    """

    kernel: str
    nodes: int
    spread: str
    top: int
    pages_to_scan: int
    sleep_millisecs: int
    knobs: Knobs


@dataclass(frozen=True, slots=True)
class EstimateResult:
    """What KSM would do with the pages of a page index.

    `across[k]`: with merge_across_nodes k. `contents`, `pages_by_node`: of pages that hold still.
    """

    question: EstimateSettings
    pages: int
    zero_pages: int
    contents: int
    pages_by_node: tuple[int, ...]
    across: tuple[EstimatedCounters, EstimatedCounters]
    shared: tuple[SharedContent, ...]
    sources: tuple[PageSource, ...]
    problems: tuple[str, ...]

    @classmethod
    def of(
        cls, question: EstimateSettings, page_index: PageIndex, sources: Sequence[PageSource], problems: Sequence[str]
    ) -> EstimateResult:
        """Count."""
        knobs, volatile, zero_pages = question.knobs, page_index.volatile, page_index.zero_pages
        zeros = not knobs.use_zero_pages
        everywhere = page_index.multiplicities(zeros=zeros)
        by_node = sum((page_index.multiplicities(nid, zeros=zeros) for nid in range(page_index.nodes)), Counter[int]())
        across = tuple(converge(counts, volatile, zero_pages, knobs) for counts in (by_node, everywhere))
        contents = everywhere.total() + (1 if zero_pages and not zeros else 0)
        return cls(
            question, page_index.pages, zero_pages, contents, tuple(page_index.pages_by_node()), (across[0], across[1]),
            tuple(page_index.most_shared(question.top)), tuple(sources), tuple(problems),
        )  # fmt: skip

    def asleep_ms(self, merge_across_nodes: int) -> int:
        """Milliseconds that ksmd sleeps until it has converged; its work comes on top."""
        wakes = batches(self.pages, self.across[merge_across_nodes].full_scans, self.question.pages_to_scan)
        return wakes * self.question.sleep_millisecs

    def overhead(self, merge_across_nodes: int) -> Overhead:
        """What KSM itself costs once it has converged; each file or process that has pages counts as a process."""
        processes = sum(1 for source in self.sources if source.pages)
        return Overhead.of(self.across[merge_across_nodes], self.question.knobs, processes)

    def net_bytes(self, merge_across_nodes: int) -> int:
        """Bytes saved, less the bytes of all metadata; may be negative."""
        return self.across[merge_across_nodes].saved_bytes - self.overhead(merge_across_nodes).bytes

    @property
    def late_full_scans(self) -> int:
        """How many full scans later smart_scan may merge a page that has become equal to a KSM page; 0 without it."""
        return self.question.knobs.late_full_scans

    @property
    def late_ms(self) -> int:
        """The same in milliseconds that ksmd sleeps."""
        wakes = batches(self.pages, self.late_full_scans, self.question.pages_to_scan)
        return wakes * self.question.sleep_millisecs

    def as_json(self) -> dict[str, Any]:
        """The object that `estimate --json` prints."""
        question = self.question
        return {
            "pages": self.pages,
            "zero_pages": self.zero_pages,
            "contents": self.contents,
            "merge_across_nodes": {str(knob): self._counters(knob) for knob in (0, 1)},
            "smart_scan": {"late_full_scans": self.late_full_scans, "late_ms": self.late_ms},
            "kernel": question.kernel,
            "max_page_sharing": question.knobs.max_page_sharing,
            "use_zero_pages": question.knobs.use_zero_pages,
            "nodes": question.nodes,
            "spread": question.spread,
            "pages_by_node": list(self.pages_by_node),
            "pages_to_scan": question.pages_to_scan,
            "sleep_millisecs": question.sleep_millisecs,
            "most_shared": [_content(content) for content in self.shared],
            "sources": [
                {"name": source.name, "kind": source.kind, "pages": source.pages, "left_out": source.left_out}
                for source in self.sources
            ],
            "problems": list(self.problems),
        }

    def _counters(self, knob: int) -> dict[str, int]:
        counters = self.across[knob]
        return {
            "pages_shared": counters.pages_shared,
            "pages_sharing": counters.pages_sharing,
            "pages_unshared": counters.pages_unshared,
            "pages_volatile": counters.pages_volatile,
            "ksm_zero_pages": counters.ksm_zero_pages,
            "saved_bytes": counters.saved_bytes,
            "profit_bytes": counters.profit_bytes,
            "overhead_bytes": self.overhead(knob).bytes,
            "net_bytes": self.net_bytes(knob),
            "page_visits": self.overhead(knob).page_visits,
            "full_scans": counters.full_scans,
            "asleep_ms": self.asleep_ms(knob),
        }


def _content(content: SharedContent) -> dict[str, Any]:
    return {
        "digest": content.digest,
        "zeros": content.zeros,
        "pages": content.pages,
        "pages_by_node": list(content.pages_by_node),
        "owners": [
            {"source": owner.region.source, "mapping": owner.region.name, "pages": owner.pages, "first": owner.first}
            for owner in content.owners[:OWNERS]
        ],
        "owners_total": len(content.owners),
    }
