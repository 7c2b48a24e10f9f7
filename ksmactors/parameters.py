"""Typed parameters of workloads: declared as class attributes, given as text (`-p KEY=VALUE`) or as values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, overload

from typing_extensions import override

from ksmactors.errors import UsageError
from ksmactors.escaping import quoted

T = TypeVar("T")

INT_LIMIT: Final = 1 << 31


class Parameter(ABC, Generic[T]):
    """One parameter: its type, default, help and allowed values. Reading it on an object gives the value."""

    type_name: ClassVar[str]

    def __init__(self, default: T, help: str) -> None:  # noqa: A002  # the word that every option parser uses
        self.default = default
        self.help = help
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Self | T:
        """The declaration on the class; on an object the default (a value that was given hides this descriptor)."""
        return self if instance is None else self.default

    def with_default(self, default: T) -> Self:
        """The same parameter with another default, for a subclass."""
        other = copy(self)
        other.default = default
        return other

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What a value must be, in words that go on with "must be"."""

    @abstractmethod
    def parse(self, text: str) -> T:
        """The value that a text stands for; ValueError if none."""

    @abstractmethod
    def accepts(self, value: object) -> bool:
        """Whether a value is of the right type and in range."""

    def value_of(self, given: object) -> T:
        """Check a value that was given, as text or as itself; ValueError if it cannot be one."""
        value = self.parse(given) if isinstance(given, str) else given
        if not self.accepts(value):
            raise ValueError(f"{quoted(value)} is not allowed")
        return value  # type: ignore[return-value]  # `accepts` has looked at its type

    def describe(self) -> dict[str, Any]:
        """For `list workloads --json`: name, type, default, help and what is allowed."""
        default = str(self.default) if isinstance(self.default, Path) else self.default
        return {
            "name": self.name, "type": self.type_name, "default": default, "help": self.help, "allowed": self.allowed,
        }  # fmt: skip


class Int(Parameter[int]):
    """A whole number from `low` to `high`."""

    type_name: ClassVar[str] = "int"

    def __init__(self, default: int, help: str, *, low: int = 0, high: int = INT_LIMIT) -> None:  # noqa: A002
        super().__init__(default, help)
        self.low, self.high = low, high

    @property
    @override
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high}"

    @override
    def parse(self, text: str) -> int:
        return int(text)

    @override
    def accepts(self, value: object) -> bool:
        return type(value) is int and self.low <= value <= self.high


class Bool(Parameter[bool]):
    """Yes or no."""

    type_name: ClassVar[str] = "bool"
    words: ClassVar[dict[str, bool]] = {
        "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
    }  # fmt: skip

    @property
    @override
    def allowed(self) -> str:
        return "true or false"

    @override
    def parse(self, text: str) -> bool:
        try:
            return self.words[text.lower()]
        except KeyError:
            raise ValueError(text) from None

    @override
    def accepts(self, value: object) -> bool:
        return type(value) is bool


class Str(Parameter[str]):
    """A text; one of `choices`, if there are any."""

    type_name: ClassVar[str] = "str"

    def __init__(self, default: str, help: str, *, choices: tuple[str, ...] = ()) -> None:  # noqa: A002
        super().__init__(default, help)
        self.choices = choices

    @property
    @override
    def allowed(self) -> str:
        return f"one of {', '.join(self.choices)}" if self.choices else "a text"

    @override
    def parse(self, text: str) -> str:
        return text

    @override
    def accepts(self, value: object) -> bool:
        return isinstance(value, str) and (not self.choices or value in self.choices)


class FilePath(Parameter[Path | None]):
    """The path of a file, or None for a default that the help describes. Its reader reports what is wrong."""

    type_name: ClassVar[str] = "path"

    @property
    @override
    def allowed(self) -> str:
        return "the path of a file"

    @override
    def parse(self, text: str) -> Path:
        if not text:
            raise ValueError(text)
        return Path(text)

    @override
    def accepts(self, value: object) -> bool:
        return isinstance(value, Path)


@cache
def parameters_of(cls: type) -> Mapping[str, Parameter[Any]]:
    """The parameters of a class in the order of declaration, its own before those it inherits."""
    found: dict[str, Parameter[Any]] = {}
    for owner in cls.__mro__:
        for name, value in vars(owner).items():
            if isinstance(value, Parameter):
                found.setdefault(name, value)
    return MappingProxyType(found)


def checked(cls: type, title: str, given: dict[str, Any]) -> dict[str, Any]:
    """Check values for the parameters of a class.

    Args:
        title: what error messages call the class, such as "workload vm_fleet".
        given: a text or a value for each name.

    Raises:
        UsageError: a name or a value is wrong; the message lists the right ones.
    """
    known = parameters_of(cls)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.5)
            guess = f" (did you mean {near[0]}?)" if near else ""
            there_are = ", ".join(f"{p.name} ({p.type_name}, {p.default!s})" for p in known.values()) or "none"
            raise UsageError(f"{title} has no parameter {quoted(name)}{guess}; its parameters are: {there_are}")
        try:
            values[name] = known[name].value_of(value)
        except ValueError:
            raise UsageError(f"{title}: {name} must be {known[name].allowed}, not {quoted(value)}") from None
    return values
