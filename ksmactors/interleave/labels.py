"""Labels: what an operation is on, as a text that is the same in every schedule and that a person can type.

A label is a kind, or a kind and which one of the kind, with slashes between: `ksm_thread_mutex`, `page_lock/17`,
`stable_tree/1`, `pte/vm0/0x1000`. An object may say itself what it is called (a method `label(field)`); else its `name`
tells: "mmap_sem of vm0" is `mmap_sem/vm0`, "anon_vma 3" is `anon_vma/3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol, cast

from ksmactors.interleave.actor import Operation

VERBS: Final = ("reads", "writes", "takes", "releases", "waits at", "starts with")
"""By kind of operation."""

_NUMBERED: Final = re.compile(r"(.+?) (?:of (.+)|(\d+))")
"""A name that says which one of its kind it is: "mmap_sem of vm0", "anon_vma 3"."""


class Labelled(Protocol):
    """An object that says what its fields are called."""

    def label(self, field: object) -> str:
        """The label of an operation on a field ("" is the object itself)."""


def label_of(op: Operation) -> str:
    """The label of what an operation is on; empty if it is on nothing that could be shared."""
    _, obj, field = op
    if hasattr(obj, "label"):  # `isinstance` of a protocol takes several times as long
        return cast("Labelled", obj).label(field)
    if obj is None or isinstance(obj, tuple):  # a sleeper's alarm
        return ""
    name = str(getattr(obj, "name", ""))
    numbered = _NUMBERED.fullmatch(name)
    kind, which = (numbered[1], numbered[2] or numbered[3]) if numbered else (name, "")
    fields = field if isinstance(field, tuple) else (field,)
    return "/".join(str(part).replace(" ", "_") for part in (*fields, kind, which) if part != "")


def told(op: Operation) -> str:
    """An operation as a sentence about its actor goes on: `reads kpfn/7`."""
    return f"{VERBS[op[0]]} {label_of(op) or 'nothing shared'}"


def matches(label: str, name: str) -> bool:
    """Whether a label is what a name means: it is the name, or starts with the name and a slash."""
    return label == name or label.startswith(name + "/")


def kinds(labels: Iterable[str]) -> list[str]:
    """The kinds among some labels, sorted."""
    return sorted({label.partition("/")[0] for label in labels})
