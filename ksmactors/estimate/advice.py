"""Which setting to choose: leave KSM off, or turn it on with merge_across_nodes 0 or 1; and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ksmactors.estimate.estimate_result import EstimateResult
from ksmactors.estimate.units import page_count, size
from ksmactors.mm.const import PAGE_SIZE

REMOTE_GAIN_PERCENT: Final = 10
"""What merge_across_nodes=1 must save beyond 0, in percent of its own net saving, to be worth remote pages."""


@dataclass(frozen=True, slots=True)
class Advice:
    """A setting and its reason. `merge_across_nodes`: None if KSM is left off (`run` 0) or if it does not matter."""

    run: int
    merge_across_nodes: int | None
    sentence: str

    def as_json(self) -> dict[str, int | str | None]:
        return {"run": self.run, "merge_across_nodes": self.merge_across_nodes, "why": self.sentence}


def advise(answer: EstimateResult) -> Advice:
    """Choose the setting with the greater saving net of overhead; 0 where 1 saves hardly more.

    With 0, ksmd maps no process to a page of another node. With 1 it does, and each access costs the way there.
    """
    first, second = answer.net_bytes(0), answer.net_bytes(1)
    if max(first, second) <= 0:
        return Advice(0, None, _off(answer))
    if answer.question.nodes == 1:
        return Advice(1, None, f"Turn KSM on: it {_saves(answer, 1)}. On one node merge_across_nodes does not matter.")
    assumed = f" (--spread {answer.question.spread} is assumed)" if answer.question.spread != "actual" else ""
    more = _saved_pages(answer, 1) - _saved_pages(answer, 0)
    if (second - first) * 100 > second * REMOTE_GAIN_PERCENT:
        kept = f"only {page_count(_saved_pages(answer, 0))}" if _saved_pages(answer, 0) else "none"
        return Advice(
            1, 1,
            f"Set merge_across_nodes to 1: KSM then {_saves(answer, 1)}; with 0, {kept}{assumed}. "
            "Its price: some pages are reached from another node.",
        )  # fmt: skip
    other = f"1 would save {page_count(more)} ({size(more * PAGE_SIZE)}) more" if more else "1 would save no more"
    return Advice(
        1, 0,
        f"Set merge_across_nodes to 0: KSM then {_saves(answer, 0)}; {other}{assumed}, "
        "and have pages reached from another node.",
    )  # fmt: skip


def _off(answer: EstimateResult) -> str:
    overhead = size(answer.overhead(1).bytes)
    if not _saved_pages(answer, 1):
        return f"Leave KSM off: no two pages that hold still are equal. Its own overhead would be {overhead}."
    saved = _saved_pages(answer, 1)
    would = f"{page_count(saved)} ({size(saved * PAGE_SIZE)})"
    return f"Leave KSM off: it would save {would}, and its own overhead is {overhead}."


def _saves(answer: EstimateResult, knob: int) -> str:
    saved = _saved_pages(answer, knob)
    return f"saves {page_count(saved)} ({size(saved * PAGE_SIZE)}), {size(answer.net_bytes(knob))} net of its overhead"


def _saved_pages(answer: EstimateResult, knob: int) -> int:
    return answer.across[knob].saved_bytes // PAGE_SIZE
