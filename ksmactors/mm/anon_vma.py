"""anon_vma: which vmas may map the anonymous pages of one origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from ksmactors.interleave.actor import RELEASE
from ksmactors.interleave.locks import RwSem
from ksmactors.mm.reports import lifetime

if TYPE_CHECKING:
    from ksmactors.interleave.conductor import Conductor
    from ksmactors.mm.address_space import Vma


class AnonVma:
    """struct anon_vma. `vmas` is its interval tree: by start, those with equal start in order of insertion, so
    that an ancestor's vma comes before its descendant's. The lock is the root's, as in the kernel."""

    __slots__ = ("alive", "number", "refcount", "root", "rwsem", "vmas")

    def __init__(self, conductor: Conductor, number: int, root: AnonVma | None) -> None:
        self.number = number
        self.root: AnonVma = root or self
        self.rwsem: RwSem = root.rwsem if root else RwSem(conductor, f"anon_vma {number}")
        self.vmas: list[Vma] = []
        self.refcount = 1
        self.alive = True

    @override
    def __repr__(self) -> str:
        return f"<AnonVma {self.number}>"

    def link(self, vma: Vma) -> None:
        """anon_vma_interval_tree_insert."""
        self.must_be_alive()
        position = len(self.vmas)
        while position and self.vmas[position - 1].pgoff > vma.pgoff:
            position -= 1
        self.vmas.insert(position, vma)

    def unlink(self, vma: Vma) -> None:
        """anon_vma_interval_tree_remove."""
        self.must_be_alive()
        self.vmas.remove(vma)

    def get(self) -> AnonVma:
        """get_anon_vma. Under a lock that keeps it alive, so it passes no point of its own."""
        self.must_be_alive()
        self.rwsem.conductor.touch(RELEASE, self, "refcount")
        self.refcount += 1
        return self

    def put(self) -> None:
        """put_anon_vma."""
        self.must_be_alive()
        self.rwsem.conductor.touch(RELEASE, self, "refcount")
        self.refcount -= 1
        if self.refcount == 0:
            self.rwsem.conductor.touch(RELEASE, self.rwsem, self.rwsem.vital)
            self.alive = False

    def must_be_alive(self) -> None:
        """Raise the finding if it has been freed."""
        if not self.alive:
            raise lifetime("anon_vma", f"anon_vma {self.number} is used after it was freed", self)
