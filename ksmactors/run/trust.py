"""Code that is not installed and files that a finding names: listed, and refused or checked.

A finding may come from an untrusted source. A replay must never run code that it names, unless the user allows it
(`--trust`). Entry points were installed by the user and may run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from ksmactors import plugins
from ksmactors.errors import ScheduleFormatError, UsageError
from ksmactors.files import MIB, read_start
from ksmactors.interleave.schedule_string import header_of
from ksmactors.interleave.search.registry import SEARCHES
from ksmactors.interleave.strategies.directed import Directed
from ksmactors.interleave.strategies.registry import STRATEGIES, nested, renamed, values_of
from ksmactors.interleave.strategies.replay import Replay
from ksmactors.interleave.strategies.replay_by_name import ReplayByName
from ksmactors.parameters import FilePath, checked, parameters_of
from ksmactors.quantity import quantity
from ksmactors.run.ceilings import excess
from ksmactors.run.extensions import check_strategy, need_strategy
from ksmactors.run.header import Header, checked_header, is_text
from ksmactors.run.packages import compare_packages, named_in, recorded_packages

HASHED_MAX: Final = 64 * MIB
"""Bytes at the start of a file that its hash is over."""

FILE_MAX: Final = 1024 * MIB
"""Bytes of a file that a parameter of a finding may name."""

SOURCES_MAX: Final = 1000
"""Source files that a finding may list."""

Tell = Callable[[str], None]
"""Prints one line about a file that is read on behalf of a finding."""

WITHOUT_CHOICE: Final = frozenset({Replay.name, ReplayByName.name, Directed.name, *SEARCHES})
"""Strategies in recorded schedules that cannot be selected with `--strategy`."""


class NotTrusted(UsageError):
    """A finding names code that is not installed, and is not trusted."""


class Source(NamedTuple):
    """A file that a schedule was recorded with: its absolute path, and the SHA-256 over its start in hexadecimal."""

    file: str
    sha256: str

    def as_json(self, directory: Path) -> dict[str, str]:
        """Return the entry of a finding file in `directory`, with the path relative to that, too."""
        return {"file": self.file, "relative": os.path.relpath(self.file, directory.resolve()), "sha256": self.sha256}


class Surroundings:
    """The location of a finding, and the files it was recorded with.

    Args:
        content: the finding file.
        home: its directory; None for a schedule string that is in no file.

    Raises:
        ScheduleFormatError: its `sources` are malformed.
    """

    def __init__(self, content: Mapping[str, Any], home: Path | None) -> None:
        self.home = home
        self.packages = recorded_packages(content)
        self.sources: dict[str, dict[str, str]] = {}
        sources = content.get("sources", [])
        if not isinstance(sources, list) or len(sources) > SOURCES_MAX:
            raise ScheduleFormatError("the finding's sources must be a list of files")
        for source in sources:
            if not isinstance(source, dict) or not all(is_text(source.get(key)) for key in ("file", "sha256")):
                raise ScheduleFormatError("each of the finding's sources must have a file and its sha256")
            self.sources[source["file"]] = source

    def find(self, path: Path) -> Path:
        """Return where a file that the finding names is now: at the same place relative to the finding, or at its old
        path.

        Of several that exist, the one with the recorded hash; the path as it is if there is none.
        """
        source = self.sources.get(str(path), {})
        relative = source.get("relative")
        candidates = [path.absolute()]
        if self.home is not None:
            if is_text(relative) and relative:
                candidates.insert(0, self.home / relative)
            candidates.append(self.home / path)
        existing = [Path(os.path.normpath(one)) for one in candidates if one.is_file()]
        if len(existing) > 1 and source:
            existing.sort(key=lambda one: _hash_of(one) != source["sha256"])
        return existing[0] if existing else path

    def changed(self, named: Path, found: Path) -> bool:
        """Whether the file differs from the one that the finding was recorded with."""
        source = self.sources.get(str(named))
        return source is not None and found.is_file() and _hash_of(found) != source["sha256"]


def settle(header: Header, around: Surroundings, *, trust: bool, tell: Tell) -> Header:
    """Return the header of a finding with the current path of each file; after this, all of it may be used.

    Args:
        header: checked.
        around: where the finding is.
        trust: whether code that it names by path or module may be loaded, and as much work done as it asks for.
        tell: called with a line about each file that was changed since, and each that is read.

    Raises:
        UsageError: it names code, or asks for much work, and is not trusted; or a file that may not be read.
    """
    for line in compare_packages(_named_in(header), around.packages):
        tell(line)
    moves = {spec: _settled(spec, around) for _, spec in _foreign_in(header)}
    here = header._replace(
        workload=moves.get(header.workload, header.workload),
        with_=tuple(moves.get(name, name) for name in header.with_),
        watch=tuple(moves.get(name, name) for name in header.watch),
        strategy=renamed(header.strategy, lambda name: moves.get(name, name)),
    )
    if not trust:
        _refuse_code(here)
        _refuse_excess(here)
    files = {(plugins.file_of(before), plugins.file_of(after)): None for before, after in moves.items()}
    for named, found in files:
        if named is not None and found is not None and around.changed(named, found):
            tell(_changed(found))
    _check_strategy(here.strategy)
    return here._replace(params=_settled_params(here, around, tell))


def needs_trust(schedule: str) -> bool:
    """Whether a schedule string can only be replayed with `--trust`."""
    header = checked_header(header_of(schedule))
    return any(_foreign_in(header)) or any(files_of_strategy(header.strategy)) or any(excess(header))


def sources_of(specs: Iterable[str], workload: type, params: Mapping[str, object]) -> tuple[Source, ...]:
    """Return the files that something is run with: those of code named by its path, and those that parameters name."""
    code = {path.absolute() for spec in specs if (path := plugins.file_of(spec)) is not None}
    named = {Path(str(value)).absolute() for _, value in _file_params(workload, params)} - code
    return (
        *(Source(str(path), plugins.source_hash(path)) for path in sorted(code)),
        *(Source(str(path), _hash_of(path)) for path in sorted(named) if path.is_file()),
    )


def sources_of_strategy(text: str) -> tuple[Source, ...]:
    """Return the files of the strategies in a text that are named by their path, in order of path."""
    found = _code_in(text)
    if not found:
        return ()
    code = {path.absolute() for path in found}
    return tuple(Source(str(path), plugins.source_hash(path)) for path in sorted(code))


@cache  # each schedule asks for it
def _code_in(strategy: str) -> tuple[Path, ...]:
    """The files of strategies that the text of a strategy names."""
    named = (plugins.file_of(name) for name, _ in nested(strategy))
    return tuple(path for path in named if path is not None)


def absolute_params(workload: type, params: Mapping[str, object]) -> dict[str, str]:
    """Return parameters as text, with absolute paths."""
    files = {name for name, _ in _file_params(workload, params)}
    return {
        name: str(Path(str(value)).absolute() if name in files else value) for name, value in sorted(params.items())
    }


def _foreign_in(header: Header) -> Iterator[tuple[str, str]]:
    """Yield the code in a header that is not installed: the group of each, and the name."""
    return ((group, name) for group, name in _named_in(header) if plugins.is_foreign(group, name))


def _named_in(header: Header) -> Iterator[tuple[str, str]]:
    content = {"workload": header.workload, "with": header.with_, "without": header.without, "watch": header.watch}
    return named_in(content, header.strategy)


def _settled(spec: str, around: Surroundings) -> str:
    path = plugins.file_of(spec)
    return spec if path is None else plugins.moved(spec, around.find(path))


def _refuse_code(header: Header) -> None:
    for group, spec in _foreign_in(header):
        path = plugins.file_of(spec)
        code = f"the file {path}" if path is not None else f"the module {spec.rpartition(':')[0]}"
        raise NotTrusted(
            f"the finding names the {plugins.title_of(group)} {spec}, which would run {code}. Opening a file "
            "never runs code: look at it first, then give --trust (trust=True from Python)"
        )
    for name, file in files_of_strategy(header.strategy):
        raise UsageError(
            f"the finding names the strategy {name} with the file {file}, which it could write. If that is meant, give "
            "--trust (trust=True from Python)"
        )


def _refuse_excess(header: Header) -> None:
    workload = plugins.load_workload(header.workload)
    checked(workload, f"workload {header.workload}", dict(header.params))  # trust would not help
    for asked in excess(header):
        raise UsageError(f"the finding {asked}. If you want that, give --trust (trust=True from Python)")


def files_of_strategy(text: str) -> Iterator[tuple[str, object]]:
    """Yield the files in the parameters of a strategy, or of one that it wraps."""
    for name, rest in nested(text):
        if name not in WITHOUT_CHOICE and not plugins.is_foreign("strategies", name):
            need_strategy(name)
            if name in STRATEGIES:
                yield from ((name, value) for _, value in _file_params(STRATEGIES[name], values_of(text, rest)))


def _check_strategy(text: str) -> None:
    """Refuse a strategy that does not exist or does not have these parameters."""
    if text not in WITHOUT_CHOICE:
        check_strategy(text)


def _file_params(cls: type, params: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield those parameters of a class that name a file."""
    known = parameters_of(cls)
    return ((name, value) for name, value in params.items() if isinstance(known.get(name), FilePath))


def _settled_params(header: Header, around: Surroundings, tell: Tell) -> dict[str, str]:
    """Return the parameters with the current path of each file. It must be a regular one of a sensible size; its use is
    printed."""
    params = dict(header.params)
    for name, value in _file_params(plugins.load_workload(header.workload), header.params):
        named = Path(str(value))
        found = around.find(named)
        try:
            size = found.stat().st_size
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"-p {name}={found}, named by the finding: cannot be read ({reason})") from None
        if not found.is_file():
            raise UsageError(f"-p {name}={found}, named by the finding: is not a regular file")
        if size > FILE_MAX:
            raise UsageError(f"-p {name}={found}, named by the finding: is larger than {FILE_MAX // MIB} MiB")
        tell(f"reads {found} ({quantity(size, 'byte')}), named by the finding (-p {name})")
        if around.changed(named, found):
            tell(_changed(found))
        params[name] = str(found)
    return params


def _changed(path: Path) -> str:
    return (
        f"{path} has changed since the finding was recorded; where its steps do not fit any more, its departures are "
        "followed by name"
    )


def _hash_of(path: Path) -> str:
    """Return the hash over the start of a file; empty if it cannot be read."""
    try:
        return sha256(read_start(path, HASHED_MAX, "file")).hexdigest()
    except UsageError:
        return ""
