"""How commands run schedules: interruptions raise KeyboardInterrupt, and endless loops of the kernel end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ksmactors import interruption


def run_async(function: Callable[..., Any]) -> Any:
    """Run an async function in trio, in the main thread; what follows may finish undisturbed (`interruption`)."""
    from ksmactors.interleave.endless_loop import ended_by_timer  # commands are listed without the conductor

    with ended_by_timer():
        return interruption.run(function)
