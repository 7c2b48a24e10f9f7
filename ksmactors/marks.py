"""Promises that are made at a place in code: `always` must hold each time, `sometimes` in some schedule of a campaign.

The words are those of Antithesis' assertions. `always` that does not hold is a finding. `sometimes` that holds passes a
mark; a campaign says which marks were never reached. Those that stand in the source are known without being run: a
`sometimes` behind a condition that never came true is never reached, too.
"""

from __future__ import annotations

import ast
import linecache
import re
import sys
from functools import lru_cache
from typing import Final

from ksmactors.errors import Finding
from ksmactors.escaping import encodable, quoted

KIND_MAX: Final = 60
"""Characters of a promise that become the kind of a finding."""

SEPARATOR: Final = "/"
"""Stands between the name of a watcher and its mark."""

_DEFINES: Final = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
"""What a class can be written in, or is."""


def broken(watcher: str, text: str, where: str, detail: str = "") -> Finding:
    """Return the finding for a promise that does not hold.

    Args:
        watcher: what the finding names as its watcher: `workload`, `model`, or a watcher.
        text: the promise; its words are the kind of the finding, so it is the same whenever this one is broken.
        where: the function in which it is made.
        detail: what is particular about this instance.
    """
    return Finding(watcher, kind_of(text), where, message_of(text, detail))


def message_of(text: str, detail: str = "") -> str:
    """Return the message about a promise that does not hold."""
    return f"not always: {text}{f' ({detail})' if detail else ''}"


def kind_of(text: str) -> str:
    """Return a promise as the kind of a finding: its words, joined by underscores.

    Raises:
        ValueError: it has no word.
    """
    words = re.findall(r"[a-z0-9]+", text.lower()) if isinstance(text, str) else []
    if not words:
        raise ValueError(f"a promise is a text of some words, not {quoted(text)}")
    return "_".join(words)[:KIND_MAX].rstrip("_")


def mark_of(text: str) -> str:
    """Return a text as the name of a mark.

    Raises:
        ValueError: it is no text, or empty.
    """
    return named("a mark", text)


def named(what: str, name: str) -> str:
    """Return a name that an author has given to something.

    Args:
        what: what has the name, as in "a mark".
        name: the name.

    Raises:
        ValueError: it is no text, is empty, or has what UTF-8 does not: events could not be written.
    """
    if not isinstance(name, str) or not name.strip() or not (name.isascii() or encodable(name) == name):
        raise ValueError(f"{what} is a text, not {quoted(name)}")
    return name


def check_draw(label: str, n: int) -> None:
    """Check what an author asks a number for.

    Raises:
        ValueError: the label is no text, or there is no number to draw.
    """
    named("the label of a draw", label)
    if not isinstance(n, int):
        raise ValueError(f"draw({label!r}, {quoted(n)}): give a whole number, 1 or more")
    if n < 1:
        raise ValueError(f"draw({label!r}, {n}): there is no number in 0..{n - 1}")


def is_true(condition: object) -> bool:
    """Return whether a condition holds.

    Raises:
        ValueError: it is a coroutine, which would always hold.
    """
    if hasattr(condition, "__await__"):
        raise ValueError("the condition is a coroutine: await it first")
    return bool(condition)


def written_in(cls: type) -> tuple[str, ...]:
    """Return the texts of each `.sometimes(CONDITION, "TEXT")` in the source of a class and of those that it inherits
    from, in their order. A text that is put together when it is used is not among them."""
    found: dict[str, None] = {}
    for owner in cls.__mro__:
        if owner is not object and not owner.__module__.startswith("ksmactors."):
            found |= dict.fromkeys(_texts_in(owner))
    return tuple(found)


@lru_cache(maxsize=1024)
def _texts_in(owner: type) -> tuple[str, ...]:
    lines = _lines_around(owner)
    if not any("sometimes" in line for line in lines):  # to parse a file takes much longer
        return ()
    try:
        definition = _definition_of(owner, ast.parse("".join(lines)))
    except (LookupError, SyntaxError, ValueError):  # made by a program, or its file has changed
        return ()
    calls = [
        node
        for node in ast.walk(definition)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sometimes"
    ]
    texts = [
        text
        for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset))
        for text in (*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "text"))
    ]
    return tuple(text.value for text in texts if isinstance(text, ast.Constant) and isinstance(text.value, str))


def _lines_around(owner: type) -> list[str]:
    """The lines of the file that a class is in; none if there is no file. `inspect` has them too, and asks for every
    class anew which of all modules it is in."""
    module = sys.modules.get(owner.__module__)
    file = getattr(module, "__file__", None)
    if file is None:
        return []
    linecache.checkcache(file)
    return linecache.getlines(file, vars(module))


def _definition_of(owner: type, tree: ast.AST) -> ast.AST:
    """Find a class in its file.

    Raises:
        LookupError: it is not there.
    """
    for name in owner.__qualname__.split("."):
        inside = (node for node in ast.walk(tree) if node is not tree and getattr(node, "name", None) == name)
        if name != "<locals>":
            found = next((node for node in inside if isinstance(node, _DEFINES)), None)
            if found is None:
                raise LookupError(owner.__qualname__)
            tree = found
    return tree
