"""A project for each test of the pytest plug-in."""

from __future__ import annotations

import pytest

from tests.pytest_plugin.project import Run


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Make a project of the files and run pytest in it."""
    return Run(pytester)
