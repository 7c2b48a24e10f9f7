"""A sequential model of KSM: which pages of which processes may share one frame."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from ksmactors.mm.content import Content

Place: TypeAlias = tuple[int, int]
"""A page of a process: (number of the address space, address)."""


class SharingModel:
    """Memory operations of processes, one at a time, and the merges that KSM may make then.

    It has no frames, trees, nodes or locks.

    Every page has a *version*. A write makes a new one; fork gives the child's page the parent's. Two pages may share
    memory if they have the same version. KSM may make one version of two if they have equal contents and the page that
    joins the other is in a mergeable region; nothing else makes one of two. So a write undoes a merge at once, and
    unadvised memory is never merged. How the shared memory goes through swap or to another node does not matter.
    """

    def __init__(self, zero: Content) -> None:
        self._zero = zero
        self._pages: dict[Place, tuple[int, Content]] = {}
        self._versions = 0
        self._merged: dict[int, int] = {}
        """The common version of each version that KSM has merged."""
        self._common: dict[Content, int] = {}

    def write(self, place: Place, content: Content) -> None:
        """A process writes a page."""
        self._versions += 1
        self._pages[place] = self._versions, content

    def fork(self, child: Place, parent: Place) -> None:
        """A page is copied to a child."""
        self._pages[child] = self._pages.get(parent, (0, self._zero))

    def move(self, old: Place, new: Place) -> None:
        """Move a page to another address."""
        self._pages[new] = self._pages.pop(old, (0, self._zero))

    def forget(self, place: Place) -> None:
        """Discard a page, or the page of a process that exits."""
        self._pages.pop(place, None)

    def has_content(self, place: Place) -> bool:
        """Whether the page has ever been written, or been the target of a copy or move."""
        return place in self._pages

    def content(self, place: Place) -> Content:
        """Return what a process would read there."""
        return self._pages.get(place, (0, self._zero))[1]

    def one_version(self, places: Iterable[Place]) -> bool:
        """Whether these pages may share memory."""
        return len({self._version(place) for place in places}) <= 1

    def merge(self, place: Place, others: Iterable[Place]) -> bool:
        """Merge a page with others; False if they are not equal, so that KSM must not."""
        places = [place, *others]
        contents = {self.content(one) for one in places}
        if len(contents) > 1:
            return False
        content = contents.pop()
        if content not in self._common:
            self._versions += 1
            self._common[content] = self._versions
        for one in places:
            version = self._version(one)
            if version != self._common[content]:
                self._merged[version] = self._common[content]
        return True

    def _version(self, place: Place) -> int:
        version = self._pages.get(place, (0, self._zero))[0]
        return self._merged.get(version, version)
