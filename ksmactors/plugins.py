"""Plug-ins: what installed packages register under the entry point groups of ksmactors, and code named by its place.

A plug-in that cannot be loaded does not affect others: it is left out, and a line that names it and says why is
handed back. Only who asks for it by name gets the error.

Workloads, variants, strategies and watchers are named in the same three ways: a registered name,
`path/to/file.py:Class`, or `package.module:Class`. Loading the latter two runs code that is not installed, so a
caller that took the name from a file asks `is_foreign` first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ksmactors.aside import printing_aside
from ksmactors.bytecode import damaged_bytecode
from ksmactors.errors import PluginError, UsageError, unknown
from ksmactors.escaping import described
from ksmactors.files import MIB, read_bounded
from ksmactors.garbage import collect_at_the_end
from ksmactors.places import author_place
from ksmactors.plugin_kinds import KINDS, wrong_with

if TYPE_CHECKING:
    from ksmactors.program import Program

SOURCE_MAX: Final = 16 * MIB
"""Bytes of a Python file that is named by its path."""


class NotOfKind(UsageError):
    """What is named by its place is there, and is a class of another kind, or no class."""


class Plugin(NamedTuple):
    """Something registered: its name, its class, the package and version it comes from, and `package.module:Class`."""

    name: str
    value: Any
    origin: str
    place: str = ""


def available(group: str, *, foreign: bool = False, dotted: bool = True) -> tuple[list[Plugin], list[str]]:
    """All plug-ins of a group that can be loaded, by name; and one line for each that cannot.

    Args:
        group: workloads, variants, strategies or watchers.
        foreign: whether to leave out what this package has registered.
        dotted: whether to load what it has registered with a dot in the name: litmus tests and models, over a hundred.
    """
    plugins: list[Plugin] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for entry in _entries(group):
        if entry.name in seen:
            problems.append(
                f"{_title(group, entry)} is ignored: {seen[entry.name]} has registered that name already; name this "
                f"one {entry.value}"
            )
            continue
        seen[entry.name] = _origin(entry)
        if seen[entry.name].startswith("ksmactors ") and (foreign or ("." in entry.name and not dotted)):
            continue
        try:
            plugins.append(_loaded(group, entry))
        except PluginError as error:
            problems.append(str(error))
    return plugins, problems


def names(group: str) -> list[str]:
    """The registered names of a group; nothing is loaded."""
    return sorted({entry.name for entry in _entries(group)})


def value_of(group: str, name: str) -> str:
    """What a registered name stands for, as `package.module:Class`; empty if nothing. Nothing is loaded."""
    return next((entry.value for entry in _entries(group) if entry.name == name), "")


def origin_of(group: str, name: str) -> str:
    """The package and version that has registered a name; empty if none has. Nothing is loaded."""
    return next((_origin(entry) for entry in _entries(group) if entry.name == name), "")


def registered(group: str, name: str) -> list[Plugin]:
    """All that have registered a name, the one that is used first. Nothing is loaded: each has None as its value."""
    return [Plugin(name, None, _origin(entry), entry.value) for entry in _entries(group) if entry.name == name]


def load(group: str, spec: str) -> Plugin:
    """The plug-in of a group that was asked for.

    Args:
        group: workloads, variants, strategies or watchers.
        spec: a registered name, `path/to/file.py:Class`, or `package.module:Class`.

    Raises:
        PluginError: it cannot be loaded, and why.
        UsageError: there is none; the message lists the near names, and all.
    """
    found = [entry for entry in _entries(group) if entry.name == spec]
    if found:
        try:
            return _loaded(group, found[0])
        except PluginError as error:
            others = ", ".join(f"that of {_origin(entry)} as {entry.value}" for entry in found[1:])
            if others:
                raise PluginError(f"{error}; others have the name, too: name {others}") from error
            raise
    title = f"{KINDS[group].title} {spec}"
    if not is_placed(spec):
        raise UsageError(unknown(KINDS[group].title, spec, names(group)))
    place, _, name = spec.rpartition(":")
    path = file_of(spec)
    if path is None:
        return Plugin(spec, _class_of(_from_package(place, title), group, name, title), place)
    if not place or spec.endswith(".py"):
        raise UsageError(f"{title}: write {spec}:CLASS; {_classes_in(_from_file(path, title), group)}")
    return Plugin(spec, _class_of(_from_file(path, title), group, name, title), str(path))


def load_workload(spec: str) -> type[Program]:
    """The workload class that a WORKLOAD argument stands for.

    Args:
        spec: a registered name, `path/to/file.py:Class`, or `package.module:Class`.

    Raises:
        UsageError, PluginError: it does not exist or cannot be loaded.
    """
    found: type[Program] = load("workloads", spec).value
    return found


def is_placed(spec: str) -> bool:
    """Whether a name says where code is (a file, a module), instead of being a registered one."""
    return ":" in spec or spec.endswith(".py")


def is_foreign(group: str, spec: str) -> bool:
    """Whether a name says where code is that no installed package has registered in the group."""
    return is_placed(spec) and not any(spec in (entry.name, entry.value) for entry in _entries(group))


def title_of(group: str) -> str:
    """What one thing of a group is called."""
    return KINDS[group].title


def file_of(spec: str) -> Path | None:
    """The file that a name says code is in; None if it is no such name."""
    if spec.endswith(".py"):
        return Path(spec)
    place, colon, _ = spec.rpartition(":")
    return Path(place) if colon and (place.endswith(".py") or "/" in place) else None


def absolute(spec: str) -> str:
    """The same name, from any folder."""
    path = file_of(spec)
    return spec if path is None else moved(spec, path.absolute())


def from_here(spec: str) -> str:
    """The same name as a person in this folder would write it: a file below it by its relative path."""
    path = file_of(spec)
    try:
        return spec if path is None else moved(spec, path.relative_to(Path.cwd()))
    except (ValueError, OSError):  # it is elsewhere, or this folder has been removed
        return spec


def moved(spec: str, path: Path) -> str:
    """The same class in a file elsewhere."""
    return str(path) if spec.endswith(".py") else f"{path}:{spec.rpartition(':')[2]}"


def source_hash(path: Path) -> str:
    """The SHA-256, in hexadecimal, of a Python file as it was when it was loaded; empty if it was not."""
    return _hashes.get(_place_of(path), "")


def source_of(path: Path) -> tuple[str, bytes] | None:
    """The place of a Python file as it was when it was loaded, and its source; None if it was not, or was changed."""
    place = _place_of(path)
    try:
        source = read_bounded(path, SOURCE_MAX, "file")
    except UsageError:
        return None
    return (place, source) if _hashes.get(place) == _sha256(source) else None


def supply(path: str, place: str, source: bytes) -> None:
    """Use this source for a file that is named by `path`, instead of what may be there on this machine.

    Args:
        path: the file as the name of a class has it.
        place: what `source_of` returned for it, on the machine where it is.
        source: its content.
    """
    _supplied[path] = place, source


def module_of(group: str, name: str) -> str:
    """The module of what a name stands for that is no file: `package.module`; empty if there is none."""
    entry = next((entry for entry in _entries(group) if entry.name == name), None)
    return name.rpartition(":")[0] if entry is None else entry.module


def _place_of(path: Path) -> str:
    supplied = _supplied.get(str(path))
    return str(path.resolve()) if supplied is None else supplied[0]


def _sha256(source: bytes) -> str:
    from hashlib import sha256  # which loads OpenSSL; names that are registered need no hash

    return sha256(source).hexdigest()


_hashes: Final[dict[str, str]] = {}

_supplied: Final[dict[str, tuple[str, bytes]]] = {}
"""Files whose source is not read from this machine: place and source of each."""


# -- entry points -----------------------------------------------------------------------------------------------


def _entries(group: str) -> Sequence[EntryPoint]:
    """Registered entry points by name; where two packages have registered one name, ours comes first."""
    return _registered(tuple(sys.path))[group]


@lru_cache(maxsize=1)
def _registered(search_path: tuple[str, ...]) -> Mapping[str, Sequence[EntryPoint]]:  # noqa: ARG001  # what is found depends on it
    """Read the entry points of every installed package, by group; once for each `sys.path`."""
    everything = entry_points()
    return {group: _in_order(everything.select(group=f"ksmactors.{group}")) for group in KINDS}


def _in_order(found: Iterable[EntryPoint]) -> Sequence[EntryPoint]:
    unique = {(entry.name, entry.value, _origin(entry)): entry for entry in found}
    return [unique[key] for key in sorted(unique, key=lambda key: (key[0], not key[2].startswith("ksmactors "), key))]


def _origin(entry: EntryPoint) -> str:
    """The package and version that an entry point comes from."""
    return _name_and_version(entry.dist) if entry.dist is not None else "unknown package"


@cache
def _name_and_version(package: Distribution) -> str:
    """Parse the metadata of a package; that takes longer than all else here, so once for each."""
    return "{Name} {Version}".format_map(package.metadata)  # its `name` and `version` parse it each time


def forget_registered() -> None:
    """Have entry points read again: a package was installed, or removed, while this process ran."""
    _registered.cache_clear()


def _title(group: str, entry: EntryPoint) -> str:
    return f"plug-in {entry.name!r} of {_origin(entry)} (ksmactors.{group})"


def _loaded(group: str, entry: EntryPoint) -> Plugin:
    foreign = not _origin(entry).startswith("ksmactors ")
    if foreign:
        collect_at_the_end()
    value = _guarded(entry.load, _title(group, entry))
    if foreign and group == "workloads" and (wrong := wrong_with(value, group)):  # a test checks ours
        raise PluginError(f"{_title(group, entry)} cannot be used: {entry.value} {wrong}")
    return Plugin(entry.name, value, _origin(entry), entry.value)


def function_at(spec: str, title: str) -> Callable[..., Any]:
    """A function that the user names on the command line: `package.module:function` or `path/to/file.py:function`.

    Raises:
        PluginError: its code cannot be loaded, and why.
        UsageError: there is no such function.
    """
    place, _, name = spec.rpartition(":")
    title = f"{title} {spec}"
    if not place or not name:
        raise UsageError(f"{title}: write package.module:function, or path/to/file.py:function")
    path = file_of(spec)
    module = _from_package(place, title) if path is None else _from_file(path, title)
    value = _guarded(lambda: getattr(module, name, None), title)  # a module may compute it
    if not callable(value):
        raise UsageError(f"{title}: {place} has no function {name!r}")
    found: Callable[..., Any] = value
    return found


def called(spec: str, title: str) -> Any:
    """What such a function returns, called without arguments.

    Raises:
        PluginError: it raised, and what.
        UsageError: as for `function_at`.
    """
    return _guarded(function_at(spec, title), f"{title} {spec}")


def log_processors(log_config: str | None) -> list[Any]:
    """The structlog processors that `--log-config` names; none without it.

    Raises:
        UsageError: there is no such function, it raised, or it returns something else.
    """
    if log_config is None:
        return []
    from ksmactors.events.bridge import checked

    return checked(called(log_config, "--log-config"), f"--log-config {log_config}")


# -- path.py:Class and package.module:Class -----------------------------------------------------------------------


def _from_file(path: Path, title: str) -> ModuleType:
    supplied = _supplied.get(str(path))
    if supplied is None and not path.is_file():
        what = f"{path} is a directory, not a file" if path.is_dir() else f"there is no file {path}"
        raise UsageError(f"{title}: {what}")
    place = _place_of(path)
    known = f"ksmactors-file:{place}"
    if known in sys.modules:
        return sys.modules[known]
    module_spec = spec_from_file_location(known, path)
    if module_spec is None:
        raise UsageError(f"{title}: {path} is no Python file (its name must end in .py)")
    source = read_bounded(path, SOURCE_MAX, f"{title}:") if supplied is None else supplied[1]
    collect_at_the_end()
    module = module_from_spec(module_spec)
    sys.modules[known] = module  # dataclasses and pickle look their module up here
    try:
        # Not by the loader of the import system: it would run a cached translation, which is not what was hashed.
        _guarded(lambda: exec(compile(source, str(path), "exec", dont_inherit=True), vars(module)), title)
    except PluginError:
        del sys.modules[known]
        raise
    _hashes[place] = _sha256(source)
    return module


def _from_package(module: str, title: str) -> ModuleType:
    collect_at_the_end()
    return _guarded(lambda: import_module(module), title)  # type: ignore[no-any-return]


def _guarded(loading: Callable[[], Any], title: str) -> Any:
    """Load something that is not ours: whatever it raises becomes one line, with the place where it was raised."""
    try:
        with printing_aside():
            return loading()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too, and all that is no Exception
        place = author_place(error)
        why = damaged_bytecode(error) or f"{described(error)}{f' ({place})' if place else ''}"
        raise PluginError(f"{title} cannot be loaded: {why}") from error


def _class_of(module: ModuleType, group: str, name: str, title: str) -> type:
    value = _guarded(lambda: getattr(module, name, None), title)  # a module may compute it
    if value is None:
        raise UsageError(f"{title}: no class {name!r}; {_classes_in(module, group)}")
    wrong = wrong_with(value, group)
    if wrong:
        is_only_one = isinstance(value, type) and issubclass(value, KINDS[group].base) and not _usable(module, group)
        raise NotOfKind(f"{title}: {name} {wrong}{'' if is_only_one else f'; {_classes_in(module, group)}'}")
    found: type = value
    return found


def _classes_in(module: ModuleType, group: str) -> str:
    classes = _usable(module, group)
    if classes:
        return f"its {group} are: {', '.join(classes)}"
    return f"it has no subclass of {' or '.join(part.rpartition('.')[2] for part in KINDS[group].says.split(' or '))}"


def _usable(module: ModuleType, group: str) -> list[str]:
    base = KINDS[group].base
    return sorted(name for name, value in vars(module).items() if value is not base and not wrong_with(value, group))
