"""An emulator of the concurrency in Linux KSM: every actor a trio task, every interleaving a recorded choice.

From Python: `ksmactors.stress` runs a campaign, `ksmactors.explore` goes through all schedules that can differ,
`ksmactors.replay` runs one schedule again, `ksmactors.shrink` makes it as short as it can be, and `ksmactors.Machine`
is the emulated machine itself. `open_log` and `EventList` are where the events of schedules go. Plug-in authors import
`ksmactors.workload`, `litmus`, `model`, `variant`, `watcher` or `strategy`, and nothing else. The names are loaded when
they are first used: `import ksmactors` alone costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ksmactors.campaign.api import explore, replay, shrink, stress
    from ksmactors.events.logs import EventList, open_log
    from ksmactors.machine import Machine

__all__ = ["EventList", "Machine", "explore", "open_log", "replay", "shrink", "stress"]

_HOMES: Final = {
    "EventList": "ksmactors.events.logs",
    "Machine": "ksmactors.machine",
    "explore": "ksmactors.campaign.api",
    "open_log": "ksmactors.events.logs",
    "replay": "ksmactors.campaign.api",
    "shrink": "ksmactors.campaign.api",
    "stress": "ksmactors.campaign.api",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ksmactors' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
