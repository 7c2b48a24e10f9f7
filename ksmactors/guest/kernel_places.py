"""Where a place of scenarios is in the running kernel, and where that kernel has what holds need."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from ksmactors.conformance.btf import LayoutError
from ksmactors.conformance.kernel_memory import KALLSYMS, KernelMemory

SLEEP: Final = "schedule_timeout_uninterruptible"

_NAMED: Final = re.compile(
    r"(?:(?P<release>[\w.+~-]+):)?(?P<function>\w+)(?:\+(?P<offset>0x[0-9a-f]+))?(?:<(?P<caller>\w+)>?)?"
    r"(?:\?(?P<rule>\w+):(?P<member>\w+)(?::(?P<nth>\d+))?)?"
)

MEMBERS: Final = {"kpfn": ("ksm_stable_node", "stable_node"), "mapping": ("page", "folio")}
"""The members by which instructions are found, and the structures that have them."""

Decode = Callable[[bytes, str, int, int], int | None]
"""Finds an instruction in the code of a function: `instructions.find`, on the host."""


class Instruction(NamedTuple):
    """An instruction, and the function it must be called from, as [start, end), if that matters."""

    address: int
    caller: tuple[int, int] | None


class KernelPlaces:
    """The functions of the running kernel, and the places in them.

    Raises:
        LayoutError: tasks of this kernel cannot be held; the message says why.
    """

    def __init__(
        self, memory: KernelMemory, release: str, version: str, decode: Decode, kallsyms: Path = KALLSYMS
    ) -> None:
        if "PREEMPT" not in version:
            raise LayoutError("this kernel does not count what forbids a task to sleep (it has no CONFIG_PREEMPTION)")
        self.release = release
        self._memory, self._decode = memory, decode
        self._kallsyms = kallsyms.read_bytes()
        self.needed = self._needed(memory)

    def _needed(self, memory: KernelMemory) -> dict[str, int]:
        """Return what `holds.HeldKernel` has."""
        task = memory.btf.layout("task_struct")
        found = {"pid": task["pid"], "rcu": task["rcu_read_lock_nesting"], "state": task["__state"]}
        if (hot := self._address("pcpu_hot")) is not None:  # v6.2 to v6.14
            layout = memory.btf.layout("pcpu_hot")
            found |= {"task": hot + layout["current_task"], "preempt": hot + layout["preempt_count"]}
        else:
            found |= {"task": self._symbol("current_task"), "preempt": self._symbol("__preempt_count")}
        return found | {"sleep": self._symbol(SLEEP)}

    def _symbol(self, name: str) -> int:
        if (address := self._address(name)) is None:
            raise LayoutError(f"this kernel has no symbol {name}")
        return address

    def _line(self, name: str) -> re.Match[bytes] | None:
        """Return the line of a symbol of the kernel itself, also if the compiler has made a variant of the function."""
        return re.search(
            rb"^([0-9a-f]+) \w %b(?:\.(?:constprop|isra)[\w.]*)?$" % name.encode(), self._kallsyms, re.MULTILINE
        )

    def _address(self, name: str) -> int | None:
        line = self._line(name)
        return None if line is None else int(line[1], 16)

    def spot(self, names: list[str], caller: list[str] | None) -> Instruction | None:
        """Return the first of the names that the kernel has; None if it has none of them, or not the caller."""
        for name in names:
            found = _NAMED.fullmatch(name)
            if found is None or (found["release"] and not self._is_release(found["release"])):
                continue
            start = self._address(found["function"])
            within = self._range(found["caller"]) if found["caller"] else None
            if start is None or (found["caller"] and within is None):
                continue
            if caller is not None:
                within = next((inside for one in caller if (inside := self._range(one)) is not None), None)
                if within is None:
                    return None
            offset = int(found["offset"] or "0", 16)
            if found["rule"]:
                there = self._found(found["function"], found["rule"], found["member"], int(found["nth"] or 1))
                if there is None:
                    continue
                offset = there
            return Instruction(start + offset, within)
        return None

    def _found(self, function: str, rule: str, member: str, nth: int) -> int | None:
        """Return the offset of an instruction that a rule describes; None if this build does not have it."""
        within = self._range(function)
        if within is None:
            return None
        try:
            layout = self._memory.btf.layout(*MEMBERS[member], having=member)
            code = self._memory.read(within[0], within[1] - within[0])
        except LayoutError:
            return None
        return self._decode(code, rule, layout[member], nth)

    def _is_release(self, release: str) -> bool:
        rest = self.release.removeprefix(release)
        return rest != self.release and not rest[:1].isdigit()

    def _range(self, function: str) -> tuple[int, int] | None:
        """Return where a function begins, and where the next one does: the lines are in the order of addresses."""
        line = self._line(function)
        if line is None:
            return None
        start = int(line[1], 16)
        following = re.compile(rb"^([0-9a-f]+) ", re.MULTILINE).finditer(self._kallsyms, line.end())
        return start, next((end for found in following if (end := int(found[1], 16)) > start), start)
