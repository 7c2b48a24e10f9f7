"""The public names of the package as text: each with its signature, classes with their members."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from importlib import import_module
from textwrap import dedent
from types import FunctionType, ModuleType
from typing import Any

from ksmactors.events.catalogue import CATALOGUE
from ksmactors.ksm.kernel import Ksm
from ksmactors.parameters import Parameter
from ksmactors.seams import mark_of, seams_of

MODULES = (
    "ksmactors", "ksmactors.workload", "ksmactors.litmus", "ksmactors.model", "ksmactors.variant", "ksmactors.watcher",
    "ksmactors.strategy", "ksmactors.images",
)  # fmt: skip
"""What users and the authors of plug-ins import."""

PLAIN = (int, str, bool, float, type(None))


def listing() -> str:
    """All public names, module by module. A class that several modules have is described where it comes first."""
    described: dict[Any, str] = {}
    lines: list[str] = []
    for module in MODULES:
        found = import_module(module)
        lines += ["", module]
        for name in sorted(found.__all__):
            value = getattr(found, name)
            home = described.get(value) if isinstance(value, type) else None
            if home is not None:
                lines.append(f"  {name}: as {home}.{name}")
                continue
            if isinstance(value, type):
                described[value] = module
            lines += [f"  {line}" for line in describe(name, value)]
    return "\n".join(lines).strip() + "\n"


def describe(name: str, value: Any) -> Iterator[str]:
    """Yield the lines about a public name."""
    if isinstance(value, ModuleType):
        yield f"{name}: the events of the catalogue"
        codes = {code: constant for constant, code in vars(value).items() if constant.isupper() and type(code) is int}
        for event in CATALOGUE:
            if event.code in codes:
                fields = ", ".join(f"{field.name}: {field.type}" for field in event.recorded)
                yield f"  {codes[event.code]} {event.name}({fields})"
    elif value is Ksm:
        yield f"class {name}, of which a variant may override:"
        for function in seams_of(Ksm):
            yield f"  {mark_of(Ksm, function)} {signature(function, getattr(Ksm, function))}"
    elif isinstance(value, type):
        bases = [base.__name__ for base in value.__bases__ if base is not object]
        yield f"class {name}{f'({chr(44).join(bases)})' if bases else ''}"
        yield from (f"  {line}" for line in members(value))
    elif isinstance(value, FunctionType):
        yield signature(name, value)
    elif callable(value):
        yield f"{name}: {value}"  # an alias of a type
    else:
        yield f"{name}: {type(value).__name__}{f' = {value!r}' if isinstance(value, PLAIN) else ''}"


def members(cls: type) -> Iterator[str]:
    """Yield the public members of a class, those it inherits in the package included, by name."""
    found: dict[str, str] = {}
    for owner in cls.__mro__:
        if not owner.__module__.startswith("ksmactors"):
            continue
        for name, value in vars(owner).items():
            if name == "__init__" or not name.startswith("_"):
                found.setdefault(name, member(name, value))
        for name in {*vars(owner).get("__annotations__", {}), *assigned(owner)}:
            if not name.startswith("_"):
                found.setdefault(name, f"{name}")
    return (found[name] for name in sorted(found))


def member(name: str, value: Any) -> str:
    """Describe a member: a function by its signature, a parameter by its type and default."""
    if isinstance(value, Parameter):
        return f"{name} = {type(value).__name__}({value.default!r})"
    if isinstance(value, property):
        return f"{name}: property"
    if isinstance(value, classmethod | staticmethod):
        return f"{type(value).__name__} {signature(name, value.__func__)}"
    if isinstance(value, FunctionType):
        return signature(name, value)
    return f"{name} = {value!r}" if isinstance(value, PLAIN) else name


def assigned(cls: type) -> set[str]:
    """The attributes that the constructor of a class sets, and those of a dataclass."""
    if dataclasses.is_dataclass(cls):
        return {field.name for field in dataclasses.fields(cls)}
    constructor = vars(cls).get("__init__")
    if not isinstance(constructor, FunctionType):
        return set()
    tree = ast.parse(dedent(inspect.getsource(constructor)))
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name) and node.value.id == "self"
    }  # fmt: skip


def signature(name: str, function: Any) -> str:
    """A function with its arguments, their types as they are written, and their defaults."""
    if isinstance(function, property):
        return f"{name}: property"
    parts, seen = [], None
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and seen not in (one.KEYWORD_ONLY, one.VAR_POSITIONAL):
            parts.append("*")
        seen = one.kind
        star = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        kind = "" if one.annotation is one.empty else f": {text_of(one.annotation)}"
        default = "" if one.default is one.empty else f" = {one.default!r}" if plain(one.default) else " = ..."
        parts.append(f"{star}{one.name}{kind}{default}")
    returned = inspect.signature(function).return_annotation
    answer = "" if returned is inspect.Signature.empty else f" -> {text_of(returned)}"
    return f"{'async ' if inspect.iscoroutinefunction(function) else ''}{name}({', '.join(parts)}){answer}"


def plain(value: object) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, tuple) and all(map(plain, value)))


def text_of(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
