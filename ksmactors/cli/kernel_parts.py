"""What a variant may override in a function of the emulated kernel, read from the code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from inspect import getdoc, unwrap
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import ksmactors
from ksmactors.kernels import OWN, VARIANTS
from ksmactors.ksm.kernel import Ksm
from ksmactors.overrides import stated
from ksmactors.seams import OVERRIDABLE, mark_of


@dataclass(frozen=True, slots=True)
class KernelPart:
    """A function of the emulated kernel: "seam", "part" or "primitive", its first line, what it does, and its place."""

    name: str
    mark: str
    signature: str
    summary: str
    place: str

    @property
    def about(self) -> str:
        """What it does, what it is, and where it is."""
        return f"{self.summary} ({self.mark}, {self.place})".lstrip()


def parts_called_by(name: str) -> list[KernelPart]:
    """Return what a variant may override in a function: the seams and parts that it calls in any kernel, and those
    that its own parts and private functions call; by name."""
    called: set[str] = set()
    pending = [name]
    while pending:
        for one in _calls(pending.pop()) - called:
            called.add(one)
            part = part_named(one)
            if one.startswith("_") or (part is not None and part.mark == "part"):
                pending.append(one)
    found = (part_named(one) for one in sorted(called - {name}))
    return [part for part in found if part is not None and part.mark in OVERRIDABLE]


def callers_of(name: str) -> list[str]:
    """Return the functions that call a function of the kernel, by name."""
    return sorted(one for one in _functions() if one != name and name in _calls(one))


@cache
def part_named(name: str) -> KernelPart | None:
    """Return the marked function of a name in the emulated kernel, or in the first layer that has it; None if there is
    none."""
    for cls, value in _functions().get(name, ()):
        mark = mark_of(cls, name)
        if mark is not None:
            code = _function(value).__code__
            file = Path(code.co_filename).relative_to(Path(ksmactors.__file__).parent)
            summary = (getdoc(value) or "").partition("\n\n")[0].replace("\n", " ")
            return KernelPart(name, mark, stated(value, name), summary, f"{file}:{code.co_firstlineno}")
    return None


def part_names() -> list[str]:
    """Return the names of all marked functions."""
    return [name for name in _functions() if part_named(name) is not None]


@cache
def _functions() -> dict[str, list[tuple[type, Any]]]:
    """Each function of the emulated kernel by name, with the classes that have it: those of v3.9 first."""
    found: dict[str, list[tuple[type, Any]]] = {}
    layers: list[type] = [Ksm, *(variant.layer for variant in VARIANTS.values() if variant.origin == OWN)]
    for cls in dict.fromkeys(cls for layer in layers for cls in layer.__mro__):
        for name, value in vars(cls).items():
            if not name.startswith("__") and isinstance(_function(value), FunctionType):
                found.setdefault(name, []).append((cls, value))
    return found


def _function(value: Any) -> Any:
    """The function in a property, static function or class function, without what wraps it."""
    for inner in ("fget", "__func__"):
        value = getattr(value, inner, None) or value
    return unwrap(value) if callable(value) else value


@cache
def _calls(name: str) -> frozenset[str]:
    """The functions of the kernel that those of a name mention."""
    names = {one for _, value in _functions().get(name, ()) for one in _names(_function(value).__code__)}
    return frozenset(names & _functions().keys())


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)
