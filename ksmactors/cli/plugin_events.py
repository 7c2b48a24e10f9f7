"""The events that installed plug-ins declare: listed, and known to what reads logs."""

from __future__ import annotations

from collections.abc import Iterator

from ksmactors import plugins
from ksmactors.cli.screen import notice
from ksmactors.errors import UsageError
from ksmactors.events.declared import PluginEvent, declare, events_of

GROUPS = ("workloads", "variants")
"""What can declare events."""


def declared_by(plugin: plugins.Plugin) -> tuple[PluginEvent, ...]:
    """The events that a plug-in declares, registered.

    Raises:
        UsageError: another one has declared other events of the same names.
    """
    declare(plugin.value, f"plug-in {plugin.name} of {plugin.origin}")
    return events_of(plugin.value)


def installed_events() -> tuple[list[tuple[plugins.Plugin, PluginEvent]], list[str]]:
    """All events of plug-ins that are installed, each with its plug-in; and one line for each that cannot be loaded.
    Without plug-ins of other packages nothing is loaded."""
    events: dict[str, tuple[plugins.Plugin, PluginEvent]] = {}
    problems: list[str] = []
    for group in GROUPS:
        found, complaints = plugins.available(group, foreign=True)
        problems += complaints
        for plugin in found:
            try:
                for event in declared_by(plugin):
                    events.setdefault(event.name, (plugin, event))
            except UsageError as error:
                problems.append(str(error))
    return list(events.values()), problems


def read_plugin_events() -> None:
    """Have the fields of these events read from logs, as those of the catalogue are; report what cannot be loaded."""
    from ksmactors.analysis.store import know_events

    found, problems = installed_events()
    for problem in problems:
        notice(problem)
    know_events([event for _, event in found])


def events_at(spec: str) -> Iterator[tuple[plugins.Plugin, PluginEvent]]:
    """Yield the events of a class that is named by its place, a workload or a variant.

    Raises:
        UsageError: there is no such class, or it is of another kind.
    """
    try:
        plugin = plugins.load("workloads", spec)
    except plugins.NotOfKind:
        plugin = plugins.load("variants", spec)
    for event in declared_by(plugin):
        yield plugin, event
