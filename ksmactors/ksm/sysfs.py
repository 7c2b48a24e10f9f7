"""/sys/kernel/mm/ksm: parsing, errnos and side effects of every file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ksmactors.events import catalogue as ev
from ksmactors.interleave.actor import RELEASE, WRITE
from ksmactors.ksm.shared import SharedState
from ksmactors.ksm.structs import KSM_RUN_MERGE, KSM_RUN_STOP, KSM_RUN_UNMERGE
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import EACCES, EBUSY, EINVAL, ENOENT, ENOMEM, ERANGE
from ksmactors.seams import part, seam

UINT_MAX: Final = (1 << 32) - 1
ULONG_MAX: Final = (1 << 64) - 1

_NUMBER: Final = re.compile(r"\+?[0-9]+\n?")


def kstrtoul(text: str) -> int:
    """Parse base 10: one leading '+' and one trailing newline are allowed, blanks are not. -EINVAL or -ERANGE."""
    if not _NUMBER.fullmatch(text):
        return -EINVAL
    value = decimal(text)
    return value if value <= ULONG_MAX else -ERANGE


def decimal(text: str) -> int:
    """The number that a text of digits stands for, which may have a sign before and a newline behind it.

    Whatever has more digits than any limit of the kernel's comes out as 2^128 or -2^128: Python refuses to convert
    thousands of digits.
    """
    digits = text.strip("+-\n").lstrip("0")
    value = int(digits or "0") if len(digits) < 30 else 1 << 128
    return -value if text.startswith("-") else value


class Sysfs(SharedState):
    """The files of the group "ksm". Writers of `run` and `merge_across_nodes` take ksm_thread_mutex."""

    @seam
    def sysfs_files(self) -> dict[str, bool]:
        """The files of this kernel, in the order of its attribute list, and whether each can be written."""
        return {
            "sleep_millisecs": True,
            "pages_to_scan": True,
            "run": True,
            "pages_shared": False,
            "pages_sharing": False,
            "pages_unshared": False,
            "pages_volatile": False,
            "full_scans": False,
            "merge_across_nodes": True,
        }

    @seam
    def sysfs_values(self) -> dict[str, Callable[[], int | str]]:
        """How each file is shown."""
        return {
            "sleep_millisecs": lambda: self.ksm_thread_sleep_millisecs,
            "pages_to_scan": lambda: self.ksm_thread_pages_to_scan,
            "run": lambda: self.ksm_run,
            "pages_shared": lambda: self.ksm_pages_shared,
            "pages_sharing": lambda: self.ksm_pages_sharing,
            "pages_unshared": lambda: self.ksm_pages_unshared,
            "pages_volatile": lambda: self.pages_volatile,
            "full_scans": lambda: self.ksm_scan.seqnr,
            "merge_across_nodes": lambda: self.ksm_merge_across_nodes,
        }

    @seam
    def ksm_stat(self, mm: AddressSpace) -> dict[str, int | str]:
        """What /proc/PID/ksm_stat shows of a process: no such file in v3.9."""
        return {}

    @seam
    def sysfs_show(self, knob: str) -> str:
        """What reading a file gives, without the newline. KeyError: there is no such file. No lock is taken."""
        return str(self.sysfs_values()[knob]())

    @seam
    async def sysfs_store(self, knob: str, text: str) -> int:
        """Write a file: 0, or -ENOENT (no such file), -EACCES (read-only), -EINVAL, -ERANGE, -EBUSY, -ENOMEM."""
        writable = self.sysfs_files().get(knob)
        if writable is None:
            result = -ENOENT
        elif not writable:
            result = -EACCES
        else:
            result = await self.knob_store(knob, text)
        self.emit(ev.SYSFS_WRITE, knob, text, result)
        return result

    @seam
    async def knob_store(self, knob: str, text: str) -> int:
        """The store function of a writable file."""
        value = kstrtoul(text)
        if knob == "run":
            return await self.run_store(value)
        if knob == "merge_across_nodes":
            return await self.merge_across_nodes_store(value)
        if not 0 <= value <= UINT_MAX:
            return -EINVAL
        await self.conductor.point(WRITE, self, knob)
        if knob == "pages_to_scan":
            self.ksm_thread_pages_to_scan = value
        else:
            self.ksm_thread_sleep_millisecs = value
        return 0

    @seam
    async def run_store(self, value: int) -> int:
        """run: 0 stops ksmd, 1 starts it, 2 stops it and unmerges everything. Equal to what it is: nothing at all."""
        if not KSM_RUN_STOP <= value <= KSM_RUN_UNMERGE:
            return -EINVAL
        await self.ksm_thread_mutex.lock()
        await self.wait_while_offlining()
        result = 0
        if self.ksm_run != value:
            await self.write_ksm_run(value)
            if value == KSM_RUN_UNMERGE:
                result = await self.unmerge_and_remove_all_rmap_items()
                if result:
                    self.conductor.touch(RELEASE, self, "ksm_run")
                    self.ksm_run = KSM_RUN_STOP
        await self.ksm_thread_mutex.unlock()
        if value == KSM_RUN_MERGE:
            self.ksm_thread_wait.wake_all()
        return result

    @seam
    async def merge_across_nodes_store(self, value: int) -> int:
        """merge_across_nodes: can change only while nothing is shared and no stable node is left; else -EBUSY."""
        if value < 0:
            return value
        if value > 1:
            return -EINVAL
        await self.ksm_thread_mutex.lock()
        await self.wait_while_offlining()
        result = 0
        if self.ksm_merge_across_nodes != value:
            if self.ksm_pages_shared or await self.remove_all_stable_nodes():
                result = -EBUSY
            elif not self.alloc_roots():
                result = -ENOMEM
            else:
                self.set_merge_across_nodes(value)
        await self.ksm_thread_mutex.unlock()
        return result

    @part
    def set_merge_across_nodes(self, value: int) -> None:
        """The knob, and how many of the trees are in use from now on."""
        self.ksm_merge_across_nodes = value
        self.ksm_nr_node_ids = 1 if value else len(self.nodes)

    @seam
    def alloc_roots(self) -> bool:
        """Tree roots for all nodes, once and for all; False: no memory (never, without fault injection)."""
        self.roots_allocated = self.roots_allocated or not self.inject("alloc_roots")
        return self.roots_allocated
