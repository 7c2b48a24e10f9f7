"""The answer as a person reads it on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ksmactors.estimate.estimate_result import EstimateResult
from ksmactors.estimate.page_index import Owner, SharedContent
from ksmactors.mm.const import PAGE_SIZE

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OWNERS: Final = 3
"""Owners of a content that are named in its row."""

UNITS: Final = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def show(answer: EstimateResult, console: Console, *, quiet: bool = False) -> None:
    """Print the counters side by side, the most shared contents, and which setting wins. `quiet`: counters only."""
    if not quiet:
        _what_was_read(answer, console)
    console.print(_counters(answer))
    if quiet:
        return
    if answer.shared:
        console.print(_contents(answer))
    console.print(_verdict(answer), soft_wrap=True)


def size(count: int) -> str:
    """Bytes in the largest unit that leaves at least one, with one decimal, cut off."""
    sign, rest = ("-", -count) if count < 0 else ("", count)
    power = 0
    while power + 1 < len(UNITS) and rest >= 1024 ** (power + 1):
        power += 1
    if not power:
        return f"{sign}{rest} bytes"
    tenths = rest * 10 // 1024**power
    return f"{sign}{tenths // 10:,}.{tenths % 10} {UNITS[power]}"


def duration(milliseconds: int) -> str:
    """Milliseconds as a person says them."""
    seconds = milliseconds // 1000
    if seconds < 60:
        return f"{seconds}.{milliseconds % 1000 // 100} s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def _what_was_read(answer: EstimateResult, console: Console) -> None:
    for source in answer.sources:
        left_out = "; ".join(f"{pages:,} {why}" for why, pages in source.left_out.items())
        line = f"{source.name}: {source.kind}, {_pages(source.pages)}"
        console.print(line + (f" (left out: {left_out})" if left_out else ""), soft_wrap=True)
    question = answer.question
    where = f"{question.nodes} node{'s' * (question.nodes > 1)}, spread: {question.spread}"
    total = f"{_pages(answer.pages)} ({size(answer.pages * PAGE_SIZE)}), {answer.zero_pages:,} of them zeros"
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
    table.add_row("less ksmd's own notes", size(first.profit_bytes), size(second.profit_bytes))
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


def _verdict(answer: EstimateResult) -> str:
    first, second = answer.across
    if not second.saved_bytes:
        return "No two pages that hold still are equal: KSM would save nothing here."
    more = second.saved_bytes - first.saved_bytes
    if not more:
        if answer.question.nodes == 1:
            return f"KSM would save {size(second.saved_bytes)}; on one node merge_across_nodes makes no difference."
        return f"KSM would save {size(second.saved_bytes)}, whatever merge_across_nodes is."
    share = more * 100 // second.saved_bytes
    return (
        f"KSM would save {size(second.saved_bytes)}; {size(more)} of it ({share} %) only with merge_across_nodes=1, "
        "at the price of pages that some of their users reach on another node."
    )


def _pages(count: int) -> str:
    return "1 page" if count == 1 else f"{count:,} pages"


def _table(first: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table
