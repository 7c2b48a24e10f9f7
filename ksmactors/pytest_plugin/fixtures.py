"""The fixtures `host`, `machine` and `table`: they stand for those of the schedule under way."""

from __future__ import annotations

from typing import Any

import pytest


class OfSchedule:
    """Stands for an object of the schedule under way, of which each schedule has its own.

    The test's function is given the object itself. Another fixture may pass this on, or use it in a function that the
    test calls.
    """

    def __init__(self, name: str) -> None:
        vars(self).update(_name=name, _now=None)

    def __getattr__(self, name: str) -> Any:
        if self._now is None:
            raise RuntimeError(
                f"the fixture `{self._name}` is only there while a schedule runs: use it in the test, which is marked "
                "with @pytest.mark.interleave, or in a function that the test calls"
            )
        return getattr(self._now, name)


@pytest.fixture
def host() -> OfSchedule:
    """The emulated machine as a workload sees it (`ksmactors.workload.Host`), in a test marked with `interleave`."""
    return OfSchedule("host")


@pytest.fixture
def machine() -> OfSchedule:
    """The emulated machine itself (`ksmactors.Machine`), in a test marked with `interleave`."""
    return OfSchedule("machine")


@pytest.fixture
def table() -> OfSchedule:
    """Variables, locks and actors without a machine (`ksmactors.model.Table`), in a test marked with `interleave`."""
    return OfSchedule("table")
