"""Projects that the tests of the pytest plug-in make: a lost update, and how pytest is run in one."""

from __future__ import annotations

import shlex

import pytest

import ksmactors.pytest_plugin.running
import workloads.scenario

LOADED = (ksmactors.pytest_plugin.running, workloads.scenario)
"""Loaded once, and not anew in each project: pytester forgets what was imported in it."""

LOST = """
import pytest
from ksmactors.model import trio

class Counter:
    def __init__(self):
        self.value = 0

    async def add(self):
        seen = self.value
        await trio.lowlevel.checkpoint()
        self.value = seen + 1

@pytest.mark.interleave(seeds=30)
async def test_lost(tmp_path):
    counter = Counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(counter.add)
        nursery.start_soon(counter.add)
    print("the count is", counter.value)
    assert counter.value == 2
"""
"""A lost update."""


class Run:
    """Runs pytest in a project of its own, beside all installed plug-ins (`beside`) or with ours alone: to set up the
    others takes longer than most of these projects."""

    def __init__(self, pytester: pytest.Pytester, *, beside: bool = False) -> None:
        self.pytester = pytester
        self._options = "-p no:randomly -p no:timeout" if beside else "-p ksmactors.pytest_plugin"
        pytester.makeini(f"[pytest]\naddopts = {self._options}\n")

    def __call__(self, test: str = "", *arguments: str, ini: str = "") -> pytest.RunResult:
        if test:
            self.pytester.makepyfile(test_it=test)
        if ini:
            self.pytester.makeini(f"[pytest]\naddopts = {self._options}\n{ini}\n")
        return self.pytester.runpytest(*arguments)


def with_second(test: str, name: str) -> str:
    """A test module with its test again, as test_second."""
    return f"{test}\n@pytest{test.partition('@pytest')[2].replace(name, 'test_second')}"


def replay_of(result: pytest.RunResult) -> list[str]:
    """The arguments of the command that a failure says replays it."""
    line = next(line for line in result.outlines if line.startswith("replay: pytest "))
    return shlex.split(line)[2:]
