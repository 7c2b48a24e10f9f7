"""R5, *ksm: stop hotremove lockdep warning*: hot-remove shuts ksmd out with a bit instead of the mutex."""

from __future__ import annotations

from typing import Final

from typing_extensions import override

from ksmactors.interleave.locks import RwSem
from ksmactors.ksm.kernel import Ksm
from ksmactors.mm.hardware import Hardware
from ksmactors.mm.memory_hotplug import MEM_GOING_OFFLINE, MEM_OFFLINE


class BeforeHotremoveLockdep(Ksm):
    """Memory hot-remove holds ksm_thread_mutex from the first of its notifications to the last.

    Before: the callback took the mutex when memory was about to go offline, and released it when the memory was
    offline, or the attempt was cancelled. After: a bit in ksm_run, set and cleared under the mutex; an actor that takes
    the mutex to work on the trees releases it again and waits while the bit is set.

    What a user saw: lockdep's report of a possible deadlock. Each notification is made with the semaphore of the
    notifier chain held for read. So the mutex is taken inside the semaphore the first time, and the semaphore inside
    the mutex the second time. (The lock of memory hotplug, held around all of it, prevents the deadlock.) Also, ksmd
    and writes to `run` or `merge_across_nodes` slept on a mutex for the minutes that offlining may take. The semaphore
    is part of this layer, since nothing else in the emulator uses it.
    """

    def __init__(self, hardware: Hardware) -> None:
        super().__init__(hardware)
        self.memory_chain: Final = RwSem(self.conductor, "memory_chain")

    @override
    async def ksm_memory_callback(self, action: str, pfns: range) -> None:
        await self.memory_chain.down_read()
        if action == MEM_GOING_OFFLINE:
            await self.ksm_thread_mutex.lock()
        else:
            if action == MEM_OFFLINE:
                await self.ksm_check_stable_tree(pfns)
            await self.ksm_thread_mutex.unlock()
        await self.memory_chain.up_read()
