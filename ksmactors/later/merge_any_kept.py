"""PR_SET_MEMORY_MERGE outlives exec, v6.7 (3c6f33b7273a), and ksmd (590c03ca6a3f)."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.later.merge_any import MergeAny
from ksmactors.mm.address_space import AddressSpace


class MergeAnyExec(MergeAny):
    """The new program of an exec is registered, and merges all it maps, if the old one did.

    Before, a service manager could not switch merging on for what it starts: exec took it back.
    """

    @override
    async def ksm_execve(self, mm: AddressSpace, oldmm: AddressSpace) -> int:
        if self.merges_any(oldmm):
            self._merging_any.add(mm.number)
            failed = await self.ksm_enter(mm)
            if failed:
                return failed
        return await super().ksm_execve(mm, oldmm)


class MergeAnyKept(MergeAnyExec):
    """A process that ksmd drops because it has no mappings keeps merging all it maps: its next mmap registers it again.

    Before, ksmd took the setting away with the slot. Whether a new program merged was a race between its first mmap and
    a whole scan of ksmd.
    """

    @override
    def forget_registration(self, mm: AddressSpace) -> None:
        merging = self.merges_any(mm)
        super().forget_registration(mm)
        if merging:
            self._merging_any.add(mm.number)

    @override
    async def ksm_process_mmap(self, mm: AddressSpace) -> int:
        """The failure of a registration is ignored: the next mapping tries again."""
        if self.merges_any(mm) and not mm.registered:
            await self.ksm_enter(mm)
        return await super().ksm_process_mmap(mm)
