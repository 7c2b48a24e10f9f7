"""Tests as programs: an async function that runs on the emulated machine, or without one."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from typing import Any

import pytest
from typing_extensions import override

from ksmactors.errors import Finding, KsmActorsError, WorkloadCrashed
from ksmactors.escaping import described, text_of
from ksmactors.model import Model, Table
from ksmactors.places import author_function
from ksmactors.program import Program, ProgramParts
from ksmactors.run.subject import Subject, make_subject
from ksmactors.workload import Host, Workload

WATCHER = "test"
"""The watcher of findings that are exceptions of the test."""

OUTCOMES = (pytest.skip.Exception, pytest.fail.Exception, pytest.exit.Exception)
"""What pytest raises to end a test; pytest-timeout, too. These are no findings."""

Body = Callable[[Mapping[str, Any]], Awaitable[None]]
"""The test's function, given what each schedule has of its own: by names of fixtures."""


class TestProgram(Program):
    """What both kinds of tests share.

    Attributes:
        body: the test's function.
        captured: whether what a schedule prints is kept in `output`, of the last one only, instead of shown.
        output: what the last schedule has printed on standard output and standard error.
    """

    __test__ = False
    body: Body
    captured = False
    output: tuple[str, str] = ("", "")

    @override
    def crashed(self, error: BaseException, place: str) -> KsmActorsError:
        """An exception of the test is a finding: of a schedule that can be shrunk and explained."""
        if isinstance(error, OUTCOMES):
            return WorkloadCrashed(f"the test ended with {described(error)} ({place})")
        text = text_of(error).partition("\n")[0]
        message = f"{type(error).__name__}{f': {text}' if text else ''} ({place})"
        return Finding(WATCHER, type(error).__name__, author_function(error), message)

    async def capture(self, schedule: Awaitable[None]) -> None:
        """Await a schedule, and keep what it prints."""
        if not self.captured:
            await schedule
            return
        out, err = io.StringIO(), io.StringIO()
        try:
            with ExitStack() as stack:
                stack.enter_context(redirect_stdout(out))
                stack.enter_context(redirect_stderr(err))
                await schedule
        finally:
            self.output = out.getvalue(), err.getvalue()


class MachineTest(TestProgram, Workload):
    """A test that takes `host` or `machine`."""

    @override
    async def perform(self, setting: ProgramParts) -> None:
        self._table = Table(setting, self)
        await self.capture(super().perform(setting))

    @override
    async def run(self, host: Host) -> None:
        await self.body({"host": host, "machine": host.machine, "table": self._table})


class PlainTest(TestProgram, Model):
    """A test without a machine."""

    @override
    async def perform(self, setting: ProgramParts) -> None:
        await self.capture(super().perform(setting))

    @override
    async def run(self, table: Table) -> None:
        await self.body({"table": table})


def subject_of(nodeid: str, *, has_machine: bool, given: Mapping[str, Any]) -> Subject:
    """Return the subject of a test, whose function is yet to be set; UsageError if an option is wrong."""
    base: type[TestProgram] = MachineTest if has_machine else PlainTest
    kind = type(base.__name__, (base,), {"name": nodeid, "__module__": base.__module__})
    return replace(make_subject(kind, **given), name=nodeid)
