"""Where the kernel functions are in this package, with their first lines: what a click in the page shows."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import ksmactors

_ROOT: Final = Path(ksmactors.__file__).parent

FOLDERS: Final = ("ksm", "mm", "actors", "later", "history", "interleave")
"""Where functions are looked for; those of the core are named before those of variants."""

LINES: Final = 24
"""Lines of a function that are shown."""

PLACES: Final = 3
"""Definitions of one name that are shown."""


class Place(NamedTuple):
    """A definition: file within the package, first line from 1, its text, and the slug of its variant or ""."""

    file: str
    line: int
    text: str
    variant: str


def places(names: Iterable[str], variants: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """By function, its definitions in the core, and those of the variants that are named, which override them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in sorted(set(names)):
        wanted = [place for place in _index().get(name, ()) if place.variant in ("", *variants)]
        if wanted:
            wanted.sort(key=lambda place: place.variant == "")  # the override is what runs
            found[name] = [{"file": place.file, "line": place.line, "text": place.text} for place in wanted[:PLACES]]
    return found


@cache
def _index() -> dict[str, list[Place]]:
    index: dict[str, list[Place]] = {}
    for folder in FOLDERS:
        for path in sorted((_ROOT / folder).glob("*.py")):
            for name, place in _definitions(path, folder):
                index.setdefault(name, []).append(place)
    return index


def _definitions(path: Path, folder: str) -> Iterator[tuple[str, Place]]:
    source = path.read_text("utf-8")
    lines = source.splitlines()
    variant = path.stem.replace("_", "-") if folder in ("later", "history") else ""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            end = min(node.end_lineno or node.lineno, node.lineno + LINES - 1)
            text = "\n".join(lines[node.lineno - 1 : end])
            file = f"ksmactors/{path.relative_to(_ROOT).as_posix()}"
            yield node.name, Place(file, node.lineno, text, variant)
