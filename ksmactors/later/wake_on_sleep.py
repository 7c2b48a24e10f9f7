"""A new sleep_millisecs takes effect at once, v4.20."""

from __future__ import annotations

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


class WakeOnSleep(Ksm):
    """Writing another sleep_millisecs ends ksmd's sleep between two batches.

    Before, an hour's sleep went on for an hour, whatever was written. A ksmd with nothing to do is not woken.
    """

    @override
    async def knob_store(self, knob: str, text: str) -> int:
        before = self.ksm_thread_sleep_millisecs
        result = await super().knob_store(knob, text)
        if self.ksm_thread_sleep_millisecs != before and self.ksmd_actor is not None:
            self.conductor.wake_sleeper(self.ksmd_actor)
        return result
