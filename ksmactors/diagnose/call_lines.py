"""Calls into the kernel as lines of a scenario: names for address spaces, regions and pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from ksmactors.diagnose.calls import VISIT, Call
from ksmactors.mm.address_space import AddressSpace
from ksmactors.mm.const import (
    MADV_DONTNEED,
    MADV_FREE,
    MADV_MERGEABLE,
    MADV_PAGEOUT,
    MADV_UNMERGEABLE,
    PAGE_SIZE,
)
from ksmactors.mm.content import TOKEN_BYTES, Content

ADVICE: Final = {
    MADV_DONTNEED: "dontneed", MADV_FREE: "free", MADV_MERGEABLE: "mergeable", MADV_PAGEOUT: "swapout",
    MADV_UNMERGEABLE: "unmergeable",
}  # fmt: skip


class Inexpressible(Exception):  # becomes a remark in the scenario
    """What of a call the language has no words for."""


@dataclass(slots=True)
class _Space:
    """An address space as a process of the scenario: its name, and its regions as (start, pages, name)."""

    name: str
    regions: list[tuple[int, int, str]] = field(default_factory=list)


class CallLines:
    """Gives names as they are needed. Calls must come in the order in which they began."""

    def __init__(self) -> None:
        self._spaces: dict[int, _Space] = {}
        self._started: list[str] = []

    def of(self, call: Call) -> tuple[list[str], str, str]:
        """The lines that must stand before it, its own line, and the task that does it.

        Raises:
            Inexpressible: the language has nothing for it.
        """
        name, given = call.name, call.arguments
        if name == VISIT:
            return [], "step 1", "ksmd"
        if name == "sysfs_store":
            return [], f"set {given['knob']} {given['text'].strip()}", "set"
        if name in ("migrate_frame", "offline_pages"):
            return self._of_frame(call)
        if name == "online_pages":
            return [], "online", ""
        if name in ("try_to_free_pages", "shrink_list"):
            pages = given["pages"] if name == "try_to_free_pages" else len(given["candidates"])
            return [], f"reclaim {pages * PAGE_SIZE}", "reclaim"
        if name == "swapoff":
            raise Inexpressible(f"{call.actor.name} calls {name}")
        mm: AddressSpace = given["oldmm"] if name == "fork" else given["mm"]
        before, space = self._space(mm)
        return before, getattr(self, f"_{name}")(space, call, given), "migrate" if name == "move_pages" else space.name

    # -- names --------------------------------------------------------------------------------------------------------

    def _space(self, mm: AddressSpace) -> tuple[list[str], _Space]:
        known = self._spaces.get(mm.number)
        if known is not None:
            return [], known
        space = self._new_space(mm.number, mm.name)
        return [f"proc {space.name}"], space

    def _new_space(self, number: int, name: str) -> _Space:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        plain = plain if not plain[:1].isdigit() else f"p{plain}"
        free = plain
        while free in self._started or free in ("ksmd", "migrate", "set", "reclaim"):
            free += "_"
        self._started.append(free)
        space = self._spaces[number] = _Space(free)
        return space

    def _page(self, space: _Space, address: int) -> tuple[str, int]:
        for start, pages, name in reversed(space.regions):
            index = (address - start) // PAGE_SIZE
            if 0 <= index < pages:
                return name, index
        raise Inexpressible(f"{space.name} touches {address:#x}, which is in no region")

    def _range(self, space: _Space, start: int, length: int) -> str:
        region, first = self._page(space, start)
        last, index = self._page(space, start + length - PAGE_SIZE)
        if last != region:
            raise Inexpressible(f"{space.name} has a call about several regions")
        return f"{space.name} {region} {first} {index + 1}"

    # -- calls --------------------------------------------------------------------------------------------------------

    def _mmap(self, space: _Space, call: Call, given: dict[str, Any]) -> str:
        if given["address"] not in (None, call.top):
            raise Inexpressible(f"{space.name} maps memory at an address of its choice")
        name = f"r{len(space.regions)}"
        space.regions.append((call.top, given["pages"], name))
        return f"map {space.name} {name} {given['pages']} node {given['nid']}"

    def _munmap(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        return f"munmap {self._range(space, given['start'], given['length'])}"

    def _madvise(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        return f"{ADVICE[given['advice']]} {self._range(space, given['start'], given['length'])}"

    def _mlock(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        return f"{'mlock' if given['on'] else 'munlock'} {self._range(space, given['start'], given['length'])}"

    def _mremap(self, space: _Space, call: Call, given: dict[str, Any]) -> str:
        _, region, first, end = self._range(space, given["start"], given["length"]).split()
        name = f"r{len(space.regions)}"
        space.regions.append((call.top, int(end) - int(first), name))
        return f"mremap {space.name} {region} {name} {first} {end}"

    def _fork(self, space: _Space, call: Call, given: dict[str, Any]) -> str:
        number = len(call.kernel.address_spaces) if call.child is None else call.child
        child = self._new_space(number, given["name"])
        child.regions = list(space.regions)
        return f"fork {space.name} {child.name}"

    def _mmput(self, space: _Space, _: Call, __: dict[str, Any]) -> str:
        return f"exit {space.name}"

    def _prctl_set_memory_merge(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        return f"prctl {space.name} {'on' if given['on'] else 'off'}"

    def _get_user_pages(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        region, index = self._page(space, given["address"])
        return f"pin {space.name} {region} {index}"

    _pin_user_pages = _get_user_pages

    def _user_write(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        region, index = self._page(space, given["address"])
        return f"fill {space.name} {region} {index} {_token(given['content'])}"

    def _user_read(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        region, index = self._page(space, given["address"])
        return f"read {space.name} {region} {index} {index + 1}"

    def _fault(self, space: _Space, call: Call, given: dict[str, Any]) -> str:
        if given["write"]:
            raise Inexpressible(f"{call.actor.name} faults for a write that is not seen")
        return self._user_read(space, call, given)

    def _move_pages(self, space: _Space, _: Call, given: dict[str, Any]) -> str:
        region, index = self._page(space, given["address"])
        return f"migrate{'' if given['move_all'] else '1'} {space.name} {region} {index} {given['nid']}"

    def _of_frame(self, call: Call) -> tuple[list[str], str, str]:
        """Compaction and memory hot-remove are about frames: a process that maps one stands for them."""
        if call.mapped is None:
            raise Inexpressible(f"{call.actor.name} calls {call.name} for memory that no process maps")
        mm, address = call.mapped
        before, space = self._space(mm)
        region, index = self._page(space, address)
        if call.name == "offline_pages":
            return before, f"offline {space.name} {region} {index}", ""
        return before, f"migrate {space.name} {region} {index} {call.arguments['nid']}", "migrate"


def _token(content: Content) -> int:
    token = int.from_bytes(content.data[:TOKEN_BYTES], "big")
    if content.data != content.data[:TOKEN_BYTES] * (len(content.data) // TOKEN_BYTES):
        raise Inexpressible("a page is written with a content that no token has")
    return token
