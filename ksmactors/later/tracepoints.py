"""The ksm tracepoints, v6.4."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import StableNode
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam

Listener = Callable[[str, int | None], None]
"""Called with a tracepoint's name, and its error (None if it has none)."""


class Tracepoints(Ksm):
    """What KSM does can be traced, at the places where the kernel has its tracepoints.

    The emulator's own events of these names are the same but for two: `ksm_merge_one_page` is the kernel's name for
    the zero page only, every other merge is a `ksm_merge_with_ksm_page`; and `ksm_remove_rmap_item` is for the items of
    a node that is removed, all but the last.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self._listeners: list[Listener] = []

    @seam
    def register_trace(self, listener: Listener) -> None:
        """Notify `listener` of every tracepoint that is passed from now on."""
        if not self._listeners:
            for code, name in (
                (ev.KSM_START_SCAN, "ksm_start_scan"), (ev.KSM_STOP_SCAN, "ksm_stop_scan"),
                (ev.KSM_ENTER, "ksm_enter"), (ev.KSM_EXIT, "ksm_exit"),
                (ev.KSM_REMOVE_KSM_PAGE, "ksm_remove_ksm_page"), (ev.KSM_ADVISOR, "ksm_advisor"),
            ):  # fmt: skip
                self.trace.listen(code, lambda *_, name=name: self._passed(name))
            self.trace.listen(ev.KSM_MERGE_ONE_PAGE, self._merged_one_page)
            self.trace.listen(ev.KSM_MERGE_WITH_KSM_PAGE, self._merged_with_ksm_page)
        self._listeners.append(listener)

    def _passed(self, name: str, error: int | None = None) -> None:
        for listener in self._listeners:
            listener(name, error)

    def _merged_one_page(self, pfn: int, item: int, mm: str, error: int) -> None:
        name = "ksm_merge_one_page" if pfn == self.zero_page.pfn else "ksm_merge_with_ksm_page"
        self._passed(name, error)

    def _merged_with_ksm_page(self, kpfn: int, pfn: int, item: int, mm: str, error: int) -> None:
        self._passed("ksm_merge_with_ksm_page", error)

    @override
    async def remove_node_from_stable_tree(self, node: StableNode) -> None:
        for item in node.hlist():
            if item.hnext is not None:
                self._passed("ksm_remove_rmap_item")
        await super().remove_node_from_stable_tree(node)
