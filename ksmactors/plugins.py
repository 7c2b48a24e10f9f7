"""Plug-ins: what installed packages register under the entry point groups of ksmactors, and code named by its place.

A plug-in that cannot be loaded does not affect others: it is left out, and a line that names it and says why is
handed back. Only who asks for it by name gets the error.

Workloads, variants, strategies and watchers are named in the same three ways: a registered name,
`path/to/file.py:Class`, or `package.module:Class`. Loading the latter two runs code that is not installed, so a
caller that took the name from a file asks `is_foreign` first.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import Distribution, EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from ksmactors.errors import PluginError, UsageError, unknown
from ksmactors.files import MIB, read_bounded
from ksmactors.places import author_place

if TYPE_CHECKING:
    from ksmactors.program import Program

SOURCE_MAX: Final = 16 * MIB
"""Bytes of a Python file that is named by its path."""


@dataclass(frozen=True, slots=True)
class _ExtensionKind:
    """What a group holds: what one is called, where its base class is, and what the base class is called in messages.

    The base class is imported when something is compared with it: the names of plug-ins can be had without trio.
    """

    title: str
    module: str
    cls: str
    says: str

    @property
    def base(self) -> type:
        """The class that everything in the group is a subclass of."""
        found: type = getattr(import_module(self.module), self.cls)
        return found


_KINDS: Final = {
    "workloads": _ExtensionKind(
        "workload", "ksmactors.program", "Program", "ksmactors.workload.Workload or ksmactors.model.Model"
    ),
    "variants": _ExtensionKind("variant", "ksmactors.ksm.kernel", "Ksm", "ksmactors.ksm.kernel.Ksm"),
    "strategies": _ExtensionKind(
        "strategy", "ksmactors.interleave.strategies.base", "Strategy", "ksmactors.interleave.strategies.base.Strategy"
    ),
    "watchers": _ExtensionKind("watcher", "ksmactors.watch.base", "Watcher", "ksmactors.watch.base.Watcher"),
}
"""The groups, without the prefix of their entry points."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """Something registered: its name, what it is, and the package and version it comes from."""

    name: str
    value: Any
    origin: str


def available(group: str) -> tuple[list[Plugin], list[str]]:
    """All plug-ins of a group that can be loaded, by name; and one line for each that cannot.

    Args:
        group: workloads, variants, strategies or watchers.
    """
    plugins: list[Plugin] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for entry in _entries(group):
        if entry.name in seen:
            problems.append(f"{_title(group, entry)} is ignored: {seen[entry.name]} has registered that name already")
            continue
        seen[entry.name] = _origin(entry)
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


def load(group: str, spec: str) -> Plugin:
    """The plug-in of a group that was asked for.

    Args:
        group: workloads, variants, strategies or watchers.
        spec: a registered name, `path/to/file.py:Class`, or `package.module:Class`.

    Raises:
        PluginError: it cannot be loaded, and why.
        UsageError: there is none; the message lists the near names, and all.
    """
    for entry in _entries(group):
        if entry.name == spec:
            return _loaded(group, entry)
    title = f"{_KINDS[group].title} {spec}"
    if not is_placed(spec):
        raise UsageError(unknown(_KINDS[group].title, spec, names(group)))
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
    return _KINDS[group].title


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
    here = Path.cwd()
    return spec if path is None or not path.is_relative_to(here) else moved(spec, path.relative_to(here))


def moved(spec: str, path: Path) -> str:
    """The same class in a file elsewhere."""
    return str(path) if spec.endswith(".py") else f"{path}:{spec.rpartition(':')[2]}"


def source_hash(path: Path) -> str:
    """The SHA-256, in hexadecimal, of a Python file as it was when it was loaded; empty if it was not."""
    return _hashes.get(str(path.resolve()), "")


_hashes: Final[dict[str, str]] = {}


# -- entry points -----------------------------------------------------------------------------------------------


def _entries(group: str) -> Sequence[EntryPoint]:
    """Registered entry points by name; where two packages have registered one name, ours comes first."""
    return _registered(tuple(sys.path))[group]


@lru_cache(maxsize=1)
def _registered(search_path: tuple[str, ...]) -> Mapping[str, Sequence[EntryPoint]]:  # noqa: ARG001  # what is found depends on it
    """Read the entry points of every installed package, by group; once for each `sys.path`."""
    everything = entry_points()
    return {group: _in_order(everything.select(group=f"ksmactors.{group}")) for group in _KINDS}


def _in_order(found: Iterable[EntryPoint]) -> Sequence[EntryPoint]:
    unique = {(entry.name, entry.value, _origin(entry)): entry for entry in found}
    return [unique[key] for key in sorted(unique, key=lambda key: (key[0], not key[2].startswith("ksmactors "), key))]


def _origin(entry: EntryPoint) -> str:
    """The package and version that an entry point comes from."""
    return _name_and_version(entry.dist) if entry.dist is not None else "unknown package"


@cache
def _name_and_version(package: Distribution) -> str:
    """Parse the metadata of a package; that takes longer than all else here, so once for each."""
    return f"{package.name} {package.version}"


def forget_registered() -> None:
    """Have entry points read again: a package was installed, or removed, while this process ran."""
    _registered.cache_clear()


def _title(group: str, entry: EntryPoint) -> str:
    return f"plug-in {entry.name!r} of {_origin(entry)} (ksmactors.{group})"


def _loaded(group: str, entry: EntryPoint) -> Plugin:
    value = _guarded(entry.load, _title(group, entry))
    if group == "workloads" and (wrong := _wrong_with(value, group)):
        raise PluginError(f"{_title(group, entry)} cannot be used: {entry.value} {wrong}")
    return Plugin(entry.name, value, _origin(entry))


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
    value = getattr(module, name, None)
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
    if not path.is_file():
        raise UsageError(f"{title}: there is no file {path}")
    place = str(path.resolve())
    known = f"ksmactors-file:{place}"
    if known in sys.modules:
        return sys.modules[known]
    module_spec = spec_from_file_location(known, path)
    if module_spec is None:
        raise UsageError(f"{title}: {path} is no Python file (its name must end in .py)")
    source = read_bounded(path, SOURCE_MAX, f"{title}:")
    module = module_from_spec(module_spec)
    sys.modules[known] = module  # dataclasses and pickle look their module up here
    try:
        # Not by the loader of the import system: it would run a cached translation, which is not what was hashed.
        _guarded(lambda: exec(compile(source, str(path), "exec", dont_inherit=True), vars(module)), title)
    except PluginError:
        del sys.modules[known]
        raise
    _hashes[place] = sha256(source).hexdigest()
    return module


def _from_package(module: str, title: str) -> ModuleType:
    return _guarded(lambda: import_module(module), title)  # type: ignore[no-any-return]


def _guarded(loading: Callable[[], Any], title: str) -> Any:
    """Load something that is not ours: whatever it raises becomes one line, with the place where it was raised."""
    try:
        return loading()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{title} cannot be loaded: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """The line of the foreign code that raised, or called what raised."""
    place = author_place(error)
    return f" ({place})" if place else ""


def _class_of(module: ModuleType, group: str, name: str, title: str) -> type:
    value = getattr(module, name, None)
    if value is None:
        raise UsageError(f"{title}: no class {name!r}; {_classes_in(module, group)}")
    wrong = _wrong_with(value, group)
    if wrong:
        raise UsageError(f"{title}: {name} {wrong}; {_classes_in(module, group)}")
    found: type = value
    return found


def _classes_in(module: ModuleType, group: str) -> str:
    kind = _KINDS[group]
    classes = [name for name, value in vars(module).items() if value is not kind.base and not _wrong_with(value, group)]
    if classes:
        return f"its {group} are: {', '.join(sorted(classes))}"
    return f"it has no subclass of {' or '.join(part.rpartition('.')[2] for part in kind.says.split(' or '))}"


def _wrong_with(value: object, group: str) -> str:
    """What is wrong with a value that should be a class of a group; empty if nothing."""
    kind = _KINDS[group]
    if not isinstance(value, type) or not issubclass(value, kind.base):
        return f"is not a subclass of {kind.says}"
    if group != "workloads":
        return ""
    if inspect.isabstract(value):
        return "has no method run(host)"
    if not inspect.iscoroutinefunction(getattr(value, "run", value.perform)):  # type: ignore[attr-defined]
        return "has a run that is no coroutine (write: async def run(self, host))"
    return ""
