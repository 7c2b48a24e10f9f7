"""Strategies, variants and witnesses of plug-ins: registered when one is asked for by name, or when all are listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ksmactors import kernels, plugins
from ksmactors.errors import UsageError
from ksmactors.interleave.strategies import registry
from ksmactors.watch import WATCHERS
from ksmactors.watch.base import Watcher

_Register = Callable[[plugins.Plugin], None]


def need(group: str, name: str) -> None:
    """Make sure that a name is registered if a plug-in has it; whoever looks it up next says if nobody has.

    Raises:
        PluginError: the plug-in that has it cannot be loaded.
        UsageError: it is not what it should be: a variant that overrides what no kernel has.
    """
    known, register = _GROUPS[group]
    if name not in known and name in plugins.names(group):
        register(plugins.load(group, name))


def register_all(group: str) -> list[str]:
    """Register every plug-in of a group; returns a line for each that could not be."""
    known, register = _GROUPS[group]
    found, problems = plugins.available(group)
    for plugin in found:
        if plugin.name not in known:
            try:
                register(plugin)
            except UsageError as error:
                problems.append(f"{error} ({plugin.origin})")
    return problems


def origins(group: str) -> dict[str, str]:
    """Package and version of each name that plug-ins have registered in a group."""
    return {plugin.name: plugin.origin for plugin in plugins.available(group)[0]}


def _watcher(plugin: plugins.Plugin) -> None:
    if not (isinstance(plugin.value, type) and issubclass(plugin.value, Watcher)):
        raise UsageError(f"witness {plugin.name}: {plugin.value!r} is no subclass of ksmactors.watch.base.Watcher")
    WATCHERS[plugin.name] = plugin.value


def _variant(plugin: plugins.Plugin) -> None:
    kernels.register(plugin.name, plugin.value, origin=plugin.origin)


def _strategy(plugin: plugins.Plugin) -> None:
    registry.register(plugin.value)


_GROUPS: Final[dict[str, tuple[Mapping[str, Any], _Register]]] = {
    "strategies": (registry.STRATEGIES, _strategy),
    "variants": (kernels.VARIANTS, _variant),
    "watchers": (WATCHERS, _watcher),
}
