"""Observed fields: read and written atomically, without a lock, as part of another operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, overload

from ksmactors.interleave.actor import RELEASE, YIELD

if TYPE_CHECKING:
    from ksmactors.interleave.turns import Turns

T = TypeVar("T")


class HasConductor(Protocol):
    """An object with observed fields."""

    @property
    def conductor(self) -> Turns:
        """Return the conductor of the schedule that the object belongs to."""


class ObservedField(Generic[T]):
    """A flag bit of an object, or a word that is written whole; observers are notified of each read and write.

    An access passes no scheduling point: it belongs to the operation that was declared last. It creates no
    happens-before edge, so a write and a read may come in either order. The value is in the slot of the same name with
    an underscore.
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
