"""Whether a method of a plug-in can be called as the one that it overrides: of its kind, and with its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter, Signature, getattr_static, iscoroutinefunction, isfunction, signature
from typing import Any, Final

from typing_extensions import override

_BY_POSITION: Final = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def is_function(value: object) -> bool:
    """Whether a value in a class body is called, or computed, when asked for: only that can override something."""
    return isinstance(value, (property, staticmethod, classmethod)) or (callable(value) and not isinstance(value, type))


def wrong_override(cls: type, base: type, name: str) -> str:
    """Return what is wrong with the method of a class that overrides that of a base class; empty if nothing.

    Args:
        cls: the class of the plug-in.
        base: the class that has the overridden method, or inherits it.
        name: of the method.
    """
    own, overridden = getattr_static(cls, name), getattr_static(base, name)
    if own is overridden or not is_function(overridden) or isinstance(overridden, property):
        return ""
    if not is_function(own) or isinstance(own, property):
        shown = "a property" if isinstance(own, property) else repr(own)
        return f"is {shown}, and must be a function: {stated(overridden, name)}"
    if iscoroutinefunction(getattr(cls, name)) != iscoroutinefunction(getattr(base, name)):
        return f"must {'' if iscoroutinefunction(getattr(base, name)) else 'not '}be async: {stated(overridden, name)}"
    try:
        accepted = _without_self(own)
    except (TypeError, ValueError):  # a callable that does not say
        return ""
    for args, kwargs in _calls(_without_self(overridden)):
        try:
            accepted.bind(*args, **kwargs)
        except TypeError as error:
            return f"cannot be called as the overridden one is ({error}): {stated(overridden, name)}"
    return ""


def wrong_overrides(cls: type, base: type) -> Iterator[tuple[str, str]]:
    """Yield the name of each public method of a base class that a class overrides wrongly, and what is wrong."""
    for name, value in vars(base).items():
        if not name.startswith("_") and isfunction(value):
            wrong = wrong_override(cls, base, name)
            if wrong:
                yield name, wrong


def _without_self(method: Any) -> Signature:
    """The signature of a method as its caller sees it."""
    if isinstance(method, staticmethod):
        return signature(method.__func__)
    found = signature(getattr(method, "__func__", method))
    return found.replace(parameters=list(found.parameters.values())[1:])


def _calls(accepted: Signature) -> Iterator[tuple[list[None], dict[str, None]]]:
    """Yield the arguments of the shortest call of a function, and of the longest: by position, and by keyword."""
    parameters = accepted.parameters.values()
    needed = [one for one in parameters if one.kind in _BY_POSITION and one.default is one.empty]
    optional = [one for one in parameters if one.kind in _BY_POSITION and one.default is not one.empty]
    by_keyword = [one for one in parameters if one.kind is one.KEYWORD_ONLY]
    keywords = {one.name: None for one in by_keyword if one.default is one.empty}
    yield [None] * len(needed), keywords
    if optional or len(by_keyword) > len(keywords):
        keywords = {one.name: None for one in by_keyword}
        yield [None] * (len(needed) + len(optional)), keywords
        named = {one.name: None for one in optional if one.kind is one.POSITIONAL_OR_KEYWORD}
        yield [None] * (len(needed) + len(optional) - len(named)), keywords | named


class _Annotation(str):
    """An annotation that a signature shows as the source has it."""

    __slots__ = ()

    @override
    def __repr__(self) -> str:
        return str(self)


def stated(method: Any, name: str) -> str:
    """Return the first line of a method, as an author would write it."""
    if isinstance(method, property):
        return f"property {name}"
    function = getattr(method, "__func__", method)
    found = signature(function)
    parameters = [
        one if one.annotation is one.empty else one.replace(annotation=_Annotation(one.annotation))
        for one in found.parameters.values()
    ]
    returned = found.return_annotation
    shown = found.replace(
        parameters=parameters, return_annotation=returned if returned is found.empty else _Annotation(returned)
    )
    return f"{'async ' if iscoroutinefunction(function) else ''}def {name}{shown}"
