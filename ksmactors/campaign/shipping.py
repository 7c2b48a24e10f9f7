"""Work for other machines: what a campaign's code and files are, sent along and compared there.

A worker elsewhere must run the same code. What is installed is compared: ksmactors and each plug-in that the campaign
names. What is named by its path is sent, one file each, and never written there unless a parameter names it.
"""

from __future__ import annotations

import ast
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Final

import zstandard

from ksmactors import plugins
from ksmactors.campaign.identity import source_hash
from ksmactors.campaign.workers import BlockAnswer, BlockTask, SharedWork, prepared, run_block, sendable, settle
from ksmactors.errors import PluginError, UsageError
from ksmactors.files import read_bounded
from ksmactors.run.packages import Named, named_in, packages_of

SENT_MAX: Final = 1 << 20
"""Bytes of all files that are sent: they go with each block."""

_STDIN: Final = 0

CODE_FILES_MAX: Final = 1000
"""Python files of a package that its hash is over."""


@dataclass(frozen=True, slots=True)
class Shipment:
    """What a campaign needs on other machines.

    Attributes:
        ksmactors, source: its version, and the hash over its source.
        origins: the package and version of each plug-in that the campaign names.
        hashes: the hash over the package of each.
        code: files named as `path.py:Class`: the path as named, its place, and the source.
        files: files that parameters name, with their content.
    """

    ksmactors: str
    source: str
    origins: Mapping[str, str]
    hashes: Mapping[str, str]
    code: tuple[tuple[str, str, bytes], ...] = ()
    files: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class SentTask:
    """A block for another machine; `seconds` are those left until the campaign's deadline: clocks differ."""

    task: BlockTask
    shipment: Shipment
    seconds: float | None


def shipment_of(shared: SharedWork) -> Shipment:
    """Return what the blocks of a campaign need on other machines.

    Raises:
        UsageError: a file of code has changed since it was loaded, or the files of code are too large.
    """
    named = _named(shared.headers, shared.strategy)
    paths = {str(path): path for _, name in named if (path := plugins.file_of(name)) is not None}
    if shared.log_config is not None and (path := plugins.file_of(shared.log_config)) is not None:
        paths[str(path)] = path
    code = tuple(_loaded(path) for _, path in sorted(paths.items()))
    size = sum(len(source) for _, _, source in code)
    if size > SENT_MAX:
        raise UsageError(f"the workers need {size:,} bytes of Python files; at most {SENT_MAX:,} are sent")
    files = []
    for source in sorted({source.file: source for sources in shared.sources for source in sources}.values(), key=str):
        if source.file not in {place for _, place, _ in code} | set(paths):
            with suppress(UsageError):  # too large: it must be on the workers
                content = read_bounded(Path(source.file), SENT_MAX - size, "file")
                files.append((source.file, content))
                size += len(content)
    origins = packages_of(named)
    hashes = {f"{group} {name}": package_hash(group, name) for group, name in sorted(named) if _is_other(group, name)}
    return Shipment(version("ksmactors"), source_hash(), origins, hashes, code, tuple(files))


def _named(headers: Sequence[Mapping[str, Any]], strategy: str) -> set[Named]:
    """All that a campaign names which a plug-in may have."""
    return {one for header in headers for one in named_in(header, strategy)}


def _loaded(path: Path) -> tuple[str, str, bytes]:
    found = plugins.source_of(path)
    if found is None:
        raise UsageError(f"{path} has changed since it was loaded; start the campaign again")
    return str(path), *found


def _is_other(group: str, name: str) -> bool:
    """Whether code is a package's other than ksmactors."""
    if plugins.is_placed(name):
        return plugins.file_of(name) is None
    return not plugins.origin_of(group, name).startswith("ksmactors ") and plugins.origin_of(group, name) != ""


def not_sent(shipment: Shipment) -> Iterator[str]:
    """Yield a line for each file of code that imports a module from beside it: only itself is sent."""
    for _, place, source in shipment.code:
        beside = sorted(name for name in _imports(source) if _is_beside(Path(place), name))
        if beside:
            yield f"only {place} is sent to the workers, not {', '.join(beside)} beside it; install that there"


def _imports(source: bytes) -> set[str]:
    """The top-level packages that a source imports."""
    nodes = list(ast.walk(ast.parse(source)))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}


def _is_beside(place: Path, name: str) -> bool:
    return (place.parent / f"{name}.py").is_file() or (place.parent / name / "__init__.py").is_file()


def package_hash(group: str, name: str) -> str:
    """Return the SHA-256, in hexadecimal, over the Python files of the package that has what a name stands for; empty
    if there is none. Nothing is loaded."""
    module = plugins.module_of(group, name).partition(".")[0]
    found = None
    with suppress(ImportError, ValueError):
        found = find_spec(module) if module else None
    if found is None:
        return ""
    roots = [Path(root) for root in found.submodule_search_locations or ()]
    files = [(root, file) for root in roots for file in sorted(root.rglob("*.py"))[:CODE_FILES_MAX]]
    files = files or ([(Path(found.origin).parent, Path(found.origin))] if found.origin else [])
    hashed = sha256()
    for root, file in files:
        with suppress(OSError):
            hashed.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes())
    return hashed.hexdigest()


# -- on the other machine -----------------------------------------------------------------------------------------


def refuse_difference(shipment: Shipment, headers: Sequence[Mapping[str, Any]], strategy: str) -> None:
    """Compare what is installed here with what the campaign's own machine has.

    Raises:
        UsageError: something differs; the message says what.
    """
    if version("ksmactors") != shipment.ksmactors:
        raise UsageError(f"has ksmactors {version('ksmactors')}, not {shipment.ksmactors}; install the same")
    if source_hash() != shipment.source:
        raise UsageError(f"has another state of ksmactors {shipment.ksmactors}; install the same")
    here = packages_of(_named(headers, strategy))
    for name in sorted({*here, *shipment.origins}):
        wanted, there = shipment.origins.get(name, ""), here.get(name, "")
        if not there:
            raise UsageError(f"does not have the plug-in {name} of {wanted}; install it there")
        if there != wanted:
            raise UsageError(f"has the {name} of {there}, not of {wanted or 'ksmactors'}; install the same")
    for name, wanted in shipment.hashes.items():
        there = package_hash(*name.split(" ", 1))
        if there != wanted:
            missing = "does not have the code of" if not there else "has other code for"
            raise UsageError(f"{missing} the {_in_words(name)}; install the same")


def _in_words(name: str) -> str:
    group, _, rest = name.partition(" ")
    return f"{plugins.title_of(group)} {rest}"


@lru_cache(maxsize=1)
def _settle() -> None:
    """Prepare this process, which the Dask worker started: standard input is its end of a pipe."""
    settle(_STDIN)


@lru_cache(maxsize=1)
def _received(key: bytes, directory: str) -> dict[str, str]:
    """Check and lay out what was sent, once in a process; returns where files of parameters are here."""
    shipment, headers, strategy = pickle.loads(key)
    refuse_difference(shipment, headers, strategy)
    for path, place, source in shipment.code:
        plugins.supply(path, place, source)
    moved = {}
    for number, (path, content) in enumerate(shipment.files):
        if not _is_here(path, content):
            file = Path(directory) / f"{number}-{os.getpid()}-{Path(path).name}"
            file.write_bytes(content)
            moved[path] = str(file)
    return moved


def _is_here(path: str, content: bytes) -> bool:
    try:
        return read_bounded(Path(path), len(content), "file") == content
    except UsageError:
        return False


def inspected(data: bytes, directory: str) -> str:
    """Check in a worker process what a pickled SentTask would need; returns why it cannot run, or an empty text."""
    _settle()
    try:
        sent: SentTask = pickle.loads(data)
        _prepare(sent, directory)
    except UsageError as error:
        return str(error)
    return ""


def _prepare(sent: SentTask, directory: str) -> SharedWork:
    """Load what a campaign runs; returns its description for this machine.

    Raises:
        UsageError: something differs here, is missing, or cannot be loaded.
    """
    shared = sent.task.shared
    moved = _received(pickle.dumps((sent.shipment, shared.headers, shared.strategy)), directory)
    here = replace(shared, moved=moved)
    try:
        prepared(here)
    except PluginError as error:
        raise UsageError(
            f"cannot run this: {error}; of a file only itself is sent, not what it imports from beside it"
        ) from None
    except UsageError as error:
        raise UsageError(f"cannot run this: {error}") from None
    return here


def answered_elsewhere(data: bytes, directory: str, worker: str) -> bytes:
    """Run a pickled SentTask in this worker process and return the pickled BlockAnswer, with the logs' content.

    Args:
        data: the task.
        directory: a private one, for files.
        worker: the name of the worker, for messages.
    """
    _settle()
    sent: SentTask = pickle.loads(data)
    task = sent.task
    try:
        shared = _prepare(sent, directory)
    except UsageError as error:
        return sendable(BlockAnswer(failure=UsageError(f"the worker {worker} {error}")))
    log = None if task.log is None else Path(directory) / f"log-{os.getpid()}"
    deadline = None if sent.seconds is None else monotonic() + sent.seconds
    answer = run_block(replace(task, log=log, shared=replace(shared, deadline=deadline)))
    answer.sent_logs = [zstandard.compress(part.read_bytes()) for part in answer.logs if part.exists()]
    answer.logs = {}
    return sendable(answer)
