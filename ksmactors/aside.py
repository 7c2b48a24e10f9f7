"""What foreign code prints while it is loaded goes to standard error: standard output has the result of a command."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import BinaryIO

from typing_extensions import override


class _Aside(io.TextIOBase):
    """Writes to standard error. Closing it closes nothing."""

    @override
    def write(self, text: str, /) -> int:
        return sys.stderr.write(text)

    @override
    def writable(self) -> bool:
        return True

    @override
    def isatty(self) -> bool:
        return sys.stderr.isatty()

    @override
    def fileno(self) -> int:
        return sys.stderr.fileno()

    @override
    def flush(self) -> None:
        sys.stderr.flush()

    @override
    def close(self) -> None:
        self.flush()

    @property
    def buffer(self) -> BinaryIO:
        """The bytes below."""
        return sys.stderr.buffer


@contextmanager
def printing_aside() -> Iterator[None]:
    """Have all that is printed in this context, and by what keeps `sys.stdout` from it, go to standard error."""
    with redirect_stdout(_Aside()):
        yield
