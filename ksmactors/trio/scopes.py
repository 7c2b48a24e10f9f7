"""Cancel scopes, timeouts and sleep, in virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import inf, isnan
from types import TracebackType
from typing import Self

from trio import TooSlowError

from ksmactors.errors import KsmActorsError
from ksmactors.interleave.conductor import CONTROL_FLOW
from ksmactors.trio.tasks import Cancelled, ScopedTask, checkpoint, park, tables

PASSING = (*CONTROL_FLOW, KsmActorsError)
"""Exceptions that end the schedule: no scope and no nursery holds them up."""


class CancelScope:
    """A block that can be cancelled, as trio.CancelScope; times are virtual.

    Args:
        deadline: when it cancels itself, seconds of virtual time.
        relative_deadline: the same, counted from its start.
        shield: whether scopes around it cannot cancel what is in it.
    """

    def __init__(self, *, deadline: float = inf, relative_deadline: float = inf, shield: bool = False) -> None:
        if isnan(deadline) or isnan(relative_deadline):
            raise ValueError("deadline must not be NaN")
        if relative_deadline < 0:
            raise ValueError("timeout must be non-negative")
        self._deadline, self._relative = deadline, relative_deadline
        self._shield, self._called = shield, False
        self._task: ScopedTask | None = None
        self.cancelled_caught = False
        """Whether it has caught a Cancelled."""

    @property
    def deadline(self) -> float:
        """When it cancels itself, seconds of virtual time; inf: never."""
        return self._deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._deadline = when
        self._changed()

    @property
    def shield(self) -> bool:
        """Whether scopes around it cannot cancel what is in it."""
        return self._shield

    @shield.setter
    def shield(self, on: bool) -> None:
        self._shield = on
        self._changed()

    @property
    def cancel_called(self) -> bool:
        """Whether it was cancelled, or its deadline has passed while it was entered."""
        if not self._called and self._task is not None and self._deadline != inf and self._deadline <= tables().now:
            self._called = True
        return self._called

    def cancel(self, reason: str | None = None) -> None:
        """Cancel what is in it: each task in it at its next checkpoint."""
        self._called = True
        self._changed()

    def _changed(self) -> None:
        if self._task is not None:
            tables().deliver()

    def __enter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a CancelScope can be entered only once")
        self._task = tables().current()
        if self._relative != inf:
            self._deadline = min(self._deadline, tables().now + self._relative)
        self._task.scopes.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, PASSING):
            return False
        left = self.close(error)
        if left is error:
            return False
        if left is not None:
            raise left
        return True

    def close(self, error: BaseException | None) -> BaseException | None:
        """Leave the scope; return what is left of an exception once those that it caused are caught."""
        task = self._task
        assert task is not None, "a scope is entered before it is left"
        if not task.scopes or task.scopes[-1] is not self:
            raise RuntimeError("cancel scopes must be left in the reverse order of entering them, in the same task")
        called = self.cancel_called
        task.scopes.pop()
        self._task = None
        if error is None or not called or (not self.shield and task.cancelled()):
            return error
        caught, left = _split(error)
        self.cancelled_caught = self.cancelled_caught or caught
        return left


def _split(error: BaseException) -> tuple[bool, BaseException | None]:
    """Whether there is a Cancelled in an exception, and what is left without it."""
    if isinstance(error, Cancelled):
        return True, None
    if isinstance(error, BaseExceptionGroup):
        caught, left = error.split(Cancelled)
        return caught is not None, left
    return False, error


def current_time() -> float:
    """The virtual time, s: it passes by a microsecond a checkpoint, and jumps when all tasks wait."""
    return tables().now


def move_on_at(deadline: float, *, shield: bool = False) -> CancelScope:
    """A scope with that deadline."""
    return CancelScope(deadline=deadline, shield=shield)


def move_on_after(seconds: float, *, shield: bool = False) -> CancelScope:
    """A scope that cancels itself so many seconds after it was entered."""
    return CancelScope(relative_deadline=seconds, shield=shield)


@contextmanager
def fail_at(deadline: float, *, shield: bool = False) -> Iterator[CancelScope]:
    """As `move_on_at`.

    Raises:
        TooSlowError: the scope has caught a Cancelled.
    """
    with move_on_at(deadline, shield=shield) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TooSlowError


@contextmanager
def fail_after(seconds: float, *, shield: bool = False) -> Iterator[CancelScope]:
    """As `move_on_after`.

    Raises:
        TooSlowError: the scope has caught a Cancelled.
    """
    with move_on_after(seconds, shield=shield) as scope:
        yield scope
    if scope.cancelled_caught:
        raise TooSlowError


class _Forever:
    """What a task that sleeps waits for."""

    name = "its alarm"


async def sleep_forever() -> None:
    """Sleep until cancelled."""
    await park(_Forever(), lambda: True)


async def sleep_until(deadline: float) -> None:
    """Sleep until that virtual time."""
    with move_on_at(deadline):
        await sleep_forever()


async def sleep(seconds: float) -> None:
    """Sleep for so many virtual seconds; 0: a checkpoint."""
    if seconds < 0:
        raise ValueError("seconds must not be negative")
    if seconds == 0:
        await checkpoint()
    else:
        await sleep_until(tables().now + seconds)
