"""The scan-time advisor, v6.8: pages_to_scan follows from how long a full scan may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from typing_extensions import override

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import WRITE
from ksmactors.interleave.durations import NS_PER_MS, NS_PER_S
from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import RmapItem
from ksmactors.later.kstrtox import unsigned
from ksmactors.mm.const import EINVAL
from ksmactors.mm.frame import Frame
from ksmactors.mm.hardware import Hardware
from ksmactors.seams import seam

MODES: Final = ("none", "scan-time")


DEFAULT_PAGES_TO_SCAN: Final = 100
MIN_CPU: Final = 10
"""Per cent of a CPU that the advisor lets ksmd have in any case."""

OLD_WEIGHT: Final = 70
"""Per cent of the last change in the next: an exponentially weighted average."""


class Advisor(Ksm):
    """With advisor_mode scan-time, each full scan ends by setting pages_to_scan for the next.

    It aims at `advisor_target_scan_time` seconds a scan, within bounds of pages and of CPU. The CPU time of ksmd is
    taken to be the virtual time that its batches last, what others did meanwhile included.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.ksm_advisor = MODES[0]
        self.ksm_advisor_max_cpu = 70
        self.ksm_advisor_min_pages_to_scan = 500
        self.ksm_advisor_max_pages_to_scan = 30000
        self.ksm_advisor_target_scan_time = 200
        self._scan_started_ns = 0
        self._cpu_ns = 0
        self._reset()

    def _reset(self) -> None:
        self._last_scan_time = 0
        self._change = 0

    @override
    async def ksm_do_scan(self, pages: int) -> None:
        started = self.conductor.now
        await super().ksm_do_scan(pages)
        self._cpu_ns += self.conductor.now - started

    @override
    async def start_scan(self) -> bool:
        self._scan_started_ns = self.conductor.now
        return await super().start_scan()

    @override
    async def scan_get_next_rmap_item(self) -> tuple[RmapItem, Frame] | None:
        full_scans = self.ksm_scan.seqnr
        found = await super().scan_get_next_rmap_item()
        if self.ksm_scan.seqnr != full_scans and self.ksm_advisor != MODES[0]:
            self.scan_time_advisor()
        return found

    @seam
    def scan_time_advisor(self) -> None:
        """Compute the next pages_to_scan. All divisions are whole-number; what is divided by later is at least 1."""
        scan_time = max(1, (self.conductor.now - self._scan_started_ns) // NS_PER_S)
        cpu_percent = max(1, 100 * (self._cpu_ns // NS_PER_MS) // (scan_time * 1000))
        self._cpu_ns = 0
        factor = max(1, 100 * self.ksm_advisor_target_scan_time // scan_time)
        change = max(1, 100 * scan_time // (self._last_scan_time or scan_time))
        change = (OLD_WEIGHT * self._change + (100 - OLD_WEIGHT) * change) // 100
        pages = self.ksm_thread_pages_to_scan * 100 // factor * change // 100
        pages_per_percent = max(1, self.ksm_thread_pages_to_scan // cpu_percent)
        pages = min(pages, pages_per_percent * self.ksm_advisor_max_cpu)
        pages = max(pages, pages_per_percent * MIN_CPU)
        pages = min(pages, self.ksm_advisor_max_pages_to_scan)
        self._last_scan_time, self._change = scan_time, change
        self.ksm_thread_pages_to_scan = pages
        self.emit(ev.KSM_ADVISOR, scan_time, pages, cpu_percent)

    # -- sysfs --------------------------------------------------------------------------------------------------------

    @override
    def sysfs_files(self) -> dict[str, bool]:
        return super().sysfs_files() | dict.fromkeys(("advisor_mode", *_NUMBERS), True)

    @override
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        return super().sysfs_values() | {
            "advisor_mode": self._show_mode,
            "advisor_max_cpu": lambda: self.ksm_advisor_max_cpu,
            "advisor_min_pages_to_scan": lambda: self.ksm_advisor_min_pages_to_scan,
            "advisor_max_pages_to_scan": lambda: self.ksm_advisor_max_pages_to_scan,
            "advisor_target_scan_time": lambda: self.ksm_advisor_target_scan_time,
        }

    def _show_mode(self) -> str:
        return " ".join(f"[{mode}]" if mode == self.ksm_advisor else mode for mode in MODES)

    @override
    async def knob_store(self, knob: str, text: str) -> int:
        if knob == "advisor_mode":
            return await self.advisor_mode_store(text.removesuffix("\n"))
        if knob in _NUMBERS:
            value = unsigned(text)
            if value < _NUMBERS[knob]:
                return -EINVAL
            await self.conductor.point(WRITE, self, knob)
            setattr(self, f"ksm_{knob}", value)
            return 0
        if knob == "pages_to_scan" and self.ksm_advisor != MODES[0]:
            return -EINVAL
        return await super().knob_store(knob, text)

    @seam
    async def advisor_mode_store(self, mode: str) -> int:
        """advisor_mode: a switch to scan-time starts with the least pages, a switch back with the usual 100."""
        if mode not in MODES:
            return -EINVAL
        await self.conductor.point(WRITE, self, "advisor_mode")
        if mode != self.ksm_advisor:
            self.ksm_advisor = mode
            self._reset()
            on = mode != MODES[0]
            self.ksm_thread_pages_to_scan = self.ksm_advisor_min_pages_to_scan if on else DEFAULT_PAGES_TO_SCAN
        return 0


_NUMBERS: Final = {
    "advisor_max_cpu": 0,
    "advisor_min_pages_to_scan": 0,
    "advisor_max_pages_to_scan": 0,
    "advisor_target_scan_time": 1,
}
"""The knobs that are numbers, and the least that each takes."""
