"""Layers by name, each imported when it is asked for: there are over a hundred, and a schedule needs a few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module

from typing_extensions import override

from ksmactors.ksm.kernel import Ksm


@cache
def layer_at(package: str, place: str) -> type[Ksm]:
    """Import a layer: `place` is its module in the package and its class, `module:Class`."""
    module, _, name = place.partition(":")
    layer: type[Ksm] = getattr(import_module(f"{package}.{module}"), name)
    return layer


class Layers(Mapping[str, type[Ksm]]):
    """Layers of one package, in order.

    Args:
        package: the package.
        places: by name of a layer its place, as `layer_at` takes it.
    """

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package = package
        self._places = places

    @override
    def __getitem__(self, name: str) -> type[Ksm]:
        return layer_at(self._package, self._places[name])

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    @override
    def __len__(self) -> int:
        return len(self._places)

    @override
    def __contains__(self, name: object) -> bool:
        return name in self._places
