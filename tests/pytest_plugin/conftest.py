"""A project for each test of the pytest plug-in."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.project import Run


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Make a project of the files and run pytest in it, with no other plug-in."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return Run(pytester)


@pytest.fixture
def run_beside(pytester: pytest.Pytester) -> Run:
    """The same beside all plug-ins that are installed."""
    return Run(pytester, beside=True)
