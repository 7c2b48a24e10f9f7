"""A few lines at the bottom of a terminal that are kept up to date while a command works.

Nothing of it can be left behind. The cursor is never hidden, the screen is never switched, and the lines are cut to the
terminal's size, so even a process that is killed leaves a terminal in order.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from ksmactors.aside import stderr, stdout

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

PAINT_SECONDS: Final = 0.5
"""Seconds from one painting to the next. One takes some milliseconds."""


class LiveLines:
    """Lines that are painted now and then. Made by `live_lines`. A terminal that has gone away ends nothing.

    Args:
        console: of standard error, which must be a terminal that can move its cursor.
        lines: returns what is to be shown, for a terminal of so many columns and lines. Another thread calls it.
    """

    def __init__(self, console: Console, lines: Callable[[int, int], Sequence[RenderableType]]) -> None:
        from rich.live import Live

        self._console = console
        self._lines = lines
        self._painted: _Painted | None = None
        self._lock = threading.RLock()
        self._live = Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="visible",
            redirect_stdout=stdout().isatty(), redirect_stderr=True, get_renderable=self._render,
        )  # fmt: skip

    def print(self, *texts: RenderableType) -> None:
        """Print lines above those that are kept up to date; long ones are folded by the terminal, so that they can be
        copied."""
        with self._lock, suppress(OSError):
            self._live.refresh()  # they are removed as what they are after a resize
            for text in texts:
                self._console.print(text, soft_wrap=True)

    def paint(self) -> None:
        """Paint the lines as they are now."""
        with self._lock, suppress(OSError):
            self._live.refresh()

    def start(self) -> None:
        """Begin to paint."""
        self._painted = None
        self._live.start()

    def stop(self) -> None:
        """Remove the lines."""
        with suppress(OSError):
            self._live.stop()

    def _render(self) -> RenderableType:
        """What is painted next, line by line; the cursor is put where the lines before begin."""
        width, height = self._console.size = _size(self._console)
        columns, rows = max(1, width - 1), max(1, height - 1)
        options = self._console.options.update(width=columns, no_wrap=True, overflow="ellipsis")
        lines = [
            line for one in self._lines(columns, rows) for line in self._console.render_lines(one, options, pad=False)
        ][:rows]
        if self._painted is not None:
            self._climb(self._painted.folded(width))
        self._painted = _Painted(lines, width)
        return self._painted

    def _climb(self, rows: int) -> None:
        """Remove rows above the cursor: a terminal that has become narrower has folded the lines that were there."""
        from rich.control import Control
        from rich.segment import ControlType

        for _ in range(rows):
            self._console.control(Control((ControlType.ERASE_IN_LINE, 2), (ControlType.CURSOR_UP, 1)))


class _Painted:
    """Lines that are ready, and for how wide a terminal they were."""

    def __init__(self, lines: list[list[Segment]], width: int) -> None:
        from rich.segment import Segment

        self._lines = lines
        self._width = width
        self._cells = [Segment.get_line_length(line) for line in lines]

    def folded(self, width: int) -> int:
        """How many more rows the lines take in a terminal of another width."""
        if width >= self._width:
            return 0
        return sum(max(0, cells - 1) // width for cells in self._cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        from rich.segment import Segment

        for number, line in enumerate(self._lines):
            if number:
                yield Segment.line()
            yield from line


def _size(console: Console) -> tuple[int, int]:
    """Columns and lines of the terminal. What COLUMNS says may be out of date after a resize."""
    try:
        columns, lines = os.get_terminal_size(sys.__stderr__.fileno() if sys.__stderr__ is not None else 2)
    except (OSError, ValueError):
        columns = lines = 0
    return (columns, lines) if columns and lines else console.size


@contextmanager
def live_lines(console: Console, lines: Callable[[int, int], Sequence[RenderableType]]) -> Iterator[LiveLines]:
    """Keep lines up to date for a block; what is printed meanwhile, also by others, stands above them.

    A thread paints every PAINT_SECONDS, and at once when the terminal gets another size.
    """
    shown = LiveLines(console, lines)
    done, wake = threading.Event(), threading.Event()

    def paint() -> None:
        while not done.is_set():
            wake.wait(PAINT_SECONDS)
            wake.clear()
            if not done.is_set():
                shown.paint()

    painter = threading.Thread(target=paint, daemon=True)
    with _on_resize(wake.set):
        shown.start()
        painter.start()
        try:
            yield shown
        finally:
            done.set()
            wake.set()
            painter.join()
            shown.stop()


@contextmanager
def _on_resize(notify: Callable[[], None]) -> Iterator[None]:
    """Be notified when the terminal gets another size; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def resized(number: int, frame: FrameType | None) -> None:
        notify()
        if callable(before):
            before(number, frame)

    before: Any = signal.signal(signal.SIGWINCH, resized)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


def can_paint(console: Console, log: str | None = None) -> bool:
    """Whether lines can be kept up to date on standard error: it is a terminal, its cursor can be moved, and the log
    does not go to a terminal, too."""
    return (
        console.is_terminal
        and stderr().isatty()
        and not console.is_dumb_terminal
        and not (log == "-" and stdout().isatty())
    )
