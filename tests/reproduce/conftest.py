"""Fewer schedules than commands run, where one of them has to look for others that answer a question alike."""

from __future__ import annotations

import pytest

from ksmactors.reproduce import chance


@pytest.fixture(autouse=True)
def _few_schedules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that a test is about are found among the first ones."""
    monkeypatch.setattr(chance, "SCHEDULES", 25)
