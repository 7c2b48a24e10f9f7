"""Standard output has the result of a command: what foreign code prints does not get into it, and cannot end it.

Code of a plug-in may print, close `sys.stdout`, or put another stream in its place. So the command line writes to the
streams that it was started with, `stdout` and `stderr`. Where a program reads the result, all else that this process
prints goes to standard error: also what a child process prints, or C code.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import BinaryIO, Final, TextIO

from typing_extensions import override

_STDOUT: Final = 1
_STDERR: Final = 2
"""The descriptors of this process."""


class _Streams:
    """The standard streams as they were when a command began; `result` takes its result, and is `out` unless that has
    been kept apart."""

    def __init__(self) -> None:
        self.out = self.result = sys.stdout
        self.err = sys.stderr
        self.apart = False
        self._errors: list[tuple[io.TextIOWrapper, str]] = []
        self.lost: list[OSError] = []
        for stream in (self.out, self.err):
            with suppress(TypeError):  # a stream of a class without attributes
                vars(stream).update(close=stream.flush, write=self._noting_loss(stream.write))
            if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
                self._errors.append((stream, stream.errors))
                stream.reconfigure(errors="backslashreplace")

    def _noting_loss(self, write: Callable[[str], int]) -> Callable[[str], int]:
        """Return the same function, which keeps the errors that it raises."""

        def noting(text: str, /) -> int:
            try:
                return write(text)
            except OSError as error:
                self.lost.append(error)
                raise

        return noting

    @property
    def moved(self) -> bool:
        """Whether the result goes through another descriptor."""
        return self.result is not self.out

    def put_back(self) -> None:
        """Leave all as it was."""
        sys.stdout, sys.stderr = self.out, self.err
        with suppress(OSError, ValueError):
            self.out.flush()
        if self.moved:
            os.dup2(self.result.fileno(), _STDOUT)
            with suppress(OSError):
                self.result.close()
        for stream in (self.out, self.err):
            with suppress(TypeError):
                vars(stream).pop("close", None)
                vars(stream).pop("write", None)
        for wrapper, errors in self._errors:
            with suppress(OSError, ValueError):
                wrapper.reconfigure(errors=errors)


_kept: list[_Streams] = []
"""Those of the command that runs."""


class _Aside(io.TextIOBase):
    """Writes to standard error. Closing it closes nothing."""

    @override
    def write(self, text: str, /) -> int:
        return stderr().write(text)

    @override
    def writable(self) -> bool:
        return True

    @override
    def isatty(self) -> bool:
        return stderr().isatty()

    @override
    def fileno(self) -> int:
        return stderr().fileno()

    @override
    def flush(self) -> None:
        stderr().flush()

    @override
    def close(self) -> None:
        self.flush()

    @property
    def buffer(self) -> BinaryIO:
        """The bytes below."""
        return stderr().buffer


@contextmanager
def printing_aside() -> Iterator[None]:
    """Have all that is printed in this context, and by what keeps `sys.stdout` from it, go to standard error."""
    with redirect_stdout(_Aside()):
        yield


def stdout() -> TextIO:
    """Return what takes the result of the command, whatever has become of `sys.stdout`."""
    return _kept[-1].result if _kept else sys.stdout


def stderr() -> TextIO:
    """Return what takes messages, whatever has become of `sys.stderr`."""
    return _kept[-1].err if _kept else sys.stderr


def is_lost_output(error: BaseException) -> bool:
    """Whether an exception says that a standard stream could not be written, by whatever code: it has no reader any
    more, or a disk is full. A command ends then as if it had written there itself."""
    return any(error is lost for streams in _kept for lost in streams.lost)


def begin() -> None:
    """Keep the standard streams until `restore`: closing them closes nothing, and what their encoding does not have is
    escaped."""
    _kept.append(_Streams())


def keep_result_apart() -> None:
    """From now on only `stdout` leads to standard output: all that is printed otherwise goes to standard error."""
    if not _kept or _kept[-1].apart:
        return
    streams = _kept[-1]
    streams.apart = True
    if _is_of_process(streams.out):
        streams.result = _moved(streams.out)
    sys.stdout = _Aside()


def own_fds() -> list[int]:
    """Return the descriptors that no other process must have: who reads the result waits until all have closed it."""
    return [streams.result.fileno() for streams in _kept if streams.moved]


def restore() -> None:
    """Put back the streams as they were before `begin`."""
    _kept.pop().put_back()


def _is_of_process(stream: TextIO) -> bool:
    """Whether a stream is standard output of this process, and none that stands in for it."""
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == _STDOUT
    except (OSError, ValueError):
        return False


def _moved(stream: TextIO) -> TextIO:
    """Return the same standard output with another descriptor; the old one is that of standard error from now on."""
    stream.flush()
    moved = open(os.dup(_STDOUT), "w", encoding=stream.encoding, errors=stream.errors)  # noqa: PTH123, SIM115  # stays
    os.dup2(_STDERR, _STDOUT)
    return moved
