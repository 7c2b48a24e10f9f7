"""Output files that would destroy what the command reads, or each other: refused before anything is written."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from ksmactors import plugins
from ksmactors.errors import UsageError
from ksmactors.run.trust import files_of_strategy, sources_of_strategy

if TYPE_CHECKING:
    from ksmactors.run.subject import Subject

Output: TypeAlias = tuple[str, str | os.PathLike[str] | None]
"""An option that names a file to be written, and the file; None if it is not given."""

Input: TypeAlias = tuple[str | os.PathLike[str], str]
"""A file that is read, and what it is. `-` is standard input."""

STANDARD_STREAM: Final = "-"


def refuse_overwriting(outputs: Iterable[Output], inputs: Iterable[Input]) -> None:
    """Say before anything is written whether an output would replace an input or another output.

    Names are compared by the file that they lead to, through links too. What is no regular file, such as /dev/null, can
    be given any number of times; so can what is no name of a file, such as a schedule string.

    Raises:
        UsageError: two of them are the same file; the message says which, and what the file is.
    """
    read = {identity: what for path, what in inputs if (identity := _identity(path, reading=True)) is not None}
    written: dict[object, str] = {}
    for option, path in outputs:
        identity = None if path is None else _identity(path, reading=False)
        if path is None or identity is None:
            continue
        if identity in read:
            raise UsageError(f"{option} {os.fspath(path)}: is {read[identity]}; name another file")
        if written.setdefault(identity, option) != option:
            raise UsageError(
                f"{written[identity]} and {option} name the same file, {os.fspath(path)}: give each its own"
            )


def files_of(subjects: Iterable[Subject], *strategies: str, log_config: str | None = None) -> Iterator[Input]:
    """Yield the files that something is run with: its code, and what its parameters name."""
    named = list(subjects)
    for subject in named:
        for source in subject.sources:
            yield source.file, "a file that the workload, a variant, a watcher or a parameter names"
        for name in (subject.name, *subject.with_, *subject.watchers):
            yield from _code_of(name)
    for strategy in strategies:
        for source in sources_of_strategy(strategy):
            yield source.file, f"the code of the strategy {strategy}"
    if log_config is not None:
        yield from _code_of(log_config)


def written_by(strategy: str) -> list[Output]:
    """Return the files that a strategy writes."""
    return [(f"--strategy {name}", str(file)) for name, file in files_of_strategy(strategy)]


def _code_of(name: str) -> Iterator[Input]:
    """Yield the file of code that is named by its place."""
    if plugins.is_placed(name):
        file = plugins.file_of(name) or getattr(sys.modules.get(name.rpartition(":")[0]), "__file__", None)
        if file is not None:
            yield file, f"the code of {name}"


def _identity(path: str | os.PathLike[str], *, reading: bool) -> object:
    """Return what is equal for two names of one regular file, or of one that does not exist yet; None for others."""
    is_stream = os.fspath(path) == STANDARD_STREAM
    if is_stream and not reading:
        return None
    try:
        found = os.fstat(0) if is_stream else Path(path).stat()
    except FileNotFoundError:
        return None if reading else os.path.realpath(path)
    except (OSError, ValueError):  # no name of a file, such as a schedule string; or as the one that opens it will say
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None
