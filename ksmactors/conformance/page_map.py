"""The pages of all processes with their names, and which of them share frames.

Names outlive their objects: KSM's structures keep pointing at pages of processes that have exited (shown with a `!`),
and at regions that were unmapped or moved (shown under the name they had).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from typing_extensions import override

from ksmactors.mm.const import PAGE_SIZE

if TYPE_CHECKING:  # a driver of a real kernel, which is started on an emulated processor, does without the emulator
    from ksmactors.ksm.kernel import Ksm
    from ksmactors.mm.address_space import AddressSpace


class PageName(NamedTuple):
    """PROCESS.REGION.INDEX; `page` is the index."""

    process: str
    region: str
    page: int

    @override
    def __str__(self) -> str:
        return f"{self.process}.{self.region}.{self.page}"


class PageState(NamedTuple):
    """The state of an address: `kind` is ksm, anon, zero, none, swap, moving (a migration entry), or hwpoison (an entry
    that names a frame whose memory has failed); `pfn` and `nid` are -1 without a frame. `hwpoison`: the memory of the
    mapped frame has failed."""

    kind: str
    pfn: int = -1
    nid: int = -1
    hwpoison: bool = False

    @property
    def mark(self) -> str:
        """What is added to the kind in results."""
        return " hwpoison" if self.hwpoison else ""


NONE, SWAP, MOVING, ZERO, HWPOISON = (PageState(kind) for kind in ("none", "swap", "moving", "zero", "hwpoison"))
"""The states without a frame of the page's own."""


class NamedRegion(NamedTuple):
    """Pages of a process that were mapped together. `start` in bytes."""

    name: str
    start: int
    pages: int

    @property
    def end(self) -> int:
        """The address behind its last page."""
        return self.start + self.pages * PAGE_SIZE


@dataclass(slots=True)
class NamedPages:
    """The names of a process's pages. `regions` are those it can name now, `named` all it ever had, oldest first."""

    name: str
    regions: dict[str, NamedRegion] = field(default_factory=dict)
    named: list[NamedRegion] = field(default_factory=list)
    exited: bool = False
    _known: dict[tuple[int, int], list[PageName]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Names by the range of addresses they were asked for: the same pages are shown after every step."""

    @property
    def label(self) -> str:
        """Its name in results."""
        return f"{self.name}!" if self.exited else self.name

    def add(self, region: NamedRegion) -> None:
        """From now on the region's pages bear its name."""
        self.regions[region.name] = region
        self.named.append(region)
        self._known.clear()

    def page(self, address: int) -> PageName:
        """Return the name of the page at `address` (bytes): of the latest region that was there."""
        return self.pages(address, address + PAGE_SIZE)[0]

    def pages(self, start: int, end: int) -> list[PageName]:
        """Return the names of the pages from one address to another (bytes), each as `page` does."""
        names = self._known.get((start, end))
        if names is None or names[0].process != self.label:
            names = self._known[start, end] = list(self._looked_up(start, end))
        return names

    def _looked_up(self, start: int, end: int) -> Iterator[PageName]:
        """Yield the names; look a region up once for the pages that have their names of it."""
        while start < end:
            stop = end
            for region in reversed(self.named):
                if region.start <= start < region.end:
                    break
                if start < region.start < stop:
                    stop = region.start
            else:
                raise LookupError(f"no region of {self.name} was ever at address {start:#x}")
            stop = min(stop, region.end)
            label, name, first = self.label, region.name, region.start
            for address in range(start, stop, PAGE_SIZE):
                yield PageName(label, name, (address - first) // PAGE_SIZE)
            start = stop


@dataclass(slots=True)
class ScenarioProcess(NamedPages):
    """A process of a scenario on the emulator."""

    mm: AddressSpace = field(kw_only=True)


class PageMap:
    """The processes of one run of a scenario, in the order of their creation."""

    def __init__(self, kernel: Ksm) -> None:
        self.kernel = kernel
        self._all: list[ScenarioProcess] = []
        self._made_of: list[object] = []
        """What `frames` was made of last; `_groups` are its lines. Most steps of ksmd change none."""
        self._groups: list[str] = []

    def add(self, process: ScenarioProcess) -> None:
        """Take a new process in."""
        self._all.append(process)

    def replace(self, process: ScenarioProcess, new: ScenarioProcess) -> None:
        """A process has executed a program, and is a new one in its place."""
        self._all.insert(self._all.index(process) + 1, new)

    @property
    def living(self) -> list[ScenarioProcess]:
        """Those that have not exited."""
        return [process for process in self._all if not process.exited]

    def of_name(self, name: str) -> ScenarioProcess | None:
        """The living process of that name."""
        return next((process for process in self.living if process.name == name), None)

    def of_mm(self, mm: AddressSpace) -> ScenarioProcess | None:
        """The process that an address space belongs, or belonged, to; None while its fork is under way."""
        for process in self._all:
            if process.mm is mm:
                return process
        return None

    def pages(self) -> Iterator[tuple[PageName, PageState]]:
        """Yield every mapped page of the living processes, with its state."""
        for process in self.living:
            mm = process.mm
            for vma in mm.vmas.values():
                states = [self._page_state(mm, address) for address in range(vma.start, vma.end, PAGE_SIZE)]
                yield from zip(process.pages(vma.start, vma.end), states, strict=True)

    def _page_state(self, mm: AddressSpace, address: int) -> PageState:
        pte = self.kernel.page_at(mm, address)
        if pte is None:
            return HWPOISON if address in mm.hwpoison_ptes else SWAP if address in mm.swap_ptes else NONE
        if pte.migration:
            return MOVING
        frame = pte.frame
        if frame is self.kernel.zero_page:
            return ZERO
        return PageState("ksm" if frame.is_ksm else "anon", frame.pfn, frame.nid, frame.hwpoison)

    def frames(self) -> list[str]:
        """Return the groups of pages that share a frame: the lines of the operation `frames`."""
        made_of = self._raw()
        if made_of != self._made_of:
            self._made_of, self._groups = made_of, partition(self.pages())
        return self._groups

    def _raw(self) -> list[object]:
        """Return all that names and states of pages depend on: objects, which are compared much faster than those."""
        raw: list[object] = [list(node.poisoned) for node in self.kernel.nodes]
        for process in self.living:
            mm = process.mm
            raw += process.label, len(process.named), list(mm.swap_ptes), list(mm.hwpoison_ptes)
            for vma in mm.vmas.values():
                ptes = list(map(mm.ptes.get, range(vma.start, vma.end, PAGE_SIZE)))
                raw += vma.start, vma.end, ptes, [pte.frame.mapping for pte in ptes if pte is not None]
        return raw

    def sharers(self, process: ScenarioProcess, address: int) -> str:
        """The group of the page at `address`, as in `frames`, on one line."""
        return group_of(process.page(address), self.pages())


def partition(pages: Iterable[tuple[PageName, PageState]]) -> list[str]:
    """Return the groups of mapped pages that share a frame: the lines of the operation `frames`."""
    frames: dict[int, tuple[PageState, list[PageName]]] = {}
    elsewhere: dict[str, list[PageName]] = {"zero": [], "none": [], "swap": [], "moving": [], "hwpoison": []}
    for name, sight in pages:
        if sight.kind in elsewhere:
            elsewhere[sight.kind].append(name)
        else:
            frames.setdefault(sight.pfn, (sight, []))[1].append(name)
    alone: dict[tuple[int, str], list[PageName]] = {}
    lines: list[str] = []
    for sight, names in frames.values():
        if sight.kind == "ksm" or len(names) > 1:
            lines.append(_group(sight.kind + sight.mark, names, sight.nid))
        else:
            alone.setdefault((sight.nid, sight.mark), []).extend(names)
    lines += [_group("alone" + mark, alone[nid, mark], nid) for nid, mark in sorted(alone)]
    lines += [_group(kind, names) for kind, names in elsewhere.items() if names]
    return lines


def group_of(page: PageName, pages: Iterable[tuple[PageName, PageState]]) -> str:
    """Return the group of one of the pages, as in `partition`."""
    seen = list(pages)
    sight = dict(seen)[page]
    if sight.pfn < 0:
        names = [page] if sight.kind == "none" else [name for name, other in seen if other.kind == sight.kind]
        return _group(sight.kind, names)
    names = [name for name, other in seen if other.pfn == sight.pfn]
    kind = "alone" if sight.kind == "anon" and len(names) == 1 else sight.kind
    return _group(kind + sight.mark, names, sight.nid)


def _group(kind: str, names: list[PageName], nid: int | None = None) -> str:
    node = "" if nid is None else f" node={nid}"
    return f"{kind} n={len(names)}{node}: {' '.join(joined(names))}"


def joined(names: Iterable[PageName]) -> Iterator[str]:
    """Yield names, with neighbours of one region joined to a range: A.r.0-3."""
    run: list[PageName] = []
    for name in names:
        if run:
            process, region, page = run[-1]
            if name != (process, region, page + 1):
                yield _range(run)
                run = []
        run.append(name)
    if run:
        yield _range(run)


def _range(run: list[PageName]) -> str:
    return str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1].page}"
