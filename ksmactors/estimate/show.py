"""The answer as a person reads it on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ksmactors.estimate.advice import advise
from ksmactors.estimate.estimate_result import EstimateResult
from ksmactors.estimate.page_index import Owner, SharedContent
from ksmactors.estimate.units import duration, page_count, size
from ksmactors.mm.const import PAGE_SIZE
from ksmactors.quantity import quantity

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OWNERS: Final = 3
"""Owners of a content that are named in its row."""


def show(answer: EstimateResult, console: Console, *, quiet: bool = False) -> None:
    """Print which setting to choose, the counters side by side, the most shared contents, and what it costs.

    `quiet`: counters only.
    """
    if not quiet:
        console.print(advise(answer).sentence + "\n", soft_wrap=True)
        _what_was_read(answer, console)
    console.print(_counters(answer))
    if quiet:
        return
    if answer.shared:
        console.print(_contents(answer))
    console.print(_costs(answer), soft_wrap=True)


def _what_was_read(answer: EstimateResult, console: Console) -> None:
    for source in answer.sources:
        left_out = "; ".join(f"{pages:,} {why}" for why, pages in source.left_out.items())
        line = f"{source.name}: {source.kind}, {page_count(source.pages)}"
        console.print(line + (f" (left out: {left_out})" if left_out else ""), soft_wrap=True)
    question = answer.question
    where = f"{question.nodes} node{'s' * (question.nodes > 1)}, spread: {question.spread}"
    total = f"{page_count(answer.pages)} ({size(answer.pages * PAGE_SIZE)}), {answer.zero_pages:,} of them zeros"
    limit = f", max_page_sharing {question.knobs.max_page_sharing}" if question.knobs.max_page_sharing else ""
    zeros = ", use_zero_pages" if question.knobs.use_zero_pages else ""
    asked = f"{where}; kernel {question.kernel}{limit}{zeros}"
    console.print(f"{total}; {answer.contents:,} different contents; {asked}\n", soft_wrap=True)


def _counters(answer: EstimateResult) -> Table:
    table = _table("merge_across_nodes", "0", "1")
    first, second = answer.across
    names = ["pages_shared", "pages_sharing", "pages_unshared", "pages_volatile"]
    for name in names + ["ksm_zero_pages"] * answer.question.knobs.use_zero_pages:
        table.add_row(name, f"{getattr(first, name):,}", f"{getattr(second, name):,}")
    table.add_row("saved", size(first.saved_bytes), size(second.saved_bytes), style="bold")
    table.add_row("net of overhead", size(answer.net_bytes(0)), size(answer.net_bytes(1)))
    table.add_row("full scans to get there", f"{first.full_scans}", f"{second.full_scans}")
    table.add_row("in which ksmd sleeps", duration(answer.asleep_ms(0)), duration(answer.asleep_ms(1)))
    return table


def _contents(answer: EstimateResult) -> Table:
    table = _table("Most shared", "pages", *(f"on node {nid}" for nid in _shown_nodes(answer)))
    table.add_column("whose")
    for content in answer.shared:
        on = [f"{content.pages_by_node[nid]:,}" for nid in _shown_nodes(answer)]
        table.add_row(_name(content), f"{content.pages:,}", *on, _owners(content))
    return table


def _shown_nodes(answer: EstimateResult) -> range:
    """A column a node, where that is not too many."""
    return range(answer.question.nodes) if 1 < answer.question.nodes <= 4 else range(0)


def _name(content: SharedContent) -> str:
    return "zeros" if content.zeros else content.digest[:8]


def _owners(content: SharedContent) -> str:
    named = [_owner(owner) for owner in content.owners[:OWNERS]]
    more = len(content.owners) - len(named)
    return "\n".join([*named, f"and {more} more"] if more else named)


def _owner(owner: Owner) -> str:
    region = owner.region
    mapping = f" {region.name}" if region.name else ""
    return f"{region.source}{mapping} {owner.first:#x}" + (f" and {owner.pages - 1:,} more" if owner.pages > 1 else "")


def _costs(answer: EstimateResult) -> str:
    """The overhead with merge_across_nodes=1, which has the most to merge, and what smart_scan delays."""
    cost, question = answer.overhead(1), answer.question
    rate = f"{quantity(question.pages_to_scan, 'page')} each {question.sleep_millisecs:,} ms"
    lines = (
        f"Overhead: {size(cost.rmap_items_bytes)} of rmap_items, {size(cost.stable_nodes_bytes)} of stable nodes, "
        f"{size(cost.mm_slots_bytes)} of mm_slots. ksmd looks at {page_count(cost.page_visits)} to get there, then "
        f"goes on with {rate} as long as run is 1."
    )
    late = answer.late_full_scans
    if late:
        lines += (
            "\nsmart_scan delays nothing of this from a cold start. What becomes equal to a KSM page later merges up "
            f"to {late} full scans later than without, here {duration(answer.late_ms)}; two old pages may miss each "
            "other for ever (X2)."
        )
    return lines


def _table(first: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
