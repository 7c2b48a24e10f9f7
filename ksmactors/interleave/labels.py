"""Labels: a name for the object of an operation that is the same in every schedule and that a user can type.

A label is a kind, optionally followed by which one of the kind, with slashes between: `ksm_thread_mutex`,
`page_lock/17`, `stable_tree/1`, `pte/vm0/0x1000`. An object may define a method `label(field)`. Otherwise the label is
made from its `name`: "mmap_sem of vm0" becomes `mmap_sem/vm0`, "anon_vma 3" becomes `anon_vma/3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple, Protocol, cast

from ksmactors.interleave.actor import YIELD, Operation

VERBS: Final = ("reads", "writes", "takes", "releases", "waits at", "starts with")
"""By kind of operation."""

TRIES: Final = "tries to take"
"""Of an acquisition that is not known to have succeeded."""

_NUMBERED: Final = re.compile(r"(.+?) (?:of (.+)|(\d+))")
"""A name that says which one of its kind the object is: "mmap_sem of vm0", "anon_vma 3"."""


class NamedOperation(NamedTuple):
    """The field of a touch that says itself what was done to its object: as a predicate (`sets done`), and in which
    function."""

    text: str
    function: str


class Labelled(Protocol):
    """An object that names its fields."""

    def label(self, field: object) -> str:
        """Return the label of an operation on a field ("" is the object itself)."""


def label_of(op: Operation) -> str:
    """Return the label of the object of an operation, or "" if the object cannot be shared."""
    _, obj, field = op
    if hasattr(obj, "label"):  # `isinstance` of a protocol takes several times as long
        return cast("Labelled", obj).label(field)
    if obj is None or isinstance(obj, tuple):  # a sleeper's alarm
        return ""
    named = _named(str(getattr(obj, "name", "")))
    if field == "":
        return named
    fields = _joined(field if isinstance(field, tuple) else (field,))
    return f"{fields}/{named}" if fields and named else fields or named


@lru_cache(1 << 12)
def _named(name: str) -> str:
    """Return the label of an object that has this name."""
    numbered = _NUMBERED.fullmatch(name)
    return _joined((numbered[1], numbered[2] or numbered[3]) if numbered else (name,))


def _joined(parts: Iterable[object]) -> str:
    return "/".join(str(part).replace(" ", "_") for part in parts if part != "")


def describe_operation(op: Operation) -> str:
    """Return an operation as a predicate: `reads kpfn/7`."""
    if isinstance(op[2], NamedOperation):
        return op[2].text
    if is_silent(op):
        return "goes on"
    return f"{VERBS[op[0]]} {label_of(op) or 'nothing shared'}"


def lets_others_go(op: Operation) -> bool:
    """Whether an operation only lets others run, as far as a reader can tell: a relax, or a step of code that does not
    say what it touches (`silent`)."""
    return op[0] == YIELD or is_silent(op)


def is_silent(op: Operation) -> bool:
    """Whether an operation is a step of code that does not say what it touches."""
    return getattr(op[1], "silent", False) is True


def matches(label: str, name: str) -> bool:
    """Whether `name` selects a label: it is the label, or a prefix of it that ends at a slash."""
    return label == name or label.startswith(name + "/")


def kinds(labels: Iterable[str]) -> list[str]:
    """Return the distinct kinds of the labels, sorted."""
    return sorted({label.partition("/")[0] for label in labels})
