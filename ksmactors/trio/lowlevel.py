"""What `trio.lowlevel` has for code that builds on checkpoints and parking lots."""

from __future__ import annotations

from ksmactors.trio.locks import ParkingLot
from ksmactors.trio.tasks import (
    ScopedTask,
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    tables,
)

__all__ = ["ParkingLot", "cancel_shielded_checkpoint", "checkpoint", "checkpoint_if_cancelled", "current_task"]


def current_task() -> ScopedTask:
    """The running task; it has a `name`."""
    return tables().current()
