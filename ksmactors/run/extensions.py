"""Strategies, variants and watchers of plug-ins, or named by the location of their class: registered on first use;
those of plug-ins also when all are listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ksmactors import plugins
from ksmactors.errors import UsageError, unknown
from ksmactors.escaping import quoted
from ksmactors.interleave.search.registry import SEARCHES
from ksmactors.interleave.strategies import registry
from ksmactors.interleave.strategies.base import Strategy
from ksmactors.overrides import wrong_override, wrong_overrides

_Register = Callable[[plugins.Plugin], None]


def need(group: str, name: str) -> None:
    """Register a name if a plug-in has it, or if it is the location of a class (`path/to/file.py:Class` or
    `package.module:Class`). An unknown name is left to the look-up that follows.

    Raises:
        PluginError: the plug-in, or the code there, cannot be loaded.
        UsageError: it is not valid, such as a variant that overrides what no kernel has.
    """
    known, register = _group(group)
    if not _is_ours(group, name, known) and (plugins.is_placed(name) or name in plugins.names(group)):
        register(plugins.load(group, name))


def need_strategy(text: str) -> None:
    """Do the same for the text of `--strategy`: a strategy, and those it wraps (`of=`).

    Raises:
        UsageError: there is no such strategy; the message lists plug-ins, too.
    """
    for name, _ in registry.nested(text):
        need("strategies", name)
        if name not in registry.STRATEGIES and plugins.names("strategies") and name not in ("replay", *SEARCHES):
            raise UsageError(unknown("strategy", name, names("strategies")))


def check_strategy(text: str) -> None:
    """Refuse a strategy that does not exist, or does not have these parameters.

    Raises:
        UsageError: it is one.
    """
    need_strategy(text)
    registry.parse(text)


def names(group: str) -> list[str]:
    """Return all names of a group: built-in, then those of plug-ins, registered or not."""
    known, _ = _group(group)
    return [*known, *(name for name in plugins.names(group) if name not in known)]


def register_all(group: str) -> list[str]:
    """Register every plug-in of a group; returns a line for each that could not be."""
    known, register = _group(group)
    found, problems = plugins.available(group)
    for plugin in found:
        if plugin.name not in known:
            try:
                register(plugin)
            except UsageError as error:
                problems.append(f"{error} ({plugin.origin})")
        elif not _is_registered(group, plugin):
            problems.append(
                f"{group} {plugin.name} of {plugin.origin} is ignored: ksmactors has that name already; name this one "
                f"{plugin.place}"
            )
    return problems


def _is_registered(group: str, plugin: plugins.Plugin) -> bool:
    """Whether a name is registered for this plug-in."""
    registered = _group(group)[0].get(plugin.name)
    return getattr(registered, "layer", registered) is plugin.value


def origins(group: str) -> dict[str, str]:
    """Return package and version of each name that plug-ins have registered in a group."""
    found, _ = plugins.available(group)
    return {plugin.name: plugin.origin for plugin in found if _is_registered(group, plugin)}


def _watcher(plugin: plugins.Plugin) -> None:
    from ksmactors.watch import WATCHERS
    from ksmactors.watch.base import Watcher

    if not (isinstance(plugin.value, type) and issubclass(plugin.value, Watcher)):
        raise UsageError(
            f"watcher {plugin.name}: {quoted(plugin.value)} is not a subclass of ksmactors.watcher.Watcher"
        )
    missing = [what for what in ("name", "summary") if not isinstance(getattr(plugin.value, what, None), str)]
    if missing:
        raise UsageError(f"watcher {plugin.name}: {plugin.value.__qualname__} has no {' and no '.join(missing)}")
    _check_methods("watcher", plugin, Watcher)
    if wrong := wrong_override(plugin.value, Watcher, "__init__"):
        raise UsageError(f"watcher {plugin.name}: {plugin.value.__qualname__}.__init__ {wrong}")
    _check_name("watcher", plugin)
    WATCHERS[plugin.name] = plugin.value


def _variant(plugin: plugins.Plugin) -> None:
    from ksmactors import kernels

    kernels.register(plugin.name, plugin.value, origin=plugin.origin)


def _strategy(plugin: plugins.Plugin) -> None:
    try:
        registry.check(plugin.value)
        _check_methods("strategy", plugin, Strategy)
        _check_name("strategy", plugin)
        registry.register(plugin.value, plugin.name)
    except UsageError as error:
        raise UsageError(_as_named(str(error), plugin)) from None


def _as_named(message: str, plugin: plugins.Plugin) -> str:
    """Return a message with a class as the user has named it: the module of a file has a name of its own."""
    module, name = (getattr(plugin.value, key, "") for key in ("__module__", "__qualname__"))
    return message.replace(f"{module}.{name}", plugin.name) if plugins.is_placed(plugin.name) else message


def _check_methods(what: str, plugin: plugins.Plugin, base: type) -> None:
    """Refuse a class with a method that cannot be called as that of the base class which it overrides."""
    for method, wrong in wrong_overrides(plugin.value, base):
        raise UsageError(f"{what} {plugin.name}: {plugin.value.__qualname__}.{method} {wrong}")


def _check_name(what: str, plugin: plugins.Plugin) -> None:
    """Refuse a class whose name differs from the registered one: findings and schedules would have the wrong name."""
    if not plugins.is_placed(plugin.name) and plugin.value.name != plugin.name:
        raise UsageError(
            f"{what} {plugin.name}: its class {plugin.value.__qualname__} has the name "
            f"{quoted(plugin.value.name)}; the two must be the same"
        )


def _group(group: str) -> tuple[Mapping[str, Any], _Register]:
    """The registry of a group, and what registers a plug-in in it; a group is imported when it is asked for."""
    if group == "strategies":
        return registry.STRATEGIES, _strategy
    if group == "variants":
        from ksmactors.kernels import VARIANTS

        return VARIANTS, _variant
    from ksmactors.watch import WATCHERS

    return WATCHERS, _watcher


def _is_ours(group: str, name: str, known: Mapping[str, Any]) -> bool:
    if group == "variants":
        from ksmactors.history import COMMITS

        return name in known or name in COMMITS
    return name in known
