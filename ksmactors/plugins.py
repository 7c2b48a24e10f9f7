"""Plug-ins: what installed packages register under the entry point groups of ksmactors.

A plug-in that cannot be loaded takes nobody else down: it is left out, and a line that names it and says why is
handed back. Only who asks for it by name gets the error.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ksmactors.errors import PluginError, UsageError, unknown
from ksmactors.program import Program

GROUPS: Final = ("workloads", "variants", "strategies", "watchers")


@dataclass(frozen=True, slots=True)
class Plugin:
    """Something registered: its name, what it is, and the package and version it comes from."""

    name: str
    value: Any
    origin: str


def available(group: str) -> tuple[list[Plugin], list[str]]:
    """All plug-ins of a group that can be loaded, by name; and one line for each that cannot.

    Args:
        group: one of GROUPS.
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


def load(group: str, name: str) -> Plugin:
    """The plug-in of a group that was asked for by name.

    Raises:
        PluginError: it cannot be loaded, and why.
        UsageError: there is none; the message lists the near names, and all.
    """
    for entry in _entries(group):
        if entry.name == name:
            return _loaded(group, entry)
    raise UsageError(unknown(group.rstrip("s") if group != "strategies" else "strategy", name, names(group)))


def load_workload(spec: str) -> type[Program]:
    """The workload class that a WORKLOAD argument stands for.

    Args:
        spec: a registered name, `path/to/file.py:Class`, or `package.module:Class`.

    Raises:
        UsageError, PluginError: it does not exist or cannot be loaded.
    """
    place, colon, name = spec.rpartition(":")
    if not colon:
        if spec.endswith(".py"):
            raise UsageError(f"workload {spec}: write {spec}:CLASS; {_classes_in(_from_file(Path(spec), spec))}")
        found: type[Program] = load("workloads", spec).value
        return found
    if place.endswith(".py") or "/" in place:
        return _class_of(_from_file(Path(place), spec), name, spec)
    return _class_of(_from_package(place, spec), name, spec)


# -- entry points -----------------------------------------------------------------------------------------------


def _entries(group: str) -> list[EntryPoint]:
    """Registered entry points by name; where two packages have registered one name, ours comes first."""
    found = entry_points(group=f"ksmactors.{group}")
    unique = {(entry.name, entry.value, _origin(entry)): entry for entry in found}
    return [unique[key] for key in sorted(unique, key=lambda key: (key[0], not key[2].startswith("ksmactors "), key))]


def _origin(entry: EntryPoint) -> str:
    dist = entry.dist
    return f"{dist.name} {dist.version}" if dist is not None else "unknown package"


def _title(group: str, entry: EntryPoint) -> str:
    return f"plug-in {entry.name!r} of {_origin(entry)} (ksmactors.{group})"


def _loaded(group: str, entry: EntryPoint) -> Plugin:
    value = _guarded(entry.load, _title(group, entry))
    if group == "workloads" and (wrong := _not_a_workload(value)):
        raise PluginError(f"{_title(group, entry)} cannot be used: {entry.value} {wrong}")
    return Plugin(entry.name, value, _origin(entry))


# -- path.py:Class and package.module:Class -----------------------------------------------------------------------


def _from_file(path: Path, spec: str) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"workload {spec}: there is no file {path}")
    known = f"ksmactors-file:{path.resolve()}"
    if known in sys.modules:
        return sys.modules[known]
    module_spec = spec_from_file_location(known, path)
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"workload {spec}: {path} is no Python file (its name must end in .py)")
    module = module_from_spec(module_spec)
    sys.modules[known] = module  # dataclasses and pickle look their module up here
    try:
        _guarded(lambda: module_spec.loader.exec_module(module), f"workload {spec}")  # type: ignore[union-attr]
    except PluginError:
        del sys.modules[known]
        raise
    return module


def _from_package(module: str, spec: str) -> ModuleType:
    return _guarded(lambda: import_module(module), f"workload {spec}")  # type: ignore[no-any-return]


def _guarded(loading: Callable[[], Any], title: str) -> Any:
    """Load something that is not ours: whatever it raises becomes one line, with the place where it was raised."""
    try:
        return loading()
    except (Exception, SystemExit) as error:
        raise PluginError(f"{title} cannot be loaded: {type(error).__name__}: {error}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where the foreign code was when it raised: the innermost frame outside of Python's import system and of us."""
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file != __file__ and not file.startswith("<frozen"):
            place = f" ({Path(file).name}:{traceback.tb_lineno})"
        traceback = traceback.tb_next
    return place


def _class_of(module: ModuleType, name: str, spec: str) -> type[Program]:
    value = getattr(module, name, None)
    if value is None:
        raise UsageError(f"workload {spec}: no class {name!r}; {_classes_in(module)}")
    wrong = _not_a_workload(value)
    if wrong:
        raise UsageError(f"workload {spec}: {name} {wrong}; {_classes_in(module)}")
    found: type[Program] = value
    return found


def _classes_in(module: ModuleType) -> str:
    classes = [name for name, value in vars(module).items() if not _not_a_workload(value)]
    return f"its workloads are: {', '.join(sorted(classes))}" if classes else "it has no subclass of Workload or Model"


def _not_a_workload(value: object) -> str:
    """What is wrong with a value that should be a workload class; empty if nothing."""
    if not isinstance(value, type) or not issubclass(value, Program):
        return "is no subclass of ksmactors.workload.Workload or ksmactors.model.Model"
    if inspect.isabstract(value):
        return "has no method run(host)"
    if not inspect.iscoroutinefunction(getattr(value, "run", value.perform)):
        return "has a run that is no coroutine (write: async def run(self, host))"
    return ""
