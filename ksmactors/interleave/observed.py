"""Flags: what is read and changed at one stroke, without a lock, as part of another operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, overload

from ksmactors.interleave.actor import RELEASE, YIELD

if TYPE_CHECKING:
    from ksmactors.interleave.turns import Turns

T = TypeVar("T")


class HasConductor(Protocol):
    """An object with flags."""

    @property
    def conductor(self) -> Turns:
        """Where it lives."""


class ObservedField(Generic[T]):
    """A flag bit of an object, or a word that is written whole: those who observe are told of every look and change.

    It passes no point, so it belongs to the operation that was declared last, and it orders nobody: who changes it and
    who looks at it may come in either order. Its value is in the object's slot of the same name with an underscore.
    """

    __slots__ = ("name", "slot")

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name, self.slot = name, f"_{name}"

    @overload
    def __get__(self, obj: None, owner: type[object]) -> ObservedField[T]: ...

    @overload
    def __get__(self, obj: HasConductor, owner: type[object]) -> T: ...

    def __get__(self, obj: HasConductor | None, owner: type[object]) -> ObservedField[T] | T:
        if obj is None:
            return self
        obj.conductor.touch(YIELD, obj, self.name)
        value: T = getattr(obj, self.slot)
        return value

    def __set__(self, obj: HasConductor, value: T) -> None:
        obj.conductor.touch(RELEASE, obj, self.name)
        setattr(obj, self.slot, value)
