"""Interruptions: SIGINT, SIGTERM and SIGHUP mean the same, at any moment of a command's life.

Before a command works, an interruption ends the process at once: there is nothing to keep, and an exception in the
middle of an import could surface anywhere. While it works, each signal raises KeyboardInterrupt the way Ctrl-C does,
which trio delivers at a safe place. Afterwards the summary is finished first. A signal that the parent process has
had ignored (`nohup`) stays ignored. The shell ignores SIGINT for background jobs without job control; there SIGTERM
still works.

This module is imported before anything else, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

STATUS: Final = 130
"""The exit status of an interrupted command."""

_OTHERS: Final = (signal.SIGTERM, signal.SIGHUP)

_saved: dict[signal.Signals, Any] = {}
"""The handlers that were replaced, to be put back."""

_heard: list[int] = []
"""The numbers of SIGTERM and SIGHUP that were delivered: a second one would disturb the summary."""


def before_work() -> None:
    """Until `work_begins`, an interruption ends the process with its exit status, and without a word."""
    for number in (signal.SIGINT, *_OTHERS):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _leave)


def work_begins() -> None:
    """From now on an interruption raises KeyboardInterrupt; `restore` undoes this. Only in the main thread."""
    import orjson  # noqa: F401  # its initialization imports json, and crashes the process if that raises

    if threading.current_thread() is not threading.main_thread():
        return
    heeded = signal.getsignal(signal.SIGINT)
    if heeded is signal.SIG_IGN:
        # trio delivers only what Python's own handler would. Blocked, the signal itself is still ignored.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    if heeded in (signal.SIG_IGN, signal.SIG_DFL, _leave, _finish_first):
        _install(signal.SIGINT, signal.default_int_handler)
    for number in _OTHERS:
        if signal.getsignal(number) in (signal.SIG_DFL, _leave):
            _install(number, _as_ctrl_c)


def run(function: Callable[..., Any]) -> Any:
    """Run an async function in trio, with interruptions as KeyboardInterrupt; what follows may finish undisturbed."""
    import trio  # before an interruption raises anything

    work_begins()
    try:
        return trio.run(function)
    except BaseExceptionGroup as group:
        if group.split(KeyboardInterrupt)[1] is None:
            raise KeyboardInterrupt from None
        raise
    finally:
        work_ends()


def work_ends() -> None:
    """From now on an interruption lets the command finish its summary; the next one raises KeyboardInterrupt."""
    if _saved and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _finish_first)


def restore() -> None:
    """Put back the handlers as they were before `work_begins`."""
    for number, handler in _saved.items():
        signal.signal(number, handler)
        if number == signal.SIGINT and handler is signal.SIG_IGN:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _saved.clear()
    _heard.clear()


def over() -> None:
    """The exit status is settled: an interruption must not disturb the end of the interpreter."""
    for number in (signal.SIGINT, *_OTHERS):
        signal.signal(number, signal.SIG_IGN)


def _install(number: signal.Signals, handler: Any) -> None:
    before = signal.signal(number, handler)
    if before is not _finish_first:
        _saved.setdefault(number, before)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(STATUS)


def _as_ctrl_c(number: int, frame: FrameType | None) -> None:
    """Do what SIGINT's handler does now, with the frame that was interrupted: trio decides by it."""
    _heard.append(number)
    handler = signal.getsignal(signal.SIGINT)
    if len(_heard) == 1 and callable(handler):
        handler(signal.SIGINT, frame)


def _finish_first(_number: int, _frame: FrameType | None) -> None:
    """Let the command finish its summary; the next interruption ends it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
