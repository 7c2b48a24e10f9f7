"""A repair of ours for the fork half of H4 of the field guide; no kernel has it."""

from __future__ import annotations

from ksmactors.ksm.kernel import Ksm
from ksmactors.ksm.structs import KSM_RUN_UNMERGE, MmSlot


class RunUnderListLock(Ksm):
    """Whether run=2 is under way is asked while the list of address spaces is locked.

    v3.9 asks before. A fork that read run as 1 just before 2 was written puts the child behind the cursor, where
    unmerging has passed already: its KSM pages survive run=2. The cursor is set under the same lock after run was
    stored, so under it the answer cannot be out of date.
    """

    async def insert_slot(self, slot: MmSlot, *, at_end: bool) -> None:
        await super().insert_slot(slot, at_end=bool(self.ksm_run & KSM_RUN_UNMERGE))
