"""Which content each page has, and on which node it is: a few bytes a page, however large the pages' files are.

A content is known by the first half of its SHA-256: processors have instructions for that one, so it is the fastest
digest of the standard library that two different pages do not share. Each distinct content has a number (its place in
order of first sight; 0 are the zeros), each page has the number of its content in one array and its node in another.
Where pages are, is kept for runs of them: neighbours share one entry.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from heapq import nsmallest
from itertools import compress
from typing import Final

from ksmactors.mm.const import PAGE_SIZE

DIGEST_BYTES: Final = 16
"""Half of SHA-256: among 2**40 contents, two share a digest with a probability of 2**-49."""

BATCH_PAGES: Final = 256
"""Pages that are read at a time: 1 MiB."""

ZERO: Final = 0
"""The number of the content that is all zeros."""

VOLATILE: Final = (1 << 32) - 1
GONE: Final = VOLATILE - 1
"""In the place of a content's number: the page changed; the page was unmapped. Neither has a content that counts."""

Progress = Callable[[str, int, int | None], None]
"""Called with what is being read, how many pages of it have been, and of how many (None: unknown).

It may raise to stop the reading; the page index then has all that was read before.
"""


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """A file, a segment of a core or a mapping of a process: where neighbouring pages come from.

    `source` is the file's name or `pid N`; `source_number` its place on the command line, from 0. `name` is what is
    mapped there, may be empty; `start` the address (cores, processes) or offset (files) of its first byte.
    """

    source: str
    source_number: int
    name: str
    start: int


@dataclass(frozen=True, slots=True)
class PageSource:
    """What was read from a file, a core or a process: pages counted, and those left out with the reason why."""

    name: str
    kind: str
    pages: int
    left_out: dict[str, int]


@dataclass(frozen=True, slots=True)
class Owner:
    """How many pages of a region have some content, and the address or offset of the first of them."""

    region: MemoryRegion
    pages: int
    first: int


@dataclass(frozen=True, slots=True)
class SharedContent:
    """A content that more than one page has. `owners`: most pages first."""

    number: int
    digest: str
    pages: int
    pages_by_node: tuple[int, ...]
    owners: tuple[Owner, ...]

    @property
    def zeros(self) -> bool:
        return self.number == ZERO


def digest_of(page: bytes | memoryview) -> bytes:
    """The name of a page's content."""
    return sha256(page).digest()[:DIGEST_BYTES]


class Span:
    """The pages of one process, to find them again by address, and which of them have been found."""

    def __init__(self, first: int, end: int, run_first: array[int], run_address: array[int]) -> None:
        self.all: Final = range(first, end)
        self._first = first
        self._ends = [*run_first[1:], end]
        self._run_first = run_first
        self._run_address = run_address
        self._found = bytearray(end - first)

    def index(self, address: int) -> int | None:
        """The number of the page at an address in the page index, if it was added."""
        run = bisect_right(self._run_address, address) - 1
        if run < 0:
            return None
        index = self._run_first[run] + (address - self._run_address[run]) // PAGE_SIZE
        if index >= self._ends[run]:
            return None
        self._found[index - self._first] = 1
        return index

    def unseen(self) -> Iterator[int]:
        """The numbers of the pages outside of what was asked for."""
        return (self._first + place for place, found in enumerate(self._found) if not found)


class PageIndex:
    """All pages seen, in the order in which ksmd would come to them."""

    def __init__(self, nodes: int) -> None:
        self.nodes: Final = nodes
        self.regions: Final[list[MemoryRegion]] = []
        self._numbers: Final[dict[bytes, int]] = {digest_of(bytes(PAGE_SIZE)): ZERO}
        self._content: Final = array("I")
        self._node: Final = bytearray()
        self._run_first: Final = array("Q")
        self._run_address: Final = array("Q")
        self._run_region: Final = array("I")
        self.late = 0
        """Pages that were there at a second look only."""

    # -- filling ------------------------------------------------------------------------------------------------

    def add_region(self, region: MemoryRegion) -> None:
        """From now on pages are of this region."""
        self.regions.append(region)

    def __len__(self) -> int:
        """Pages added so far."""
        return len(self._content)

    def add(self, pages: memoryview, address: int, nodes: bytes) -> None:
        """Add neighbouring pages of the last region.

        Args:
            pages: their bytes, a multiple of 4096.
            address: of the first of them, bytes.
            nodes: the node of each.
        """
        self._extend_run(address)
        numbers, append = self._numbers, self._content.append
        for start in range(0, len(pages), PAGE_SIZE):
            digest = sha256(pages[start : start + PAGE_SIZE]).digest()[:DIGEST_BYTES]
            append(numbers.setdefault(digest, len(numbers)))
        self._node.extend(nodes)

    def _extend_run(self, address: int) -> None:
        region, index = len(self.regions) - 1, len(self._content)
        if self._run_first and self._run_region[-1] == region:
            expected = self._run_address[-1] + (index - self._run_first[-1]) * PAGE_SIZE
            if address == expected:
                return
        self._run_first.append(index)
        self._run_address.append(address)
        self._run_region.append(region)

    # -- a second look ------------------------------------------------------------------------------------------

    def span(self, first: int, first_run: int) -> Span:
        """What was added since the page index had `first` pages in `first_run` runs; its addresses ascend."""
        return Span(first, len(self._content), self._run_first[first_run:], self._run_address[first_run:])

    @property
    def runs(self) -> int:
        """Runs of neighbouring pages so far."""
        return len(self._run_first)

    def look_again(self, span: Span, pages: memoryview, address: int) -> None:
        """See neighbouring pages a second time: those that have changed or were not there before are volatile."""
        for start in range(0, len(pages), PAGE_SIZE):
            index = span.index(address + start)
            if index is None:
                self.late += 1
            elif self._numbers.get(digest_of(pages[start : start + PAGE_SIZE])) != self._content[index]:
                self._content[index] = VOLATILE

    def forget_unseen(self, span: Span) -> int:
        """Take those pages out that a complete second look did not come to; how many they are."""
        gone = 0
        for index in span.unseen():
            self._content[index] = GONE
            gone += 1
        return gone

    # -- asking -------------------------------------------------------------------------------------------------

    @property
    def volatile(self) -> int:
        """Pages that changed from one look to the next, or were there at the second one only."""
        return self._content.count(VOLATILE) + self.late

    @property
    def pages(self) -> int:
        """All pages that count, volatile ones included."""
        return len(self._content) - self._content.count(GONE) + self.late

    @property
    def zero_pages(self) -> int:
        return self._content.count(ZERO)

    def counted(self, span: Span) -> int:
        """How many pages of a span count."""
        return sum(1 for index in span.all if self._content[index] != GONE)

    def multiplicities(self, nid: int | None = None, *, zeros: bool = True) -> Counter[int]:
        """How many contents there are once, twice, three times ...: among the pages of one node, or among all.

        `zeros`: whether pages of zeros are among them.
        """
        counts = self._counts(nid)
        if not zeros:
            del counts[ZERO]
        return Counter(counts.values())

    def _counts(self, nid: int | None) -> Counter[int]:
        """How many pages have which content; volatile ones have none."""
        counts = Counter(self._content if nid is None else compress(self._content, self._is_on(nid)))
        del counts[VOLATILE], counts[GONE]
        return counts

    def _is_on(self, nid: int) -> bytes:
        table = bytearray(256)
        table[nid] = 1
        return bytes(self._node).translate(bytes(table))

    def pages_by_node(self) -> list[int]:
        """How many pages of settled content each node has."""
        return [self._counts(nid).total() for nid in range(self.nodes)]

    def most_shared(self, top: int) -> list[SharedContent]:
        """The contents that most pages have, at most `top` of them; among equals zeros, then what was seen first."""
        shared = ((number, count) for number, count in self._counts(None).items() if count > 1)
        best = nsmallest(top, shared, key=lambda item: (-item[1], item[0]))
        wanted = {number for number, _ in best}
        names = {number: digest.hex() for digest, number in self._numbers.items() if number in wanted}
        owners = self._owners([number for number, _ in best])
        by_node = [self._count_some(wanted, nid) for nid in range(self.nodes)]
        return [
            SharedContent(number, names[number], count, tuple(on[number] for on in by_node), owners[number])
            for number, count in best
        ]

    def _count_some(self, wanted: set[int], nid: int) -> Counter[int]:
        return Counter(filter(wanted.__contains__, compress(self._content, self._is_on(nid))))

    def _owners(self, numbers: Iterable[int]) -> dict[int, tuple[Owner, ...]]:
        found: dict[int, dict[int, Owner]] = {number: {} for number in numbers}
        for region, address, content in self._runs():
            for number, owners in found.items():
                pages = content.count(number)
                if not pages:
                    continue
                known = owners.get(region)
                if known is None:
                    owners[region] = Owner(self.regions[region], pages, address + content.index(number) * PAGE_SIZE)
                else:
                    owners[region] = Owner(known.region, known.pages + pages, known.first)
        return {
            number: tuple(sorted(owners.values(), key=lambda owner: -owner.pages)) for number, owners in found.items()
        }

    def _runs(self) -> Iterator[tuple[int, int, array[int]]]:
        """Each run: its region's number, the address of its first page, the contents of its pages."""
        ends = [*self._run_first[1:], len(self._content)] if self._run_first else []
        for first, end, address, region in zip(self._run_first, ends, self._run_address, self._run_region, strict=True):
            yield region, address, self._content[first:end]
